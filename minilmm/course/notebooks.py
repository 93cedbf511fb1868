"""The notebooks: built from their sources with outputs, and verified by running them again."""

import hashlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from minilmm.course.notebook_files import digest, pair, problems

if TYPE_CHECKING:
    from nbformat import NotebookNode

TIMEOUT = 120  # seconds, of a cell
_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


class BuildError(ValueError):
    """A notebook that cannot be built: the message names the cell, how it begins, and the error."""


def sources(root: Path, numbers: list[str] | None = None) -> list[Path]:
    """The sources of these chapters ("3" and "03" are the same), or of all, in order.

    ValueError: a number that no source has.
    """
    found = {path.stem[:2]: path for path in sorted((root / "notebooks" / "src").glob("[0-9][0-9]_*.py"))}
    chosen = sorted({number.zfill(2)[:2] for number in numbers or found})
    for number in chosen:
        if number not in found:
            raise ValueError(f"no notebook {number}: there are {', '.join(found) or 'none'}")
    return [found[number] for number in chosen]


def is_current(source: Path) -> bool:
    """Was its notebook built from the source as it is now?"""
    try:
        notebook = json.loads(pair(source).read_text(encoding="utf-8"))
        return notebook["metadata"]["minilmm"]["source_sha256"] == digest(source)
    except (OSError, ValueError, LookupError):
        return False


def build(source: Path) -> list[str]:
    """Runs the source in a new kernel of this interpreter, writes its notebook, and returns its `problems`.

    BuildError: a cell that raises, takes too long, stops the kernel or writes to stderr; the old notebook stays.
    ModuleNotFoundError: the packages of the notebooks extra are not installed.
    """
    _require("jupytext", "nbclient", "ipykernel")
    import nbformat

    hashed, notebook, target = digest(source), _read(source), pair(source)
    _execute(notebook, source.parent.parent)
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": _KERNEL, "language_info": {"name": "python"}, "minilmm": {"source_sha256": hashed}}
    )
    part = target.with_suffix(".part")
    part.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")
    os.replace(part, target)
    return problems(target)


def verify(notebook: Path) -> tuple[int, str]:
    """Runs the notebook again and compares every output (strict nbval); the exit code of pytest, and what it printed.

    ModuleNotFoundError: the packages of the notebooks extra are not installed.
    """
    _require("nbval", "pytest", "ipykernel")
    options = ["--nbval", "--nbval-current-env", f"--nbval-cell-timeout={TIMEOUT}", "-p", "no:cacheprovider"]
    options += ["--nbval-sanitize-with", "sanitize.cfg", "--rootdir", ".", "-c", os.devnull, "--color=no", "-q"]
    command = [sys.executable, "-m", "pytest", *options, notebook.name]
    with _environment() as environment:
        done = subprocess.run(command, cwd=notebook.parent, env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    return done.returncode, done.stdout


def _read(source: Path) -> "NotebookNode":
    """The source as a notebook without outputs; ids follow from what the cells hold, metadata are the tags alone."""
    import jupytext

    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    taken: set[str] = set()
    for cell in notebook.cells:
        name = f"{source.stem[:2]}-{hashlib.sha256(cell.source.encode()).hexdigest()[:8]}"
        while name in taken:
            name += "-again"
        taken.add(name)
        cell.id = name
        cell.metadata = type(cell.metadata)({"tags": cell.metadata.tags} if "tags" in cell.metadata else {})
    return notebook


def _execute(notebook: "NotebookNode", folder: Path) -> None:
    """Fills in the outputs, in a kernel of this interpreter whatever kernels the machine has registered."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(
        notebook, km=manager, timeout=TIMEOUT, record_timing=False, coalesce_streams=True, store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )  # fmt: skip
    client.owns_km = True  # it shuts the kernel down, whatever happens
    with _environment() as environment, client.setup_kernel(env=environment, stderr=subprocess.DEVNULL):
        for index, cell in enumerate(notebook.cells):
            wrong = ""
            try:
                client.execute_cell(cell, index)
            except CellExecutionError as error:
                wrong = f"{error.ename}: {error.evalue}"
            except CellTimeoutError:
                wrong = f"took more than {TIMEOUT} s"
            except DeadKernelError:
                wrong = "the kernel died (out of memory?)"
            except KeyboardInterrupt:  # the cell is left unfinished, which asyncio would report at its own length
                logging.getLogger("asyncio").setLevel(logging.CRITICAL)
                raise
            for output in cell.get("outputs", []):
                if output.output_type == "error":  # colours and paths say nothing that these two do not
                    output.traceback = [f"{output.ename}: {output.evalue}"]
                elif output.get("name") == "stderr" and not wrong:
                    wrong = f"wrote to stderr: {output.text}"
            if wrong:
                number = sum(other.cell_type == "code" for other in notebook.cells[: index + 1])
                begins = (cell.source.strip().splitlines() or ["empty"])[0]
                raise BuildError(f"cell [{number}] ({begins}): {' '.join(wrong.split())[:300]}")


@contextmanager
def _environment() -> Iterator[dict[str, str]]:
    """What kernels start with: no backend (Agg cannot show), no one's start-up files or history, no outer pytest."""
    kept = {k: v for k, v in os.environ.items() if k != "MPLBACKEND" and not k.startswith("PYTEST_")}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield kept | {"IPYTHONDIR": folder}


def _require(*modules: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"{', '.join(missing)} not installed: pip install -e '.[notebooks]' in the clone")

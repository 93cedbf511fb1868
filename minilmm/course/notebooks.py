"""The notebooks: built from their sources with outputs, verified by running them again, and checked as files.

`notebooks/src/NN_name.py` is written by people, `notebooks/NN_name.ipynb` is made from it and never edited: the outputs
that it shows are those of its source.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minilmm.course.cells import IGNORE, SETUP, cell_problems, tags_of, text_of

TIMEOUT = 120  # seconds, of a cell
LARGEST = 1_500_000  # bytes, of a notebook
_KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


class BuildError(ValueError):
    """A notebook that cannot be built: the message names the cell, how it begins, and the error."""


def sources(root: Path, numbers: list[str] | None = None) -> list[Path]:
    """The sources of these chapters ("3" and "03" are the same), or of all, in order.

    ValueError: a number that no source has.
    """
    found = {path.stem[:2]: path for path in sorted((root / "notebooks" / "src").glob("[0-9][0-9]_*.py"))}
    chosen = [number.zfill(2)[:2] for number in numbers] if numbers else list(found)
    for number in chosen:
        if number not in found:
            raise ValueError(f"no notebook {number}: there are {', '.join(found) or 'none'}")
    return [found[number] for number in sorted(set(chosen))]


def pair(path: Path) -> Path:
    """The notebook of a source, the source of a notebook."""
    if path.suffix == ".py":
        return path.parent.parent / f"{path.stem}.ipynb"
    return path.parent / "src" / f"{path.stem}.py"


def fresh(source: Path) -> bool:
    """Was its notebook built from the source as it is now?"""
    try:
        return _load(pair(source))["metadata"]["minilmm"]["source_sha256"] == _digest(source)
    except (OSError, ValueError, LookupError):
        return False


def build(source: Path) -> list[str]:
    """Runs the source in a new kernel of this interpreter, writes its notebook, and returns its `problems`.

    BuildError: a cell that raises, takes too long, stops the kernel or writes to stderr; the old notebook stays.
    ModuleNotFoundError: the packages of the notebooks extra are not installed.
    """
    _require("jupytext", "nbclient", "ipykernel")
    import nbformat

    digest = _digest(source)
    notebook = _read(source)
    _execute(notebook, source.parent.parent)
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": _KERNEL, "language_info": {"name": "python"}, "minilmm": {"source_sha256": digest}}
    )
    target = pair(source)
    part = target.with_suffix(".part")
    part.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")
    os.replace(part, target)
    return problems(target)


def verify(notebook: Path) -> tuple[int, str]:
    """Runs the notebook again and compares every output (strict nbval); the exit code of pytest, and what it said.

    ModuleNotFoundError: the packages of the notebooks extra are not installed.
    """
    _require("nbval", "pytest", "ipykernel")
    options = ["--nbval", "--nbval-current-env", f"--nbval-cell-timeout={TIMEOUT}", "-p", "no:cacheprovider"]
    options += ["--nbval-sanitize-with", "sanitize.cfg", "--rootdir", ".", "-c", os.devnull, "--color=no", "-q"]
    with _environment() as environment:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, notebook.name],
            cwd=notebook.parent, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    return done.returncode, done.stdout


def problems(path: Path) -> list[str]:
    """What is wrong with a notebook as a file, each in a sentence; empty for a good one. It runs nothing."""
    try:
        notebook = _load(path)
    except (OSError, ValueError) as error:
        return [f"cannot be read: {error}"]
    cells = notebook["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    text = [text_of(cell) for cell in cells if cell["cell_type"] == "markdown"]
    found = list(_file_problems(path, notebook)) + list(_text_problems(path, cells, text))
    for n, cell in enumerate(code, 1):
        found += [f"cell [{n}] {problem}" for problem in cell_problems(cell, n, path.parent.parent)]
    if not code or text_of(code[0]) != SETUP or tags_of(code[0]) != ["setup"]:
        found.append('the first code cell must be the agreed setup cell, tagged "setup"')
    ignored = [cell for cell in code if IGNORE in tags_of(cell)]
    if len(ignored) >= 0.15 * len(code):
        found += [f"{len(ignored)} of {len(code)} code cells ignore their output: keep it under 15 %"] * bool(ignored)
    return found


def _file_problems(path: Path, notebook: dict[str, Any]) -> Iterator[str]:
    source = pair(path)
    if not source.is_file():
        yield f"has no source src/{source.name}"
    elif notebook["metadata"].get("minilmm", {}).get("source_sha256") != _digest(source):
        yield f"was built from another src/{source.name}: run minilmm notebooks build {path.stem[:2]}"
    if set(notebook["metadata"]) != {"kernelspec", "language_info", "minilmm"}:
        yield "has metadata that its build did not write"
    if path.stat().st_size > LARGEST:
        yield f"has {path.stat().st_size / 1e6:.1f} MB: more than {LARGEST / 1e6} MB"
    ids = [cell.get("id") for cell in notebook["cells"]]
    if None in ids or len(set(ids)) < len(ids):
        yield "has cells without an id of their own"


def _text_problems(path: Path, cells: list[dict[str, Any]], text: list[str]) -> Iterator[str]:
    first = text[0] if cells and cells[0]["cell_type"] == "markdown" else ""
    if not first.startswith(f"# {path.stem[:2]} · "):
        yield f"must begin with a heading such as # {path.stem[:2]} · Title"
    for mark in ("**Goals**", "**Time**", "**Before**"):
        if mark not in first:
            yield f"has no {mark} in its first cell"
    if not any(words.startswith("**Predict.**") for words in text):
        yield "has no cell that begins with **Predict.**"
    lines = [line.strip() for words in text for line in words.splitlines()]
    for heading in ("## Break it yourself", "## Exercises", "## What to read next"):
        if heading not in lines:
            yield f"has no heading {heading}"
    for link in re.findall(r"\]\(([^)\s#]+)[^)]*\)", "\n".join(text)):
        if re.match(r"[a-z]+:", link):
            continue
        place = path.parent / link
        if not place.exists() and not (place.suffix == ".ipynb" and pair(place).is_file()):
            yield f"links to {link}, which does not exist"


def _read(source: Path) -> Any:
    """The source as a notebook without outputs; ids follow from what the cells hold, metadata are the tags alone."""
    import jupytext

    notebook = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent")
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: set[str] = set()
    for cell in notebook.cells:
        name = f"{source.stem[:2]}-{hashlib.sha256(cell.source.encode()).hexdigest()[:8]}"
        while name in seen:
            name += "-again"
        seen.add(name)
        cell.id = name
        cell.metadata = type(cell.metadata)({"tags": cell.metadata.tags} if "tags" in cell.metadata else {})
    return notebook


def _execute(notebook: Any, folder: Path) -> None:
    """Fills in the outputs, in a kernel of this interpreter whatever kernels the machine has registered."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    at = [0]

    def begin(cell: Any, cell_index: int) -> None:
        at[0] = code.index(cell)

    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(
        notebook, km=manager, timeout=TIMEOUT, record_timing=False, coalesce_streams=True, store_widget_state=False,
        resources={"metadata": {"path": str(folder)}}, on_cell_execute=begin,
    )  # fmt: skip
    client.owns_km = True  # it shuts the kernel down, whatever happens
    wrong = ""
    with _environment() as environment:
        try:
            client.execute(env=environment, stderr=subprocess.DEVNULL)  # what cells write arrives in outputs
        except CellExecutionError as error:
            wrong = f"{error.ename}: {error.evalue}"
        except CellTimeoutError:
            wrong = f"took more than {TIMEOUT} s"
        except Exception as error:
            if hasattr(client, "_async_cleanup_kernel_future"):  # nbclient took Ctrl-C, and failed in one of many ways
                raise KeyboardInterrupt from None
            if not isinstance(error, DeadKernelError):
                raise
            wrong = "the kernel died (out of memory?)"
    for cell in code:
        for output in cell.outputs:
            if output.output_type == "error":  # colours and paths say nothing that these two do not
                output.traceback = [f"{output.ename}: {output.evalue}"]
            elif output.get("name") == "stderr" and not wrong:
                at[0], wrong = code.index(cell), f"wrote to stderr: {output.text}"
    if wrong:
        lines = code[at[0]].source.strip().splitlines()
        wrong = " ".join(wrong.split())
        raise BuildError(f"cell [{at[0] + 1}] ({lines[0] if lines else 'empty'}): {wrong[:300]}")


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


def _digest(source: Path) -> str:
    return hashlib.sha256(source.read_text(encoding="utf-8").encode()).hexdigest()


def _load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))

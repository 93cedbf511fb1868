"""Notebooks as files: the source that each belongs to, the cell that all begin with, and what is wrong with one.

`notebooks/src/NN_name.py` is written by people, `notebooks/NN_name.ipynb` is made from it and never edited.
"""

import ast
import base64
import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbformat import NotebookNode

LARGEST = 1_500_000  # bytes, of a notebook
WIDEST = 88  # columns, of a line of code
WIDEST_FIGURE = 1400  # pixels
IGNORE = "nbval-ignore-output"
CHANGE = "<- change me"  # marks a line for readers to change, and with it what the cell prints
SETUP = """\
import importlib.util
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

if importlib.util.find_spec("minilmm") is None:  # install it from the clone around here
    if not Path("../pyproject.toml").is_file():
        raise FileNotFoundError("clone the repository, and run this in its notebooks/")
    # without a network, with torch installed: add "--no-deps", "--no-build-isolation"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--editable", ".."]
    subprocess.run(pip, check=True)
    site.addsitedir(sysconfig.get_path("purelib"))"""


def pair(path: Path) -> Path:
    """The notebook of a source, the source of a notebook."""
    folder = path.parent
    return folder.parent / f"{path.stem}.ipynb" if path.suffix == ".py" else folder / "src" / f"{path.stem}.py"


def digest(source: Path) -> str:
    """The hash of a source, which its notebook records."""
    return hashlib.sha256(source.read_text(encoding="utf-8").encode()).hexdigest()


def problems(path: Path) -> list[str]:
    """What is wrong with a notebook as a file, each in a sentence; empty for a good one. It runs nothing."""
    from nbformat import v4

    try:
        notebook = v4.reads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return [f"cannot be read: {error}"]
    source, metadata, ids = pair(path), notebook.metadata, [cell.get("id") for cell in notebook.cells]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    first = texts[0] if texts and notebook.cells[0].cell_type == "markdown" else ""
    lines = {line.strip() for text in texts for line in text.splitlines()}
    ignored = sum(IGNORE in cell.metadata.get("tags", []) for cell in code)
    setup = code[0] if code else None
    checks = [
        (not source.is_file(), f"has no source src/{source.name}"),
        (source.is_file() and metadata.get("minilmm", {}).get("source_sha256") != digest(source),
         f"was built from another src/{source.name}: run minilmm notebooks build {path.stem[:2]}"),
        (set(metadata) != {"kernelspec", "language_info", "minilmm"}, "has metadata that its build did not write"),
        ((size := path.stat().st_size) > LARGEST, f"has {size / 1e6:.1f} MB: more than {LARGEST / 1e6} MB"),
        (None in ids or len(set(ids)) < len(ids), "has cells without an id of their own"),
        (not first.startswith(f"# {path.stem[:2]} · "), f"must begin with a heading such as # {path.stem[:2]} · Title"),
        *((mark not in first, f"has no {mark} in its first cell") for mark in ("**Goals**", "**Time**", "**Before**")),
        (not any(text.startswith("**Predict.**") for text in texts), "has no cell that begins with **Predict.**"),
        *((heading not in lines, f"has no heading {heading}")
          for heading in ("## Break it yourself", "## Exercises", "## What to read next")),
        *((True, f"links to {link}, which does not exist") for link in _dead_links(path, texts)),
        *((wrong, f"cell [{n}] {problem}")
          for n, cell in enumerate(code, 1) for wrong, problem in _cell_checks(cell, n, path.parent.parent)),
        (setup is None or setup.source != SETUP or setup.metadata.get("tags") != ["setup"],
         'the first code cell must be the agreed setup cell, tagged "setup"'),
        (ignored > 0 and ignored >= 0.15 * len(code),
         f"{ignored} of {len(code)} code cells ignore their output: keep it under 15 %"),
    ]  # fmt: skip
    return [problem for wrong, problem in checks if wrong]


def _dead_links(path: Path, texts: list[str]) -> Iterator[str]:
    """Relative links to files that do not exist; a notebook that is not built yet counts by its source."""
    for link in re.findall(r"\]\(([^)\s#]+)[^)]*\)", "\n".join(texts)):
        place = path.parent / link
        built_later = place.suffix == ".ipynb" and pair(place).is_file()
        if not re.match(r"[a-z]+:", link) and not place.exists() and not built_later:
            yield link


def _cell_checks(cell: "NotebookNode", number: int, root: Path) -> list[tuple[bool, str]]:
    """Whether each thing is wrong with the number-th code cell of a notebook in the clone `root`, and its sentence."""
    tags, code, outputs = cell.metadata.get("tags", []), cell.source, cell.outputs
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    data = [item for output in outputs for item in output.get("data", {}).items()]
    pictures = [content for kind, content in data if kind.startswith("image/")]
    texts = [content for kind, content in data if not kind.startswith("image/")]
    try:
        asserted = [node.test for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Assert)]
    except SyntaxError:  # a magic, or a cell that shows an error
        asserted = []
    excused = {"setup", "raises-exception"} & set(tags) or CHANGE in code
    # a PNG's header holds its width
    wide = max((int.from_bytes(base64.b64decode(p[:32])[16:20]) for kind, p in data if kind == "image/png"), default=0)
    long = max(map(len, code.splitlines()), default=0)
    other_marks = {"nbval-skip", "nbval-check-output"} & set(tags) or re.search(r"#\s*(NBVAL|PYTEST)_", code)
    raised = any(output.output_type == "error" for output in outputs)
    machine = [str(place) for place in (root.resolve(), sys.prefix) if any(str(place) in t for t in (printed, *texts))]
    return [
        (cell.execution_count != number, "did not run, or not in its turn"),
        (any(output.get("name") == "stderr" for output in outputs), "writes to stderr"),
        ("raises-exception" not in tags and raised, "raises an error"),
        (bool(pictures) and not printed.strip(), "shows a picture and prints nothing: end it with show(figure)"),
        (wide > WIDEST_FIGURE, f"shows a figure {wide} pixels wide: more than {WIDEST_FIGURE}"),
        (IGNORE in tags and not asserted, "ignores its output and asserts nothing"),
        (IGNORE not in tags and not asserted and bool(printed.strip()) and not excused,
         "prints or draws, and asserts nothing of what it shows"),
        (any(map(_cannot_fail, asserted)), "holds an assert that cannot fail"),
        (long > WIDEST, f"has a line of {long} columns: more than {WIDEST}"),
        (bool(other_marks), f"is marked for nbval by other means than the tags {IGNORE} and raises-exception"),
        (bool(machine), "prints a path of this machine"),
    ]  # fmt: skip


def _cannot_fail(test: ast.expr) -> bool:
    """Does it hold whatever the cell computed: constants alone, a filled tuple, something compared with itself?"""
    if isinstance(test, ast.Tuple) or not any(isinstance(node, ast.Name) for node in ast.walk(test)):
        return True
    return isinstance(test, ast.Compare) and ast.dump(test.left) in map(ast.dump, test.comparators)

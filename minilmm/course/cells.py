"""The code cells of a notebook: the one that all begin with, and what is wrong with one, seen as a file."""

from __future__ import annotations

import ast
import base64
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def cell_problems(cell: dict[str, Any], number: int, root: Path) -> Iterator[str]:
    """What is wrong with the number-th code cell of a notebook in the clone `root`, each in a sentence."""
    tags, code, outputs = tags_of(cell), text_of(cell), cell["outputs"]
    if cell["execution_count"] != number:
        yield "did not run, or not in its turn"
    said = "".join(joined(output["text"]) for output in outputs if output["output_type"] == "stream")
    if any(output.get("name") == "stderr" for output in outputs):
        yield "writes to stderr"
    if "raises-exception" not in tags and any(output["output_type"] == "error" for output in outputs):
        yield "raises an error"
    if any(kind.startswith("image/") for output in outputs for kind in output.get("data", ())) and not said.strip():
        yield "shows a picture and prints nothing: end it with show(figure)"
    asserted = _asserted(code)
    if (width := max(_widths(outputs), default=0)) > WIDEST_FIGURE:
        yield f"shows a figure {width} pixels wide: more than {WIDEST_FIGURE}"
    if IGNORE in tags and not asserted:
        yield "ignores its output and asserts nothing"
    elif not asserted and said.strip() and not {"setup", "raises-exception"} & set(tags) and CHANGE not in code:
        yield "prints or draws, and asserts nothing of what it shows"
    if any(map(_cannot_fail, asserted)):
        yield "holds an assert that cannot fail"
    if wide := [line for line in code.splitlines() if len(line) > WIDEST]:
        yield f"has a line of {len(wide[0])} columns: more than {WIDEST}"
    if "nbval-skip" in tags or "nbval-check-output" in tags or re.search(r"#\s*(NBVAL|PYTEST)_", code):
        yield f"is marked for nbval by other means than the tags {IGNORE} and raises-exception"
    shown = [text for output in outputs for kind, text in output.get("data", {}).items() if "image/" not in kind]
    if any(str(place) in said + "".join(map(joined, shown)) for place in (root.resolve(), sys.prefix)):
        yield "prints a path of this machine"


def _asserted(code: str) -> list[ast.expr]:
    """What a cell asserts."""
    try:
        return [node.test for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Assert)]
    except SyntaxError:  # a magic, or a cell that shows an error
        return []


def _cannot_fail(test: ast.expr) -> bool:
    """Does it hold whatever the cell computed: constants alone, a filled tuple, something compared with itself?"""
    if isinstance(test, ast.Tuple) or not any(isinstance(node, ast.Name) for node in ast.walk(test)):
        return True
    return isinstance(test, ast.Compare) and ast.dump(test.left) in map(ast.dump, test.comparators)


def _widths(outputs: list[dict[str, Any]]) -> list[int]:
    """Of the PNG pictures, in pixels: the header holds them."""
    pictures = [data for output in outputs if (data := output.get("data", {}).get("image/png"))]
    return [int.from_bytes(base64.b64decode(joined(data)[:32])[16:20]) for data in pictures]


def joined(text: str | list[str]) -> str:
    """Text as notebooks store it: in one piece or in lines."""
    return text if isinstance(text, str) else "".join(text)


def text_of(cell: dict[str, Any]) -> str:
    """A cell's source."""
    return joined(cell["source"])


def tags_of(cell: dict[str, Any]) -> list[str]:
    """A cell's tags."""
    return cell["metadata"].get("tags", [])

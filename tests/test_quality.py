"""The tree as a whole: what nothing may contain."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_no_pickle_and_no_secrets():
    for path in [*(ROOT / "minilmm").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]:
        text = path.read_text()
        assert not re.search(r"torch\.load\((?!.*weights_only=True)|^import pickle|^from pickle", text, re.MULTILINE), (
            path
        )
        assert not re.search(r"\b(TODO|FIXME|XXX)\b", text), path


def test_every_public_thing_has_a_docstring():
    bare = []
    for path in (ROOT / "minilmm").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if (
                isinstance(node, ast.FunctionDef | ast.ClassDef)
                and not node.name.startswith("_")
                and not ast.get_docstring(node)
            ):
                bare.append(f"{path.name}:{node.name}")
    assert not bare

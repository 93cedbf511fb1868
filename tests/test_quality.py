"""The tree as a whole: what nothing may contain, and which floor may see which."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
FLOORS = [
    {"document", "tokenizer", "nn", "metrics", "plots", "files", "assets", "hub"},
    {"language", "vision", "world", "data"},
    {"frozen", "flamingo", "blip2"},
    {"ablations"},
    {"evaluation"},
    {"training", "convert"},
    {"opening"},
    {"course", "claims"},
]


def test_nothing_imports_upwards():
    level = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
    checked = 0
    for path in (ROOT / "minilmm").rglob("*.py"):
        room = path.relative_to(ROOT / "minilmm").with_suffix("").parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("minilmm."):
                other = node.module.split(".")[1]
                assert room == "__init__" or level[other] <= level[room], f"{path.name}: {room} imports {other}"
                checked += 1
    assert checked > 50


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


def test_the_readme_names_files_that_exist():
    readme = (ROOT / "README.md").read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", readme):
        if "://" not in link:
            assert (ROOT / link).exists(), link

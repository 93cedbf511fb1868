"""The files as a graph: who imports whom, at the top or inside a function, in minilmm and in cli."""

import ast
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"minilmm": "minilmm", "cli": "minilmm_cli"}  # the folder cli is installed as minilmm_cli


def module_of(path):
    """A file's import name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = (PACKAGES[parts[0]], *parts[1:])
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path):
    """Every name that an import statement of the file may mean: `from a import b` means a.b or a."""
    module = module_of(path).split(".")
    package = module if path.stem == "__init__" else module[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ([alias.name] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            yield from ([f"{base}.{alias.name}", base] for alias in node.names)


@pytest.fixture(scope="module")
def graph():
    """An arrow from every file to those that it imports."""
    files = {module_of(path): path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py")}
    found = networkx.DiGraph()
    found.add_nodes_from(files)
    for module, path in files.items():
        for names in imports_of(path):
            target = next((name for name in names if name in files), None)
            if target not in (None, module):
                found.add_edge(module, target)
    return found


def test_the_graph_sees_imports_of_every_form(graph):
    assert graph.has_edge("minilmm.training.blip2", "minilmm.blip2")
    assert graph.has_edge("minilmm_cli.main", "minilmm_cli.common")
    assert graph.number_of_edges() > 400


def test_the_library_does_not_know_the_command_line(graph):
    assert not [(a, b) for a, b in graph.edges if a.startswith("minilmm.") and b.startswith("minilmm_cli")]


FLOORS = (  # from the ground; a file imports from its own room and from rooms on floors below
    {"interface", "plots"}, {"nn"}, {"language", "vision", "world"}, {"frozen", "flamingo", "blip2"}, {"ablations"},
    {"checkpoints"}, {"data"}, {"evaluation"}, {"training"}, {"claims", "course"},
)  # fmt: skip


def test_nothing_imports_upwards_or_from_the_room_next_door(graph):
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    rooms = [(a, b) for a, b in graph.edges if a.startswith("minilmm.") and b.startswith("minilmm.")]
    assert {name.split(".")[1] for edge in rooms for name in edge} <= set(floor), "a room that has no floor"
    up = [
        (a, b) for a, b in rooms if (own := a.split(".")[1]) != b.split(".")[1] and floor[own] <= floor[b.split(".")[1]]
    ]
    assert not up, up


def test_no_paper_imports_a_paper(graph):
    papers = {f"minilmm.{name}" for name in ("frozen", "flamingo", "blip2")}
    assert not [edge for edge in graph.edges if set(edge) <= papers]


def test_no_circle_between_files(graph):
    circles = [sorted(part) for part in networkx.strongly_connected_components(graph) if len(part) > 1]
    assert not circles, circles


def test_the_tests_mirror_the_package():
    rooms = {path.name for path in (ROOT / "minilmm").iterdir() if (path / "__init__.py").is_file()}
    assert {
        path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))
    } == rooms | {"cli"}
    for paper in ("frozen", "flamingo", "blip2"):
        assert (ROOT / "tests" / f"test_{paper}.py").is_file()

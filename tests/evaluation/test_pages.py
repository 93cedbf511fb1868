"""What the pages say of the tasks is what the table of tasks and the ideal observers say."""

import re
from pathlib import Path

import pytest

from minilmm.evaluation.scoring import METRICS
from minilmm.evaluation.tasks import TASKS

DOCS = Path(__file__).parents[2] / "docs"
PROTOCOL, WORLD = ((DOCS / name).read_text() for name in ("protocol.md", "world.md"))


def rows(text):
    """The cells of every row of tables."""
    return [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in re.findall(r"^ *\|.*\|$", text, re.M)]


def test_the_table_of_tasks_names_every_task_and_its_benchmark():
    told = [(re.findall(r"`([\w-]+)`", row[0]), row) for row in rows(WORLD.partition("\n## Tasks\n")[2])]
    told = {name[0]: (row[1], row[3]) for name, row in told if name}
    assert {name: benchmark for name, (benchmark, _) in told.items()} == {t.name: t.benchmark for t in TASKS.values()}
    how = {"rank": "ranking", "generate": "generating", "caption": "CIDEr"}
    assert all(told[task.name][1].startswith(how[task.scorings[0]]) for task in TASKS.values())
    assert set(TASKS) <= set(re.findall(r"`([\w-]+)`", PROTOCOL))


def test_metrics_are_defined_and_candidates_are_ranked_where_their_order_is_measured():
    assert set(METRICS) - {"accuracy"} <= set(re.findall(r"`(\w+)`", PROTOCOL))
    for task in TASKS.values():
        assert not {"top5", "mrr", "auc", "map"} & set(task.metrics) or task.scorings == ("rank",), task.name


TABLES = re.findall(r"^  \| (?:examples|shots per class) \|.*\n(?:  \|.*\n)+", PROTOCOL, re.M)
IDEALS = [(row[0].strip("`"), int(shots), float(value)) for heads, _, *lines in map(rows, TABLES)
          for row in lines for shots, value in zip(heads[1:], row[1:], strict=True)]  # fmt: skip


@pytest.mark.parametrize("name", dict.fromkeys(name for name, *_ in IDEALS))
def test_the_ideal_observer_reaches_what_the_page_says(name):
    told = [(shots, value) for task, shots, value in IDEALS if task == name]
    assert len(told) >= 5
    for shots, value in told:
        assert TASKS[name].ideal(shots) == pytest.approx(value, abs=0.0051)

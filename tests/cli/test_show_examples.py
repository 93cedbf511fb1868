"""`minilmm show tasks` and `show text`: what they print is what is drawn, and the page of texts is not stale."""

import platform
from pathlib import Path

import pytest
import torch
from minilmm_cli import examples
from minilmm_cli.main import main

from minilmm import plots
from minilmm.evaluation.tasks import TASKS
from minilmm.world.corpus import LATER
from minilmm.world.grammar import join, known
from minilmm.world.vocabulary import ids

PAGE = Path(__file__).parents[2] / "docs" / "text.md"


def test_an_episode_of_every_task(tmp_path, monkeypatch, capsys):
    drawn, grid = {}, plots.picture_grid

    def picture_grid(images, captions, heads):
        drawn.update(images=images, captions=captions, heads=heads)
        return grid(images[:2], captions[:2], heads=heads[:2])

    monkeypatch.setattr(plots, "picture_grid", picture_grid)
    assert main(["show", "tasks", "--out", str(tmp_path), "--seed", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (tmp_path / "tasks.png").is_file() and max(map(len, lines[:-1])) <= 80
    told = [task for task in TASKS.values() if task.described]
    heads = [f"{task.name}  stands for {task.benchmark}" if task.benchmark else task.name for task in told]
    assert [line for line in lines[:-1] if not line.startswith("  ")] == heads
    for start in ("  <bos> ", "  -> "):
        assert sum(line.startswith(start) for line in lines) == len(told)
    pictured = [task.name for task in TASKS.values() if task.name != "easy-vqa"]
    assert [head for head in drawn["heads"] if head] == pictured and len(drawn["images"]) == 3 * len(pictured)
    where = lines.index(heads[0])  # of naming: the query has the name of the example that shows the same
    one, two, query, answer = (line.strip().removeprefix("<bos> ") for line in lines[where + 1 : where + 5])
    assert answer.startswith("-> ") and f"{query} {answer[3:]}" in (one, two)
    printed, glyphs = " ".join(" ".join(lines).split()), 3 * pictured.index("glyph-naming")
    same = [caption.split("->")[0].strip() in printed for caption in drawn["captions"]]
    strange = [c for c, shown in zip(drawn["captions"], same, strict=True) if not shown]
    assert strange and set(strange) <= set(drawn["captions"][glyphs : glyphs + 3])  # these have no descriptions


def test_words_that_the_loss_counts_are_bold():
    row = join(torch.empty(1, 0, dtype=torch.long), "<bos> striped - red", known("circle . <EOC>"), ids("small -"))[0]
    assert examples.in_bold(row) == r"\<bos> striped-red **circle . \<EOC>** small"


def test_every_kind_of_text_is_described():
    assert list(examples.KINDS) == list(LATER)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="other processors draw other numbers")
def test_the_page_of_texts_is_what_the_corpus_says(tmp_path, capsys):
    assert main(["show", "text", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "text.md").read_text() == PAGE.read_text(), "write it again: minilmm show text --out docs"

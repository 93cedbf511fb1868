"""`minilmm show failures` and `show answers`: what is shown as wrong is wrong, and boxes are where things are."""

import re

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from minilmm_cli import answers
from minilmm_cli.main import main
from tiny import tiny_frozen

from minilmm.checkpoints.opening import open_run
from minilmm.evaluation.fewshot import Evaluation, Request, evaluate
from minilmm.evaluation.tasks import TASKS, Settings
from minilmm.interface.tokenizer import EOC
from minilmm.world.examples import SENTENCES
from minilmm.world.render import blank
from minilmm.world.vocabulary import tokenizer


def table(out):
    """The rows of the printed table: task, kind, and its four numbers."""
    return [re.fullmatch(r" (\S+) +(\w*) +(\d+) +(\d+) +(\d+) +(\d+) *", line) for line in out.splitlines()[2:-1]]


@pytest.fixture
def drawn(monkeypatch):
    """Every gallery that is drawn: what it shows, and the figure."""
    found, gallery = [], answers.gallery

    def kept(shown, *others):
        found.append((shown, gallery(shown, *others)))
        return found[-1][1]

    monkeypatch.setattr(answers, "gallery", kept)
    return found


@pytest.fixture
def knowing(monkeypatch):
    """A model that says what is right of a picture, and "no" of a blank one."""

    def said(evaluation, block, condition, count, texts_only):
        evaluation.report(count)
        rows = [tokenizer().decode([i for i in row if i >= 0]) for row in block[0].answers[:count].tolist()]
        return [(True, row, row) if condition == "real" else (row == "no", f"no . {EOC}", row) for row in rows]

    monkeypatch.setattr(answers, "load", lambda run: (tiny_frozen(), {}))
    monkeypatch.setattr(Evaluation, "answer", said)


def test_a_random_model_is_shown(tmp_path, monkeypatch, capsys, drawn):
    monkeypatch.setattr(answers, "load", lambda run: (tiny_frozen(), {}))
    monkeypatch.setattr(answers, "ASKED", 9)
    assert main(["show", "failures", "frozen-nano", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines()[:-1])) <= 80 and (tmp_path / "failures.png").is_file()
    rows = [row.groups() for row in table(out)]
    assert rows[-1][:2] == ("all", "") and int(rows[-1][2]) + int(rows[-1][4]) == 2 * 9
    for i in range(2, 6):
        assert sum(int(row[i]) for row in rows[:-1]) == int(rows[-1][i])
    (shown, figure), *_ = drawn
    assert len(shown) == min(12, int(rows[-1][2])) == sum(bool(ax.images) for ax in figure.axes)
    assert main(["show", "answers", "frozen-nano", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.glob("answers-*")} == {f"answers-{name}.png" for name in answers.ANSWERS}
    assert all(len(shown) == 6 and len(figure.axes) == 6 for shown, figure in drawn[1:])


def test_a_model_that_knows_is_right_and_never_fails(tmp_path, capsys, drawn, knowing):
    assert main(["show", "failures", "frozen-nano", "--out", str(tmp_path)]) == 0
    assert "no wrong answer among 200: nothing to draw" in capsys.readouterr().out and not list(tmp_path.iterdir())
    assert main(["show", "answers", "frozen-nano", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("6 of 6 right") == len(answers.ANSWERS) == len(drawn)
    boxes, figure = drawn[answers.ANSWERS.index("boxes")]
    for ax, (answer, head, _, last) in zip(figure.axes, boxes, strict=True):
        assert head.endswith("right") and last.startswith("IoU 1.0, picture ") and answer.wanted == answer.said
        assert last.split()[3::2] == answer.shows.split()[1:3]
        sides = [patch.get_bbox().bounds for patch in ax.patches]
        assert len(sides) == (2 if answer.kind == "box" else 0) and sides[:1] == sides[1:]
    assert {answer.kind for answer, *_ in boxes} == {"box", "size"}


def test_a_box_is_drawn_where_its_thing_is(knowing):
    ax = Figure().subplots()
    answers.draw_box(ax, "top 2 left 1 bottom 5 right 3", 100, "green", "-")  # 80 pixels in ten steps
    assert ax.patches[0].get_bbox().bounds == pytest.approx((7.5, 15.5, 24, 32))
    for text in ("left 5 top 2 right 4 bottom 5", "left 1 top 2", "4 6", "red", ""):
        answers.draw_box(ax, text, 100, "green", "-")
    assert len(ax.patches) == 1
    found = answers.asked(tiny_frozen(), TASKS["boxes"], 0, 60, 0)
    alone = [a for a in found if a.kind == "box" and " and " not in a.shows]
    for answer in alone:
        inner = answer.picture[:, :38, :38]  # of 48 pixels four fifths
        ground = inner.flatten(1).median(1).values[:, None, None]
        rows, columns = ((inner - ground).abs().amax(0) > 0.3).nonzero(as_tuple=True)
        ax = Figure().subplots()
        answers.draw_box(ax, answer.wanted, 48, "green", "-")
        (left, top), (right, bottom) = ax.patches[0].get_bbox().get_points()
        assert left - 2 < columns.min() and columns.max() < right + 2, answer.wanted  # corners of a star may stick out
        assert top - 2 < rows.min() and rows.max() < bottom + 2, answer.wanted
    assert len(alone) > 10


@pytest.mark.slow
@pytest.mark.parametrize("line, told", [
    ("failures lm-nano", "reads text only"), ("answers t5-nano", "reads text only"),
    ("failures blip2-nano/stage1", "stage 2 of a BLIP-2"), ("answers vision-nano", "answers no questions"),
])  # fmt: skip
def test_what_cannot_be_asked_is_one_line(line, told, tmp_path, capsys):
    assert main(["show", *line.split(), "--out", str(tmp_path / "x")]) == 1
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1 and not (tmp_path / "x").exists()


@pytest.mark.slow
def test_what_flamingo_is_shown_to_get_wrong_is_wrong(tmp_path, capsys, drawn):
    assert main(["show", "failures", "flamingo-nano", "--out", str(tmp_path)]) == 0
    rows = [row.groups() for row in table(capsys.readouterr().out)]
    (shown, figure), opened = drawn[0], open_run("flamingo-nano")
    for task, settings in (("hallucination", Settings()), ("vqa", Settings(convention="given"))):
        row = evaluate(opened.model, task, Request((0,), settings, 100, ("real",)))["rows"][0]
        assert sum(int(wrong) for name, _, wrong, *_ in rows if name == task) == round(100 * (1 - row["value"]))

    def says(prompt, picture):
        ids = opened.model.generate(opened.reader.batch(prompt, [picture]), 8, opened.reader.stop)
        return opened.reader.decode(ids[0]).removesuffix(" .")

    same = 0
    for ax, (answer, head, _, last) in zip(figure.axes, shown, strict=True):
        assert answer.said != answer.wanted and not answer.right
        firsts = [""] if head.startswith("POPE") else [f"{sentence} " for sentence in SENTENCES]
        prompts = [f"{first}<image> question : {answer.question[:-1]} ? answer :" for first in firsts]
        told = [(says(p, answer.picture), says(p, blank(answer.picture))) for p in prompts]  # by no evaluation's code
        assert (answer.said, answer.blind) in told and last == f"blind: {answer.blind}"
        if head.startswith("POPE"):
            there = f" {' '.join(answer.question[:-1].split()[-2:])} " in f" {answer.shows} "
            assert answer.wanted == ("yes" if there else "no")
        orange = [p for p in ax.patches if isinstance(p, Rectangle) and p.get_edgecolor()[0] > 0.7]
        assert len(orange) == (answer.said == answer.blind)
        same += len(orange)
    assert same == min(12, int(rows[-1][3])) and len(shown) == min(12, int(rows[-1][2]))
    assert len({head for _, head, *_ in shown}) > 3  # kinds take turns

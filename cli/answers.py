"""What `minilmm show` has of a bridge's answers: its failures, beside what it says blind, and GPT-4V's examples."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

from minilmm import plots
from minilmm.checkpoints.opening import load
from minilmm.evaluation.fewshot import Evaluation, Request
from minilmm.evaluation.scoring import METRICS, box_overlap, edges
from minilmm.evaluation.tasks import TASKS, Settings, Task
from minilmm.interface.tokenizer import EOC
from minilmm.plots.style import GREY, PALETTE
from minilmm.world.painted import INNER
from minilmm.world.printed import GRID
from minilmm.world.vocabulary import tokenizer

from .common import of_the_mini_world, writable_folder
from .console import new_table, out_console, save_figure, say, share
from .examples import words_of

ASKED, MOST = 100, 12  # episodes of each task that may fail, and failures that are shown
FAILURES = {"hallucination": "POPE", "vqa": "vqa"}  # what is asked, and how the figure calls it
ANSWERS, SHOWN, SHOTS = ("panels", "boxes", "tables", "counting", "knowledge"), 6, 4
WRONG, RIGHT, PREDICTED = PALETTE[1], PALETTE[2], PALETTE[4]  # dark orange, green, orange


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model says to an episode's query, as text: of its picture (3, R, R), and of a blank one."""

    kind: str  # of question, "" where there is one
    picture: Tensor
    shows: str  # the picture in words
    question: str
    wanted: str
    said: str
    blind: str
    right: bool


Shown = tuple[Answer, str, str, str]  # an answer, a few words above, their colour, a last line below


def bridge(run: str, what: str) -> Any:
    """The model of a run. ValueError where it does not see, does not speak, or has other words."""
    model, _ = load(of_the_mini_world(run))
    if not hasattr(model, "generate") or not model.sees:
        lacks = "reads text only" if hasattr(model, "generate") else "answers no questions"
        raise ValueError(f"{run}: {lacks}: show {what} needs a bridge, such as flamingo-nano, or stage 2 of a BLIP-2")
    return model


def plain(text: str) -> str:
    """An answer as people read it; with dots where it does not end."""
    return text.removesuffix(f" . {EOC}") if EOC in text else f"{text} ..."


@torch.no_grad()
def asked(model: Any, task: Task, shots: int, episodes: int, seed: int) -> list[Answer]:
    """Answers to the first episodes that `eval` asks with this seed; at 0 shots with the convention given."""
    settings = Settings(shots=shots, convention="inferred" if shots else "given")
    request, size = Request((shots,), settings, episodes, seed=seed), model.config.vision.resolution
    evaluation = Evaluation(model, task, request, "generate", tokenizer(), size, "cpu", None, lambda count: None)
    block = drawn, media, _ = next(evaluation.blocks(shots, settings))  # media (BLOCK, shots + 1, 1, 3, R, R)
    assert media is not None
    real, blind = (evaluation.answer(block, condition, episodes, False) for condition in ("real", "blank_images"))
    found = []
    for i, hit in enumerate(METRICS[task.metrics[0]](real, [drawn[:episodes]])):
        question = words_of(drawn.texts[i, -1]).removeprefix("question : ").removesuffix(" ? answer :") + "?"
        kind, shows = drawn.kinds[int(drawn.group[i])] if drawn.kinds else "", words_of(drawn.descriptions[i, -1])
        wanted, said, unseen = map(plain, (real[i][2], real[i][1], blind[i][1]))
        found.append(Answer(kind, media[i, -1, 0], shows, question, wanted, said, unseen, hit == 1))
    return found


@plots.style()
def gallery(shown: list[Shown], title: str, columns: int, side: float) -> Figure:
    """Pictures with what is asked, what is right and what the model says; boxes are drawn into them."""
    captions = [f"{a.question}\ntruth: {a.wanted}\nsays: {a.said}\n{last}" for a, _, _, last in shown]
    captions = [re.sub(r"(left|top|right|bottom) (?=\d)", "\\1\N{NO-BREAK SPACE}", text) for text in captions]
    pictures = torch.stack([a.picture for a, *_ in shown])  # (N, 3, R, R)
    heads = [head for _, head, *_ in shown]
    figure = plots.picture_grid(pictures, captions, columns=columns, heads=heads, side=side)
    for ax, (a, _, colour, _) in zip(figure.axes, shown, strict=False):
        ax.texts[0].set_color(colour)
        ax.set_anchor("S")  # what space is left is above, so that no caption is cut
        if a.kind == "box":
            draw_box(ax, a.wanted, len(a.picture[0]), RIGHT, "-")
            draw_box(ax, a.said, len(a.picture[0]), PREDICTED, (0, (3, 2)))
    figure.set_figheight(figure.get_figheight() + 0.25 * title.count("\n"))
    figure.suptitle(title, fontsize=11)
    return figure


def draw_box(ax: Axes, text: str, resolution: int, colour: str, dashes: Any) -> None:
    """The box that a text tells, if it tells one, in cells of the picture without its margin."""
    told, cell = edges(text), INNER * resolution / GRID
    if len(told) == 4 and told[0] <= told[2] and told[1] <= told[3]:
        left, top, right, bottom = (cell * (edge + end) - 0.5 for edge, end in zip(told, (0, 0, 1, 1), strict=True))
        border = Rectangle((left, top), right - left, bottom - top, fill=False, ec=colour, lw=2, ls=dashes)
        border.set(path_effects=[withStroke(linewidth=4, foreground="white")], clip_on=False)
        ax.add_patch(border)


def failures(run: str, out: Path, seed: int) -> None:
    """failures.png: wrong answers, first those that are also given blind; and how many these are, of right ones too."""
    model = bridge(run, "failures")
    writable_folder(out)
    every = [(name, a) for name in FAILURES for a in asked(model, TASKS[name], 0, ASKED, seed)]
    title = f"{run}: does it say the same of a blank picture?"
    view = new_table("task", "question", "wrong", "blind the same", "right", "blind the same", left=2, title=title)
    for row in [*sorted({(name, a.kind) for name, a in every}), ("all", "")]:
        own = [a for name, a in every if row in ((name, a.kind), ("all", ""))]
        wrong, right = ([a.said == a.blind for a in own if a.right == hit] for hit in (False, True))
        view.add_row(*row, *(str(n) for some in (wrong, right) for n in (len(some), sum(some))))
    out_console().print(view)
    turns: Counter[tuple[str, str, bool]] = Counter()  # so that every kind of question is shown
    found = []
    for name, a in every:
        if not a.right:
            saw = a.said != a.blind
            turns[name, a.kind, saw] += 1
            found.append((saw, turns[name, a.kind, saw], f"{FAILURES[name]} {a.kind}", a))
    if not found:
        return say(f"no wrong answer among {len(every)}: nothing to draw")
    picked = sorted(found, key=lambda each: each[:2])[:MOST]
    shown = [(a, head, GREY if saw else WRONG, f"blind: {a.blind}") for saw, _, head, a in picked]
    title = f"What {Path(run).name} gets wrong; in an orange frame, it says the same of a blank picture"
    figure = gallery(shown, title, 6, 1.6)
    for ax, (_, _, colour, _) in zip(figure.axes, shown, strict=False):
        ax.add_patch(Rectangle((0, 0), 1, 1, transform=ax.transAxes, fill=False, ec=colour, lw=4, clip_on=False))
    save_figure(figure, out / "failures.png", f"{len(picked)} of {len(found)} wrong answers")


def answers(run: str, out: Path, seed: int) -> None:
    """answers-TASK.png: what the model says in the first episodes of GPT-4V's examples."""
    model = bridge(run, "answers")
    writable_folder(out)
    for name in ANSWERS:
        title, shown = f"{Path(run).name} on {name} after {SHOTS} examples", []
        boxed = "iou" in TASKS[name].metrics
        for a in asked(model, TASKS[name], SHOTS, SHOWN, seed):
            head, colour = ("\N{CHECK MARK} right", RIGHT) if a.right else ("\N{BALLOT X} wrong", WRONG)
            size = " x ".join(a.shows.split()[1:3])  # of "size 7 6 red circle at ..."
            last = f"IoU {share(box_overlap(a.said, a.wanted), 2)}, picture {size}" if boxed else ""
            shown.append((a, head, colour, last))
        title += "\nboxes: green is right, dashed orange is said" if boxed else ""
        told = f"{sum(a.right for a, *_ in shown)} of {len(shown)} right"
        save_figure(gallery(shown, title, 3, 2.0), out / f"answers-{name}.png", told)

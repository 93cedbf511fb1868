"""`minilmm show`: the mini-world's pictures, words, text and tasks; how runs learned, look and answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Seed
from .names import chosen, known_run

SUBJECTS = ("world", "words", "text", "tasks", "training", "mask", "attention", "gates", "failures", "answers")


def show(
    what: Annotated[str, typer.Argument(metavar="|".join(SUBJECTS))],
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN...]", help="Runs to chart or look into.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder to write into; runs/WHAT unless given.")] = None,
    seed: Seed = 0,
) -> None:
    """The mini-world, its words, text and tasks; the training of runs; inside a Flamingo its mask, looks and gates.

    What a bridge answers, and where it fails.
    """
    chosen(what, SUBJECTS, "show")
    runs, out = runs or [], out or Path("runs") / what
    qformer = what == "mask" and runs == ["blip2"]
    if what == "mask" and runs and not qformer:
        raise ValueError(f"show mask: give blip2, or no name for Flamingo's mask, not {runs[0]}")
    if what in ("world", "words", "text", "tasks") and runs:
        raise ValueError(f"show {what} takes no runs: leave {runs[0]} out")
    if what in ("attention", "gates") and len(runs) != 1:
        raise ValueError(f"show {what}: name one Flamingo, such as flamingo-nano, or for attention a BLIP-2")
    if what in ("failures", "answers") and len(runs) != 1:
        raise ValueError(f"show {what}: name one bridge, such as flamingo-nano")
    if what == "training" and not runs:
        raise ValueError("show training: name the runs to chart")
    for run in runs if not qformer else ():
        known_run(run)
    from . import answers, examples, look  # which import torch

    match what:
        case "world":
            look.world(out, seed)
        case "words":
            look.words()
        case "text":
            examples.text(out)
        case "tasks":
            examples.tasks(out, seed)
        case "training":
            look.training(runs, out)
        case "mask":
            (look.qformer_masks if qformer else look.mask)(out)
        case "failures":
            answers.failures(runs[0], out, seed)
        case "answers":
            answers.answers(runs[0], out, seed)
        case _:
            (look.attention if what == "attention" else look.gates)(runs[0], out, seed)

"""`minilmm show`: what the mini-world looks like, which words it has, how runs learned; `look` has the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import look
from .common import Seed, chosen, out_console, save_figure, say, writable_folder
from .names import known_run

if TYPE_CHECKING:
    from torch import Tensor

SUBJECTS = ("world", "words", "training", "mask", "attention", "gates")


def show(
    what: Annotated[str, typer.Argument(metavar="|".join(SUBJECTS))],
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN...]", help="Runs to chart or look into.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder for pictures; runs/WHAT unless given.")] = None,
    seed: Seed = 0,
) -> None:
    """The mini-world and its words, the training of runs, and inside a Flamingo: its mask, looks and gates."""
    chosen(what, SUBJECTS, "show")
    runs, out = runs or [], out or Path("runs") / what
    if what == "mask" and runs == ["blip2"]:
        return look.qformer_masks(out)
    if what == "mask" and runs:
        raise ValueError(f"show mask takes blip2 or nothing, which is Flamingo's: leave {runs[0]} out")
    if what in ("world", "words") and runs:
        raise ValueError(f"show {what} takes no runs: leave {runs[0]} out")
    if what in ("attention", "gates") and len(runs) != 1:
        raise ValueError(f"show {what}: name one Flamingo, such as flamingo-nano, or for attention a BLIP-2")
    if what == "training" and not runs:
        raise ValueError("show training: name the runs to chart")
    for run in runs:
        known_run(run)
    if what == "world":
        world(out, seed)
    elif what == "words":
        words()
    elif what == "training":
        training(runs, out)
    elif what == "mask":
        look.mask(out)
    else:
        getattr(look, what)(runs[0], out, seed)


def told_apart(runs: list[str]) -> dict[str, str]:
    """Runs by the shortest ends of their paths that differ: a/run and b/run, but frozen of runs/frozen."""
    parts = {run: Path(run).parts for run in dict.fromkeys(runs)}
    for length in range(1, max(map(len, parts.values())) + 1):
        names = {"/".join(path[-length:]): run for run, path in parts.items()}
        if len(names) == len(parts):
            break
    return names


def training(runs: list[str], out: Path) -> None:
    """training.png: the loss of every run, and what its probes found on the way."""
    from minilmm import plots
    from minilmm.checkpoints.saving import LOG, find, read_log

    logs = {}
    for name, run in told_apart(runs).items():
        path = (Path(run) if (Path(run) / LOG).is_file() else find(run)) / LOG
        if not path.is_file():
            raise ValueError(f"{path}: no log: chart a run that was trained here")
        logs[name] = [{key.replace("_", " "): value for key, value in row.items()} for row in read_log(path)]
    first, *others = logs.values()
    panels = [key for key in first[0] if all(key in log[0] for log in others) and "blank" not in key]
    figure = plots.training_curves({key: logs for key in panels if key not in ("step", "seconds", "gradient norm")})
    save_figure(figure, out / "training.png")


def world(out: Path, seed: int) -> None:
    """The contact sheets."""
    from minilmm import plots

    writable_folder(out)
    for name, pictures, captions, shows in sheets(seed):
        save_figure(plots.picture_grid(pictures, captions), out / f"{name}.png", shows)


def sheets(seed: int) -> Iterator[tuple[str, Tensor, list[str], str]]:
    """The contact sheets: name, pictures, captions, and what they show."""
    import torch

    from minilmm.interface.tokenizer import EOC
    from minilmm.world.grammar import ABSENT, caption
    from minilmm.world.questions import KINDS, question, sample_question_scenes
    from minilmm.world.render import blank, degrade, render, render_glyphs, render_words
    from minilmm.world.scenes import sample_scenes, shuffled
    from minilmm.world.videos import render_video
    from minilmm.world.vocabulary import GLYPHS_TRAIN, LETTERS, VERBS, tokenizer

    generator, vocabulary = torch.Generator().manual_seed(seed), tokenizer()

    def texts(phrases: Tensor) -> list[str]:
        """Phrases as text. The grammar has no "an": for people it is written here."""
        decoded = (vocabulary.decode([i for i in row if i != ABSENT]) for row in phrases.tolist())
        return [text.removesuffix(f" {EOC}").replace("a orange", "an orange") for text in decoded]

    scenes = sample_scenes(16, generator, objects=torch.arange(16) // 4 + 1)
    yield ("scenes", render(scenes, generator), texts(caption(scenes, generator)),
           "training scenes of one to four objects, with captions in several registers")  # fmt: skip
    unseen = sample_scenes(8, generator, split="held-out")
    yield ("held-out", render(unseen, generator), texts(caption(unseen, generator)),
           "pairs of colour and shape that no run is trained on")  # fmt: skip
    kind = torch.arange(2 * len(KINDS)) % len(KINDS)
    asked = sample_question_scenes(kind, generator, "train")
    both = [f"{q} {a}" for q, a in zip(*map(texts, question(asked, kind, generator)), strict=True)]
    yield ("questions", render(shuffled(asked, generator), generator), both,
           f"questions of {len(KINDS)} kinds, with answers")  # fmt: skip
    classes = torch.randint(len(GLYPHS_TRAIN), (4,), generator=generator).repeat_interleave(4)
    yield ("glyphs", render_glyphs(classes, generator), [f"class {c}" for c in classes.tolist()],
           "four classes of glyphs, four hands each")  # fmt: skip
    written = ["stop", "exit", "tea", "dax", "norway", "a"]
    letters = torch.tensor([[LETTERS.index(c) for c in word] + [-1] * (6 - len(word)) for word in written])
    yield "drawn-words", render_words(letters, generator), written, "words to be read"
    few = render(scenes[:6], generator)
    yield ("controls", torch.cat([few, degrade(few, generator), blank(few)]),
           ["as it is"] * 6 + ["bad photograph"] * 6 + ["blank"] * 6,
           "the same pictures as bad photographs, and blank")  # fmt: skip
    films = render_video(sample_scenes(len(VERBS), generator), torch.arange(len(VERBS)), 6, generator)  # (V, T, ...)
    titles = [f"{verb} ->" if t == 0 else "" for verb in VERBS for t in range(6)]
    yield "videos", films.flatten(0, 1), titles, "a film strip per verb"


def words() -> None:
    """The vocabulary by group; names kept for tests are marked."""
    from minilmm.interface.tokenizer import SPECIALS
    from minilmm.world import vocabulary as v

    groups = {"special": [*SPECIALS], "colours": v.COLOURS, "shapes": v.SHAPES, "plurals": v.PLURALS,
              "textures": v.TEXTURES, "sizes": v.SIZES, "numbers": v.NUMBERS, "verbs": v.VERBS, "places": v.PLACES,
              "materials": v.MATERIALS}  # fmt: skip
    marks = [*v.LETTERS, *v.DIGITS]
    known = {*marks, *v.TRAIN_NAMES, *v.TEST_NAMES}.union(*groups.values())
    groups |= {"grammar": [word for word in v.tokenizer().words if word not in known], "letters and digits": marks,
               "names to train with": v.TRAIN_NAMES, "names kept for tests *": [f"{n}*" for n in v.TEST_NAMES]
               }  # fmt: skip
    console = out_console()
    for title, group in groups.items():
        console.print(f"[bold]{title}[/] ({len(group)})")
        width = 2 + max(map(len, group))
        line = max(1, (console.width - 2) // width)
        for i in range(0, len(group), line):
            say("  " + "".join(word.ljust(width) for word in group[i : i + line]).rstrip())
    say(f"{len(v.tokenizer())} words and marks; * never bound to anything in training")

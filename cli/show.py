"""`minilmm show`: what the mini-world looks like, which words it has, how runs learned; `look` has the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import look
from .common import Seed, chosen, out_console, writable_folder
from .names import known_run


def show(
    what: Annotated[str, typer.Argument(metavar="world|words|training|mask|attention|gates")],
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN...]", help="Runs to chart or look into.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder for pictures; runs/WHAT unless given.")] = None,
    seed: Seed = 0,
) -> None:
    """The mini-world and its words, the training of runs, and inside a Flamingo: its mask, looks and gates."""
    chosen(what, ("world", "words", "training", "mask", "attention", "gates"), "show")
    if what == "mask" and runs == ["blip2"]:
        return look.qformer_masks(out or Path("runs") / what)
    if runs and what == "mask":
        raise ValueError(f"show mask takes blip2 or nothing, which is Flamingo's: leave {runs[0]} out")
    if runs and what in ("world", "words"):
        raise ValueError(f"show {what} takes no runs: leave {runs[0]} out")
    if what in ("attention", "gates") and len(runs or []) != 1:
        raise ValueError(f"show {what}: name one Flamingo, such as flamingo-nano, or for attention a BLIP-2")
    if what == "training" and not runs:
        raise ValueError("show training: name the runs to chart")
    for run in runs or []:
        known_run(run)
    out = out or Path("runs") / what
    if what == "words":
        return words()
    if what == "training":
        return training(runs or [], out)
    if what == "mask":
        return look.mask(out)
    if runs:
        return look.attention(runs[0], out, seed) if what == "attention" else look.gates(runs[0], out, seed)
    from minilmm import plots

    writable_folder(out)
    console = out_console()
    for name, figure, told in sheets(seed):
        console.print(f"{plots.save(figure, out / f'{name}.png')}: {told}", soft_wrap=True)


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
        logs[name] = read_log(path)
    keys = [key for key in next(iter(logs.values()))[0] if key not in ("step", "seconds", "gradient_norm")]
    shared = [key for key in keys if all(key in log[0] for log in logs.values()) and "blank" not in key]
    panels = {key.replace("_", " "): {n: [{**r, key.replace("_", " "): r[key]} for r in log] for n, log in logs.items()}
              for key in shared}  # fmt: skip
    writable_folder(out)
    out_console().print(str(plots.save(plots.training_curves(panels), out / "training.png")), soft_wrap=True)


def sheets(seed: int) -> list[tuple[str, Any, str]]:
    """The contact sheets: name, figure, and what it shows. The grammar has no "an": for people it is written here."""
    import torch

    from minilmm import plots
    from minilmm.interface.tokenizer import EOC
    from minilmm.world.grammar import ABSENT, caption
    from minilmm.world.questions import KINDS, question, sample_question_scenes
    from minilmm.world.render import blank, degrade, render, render_glyphs, render_words
    from minilmm.world.scenes import sample_scenes, shuffle_objects
    from minilmm.world.videos import render_video
    from minilmm.world.vocabulary import GLYPHS_TRAIN, LETTERS, VERBS, tokenizer

    generator, vocabulary = torch.Generator().manual_seed(seed), tokenizer()

    def said(phrases: Any) -> list[str]:
        texts = (vocabulary.decode([i for i in row if i != ABSENT]) for row in phrases.tolist())
        return [text.removesuffix(f" {EOC}").replace("a orange", "an orange") for text in texts]

    scenes = sample_scenes(16, generator, objects=torch.arange(16) // 4 + 1)
    found = [("scenes", plots.picture_grid(render(scenes, generator), said(caption(scenes, generator)), columns=6),
              "training scenes of one to four objects, with captions in several registers")]  # fmt: skip
    unseen = sample_scenes(8, generator, split="held-out")
    pictures = render(unseen, generator)
    found.append(("held-out", plots.picture_grid(pictures, said(caption(unseen, generator)), columns=6),
                  "pairs of colour and shape that no run is trained on"))  # fmt: skip
    kind = torch.arange(2 * len(KINDS)) % len(KINDS)
    asked = sample_question_scenes(kind, generator, "train")
    questions, answers = question(asked, kind, generator)
    texts = [f"{q} {a}" for q, a in zip(said(questions), said(answers), strict=True)]
    pictures = render(shuffle_objects(asked, generator), generator)
    found.append(("questions", plots.picture_grid(pictures, texts, columns=6),
                  f"questions of {len(KINDS)} kinds, with answers"))  # fmt: skip
    classes = torch.randint(len(GLYPHS_TRAIN), (4,), generator=generator).repeat_interleave(4)
    names = [f"class {c}" for c in classes.tolist()]
    found.append(("glyphs", plots.picture_grid(render_glyphs(classes, generator), names, columns=6),
                  "four classes of glyphs, four hands each"))  # fmt: skip
    written = ["stop", "exit", "tea", "dax", "norway", "a"]
    letters = torch.full((len(written), 6), -1)
    for row, word in zip(letters, written, strict=True):
        row[: len(word)] = torch.tensor([LETTERS.index(c) for c in word])
    found.append(("drawn-words", plots.picture_grid(render_words(letters, generator), written), "words to be read"))
    few = render(scenes[:6], generator)
    found.append(("controls", plots.picture_grid(torch.cat([few, degrade(few, generator), blank(few)]),
                                                 [*["as it is"] * 6, *["bad photograph"] * 6, *["blank"] * 6]),
                  "the same pictures as bad photographs, and blank"))  # fmt: skip
    films = render_video(sample_scenes(len(VERBS), generator), torch.arange(len(VERBS)), 6, generator)  # (V, T, ...)
    titles = [f"{verb} ->" if t == 0 else "" for verb in VERBS for t in range(6)]
    found.append(("videos", plots.picture_grid(films.flatten(0, 1), titles), "a film strip per verb"))
    return found


def words() -> None:
    """The vocabulary by group; names kept for tests are marked."""
    from minilmm.interface.tokenizer import SPECIALS
    from minilmm.world import vocabulary as v

    console = out_console()
    known = [("special", list(SPECIALS)), ("colours", v.COLOURS), ("shapes", v.SHAPES), ("plurals", v.PLURALS),
             ("textures", v.TEXTURES), ("sizes", v.SIZES), ("numbers", v.NUMBERS), ("verbs", v.VERBS),
             ("places", v.PLACES), ("materials", v.MATERIALS)]  # fmt: skip
    names = [("names to train with", v.TRAIN_NAMES), ("names kept for tests *", [f"{n}*" for n in v.TEST_NAMES])]
    told = {w for _, group in known for w in group} | {*v.TRAIN_NAMES, *v.TEST_NAMES}
    marks = [*v.LETTERS, *v.DIGITS]
    rest = [w for w in v.tokenizer().words if w not in told and w not in marks]
    for title, group in [*known, ("grammar", rest), ("letters and digits", marks), *names]:
        console.print(f"[bold]{title}[/] ({len(group)})")
        width = 2 + max(map(len, group))
        line = max(1, (console.width - 2) // width)
        for i in range(0, len(group), line):
            console.print("  " + "".join(w.ljust(width) for w in group[i : i + line]).rstrip(), markup=False)
    console.print(f"{len(v.tokenizer())} words and marks; * never bound to anything in training")

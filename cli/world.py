"""The mini-world on paper, for `minilmm show world|words`: contact sheets, and the vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from minilmm import plots
from minilmm.interface.tokenizer import EOC, SPECIALS
from minilmm.world import vocabulary
from minilmm.world.grammar import ABSENT, caption
from minilmm.world.questions import KINDS, question, sample_question_scenes
from minilmm.world.render import blank, degrade, render, render_glyphs, render_words
from minilmm.world.scenes import sample_scenes, shuffle_objects
from minilmm.world.videos import render_video

from .common import out_console, save_figure, say, writable_folder

WRITTEN = ("stop", "exit", "tea", "dax", "norway", "a")  # the words that are drawn


def world(out: Path, seed: int) -> None:
    """A contact sheet of everything that the mini-world shows."""
    writable_folder(out)
    for name, pictures, captions, shows in contact_sheets(torch.Generator().manual_seed(seed)):
        save_figure(plots.picture_grid(pictures, captions), out / f"{name}.png", shows)


def texts_of(phrases: Tensor) -> list[str]:
    """Phrases (N, L) as text. The grammar has no "an": for people it is written here."""
    texts = (vocabulary.tokenizer().decode([i for i in row if i != ABSENT]) for row in phrases.tolist())
    return [text.removesuffix(f" {EOC}").replace("a orange", "an orange") for text in texts]


def contact_sheets(generator: torch.Generator) -> Iterator[tuple[str, Tensor, list[str], str]]:
    """The contact sheets: name, pictures, captions, and what they show."""
    scenes = sample_scenes(16, generator, objects=torch.arange(16) // 4 + 1)
    shows = "training scenes of one to four objects, with captions in several registers"
    yield "scenes", render(scenes, generator), texts_of(caption(scenes, generator)), shows
    unseen = sample_scenes(8, generator, split="held-out")
    shows = "pairs of colour and shape that no run is trained on"
    yield "held-out", render(unseen, generator), texts_of(caption(unseen, generator)), shows
    kind = torch.arange(2 * len(KINDS)) % len(KINDS)
    asked = sample_question_scenes(kind, generator, "train")
    texts = [f"{q} {a}" for q, a in zip(*map(texts_of, question(asked, kind, generator)), strict=True)]
    shows = f"questions of {len(KINDS)} kinds, with answers"
    yield "questions", render(shuffle_objects(asked, generator), generator), texts, shows
    classes = torch.randint(len(vocabulary.GLYPHS_TRAIN), (4,), generator=generator).repeat_interleave(4)
    names = [f"class {c}" for c in classes.tolist()]
    yield "glyphs", render_glyphs(classes, generator), names, "four classes of glyphs, four hands each"
    letters = torch.tensor([[vocabulary.LETTERS.index(c) for c in w] + [-1] * (6 - len(w)) for w in WRITTEN])
    yield "drawn-words", render_words(letters, generator), list(WRITTEN), "words to be read"
    few = render(scenes[:6], generator)
    pictures = torch.cat([few, degrade(few, generator), blank(few)])
    names = ["as it is"] * 6 + ["bad photograph"] * 6 + ["blank"] * 6
    yield "controls", pictures, names, "the same pictures as bad photographs, and blank"
    verbs = vocabulary.VERBS
    films = render_video(sample_scenes(len(verbs), generator), torch.arange(len(verbs)), 6, generator)  # (V, T, ...)
    names = [f"{verb} ->" if t == 0 else "" for verb in verbs for t in range(6)]
    yield "videos", films.flatten(0, 1), names, "a film strip per verb"


def words() -> None:
    """The vocabulary by group; names kept for tests are marked."""
    v, console = vocabulary, out_console()
    groups = {"special": SPECIALS, "colours": v.COLOURS, "shapes": v.SHAPES, "plurals": v.PLURALS,
              "textures": v.TEXTURES, "sizes": v.SIZES, "numbers": v.NUMBERS, "verbs": v.VERBS, "places": v.PLACES,
              "materials": v.MATERIALS}  # fmt: skip
    marks, every = (*v.LETTERS, *v.DIGITS), v.tokenizer().words
    known = {*marks, *v.TRAIN_NAMES, *v.TEST_NAMES}.union(*groups.values())
    groups |= {"grammar": tuple(word for word in every if word not in known), "letters and digits": marks}
    groups |= {"names to train with": v.TRAIN_NAMES, "names kept for tests *": tuple(f"{n}*" for n in v.TEST_NAMES)}
    for title, group in groups.items():
        console.print(f"[bold]{title}[/] ({len(group)})")
        width = 2 + max(map(len, group))
        line = max(1, (console.width - 2) // width)
        for i in range(0, len(group), line):
            say("  " + "".join(word.ljust(width) for word in group[i : i + line]).rstrip())
    say(f"{len(every)} words and marks; * never bound to anything in training")

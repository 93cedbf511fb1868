"""The text that the language model reads. It shows no picture, and teaches what learning from a prompt needs.

Each kind of document is a function `(rows, length, generator, pairs) -> (rows, length)` of ids, and a line of MIXTURE.
Names of the test half occur in lists and in none of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import partial

import torch
from torch import Tensor

from minilmm.interface.tokenizer import BOS, EOC, EOS
from minilmm.world import asked, printed, stories, styles
from minilmm.world.bindings import bindings, classes, lists
from minilmm.world.examples import SENTENCES, by_convention, documents
from minilmm.world.grammar import (
    KNOWN,
    attributes,
    caption,
    compact,
    describe,
    fill_rows,
    hyphenate,
    join,
    known,
    when,
)
from minilmm.world.meanings import fast, meanings, named_videos
from minilmm.world.questions import KINDS, question, sample_question_scenes
from minilmm.world.random import coins, integers
from minilmm.world.scenes import MAX_OBJECTS, Scenes, sample_scenes, shuffle_objects, turned

Kind = Callable[[int, int, torch.Generator, str], Tensor]


def captions(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """ "large striped red circle top left a striped red circle . <EOC>", several per line, documents packed."""
    count = rows * (length // 14 + 1)
    objects = torch.where(coins((count,), generator, 0.6), 1, 1 + integers(MAX_OBJECTS, (count,), generator))
    scenes = sample_scenes(count, generator, objects=objects, split=pairs)
    described = hyphenate(describe(scenes), rows, generator)
    text = join(described, known(caption(scenes, generator)), when(coins((count,), generator, 0.3), f"{EOS} {BOS}"))
    return fill_rows(text, rows, length)


ASKED = 6  # questions about one scene
SKILLS = ("exists", "exists", "count", "relation", "relation", "compare")  # what takes longest to learn
EASY = ("color", "shape", "texture", "size", "exists", "place")  # kinds that suit scenes of any other


def questioned(
    rows: int, each: int, generator: torch.Generator, pairs: str, skills: bool = False
) -> tuple[Scenes, Tensor, Tensor]:
    """Scenes, `each` for every document; the questions about each, "question : ... ? answer : ... . <EOC>" several
    times, (rows each, K); and the convention that each document follows, (rows,).

    A question about two objects comes behind questions about each of them in half of the cases: what a composition is
    made of. The others are of any kind that suits the scene. skills: all are of one kind that takes long to learn, and
    none is negated.
    """
    count, names = rows * each, list(KINDS)
    kind = integers(len(KINDS), (count,), generator)
    if skills:
        kind = _kinds(SKILLS, kind.device)[integers(len(SKILLS), (count,), generator)]
    scenes = sample_question_scenes(kind, generator, pairs)
    convention = integers(2, (rows,), generator)
    row, followed = torch.arange(count, device=kind.device), convention.repeat_interleave(each)
    repeats = kind == names.index("count")
    both = (kind == names.index("relation")) | (kind == names.index("compare"))

    def ask(scenes: Scenes, kind: Tensor, here: Tensor) -> Tensor:
        asked, answer = question(scenes, kind, generator, negated=0.0 if skills else 0.3)
        answer = by_convention(answer)[row, followed]
        return when(here, "question :", asked, "answer :", known(answer), known(f". {EOC}"))

    first = both & (coins((count,), generator) | skills)
    part = torch.where(kind == names.index("relation"), names.index("place"), names.index("size"))
    back, always = turned(scenes), torch.ones_like(first)
    said = [ask(scenes, part, first), ask(back, part, first), ask(scenes, kind, always)]
    for i in range(ASKED - 3):
        other = _kinds(EASY, kind.device)[integers(len(EASY), (count,), generator)]
        same = repeats | skills | (both & coins((count,), generator))
        about = _where(both & same, back if i % 2 == 0 else scenes, shuffle_objects(scenes, generator))
        said.append(ask(about, torch.where(same, kind, other), always))
    return scenes, compact(join(*said)), convention


def questions(rows: int, length: int, generator: torch.Generator, pairs: str, skills: bool = False) -> Tensor:
    """A described scene, then what is asked about it (`questioned`). Two documents in five say their convention."""
    scenes, said, convention = questioned(rows, length // 60 + 1, generator, pairs, skills)
    described = hyphenate(describe(shuffle_objects(scenes, generator)), rows, generator, share=0.3)
    return fill_rows(join(described, said), rows, length, before=conventions(convention, generator))


def compared(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """A described scene, and several questions about which of two objects is larger, or smaller.

    For half of the scenes the size of each object that is compared is asked first. Which of the two a question begins
    with is drawn each time: answers that alternate can be told without looking.
    """
    count, names = rows * (length // 60 + 1), list(KINDS)
    size, compare = (torch.full((count,), names.index(name), device=generator.device) for name in ("size", "compare"))
    scenes = sample_question_scenes(compare, generator, pairs)
    back, parts, said = turned(scenes), coins((count,), generator), []
    convention = integers(2, (rows,), generator)
    row, followed = torch.arange(count, device=size.device), convention.repeat_interleave(count // rows)
    for i in range(5):
        about = _where(coins((count,), generator), back, scenes)
        for kind, here in ((size, parts & (i < 3)), (compare, torch.ones_like(parts))):
            asked, answer = question(about, kind, generator)
            answer = known(by_convention(answer)[row, followed])
            said.append(when(here, "question :", asked, "answer :", answer, known(f". {EOC}")))
    described = hyphenate(describe(shuffle_objects(scenes, generator)), rows, generator, share=0.3)
    return fill_rows(join(described, *said), rows, length, before=conventions(convention, generator))


def conventions(convention: Tensor, generator: torch.Generator) -> Tensor:
    """The sentence that says a document's convention (B,), in two documents in five: (B, K)."""
    here = coins((len(convention),), generator, 0.4)
    return compact(join(*(when(here & (convention == c), text) for c, text in enumerate(SENTENCES))))


def _kinds(names: tuple[str, ...], device: torch.device) -> Tensor:
    """The places of kinds of questions in KINDS."""
    return torch.tensor([list(KINDS).index(name) for name in names], device=device)


def _where(condition: Tensor, one: Scenes, other: Scenes) -> Scenes:
    """Scenes of the first where the condition (B,) holds, of the second elsewhere: the same objects in other orders."""
    parts = []
    for f in fields(Scenes):
        a, b = getattr(one, f.name), getattr(other, f.name)
        parts.append(torch.where(condition[:, None], a, b))
    return Scenes(*parts)


def facts(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """Where a shape comes from, what a colour is made of, how a texture sounds: said, and asked about scenes."""
    count = rows * (length // 12 + 1)
    scenes = sample_scenes(count, generator, split=pairs)
    _, texture, colour, shape = attributes(scenes, 0)
    place, stuff, sound = asked.facts_of(scenes)
    form = integers(6, (count,), generator)
    described = hyphenate(describe(scenes, full=coins((count,), generator)), rows, generator)
    text = join(
        when(form == 0, "the", shape, "comes from", known(place)),
        when(form == 1, colour, "shapes are made of", known(stuff)),
        when(form == 2, texture, "shapes sound", known(sound)), when(form >= 3, described),
        when(form == 3, "question : where does the shape come from ? answer :", known(place)),
        when(form == 4, "question : what is it made of ? answer :", known(stuff)),
        when(form == 5, "question : what does it sound like ? answer :", known(sound)), known(f". {EOC}"),
    )  # fmt: skip
    return fill_rows(text, rows, length)


MIXTURE: dict[str, tuple[Kind, float]] = {
    "lists": (lists, 0.04),
    "bindings": (bindings, 0.16),
    "classes": (classes, 0.02),
    "captions": (captions, 0.03),
    "questions": (questions, 0.14),
    "skills": (partial(questions, skills=True), 0.14),
    "fast": (fast, 0.04),
    "facts": (facts, 0.02),
    "named videos": (named_videos, 0.02),
    "asked": (documents(asked.questions, 18, 0.3), 0.04),
    "counting": (documents(asked.counting, 24, 0.3), 0.02),
    "induction": (documents(asked.induction, 14, 0.3), 0.015),
    "knowledge": (documents(asked.knowledge, 14, 0.3), 0.01),
    "photographs": (documents(asked.photographs, 14), 0.01),
    "dialogues": (documents(asked.dialogue, 34, 0.3), 0.03),
    "memes": (documents(asked.memes, 10), 0.04),
    "objects": (documents(asked.objects, 20, 0.3), 0.015),
    "styles": (documents(styles.captions, 15, 0.3), 0.02),
    "video questions": (documents(partial(stories.video_questions, asked=3), 45), 0.03),
    "temporal": (documents(stories.temporal, 28), 0.02),
    "actions": (documents(stories.actions, 22), 0.015),
    "video captions": (documents(styles.video_captions, 22), 0.015),
    "steps": (documents(styles.steps, 28), 0.015),
    "signs": (documents(printed.signs, 18), 0.025),
    "tables": (documents(partial(printed.tables, asked=4), 64), 0.025),
    "panels": (documents(printed.panels, 24), 0.015),
    "boxes": (documents(partial(printed.boxes, asked=2), 60), 0.02),
    "instructions": (documents(printed.instructions, 20, 0.3), 0.01),
}

# What a second stage reads: the same documents, those that take longest to learn more often and asked for in parts
LATER = MIXTURE | {
    "lists": (lists, 0.02), "bindings": (bindings, 0.1), "questions": (questions, 0.09),
    "skills": (partial(questions, skills=True), 0.06), "compared": (compared, 0.07),
    "fast": (partial(fast, parts=0.5), 0.09), "memes": (documents(partial(asked.memes, asked=4, parts=0.5), 32), 0.09),
    "signs": (documents(printed.signs, 18), 0.03), "boxes": (documents(partial(printed.boxes, asked=2), 60), 0.03),
    "tables": (documents(partial(printed.tables, asked=4), 64), 0.045),
    "photographs": (documents(asked.photographs, 14), 0.015),
}  # fmt: skip

# And a third: each table, box and video asked about once too, as prompts do, and names asked what they mean
LAST = LATER | {
    "bindings": (bindings, 0.16), "meanings": (meanings, 0.05), "fast": (partial(fast, parts=0.5), 0.1),
    "memes": (documents(partial(asked.memes, asked=3, parts=0.7, aloud=0.5), 32), 0.1),
    "memes once": (documents(asked.memes, 10), 0.03),
    "tables": (documents(partial(printed.tables, asked=4), 64), 0.02),
    "tables once": (documents(printed.tables, 22), 0.05), "boxes once": (documents(printed.boxes, 36), 0.03),
    "video questions once": (documents(stories.video_questions, 22), 0.02),
    "counting": (documents(asked.counting, 24, 0.3), 0.04),
    "photographs": (documents(asked.photographs, 14), 0.03),
}  # fmt: skip
STAGES = (MIXTURE, LATER, LAST)

MIXED = ("classes", "memes", "objects", "temporal")  # combine any colour with any shape


def sample_text(
    rows: int, length: int, generator: torch.Generator, *, strict: bool = False, without: tuple[str, ...] = (),
    mixture: dict[str, tuple[Kind, float]] = MIXTURE,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Rows of the whole mixture: ids (rows, length), 0 pads, and which of them can be known from what stands before,
    (rows, length) bool.

    `strict` leaves held-out colour-shape pairs out, and the kinds that would name them; `without` leaves kinds of
    documents out (the others grow). mixture: one of STAGES.
    Shares that are no whole numbers of rows are rounded at random, so that short batches keep the mixture.
    """
    without = (*without, *MIXED) if strict else without
    kinds, shares = zip(*(entry for name, entry in mixture.items() if name not in without), strict=True)
    weights = torch.tensor(shares, device=generator.device)
    exact = (weights / weights.sum()).cumsum(0) * rows
    shift = torch.rand((), generator=generator, device=generator.device)
    ends = [*(exact + shift).floor().clamp(max=rows).long().tolist()[:-1], rows]
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    pairs = "train" if strict else "all"
    marked = torch.cat([kind(n, length, generator, pairs) for kind, n in zip(kinds, sizes, strict=True) if n])
    return marked % KNOWN, marked >= KNOWN

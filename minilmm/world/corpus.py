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
from minilmm.world.bindings import WAYS, bindings, classes, lists, named
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
    word,
)
from minilmm.world.questions import KINDS, name_question, question, sample_question_scenes
from minilmm.world.random import choices, coins, integers
from minilmm.world.scenes import MAX_OBJECTS, Scenes, sample_scenes, shuffle_objects, with_concepts
from minilmm.world.vocabulary import COLOURS, SHAPES, TRAIN_NAMES, held_out

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


def questions(rows: int, length: int, generator: torch.Generator, pairs: str, skills: bool = False) -> Tensor:
    """A described scene, then several times "question : ... ? answer : ... . <EOC>".

    A question about two objects comes behind questions about each of them in half of the documents: what a composition
    is made of. The others are of any kind that suits the scene. skills: all are of one kind that takes long to learn,
    and none is negated. Two documents in five say their convention.
    """
    count, names = rows * (length // 60 + 1), list(KINDS)
    kind = integers(len(KINDS), (count,), generator)
    if skills:
        kind = _kinds(SKILLS, kind.device)[integers(len(SKILLS), (count,), generator)]
    scenes = sample_question_scenes(kind, generator, pairs)
    convention = integers(2, (rows,), generator)
    row, followed = torch.arange(count, device=kind.device), convention.repeat_interleave(count // rows)
    repeats = kind == names.index("count")
    both = (kind == names.index("relation")) | (kind == names.index("compare"))

    def ask(scenes: Scenes, kind: Tensor, here: Tensor) -> Tensor:
        asked, answer = question(scenes, kind, generator, negated=0.0 if skills else 0.3)
        answer = by_convention(answer)[row, followed]
        return when(here, "question :", asked, "answer :", known(answer), known(f". {EOC}"))

    first = both & (coins((count,), generator) | skills)
    part = torch.where(kind == names.index("relation"), names.index("place"), names.index("size"))
    turned, always = _turned(scenes), torch.ones_like(first)
    said = [ask(scenes, part, first), ask(turned, part, first), ask(scenes, kind, always)]
    for i in range(ASKED - 3):
        other = _kinds(EASY, kind.device)[integers(len(EASY), (count,), generator)]
        same = repeats | skills | (both & coins((count,), generator))
        about = _where(both & same, turned if i % 2 == 0 else scenes, shuffle_objects(scenes, generator))
        said.append(ask(about, torch.where(same, kind, other), always))
    described = hyphenate(describe(shuffle_objects(scenes, generator)), rows, generator, share=0.3)
    sentence = [when(coins((rows,), generator, 0.4) & (convention == c), text) for c, text in enumerate(SENTENCES)]
    return fill_rows(join(described, *said), rows, length, before=compact(join(*sentence)))


def _kinds(names: tuple[str, ...], device: torch.device) -> Tensor:
    """The places of kinds of questions in KINDS."""
    return torch.tensor([list(KINDS).index(name) for name in names], device=device)


def _turned(scenes: Scenes) -> Scenes:
    """The same scenes with their first two objects listed the other way round, where there are two."""
    order = torch.arange(MAX_OBJECTS, device=scenes.shape.device).expand(len(scenes), -1).clone()
    two = scenes.count > 1
    order[two, 0], order[two, 1] = 1, 0
    return scenes.listed(order)


def _where(condition: Tensor, one: Scenes, other: Scenes) -> Scenes:
    """Scenes of the first where the condition (B,) holds, of the second elsewhere: the same objects in other orders."""
    parts = []
    for f in fields(Scenes):
        a, b = getattr(one, f.name), getattr(other, f.name)
        parts.append(torch.where(condition[:, None], a, b))
    return Scenes(*parts)


def fast(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """Two shapes get names from examples; then questions about scenes of two objects use the names."""
    W, bound = 2, 4
    n = max(1, (length - 34) // 36)
    shapes = choices(len(SHAPES), W, (rows,), generator)  # (B, 2)
    names = word(TRAIN_NAMES, choices(len(TRAIN_NAMES), W, (rows,), generator))
    turn = choices(bound, bound, (rows,), generator) % W  # balanced, in random order
    single = sample_scenes(rows * bound, generator, split=pairs)
    shown = shapes.gather(1, turn).view(-1, 1)
    single = with_concepts(single, _shown(single.colour[:, :1], shown, pairs), shown)
    full = coins((rows,), generator).repeat_interleave(bound)
    described = hyphenate(describe(single, full=full), rows, generator)
    first = join(described, names.gather(1, turn).view(-1, 1), ".", EOC)
    scenes = sample_scenes(rows * n, generator, objects=W, split=pairs, distinct=True)
    order = choices(W, W, (rows * n,), generator)  # the first object is the one asked about first
    shown = shapes.repeat_interleave(n, 0).gather(1, order)
    scenes = with_concepts(scenes, _shown(scenes.colour[:, :W], shown, pairs), shown)
    called = names.repeat_interleave(n, 0).gather(1, order)
    said = [hyphenate(describe(shuffle_objects(scenes, generator)), rows, generator)]
    for i, about in enumerate((scenes, _turned(scenes))):
        prompt, answer = name_question(about, called[:, i : i + 1], integers(3, (rows * n,), generator))
        said += [prompt, known(answer), known(f". {EOC}")]
    return fill_rows(join(*said), rows, length, before=first.view(rows, -1))


def _shown(colour: Tensor, shape: Tensor, pairs: str) -> Tensor:
    """The colours, or where a pair is held out and not among `pairs` the next ones, which are not."""
    return colour if pairs == "all" else (colour + held_out(colour, shape).long()) % len(COLOURS)


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


def named_videos(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """Videos of two events with a name for each pair of verbs: "red circle grows then blue star spins zup . <EOC>"."""
    n = length // 10 + 1
    pair, ways = choices(stories.PAIRS, WAYS, (rows,), generator), 2 + integers(WAYS - 1, (rows,), generator)
    label = (torch.rand(rows, n, generator=generator, device=pair.device) * ways[:, None]).long()
    told = stories.sample_acts(pair.gather(1, label).flatten(), generator, pairs)
    short = coins((rows,), generator).repeat_interleave(n)
    described = join(when(short, told.told(only_shapes=True)), when(~short, told.told()))
    return named(described, label, ways, length, generator, compounds=0.0)


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

MIXED = ("classes", "memes", "objects", "temporal")  # combine any colour with any shape


def sample_text(
    rows: int, length: int, generator: torch.Generator, *, strict: bool = False, without: tuple[str, ...] = ()
) -> tuple[Tensor, Tensor]:
    """Rows of the whole mixture: ids (rows, length), 0 pads, and which of them can be known from what stands before,
    (rows, length) bool.

    `strict` leaves held-out colour-shape pairs out, and the kinds that would name them; `without` leaves kinds of
    documents out (the others grow).
    Shares that are no whole numbers of rows are rounded at random, so that short batches keep the mixture.
    """
    without = (*without, *MIXED) if strict else without
    kinds, shares = zip(*(entry for name, entry in MIXTURE.items() if name not in without), strict=True)
    weights = torch.tensor(shares, device=generator.device)
    exact = (weights / weights.sum()).cumsum(0) * rows
    shift = torch.rand((), generator=generator, device=generator.device)
    ends = [*(exact + shift).floor().clamp(max=rows).long().tolist()[:-1], rows]
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    pairs = "train" if strict else "all"
    marked = torch.cat([kind(n, length, generator, pairs) for kind, n in zip(kinds, sizes, strict=True) if n])
    return marked % KNOWN, marked >= KNOWN

"""The text that the language model reads. It shows no picture, and teaches what learning from a prompt needs.

Each kind of document is a function `(rows, length, generator, pairs) -> (rows, length)` of ids, and a line of MIXTURE.
Names of the test half occur in lists and in none of the others.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from minilmm.interface.tokenizer import BOS, EOC, EOS
from minilmm.world.bindings import bindings, lists
from minilmm.world.grammar import attributes, caption, describe, fill_rows, hyphenate, join, when, word
from minilmm.world.questions import ATTRIBUTES, KINDS, ask_and_answer, name_question, sample_question_scenes, what_is_it
from minilmm.world.random import choices, coins, integers
from minilmm.world.scenes import MAX_OBJECTS, sample_scenes, shuffle_objects, with_concepts
from minilmm.world.vocabulary import MATERIALS, PLACES, SHAPES, TRAIN_NAMES


def captions(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """ "large striped red circle top left a striped red circle . <EOC>", several per line, documents packed."""
    count = rows * (length // 14 + 1)
    objects = torch.where(coins((count,), generator, 0.6), 1, 1 + integers(MAX_OBJECTS, (count,), generator))
    scenes = sample_scenes(count, generator, objects=objects, split=pairs)
    described = hyphenate(describe(scenes), rows, generator)
    text = join(described, caption(scenes, generator), when(coins((count,), generator, 0.3), f"{EOS} {BOS}"))
    return fill_rows(text, rows, length)


def questions(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """A described scene, then "question : ... ? answer : ... . <EOC>"; some scenes are asked about twice."""
    count = rows * (length // 18 + 1)
    kind = integers(len(KINDS), (count,), generator)
    scenes = sample_question_scenes(kind, generator, pairs)
    first, second = (ask_and_answer(scenes, kind, generator) for _ in range(2))
    second = when(coins((count,), generator, 0.2), second)
    described = hyphenate(describe(shuffle_objects(scenes, generator)), rows, generator)
    return fill_rows(join(described, first, second), rows, length)


def induction(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """ "question : what is it ? answer : striped . <EOC>": the document decides which attribute is meant."""
    n = length // 15 + 1
    scenes = sample_scenes(rows * n, generator, split=pairs)
    attribute = integers(len(ATTRIBUTES), (rows,), generator).repeat_interleave(n)
    described = hyphenate(describe(scenes), rows, generator)
    text = join(described, "question : what is it ? answer :", what_is_it(scenes, attribute), ".", EOC)
    return fill_rows(text, rows, length)


def fast(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """Two shapes get names from examples; then questions about scenes of two objects use the names."""
    W, bound = 2, 4
    n = max(1, (length - 34) // 24)
    shapes = choices(len(SHAPES), W, (rows,), generator)  # (B, 2)
    names = word(TRAIN_NAMES, choices(len(TRAIN_NAMES), W, (rows,), generator))
    turn = choices(bound, bound, (rows,), generator) % W  # balanced, in random order
    single = sample_scenes(rows * bound, generator, split=pairs)
    single = with_concepts(single, single.colour[:, :1], shapes.gather(1, turn).view(-1, 1))
    full = coins((rows,), generator).repeat_interleave(bound)
    described = hyphenate(describe(single, full=full), rows, generator)
    first = join(described, names.gather(1, turn).view(-1, 1), ".", EOC)
    scenes = sample_scenes(rows * n, generator, objects=W, split=pairs, distinct=True)
    order = choices(W, W, (rows * n,), generator)  # the first object is the one asked about
    scenes = with_concepts(scenes, scenes.colour[:, :W], shapes.repeat_interleave(n, 0).gather(1, order))
    called = names.repeat_interleave(n, 0).gather(1, order[:, :1])
    described = hyphenate(describe(shuffle_objects(scenes, generator)), rows, generator)
    text = join(described, name_question(scenes, called, integers(3, (rows * n,), generator)))
    return fill_rows(text, rows, length, before=first.view(rows, -1))


def facts(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """Where each shape comes from, what each colour is made of: said plainly, and asked about described scenes."""
    count = rows * (length // 12 + 1)
    scenes = sample_scenes(count, generator, split=pairs)
    _, _, colour, shape = attributes(scenes, 0)
    place = word(PLACES, scenes.shape[:, :1] % len(PLACES))
    stuff = word(MATERIALS, scenes.colour[:, :1] % len(MATERIALS))
    form = integers(4, (count,), generator)
    described = hyphenate(describe(scenes, full=coins((count,), generator)), rows, generator)
    text = join(
        when(form == 0, "the", shape, "comes from", place, ".", EOC),
        when(form == 1, colour, "shapes are made of", stuff, ".", EOC),
        when(form >= 2, described),
        when(form == 2, "question : where does the shape come from ? answer :", place, ".", EOC),
        when(form == 3, "question : what is it made of ? answer :", stuff, ".", EOC),
    )
    return fill_rows(text, rows, length)


MIXTURE: dict[str, tuple[Callable[[int, int, torch.Generator, str], Tensor], float]] = {
    "lists": (lists, 0.08),
    "bindings": (bindings, 0.50),
    "captions": (captions, 0.12),
    "questions": (questions, 0.16),
    "induction": (induction, 0.04),
    "fast": (fast, 0.07),
    "facts": (facts, 0.03),
}


def sample_text(
    rows: int, length: int, generator: torch.Generator, *, strict: bool = False, without: tuple[str, ...] = ()
) -> Tensor:
    """Rows of the whole mixture, (rows, length) ids; 0 pads.

    `strict` leaves held-out colour-shape pairs out; `without` leaves kinds of documents out (the others grow).
    Shares that are no whole numbers of rows are rounded at random, so that short batches keep the mixture.
    """
    kinds, shares = zip(*(entry for name, entry in MIXTURE.items() if name not in without), strict=True)
    weights = torch.tensor(shares, device=generator.device)
    exact = (weights / weights.sum()).cumsum(0) * rows
    shift = torch.rand((), generator=generator, device=generator.device)
    ends = [*(exact + shift).floor().clamp(max=rows).long().tolist()[:-1], rows]
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    pairs = "train" if strict else "all"
    return torch.cat([kind(n, length, generator, pairs) for kind, n in zip(kinds, sizes, strict=True) if n])

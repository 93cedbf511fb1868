"""Questions about scenes, of eight kinds, with their answers, and scenes that suit them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from minilmm.world.grammar import (
    compact,
    join,
    keep,
    noun,
    optional,
    relates_horizontally,
    relation_words,
    say,
    word,
)
from minilmm.world.scenes import MAX_OBJECTS, Scenes, draw, integers, place, sample_scenes
from minilmm.world.vocabulary import COLOURS, NUMBERS, PLURALS, SHAPES, SIZES, TEXTURES, ids

KINDS = ["color", "shape", "texture", "size", "count", "exists", "relation", "compare"]


def _referent(scenes: Scenes, o: int, generator: torch.Generator) -> Tensor:
    """Names the o-th object where colours and shapes differ: "circle", "red shape" or "red circle", (B, 2)."""
    full = noun(scenes, o, texture=False)
    how = integers(3, (len(scenes),), generator)
    alone = (scenes.count == 1) & optional(generator, len(scenes))
    colour, shape = keep(full[:, 2:3], (how != 0) & ~alone), keep(full[:, 3:], (how != 1) & ~alone)
    return compact(join(colour, shape, say("shape", (how == 1) | alone)), 2)


def question(scenes: Scenes, kind: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A question of the kind given for every scene, and its answer: (B, K) and (B, 1).

    The first object is the one asked about, so shuffle the scenes' objects before describing them. kind (B,) indexes
    KINDS. For all kinds but "count" the scenes' colours and shapes must differ (`distinct=True`);
    "relation" and "compare" need two objects. Answers to yes-no questions are balanced.
    """
    batch = len(scenes)
    coin, turn = optional(generator, batch), optional(generator, batch)
    target = _referent(scenes, 0, generator)
    other = noun(scenes, 1, texture=False)[:, 2:]  # (B, 2) colour shape
    yes, no = ids("yes").to(kind.device), ids("no").to(kind.device)

    def k(name: str) -> Tensor:
        return kind == KINDS.index(name)

    first = noun(scenes, 0, texture=False)
    colour_word, shape_word = first[:, 2:3], first[:, 3:]
    by_colour = keep(join("the", colour_word, "shape"), k("shape") & ((scenes.count > 1) | coin))
    parts = [
        keep(join("what color is the", _not_colour(scenes, generator)), k("color") & turn),
        keep(join("what is the color of the", _not_colour(scenes, generator)), k("color") & ~turn),
        keep(join("what is", by_colour), k("shape") & ((scenes.count > 1) | coin)),
        say("what shape is in the image", k("shape") & (scenes.count == 1) & ~coin & turn),
        say("what shape does the image contain", k("shape") & (scenes.count == 1) & ~coin & ~turn),
        keep(join("what texture is the", target), k("texture")),
        keep(join("what size is the", target), k("size")),
    ]
    answer = torch.where(k("color"), colour_word[:, 0], shape_word[:, 0])
    answer = torch.where(k("texture"), word(TEXTURES, scenes.texture[:, 0]), answer)
    answer = torch.where(k("size"), word(SIZES, scenes.size[:, 0]), answer)

    # count: all shapes, or those of the first object's colour or shape
    what = integers(3, (batch,), generator)
    same = torch.where(
        (what == 1)[:, None], scenes.colour == scenes.colour[:, :1],
        torch.where((what == 2)[:, None], scenes.shape == scenes.shape[:, :1], True),
    )  # fmt: skip
    plural = word(PLURALS, scenes.shape[:, :1])
    number = (same & scenes.present).sum(1)
    counted = compact(join(keep(colour_word, what == 1), keep(plural, what == 2), say("shapes", what != 2)), 2)
    parts.append(keep(join("how many", counted, "are there"), k("count")))
    answer = torch.where(k("count"), word(NUMBERS, number), answer)

    # exists: a present object, or one changed in colour or shape so that no object fits; asked four ways, or negated
    gone_colour, gone_shape = (
        _missing(scenes.colour, len(COLOURS), scenes, generator),
        _missing(scenes.shape, len(SHAPES), scenes, generator),
    )
    how = integers(3, (batch,), generator)
    c = torch.where(coin, scenes.colour[:, 0], gone_colour)
    s = torch.where(coin | (how == 2), scenes.shape[:, 0], gone_shape)
    thing = compact(
        join(
            keep(word(COLOURS, c)[:, None], how != 0), keep(word(SHAPES, s)[:, None], how != 1), say("shape", how == 1)
        ),
        2,
    )
    form, negated = integers(4, (batch,), generator), optional(generator, batch, 0.3)
    e = k("exists")
    parts += [
        keep(join("is there", say("not", negated), "a", thing), e & (form <= 1)),
        say("in the image", e & (form == 1)),
        keep(join(say("is a", ~negated), say("is no", negated), thing, "present"), e & (form == 2)),
        keep(join("does the image", say("not", negated), "contain a", thing), e & (form == 3)),
    ]
    answer = torch.where(e, torch.where(coin ^ negated, yes, no), answer)

    # relation and compare: about the first two objects; the coin decides the answer
    across = relates_horizontally(scenes, turn)
    said, opposite = relation_words(scenes, 0, 1, across), relation_words(scenes, 1, 0, across)
    shown = torch.where(coin[:, None], said, opposite)
    parts.append(keep(join("is the", target, shown, "the", other), k("relation")))
    larger = scenes.radius[:, 0] > scenes.radius[:, 1]
    word_larger = torch.where(larger == coin, ids("larger").to(kind.device), ids("smaller").to(kind.device))[:, None]
    parts.append(keep(join("is the", target, word_larger, "than the", other), k("compare")))
    answer = torch.where(k("relation") | k("compare"), torch.where(coin, yes, no), answer)
    return compact(join(*parts, "?")), answer[:, None]


def _not_colour(scenes: Scenes, generator: torch.Generator) -> Tensor:
    """The first object without its colour: "circle", "striped circle", or "shape" where it is alone: (B, 2)."""
    alone = (scenes.count == 1) & optional(generator, len(scenes))
    full = noun(scenes, 0, texture=optional(generator, len(scenes), 0.3) & ~alone)
    return compact(join(full[:, 1:2], keep(full[:, 3:], ~alone), say("shape", alone)), 2)


def _missing(values: Tensor, count: int, scenes: Scenes, generator: torch.Generator) -> Tensor:
    """A value that no object of the scene has, (B,)."""
    used = torch.nn.functional.one_hot(values, count).bool() & scenes.present[..., None]  # (B, O, count)
    return draw((~used.any(1)).float(), generator)


def sample_question_scenes(kind: Tensor, generator: torch.Generator, split: str) -> Scenes:
    """Scenes that suit the kinds (B,): two to three objects to relate, one to four to count, one to three otherwise."""
    batch = len(kind)
    counting = kind == KINDS.index("count")
    pairs = (kind == KINDS.index("relation")) | (kind == KINDS.index("compare"))
    weights = torch.tensor([[0.6, 0.3, 0.1, 0.0]], device=kind.device).expand(batch, -1)
    number = draw(weights, generator) + 1
    number = torch.where(
        counting, integers(4, (batch,), generator) + 1, torch.where(pairs, number.clamp(min=2), number)
    )
    scenes = sample_scenes(batch, generator, objects=number, split=split, distinct=True)
    # counting needs repeats: half of the objects take the first one's colour and shape
    again = (torch.rand(batch, MAX_OBJECTS, generator=generator, device=kind.device) < 0.5) & counting[:, None]
    again &= scenes.present
    different = kind == KINDS.index("compare")  # sizes must differ to be compared
    size = scenes.size.clone()
    size[:, 1] = torch.where(different, 1 - size[:, 0], size[:, 1]) * scenes.present[:, 1]
    scenes = replace(
        scenes,
        colour=torch.where(again, scenes.colour[:, :1], scenes.colour),
        shape=torch.where(again, scenes.shape[:, :1], scenes.shape),
        size=size,
    )
    return place(scenes, generator)

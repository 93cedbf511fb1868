"""The mini-world's language: descriptions, captions in several registers, questions with answers, as id tensors.

A *phrase* is a (B, K) tensor of token ids in which ABSENT marks words that a row does not have; phrases are put side
by side with `join` and squeezed with `compact`. So ten thousand sentences cost a handful of tensor operations.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from minilmm.tokenizer import EOC
from minilmm.world.scenes import MAX_OBJECTS, Scenes, draw, integers, place, sample_scenes
from minilmm.world.vocabulary import COLOURS, HYPHEN, NUMBERS, PLURALS, SHAPES, SIZES, TEXTURES, ids

ABSENT = -1
KINDS = ["color", "shape", "texture", "size", "count", "exists", "relation", "compare"]
END = (".", EOC)  # how every answer, name and caption ends


def join(*phrases: Tensor | str) -> Tensor:
    """Phrases side by side; strings and 1-d tensors are said in every row: -> (B, sum of K)."""
    tensors = [ids(p) if isinstance(p, str) else p for p in phrases]
    full = next(t for t in tensors if t.dim() == 2)
    return torch.cat([t.to(full.device).expand(len(full), -1) if t.dim() == 1 else t for t in tensors], 1)


def compact(phrase: Tensor, length: int | None = None, fill: int = ABSENT) -> Tensor:
    """Squeeze the absent words out, to the left; pad or crop to `length` with `fill`: (B, K) -> (B, length)."""
    order = (phrase == ABSENT).to(torch.uint8).argsort(dim=1, stable=True)
    out = phrase.gather(1, order)
    length = int((phrase != ABSENT).sum(1).max()) if length is None else length
    out = torch.nn.functional.pad(out[:, :length], (0, max(0, length - out.shape[1])), value=ABSENT)
    return out.masked_fill(out == ABSENT, fill)


def keep(phrase: Tensor, condition: Tensor) -> Tensor:
    """The phrase where the condition (B,) holds, nothing elsewhere."""
    return phrase.masked_fill(~condition[:, None], ABSENT)


def say(text: str, condition: Tensor) -> Tensor:
    """A fixed text in the rows where the condition (B,) holds: (B, K)."""
    return keep(ids(text).to(condition.device).expand(len(condition), -1), condition)


def word(words: list[str], index: Tensor) -> Tensor:
    """One word per row, chosen by index: (...) -> (...) ids."""
    return ids(*words).to(index.device)[index]


def optional(generator: torch.Generator, batch: int, probability: float = 0.5) -> Tensor:
    """A coin per row, (B,) bool."""
    return torch.rand(batch, generator=generator, device=generator.device) < probability


def place_words(scenes: Scenes, o: int) -> Tensor:
    """Where the o-th object stands, as two words: (B, 2), "top left"."""
    vertical = torch.where(scenes.y[:, o] < 0.5, ids("top").to(scenes.y.device), ids("bottom").to(scenes.y.device))
    horizontal = torch.where(scenes.x[:, o] < 0.5, ids("left").to(scenes.y.device), ids("right").to(scenes.y.device))
    return torch.stack([vertical, horizontal], 1)


def noun(scenes: Scenes, o: int, size: Tensor | bool = False, texture: Tensor | bool = True) -> Tensor:
    """ "[size] [texture] colour shape" of the o-th object, (B, 4)."""
    batch, device = len(scenes), scenes.present.device
    keep_size, keep_texture = (torch.as_tensor(flag, device=device).expand(batch) for flag in (size, texture))
    words = torch.stack(
        [
            word(SIZES, scenes.size[:, o]).masked_fill(~keep_size, ABSENT),
            word(TEXTURES, scenes.texture[:, o]).masked_fill(~keep_texture, ABSENT),
            word(COLOURS, scenes.colour[:, o]),
            word(SHAPES, scenes.shape[:, o]),
        ],
        1,
    )
    return keep(words, scenes.present[:, o])


def describe(scenes: Scenes, *, full: Tensor | bool = True) -> Tensor:
    """The words that stand in text where a picture would be: (B, K), no full stop.

    full: with sizes and places ("large striped red circle top left and ..."); otherwise "striped red circle and ...".
    """
    full = torch.as_tensor(full, device=scenes.present.device).expand(len(scenes))
    parts: list[Tensor | str] = []
    for o in range(max(int(scenes.count.max()), 1)):
        here = scenes.present[:, o]
        if o:
            parts.append(say("and", here))
        parts += [noun(scenes, o, size=full), keep(place_words(scenes, o), here & full)]
    return compact(join(*parts))


def hyphenate(phrase: Tensor, chance: Tensor, generator: torch.Generator) -> Tensor:
    """Join neighbouring words into compounds, "striped-red small-circle": (B, K) -> (B, 2 K - 1).

    Each gap gets a hyphen with the row's `chance` (B,), but not beside "and", which keeps objects apart.
    """
    phrase = compact(phrase)
    apart = (phrase == ABSENT) | (phrase == int(ids("and")))
    gap = torch.rand(phrase.shape, generator=generator, device=phrase.device)[:, 1:] < chance[:, None]
    gap &= ~(apart[:, 1:] | apart[:, :-1])
    marks = torch.where(gap, int(ids(HYPHEN)), ABSENT)
    return torch.stack([phrase, torch.nn.functional.pad(marks, (0, 1), value=ABSENT)], -1).flatten(1)[:, :-1]


REGISTERS = 5


def caption(scenes: Scenes, generator: torch.Generator, *, placed: bool = True) -> Tensor:
    """A caption per scene in one of several registers, ending in ". <EOC>": (B, K).

    One object: "a striped red circle ." · "this is a red circle . it is striped ." · "the image shows a large striped
    red circle ." · "there is a striped red circle at the top left ." · "the circle is red and striped and large ."
    Without `placed`, the fourth of these says what the first does.
    Several: "a plain red circle and a striped blue star ." · "there are two shapes : a ... and a ... ." · "there is a
    plain red circle at the top left and ... ." · "a red circle is left of a blue star ."
    """
    batch = len(scenes)
    register, alone = integers(REGISTERS, (batch,), generator), scenes.count == 1
    register = torch.where(alone & (register == 3) & (not placed), 0, register)
    first, plain = noun(scenes, 0), noun(scenes, 0, texture=False)
    texture, colour = first[:, 1:2], first[:, 2:3]

    def r(n: int) -> Tensor:
        return alone & (register == n)

    one = [
        keep(join("a", first, "."), r(0)),
        keep(join("this is a", plain, ". it is", texture, "."), r(1)),
        keep(join("the image shows a", noun(scenes, 0, size=True), "."), r(2)),
        keep(join("there is a", first, "at the", place_words(scenes, 0), "."), r(3)),
        keep(
            join("the", first[:, 3:], "is", colour, "and", texture, "and", word(SIZES, scenes.size[:, :1]), "."), r(4)
        ),
    ]
    many: list[Tensor] = []
    if bool((~alone).any()):
        related = ~alone & (register == 4) & (scenes.count == 2)
        counted, located = ~alone & (register == 1), ~alone & (register >= 2) & ~related
        listed = ~alone & ~related
        many.append(keep(join("there are", word(NUMBERS, scenes.count)[:, None], "shapes :"), counted))
        many.append(say("there is", located))
        for o in range(int(scenes.count.max())):
            here = scenes.present[:, o] & listed
            many += [say("and", here)] if o else []
            many += [
                keep(join("a", noun(scenes, o)), here),
                keep(join("at the", place_words(scenes, o)), here & located),
            ]
        across = _across(scenes, optional(generator, batch))
        many.append(
            keep(
                join("a", plain, "is", relation_words(scenes, 0, 1, across), "a", noun(scenes, 1, texture=False)),
                related,
            )
        )
        many.append(say(".", ~alone))
    return compact(join(*one, *many, EOC))


def relation_words(scenes: Scenes, a: int, b: int, horizontal: Tensor) -> Tensor:
    """How object a stands to object b: "left of", "right of", "above" or "below", (B, 2)."""
    left, above = scenes.x[:, a] < scenes.x[:, b], scenes.y[:, a] < scenes.y[:, b]
    return compact(
        join(
            say("left of", horizontal & left),
            say("right of", horizontal & ~left),
            say("above", ~horizontal & above),
            say("below", ~horizontal & ~above),
        ),
        2,
    )


def _across(scenes: Scenes, coin: Tensor) -> Tensor:
    """Whether to relate the first two objects horizontally: along an axis on which their quadrants differ, (B,)."""
    columns = (scenes.x[:, 0] < 0.5) != (scenes.x[:, 1] < 0.5)
    rows = (scenes.y[:, 0] < 0.5) != (scenes.y[:, 1] < 0.5)
    return columns & (coin | ~rows)


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
    across = _across(scenes, turn)
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

"""Questions about scenes with their answers, and scenes that suit them.

A kind of question is one function and one line of KINDS. A new kind goes last: all kinds draw for all scenes, in the
order of the table, so that the questions of the kinds before it stay as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from minilmm.world.grammar import attributes, compact, join, noun, place_words, relation_words, when, word
from minilmm.world.random import categorical, coins, integers
from minilmm.world.scenes import MAX_OBJECTS, Scenes, place, sample_scenes
from minilmm.world.vocabulary import ALL_SHAPES, COLOURS, NUMBERS, PLURALS, SHAPES, SIZES, TEXTURES

YES_NO = ["yes", "no"]


@dataclass(frozen=True)
class Subject:
    """What B questions are about: the first object of each scene."""

    scenes: Scenes
    name: Tensor  # (B, 3) words that tell it from other objects: "circle", "red shape" or "red circle"
    coin: Tensor  # (B,) bool: is the answer yes, in questions of yes and no?
    turn: Tensor  # (B,) bool: which of two forms to use
    negated: float  # the share of questions after existence and size that are negated
    size: Tensor  # (B, 1) a word for the object, as the next three
    texture: Tensor
    colour: Tensor
    shape: Tensor


Question = tuple[Tensor, Tensor]  # words (B, K) up to the question mark, answers (B, 1 or 2)


def ask_color(of: Subject, generator: torch.Generator) -> Question:
    """What color is the striped circle? What is the color of the circle? Of a lone object: of the shape?"""
    batch, phrases = (len(of.scenes),), []
    for form, here in (("what color is the", of.turn), ("what is the color of the", ~of.turn)):
        alone = (of.scenes.count == 1) & coins(batch, generator)
        textured = coins(batch, generator, 0.3) & ~alone
        phrases.append(when(here, form, when(textured, of.texture), when(~alone, of.shape), when(alone, "shape")))
    return join(*phrases), of.colour


def ask_shape(of: Subject, generator: torch.Generator) -> Question:
    """What is the red shape? Where there is one object, also: what shape is in the image?"""
    plain = (of.scenes.count == 1) & ~of.coin
    phrase = join(
        when(~plain, "what is the", of.colour, "shape"),
        when(plain & of.turn, "what shape is in the image"),
        when(plain & ~of.turn, "what shape does the image contain"),
    )
    return phrase, of.shape


def ask_texture(of: Subject, generator: torch.Generator) -> Question:
    """What texture is the circle?"""
    return join("what texture is the", of.name), of.texture


def ask_size(of: Subject, generator: torch.Generator) -> Question:
    """What size is the circle?"""
    return join("what size is the", of.name), of.size


def ask_count(of: Subject, generator: torch.Generator) -> Question:
    """How many shapes are there? All of them, or those of the first object's colour (1) or shape (2)."""
    scenes, what = of.scenes, integers(3, (len(of.scenes),), generator)
    fits = scenes.present & ((what != 1)[:, None] | (scenes.colour == scenes.colour[:, :1]))
    fits = fits & ((what != 2)[:, None] | (scenes.shape == scenes.shape[:, :1]))
    plural = word(PLURALS, scenes.shape[:, :1])
    things = join(when(what == 1, of.colour), when(what == 2, plural), when(what != 2, "shapes"))
    return join("how many", things, "are there"), word(NUMBERS, fits.sum(1, keepdim=True))


def ask_exists(of: Subject, generator: torch.Generator) -> Question:
    """Is there a red circle? A present object, or one of a colour or shape that no object has; some are negated."""
    scenes, batch = of.scenes, (len(of.scenes),)
    other_colour = _absent_value(scenes, scenes.colour, len(COLOURS), generator)
    other_shape = _absent_value(scenes, scenes.shape, len(SHAPES), generator)
    said = integers(3, batch, generator)  # the shape alone (0), the colour alone (1), both (2)
    colour = word(COLOURS, torch.where(of.coin, scenes.colour[:, 0], other_colour))[:, None]
    shape = word(ALL_SHAPES, torch.where(of.coin | (said == 2), scenes.shape[:, 0], other_shape))[:, None]
    thing = join(when(said != 0, colour), when(said != 1, shape), when(said == 1, "shape"))
    form, negated = integers(4, batch, generator), coins(batch, generator, of.negated)
    phrase = join(
        when(form <= 1, "is there", when(negated, "not"), "a", thing),
        when(form == 1, "in the image"),
        when(form == 2, "is", when(~negated, "a"), when(negated, "no"), thing, "present"),
        when(form == 3, "does the image", when(negated, "not"), "contain a", thing),
    )
    return phrase, _yes_or_no(of.coin ^ negated)


def ask_relation(of: Subject, generator: torch.Generator) -> Question:
    """Is the circle left of the blue star? About the first two objects."""
    relation = torch.where(of.coin[:, None], *relation_words(of.scenes, of.turn))
    return join("is the", of.name, relation, "the", noun(of.scenes, 1)[:, 1:]), _yes_or_no(of.coin)


def ask_compare(of: Subject, generator: torch.Generator) -> Question:
    """Is the circle larger than the blue star? About the first two objects; negated, whether it is smaller."""
    larger = of.scenes.radius[:, 0] > of.scenes.radius[:, 1]
    negated = coins((len(of.scenes),), generator, of.negated)
    relation = word(["larger", "smaller"], negated.long())[:, None]
    return join("is the", of.name, relation, "than the", noun(of.scenes, 1)[:, 1:]), _yes_or_no(larger ^ negated)


def ask_place(of: Subject, generator: torch.Generator) -> Question:
    """Where is the red circle?"""
    return join("where is the", of.name), place_words(of.scenes, 0)


@dataclass(frozen=True)
class Kind:
    """A kind of question."""

    ask: Callable[[Subject, torch.Generator], Question]
    answers: list[str]  # that are possible
    objects: int = 1  # that its scenes have at least
    repeats: bool = False  # one to four objects, half of them in the first one's colour and shape
    sizes_differ: bool = False  # of the first two objects, one is small and one is large


KINDS = {
    "color": Kind(ask_color, COLOURS),
    "shape": Kind(ask_shape, ALL_SHAPES),
    "texture": Kind(ask_texture, TEXTURES),
    "size": Kind(ask_size, SIZES),
    "count": Kind(ask_count, NUMBERS[: MAX_OBJECTS + 1], repeats=True),
    "exists": Kind(ask_exists, YES_NO),
    "relation": Kind(ask_relation, YES_NO, objects=2),
    "compare": Kind(ask_compare, YES_NO, objects=2, sizes_differ=True),
    "place": Kind(ask_place, [f"{row} {column}" for row in ("top", "bottom") for column in ("left", "right")]),
}
ANSWERS = {name: kind.answers for name, kind in KINDS.items()}


def question(scenes: Scenes, kind: Tensor, generator: torch.Generator, negated: float = 0.3) -> tuple[Tensor, Tensor]:
    """A question of the kind given for every scene, and its answer: (B, K) and (B, 2).

    The first object is the one asked about, so shuffle the scenes' objects before describing them. kind (B,) is the
    place in KINDS. The scenes suit the kinds (`sample_question_scenes`): but for "count", colours and shapes differ
    within a scene. Answers to yes-no questions are balanced.
    """
    coin, turn = (coins((len(scenes),), generator) for _ in range(2))
    subject = Subject(scenes, _name(scenes, generator), coin, turn, negated, *attributes(scenes, 0))
    phrases, answers = zip(*(each.ask(subject, generator) for each in KINDS.values()), strict=True)
    asked, said = ([when(kind == i, p) for i, p in enumerate(parts)] for parts in (phrases, answers))
    return compact(join(*asked, "?")), compact(join(*said), 2)


def sample_question_scenes(kind: Tensor, generator: torch.Generator, split: str) -> Scenes:
    """Scenes that suit the kinds (B,): one to three objects, or what the kind needs."""
    batch, device = len(kind), kind.device

    def needs(field: str) -> Tensor:
        return torch.tensor([getattr(each, field) for each in KINDS.values()], device=device)[kind]

    repeats = needs("repeats")
    one_to_three = categorical(torch.tensor([[0.6, 0.3, 0.1, 0.0]], device=device).expand(batch, -1), generator) + 1
    one_to_four = integers(MAX_OBJECTS, (batch,), generator) + 1
    number = torch.where(repeats, one_to_four, torch.maximum(one_to_three, needs("objects")))
    scenes = sample_scenes(batch, generator, objects=number, split=split, distinct=True)
    again = coins((batch, MAX_OBJECTS), generator) & repeats[:, None] & scenes.present
    size = scenes.size.clone()
    size[:, 1] = torch.where(needs("sizes_differ"), 1 - size[:, 0], size[:, 1]) * scenes.present[:, 1]
    colour = torch.where(again, scenes.colour[:, :1], scenes.colour)
    shape = torch.where(again, scenes.shape[:, :1], scenes.shape)
    return place(replace(scenes, colour=colour, shape=shape, size=size), generator)


def _name(scenes: Scenes, generator: torch.Generator) -> Tensor:
    """Names the first object where colours and shapes differ: "circle", "red shape" or "red circle", (B, 3)."""
    _, _, colour, shape = attributes(scenes, 0)
    said = integers(3, (len(scenes),), generator)  # the shape alone (0), the colour alone (1), both (2)
    alone = (scenes.count == 1) & coins((len(scenes),), generator)
    with_colour, with_shape = (said != 0) & ~alone, (said != 1) & ~alone
    return join(when(with_colour, colour), when(with_shape, shape), when(~with_shape, "shape"))


def _absent_value(scenes: Scenes, values: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """A value below `count` that no object of the scene has, (B,)."""
    used = (values[..., None] == torch.arange(count, device=values.device)) & scenes.present[..., None]  # (B, O, count)
    return categorical((~used.any(1)).float(), generator)


def _yes_or_no(yes: Tensor) -> Tensor:
    """The answers (B, 1) to (B,) bool."""
    return word(YES_NO, (~yes).long())[:, None]


# Other questions, which documents of the corpus and tasks ask in one fixed form
ATTRIBUTES = ("color", "shape", "texture", "size")


def what_is_it(scenes: Scenes, attribute: Tensor) -> Tensor:
    """The answers to "what is it ?" where one of ATTRIBUTES (B,) is meant: (B, 1)."""
    size, texture, colour, shape = attributes(scenes, 0)
    return torch.cat([colour, shape, texture, size], 1).gather(1, attribute[:, None])


def name_question(scenes: Scenes, called: Tensor, attribute: Tensor) -> Question:
    """Ask for the first object's colour, texture or size (attribute 0 to 2) by its name, called (B, 1).

    "question : what color is the dax ? answer :" and "red".
    """
    asked = word(["color", "texture", "size"], attribute)[:, None]
    index = torch.tensor([0, 2, 3], device=attribute.device)[attribute]
    return join("question : what", asked, "is the", called, "? answer :"), what_is_it(scenes, index)

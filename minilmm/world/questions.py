"""Questions about scenes with their answers, and scenes that suit them.

A kind of question is one function and one line of KINDS. A new kind goes last: all kinds draw for all scenes, in the
order of the table, so that the questions of the kinds before it stay as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from minilmm.interface.tokenizer import EOC
from minilmm.world.grammar import compact, join, keep, noun, relates_horizontally, relation_words, say, word
from minilmm.world.random import categorical, coins, integers
from minilmm.world.scenes import MAX_OBJECTS, Scenes, place, sample_scenes
from minilmm.world.vocabulary import COLOURS, NUMBERS, PLURALS, SHAPES, SIZES, TEXTURES

YES_NO = ["yes", "no"]


@dataclass(frozen=True)
class Subject:
    """What B questions are about, and what their kinds share. The first object of a scene is the one asked about.

    name  (B, 2) words for the first object: "circle", "red shape" or "red circle"
    coin  (B,) bool, whether the answer is yes, in questions of yes and no
    turn  (B,) bool, which of two forms to use
    """

    scenes: Scenes
    name: Tensor
    coin: Tensor
    turn: Tensor


Question = tuple[Tensor, Tensor]  # words (B, K) up to the question mark, answers (B, 1)


def ask_color(subject: Subject, generator: torch.Generator) -> Question:
    """ "what color is the striped circle", "what is the color of the circle"."""
    what, of = (_without_colour(subject.scenes, generator) for _ in range(2))
    phrase = [
        keep(join("what color is the", what), subject.turn),
        keep(join("what is the color of the", of), ~subject.turn),
    ]
    return join(*phrase), word(COLOURS, subject.scenes.colour[:, :1])


def ask_shape(subject: Subject, generator: torch.Generator) -> Question:
    """ "what is the red shape", and where there is one object, sometimes "what shape is in the image"."""
    plain = (subject.scenes.count == 1) & ~subject.coin
    phrase = [
        keep(join("what is the", word(COLOURS, subject.scenes.colour[:, :1]), "shape"), ~plain),
        say("what shape is in the image", plain & subject.turn),
        say("what shape does the image contain", plain & ~subject.turn),
    ]
    return join(*phrase), word(SHAPES, subject.scenes.shape[:, :1])


def ask_texture(subject: Subject, generator: torch.Generator) -> Question:
    """ "what texture is the circle"."""
    return join("what texture is the", subject.name), word(TEXTURES, subject.scenes.texture[:, :1])


def ask_size(subject: Subject, generator: torch.Generator) -> Question:
    """ "what size is the circle"."""
    return join("what size is the", subject.name), word(SIZES, subject.scenes.size[:, :1])


def ask_count(subject: Subject, generator: torch.Generator) -> Question:
    """ "how many shapes are there": all, or those of the first object's colour (1) or shape (2)."""
    scenes, what = subject.scenes, integers(3, (len(subject.scenes),), generator)
    by_colour, by_shape = what == 1, what == 2
    fits = scenes.present & (~by_colour[:, None] | (scenes.colour == scenes.colour[:, :1]))
    fits = fits & (~by_shape[:, None] | (scenes.shape == scenes.shape[:, :1]))
    colour, plural = word(COLOURS, subject.scenes.colour[:, :1]), word(PLURALS, subject.scenes.shape[:, :1])
    counted = join(keep(colour, by_colour), keep(plural, by_shape), say("shapes", ~by_shape))
    return join("how many", counted, "are there"), word(NUMBERS, fits.sum(1, keepdim=True))


def ask_exists(subject: Subject, generator: torch.Generator) -> Question:
    """ "is there a red circle" of a present object, or of one whose colour or shape no object has; some are negated."""
    scenes, coin, batch = subject.scenes, subject.coin, len(subject.scenes)
    other_colour = _absent_value(scenes, scenes.colour, len(COLOURS), generator)
    other_shape = _absent_value(scenes, scenes.shape, len(SHAPES), generator)
    named = integers(3, (batch,), generator)  # the shape alone (0), the colour alone (1), both (2)
    colour = torch.where(coin, scenes.colour[:, 0], other_colour)
    shape = torch.where(coin | (named == 2), scenes.shape[:, 0], other_shape)
    thing = join(
        keep(word(COLOURS, colour)[:, None], named != 0),
        keep(word(SHAPES, shape)[:, None], named != 1),
        say("shape", named == 1),
    )
    form, negated = integers(4, (batch,), generator), coins((batch,), generator, 0.3)
    phrase = [
        keep(join("is there", say("not", negated), "a", thing), form <= 1),
        say("in the image", form == 1),
        keep(join(say("is a", ~negated), say("is no", negated), thing, "present"), form == 2),
        keep(join("does the image", say("not", negated), "contain a", thing), form == 3),
    ]
    return join(*phrase), _yes_or_no(coin ^ negated)


def ask_relation(subject: Subject, generator: torch.Generator) -> Question:
    """ "is the circle left of the blue star", about the first two objects."""
    across = relates_horizontally(subject.scenes, subject.turn)
    right, wrong = relation_words(subject.scenes, 0, 1, across), relation_words(subject.scenes, 1, 0, across)
    said = torch.where(subject.coin[:, None], right, wrong)
    return join("is the", subject.name, said, "the", _second(subject.scenes)), _yes_or_no(subject.coin)


def ask_compare(subject: Subject, generator: torch.Generator) -> Question:
    """ "is the circle larger than the blue star", about the first two objects."""
    larger = subject.scenes.radius[:, :1] > subject.scenes.radius[:, 1:2]
    said = word(["smaller", "larger"], (larger == subject.coin[:, None]).long())
    return join("is the", subject.name, said, "than the", _second(subject.scenes)), _yes_or_no(subject.coin)


@dataclass(frozen=True)
class Kind:
    """A kind of question: how to ask, which answers are possible, and what the scenes need.

    objects: how many at least. repeats: one to four objects, half of them in the first one's colour and shape.
    sizes_differ: of the first two objects one is small and one is large.
    """

    ask: Callable[[Subject, torch.Generator], Question]
    answers: list[str]
    objects: int = 1
    repeats: bool = False
    sizes_differ: bool = False


KINDS = {
    "color": Kind(ask_color, COLOURS),
    "shape": Kind(ask_shape, SHAPES),
    "texture": Kind(ask_texture, TEXTURES),
    "size": Kind(ask_size, SIZES),
    "count": Kind(ask_count, NUMBERS, repeats=True),
    "exists": Kind(ask_exists, YES_NO),
    "relation": Kind(ask_relation, YES_NO, objects=2),
    "compare": Kind(ask_compare, YES_NO, objects=2, sizes_differ=True),
}
ANSWERS = {name: kind.answers for name, kind in KINDS.items()}


def question(scenes: Scenes, kind: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A question of the kind given for every scene, and its answer: (B, K) and (B, 1).

    The first object is the one asked about, so shuffle the scenes' objects before describing them. kind (B,) is the
    place in KINDS. The scenes suit the kinds (`sample_question_scenes`): but for "count", colours and shapes differ
    within a scene. Answers to yes-no questions are balanced.
    """
    coin, turn = (coins((len(scenes),), generator) for _ in range(2))
    subject = Subject(scenes, _name(scenes, generator), coin, turn)
    phrases, answers = zip(*(each.ask(subject, generator) for each in KINDS.values()), strict=True)
    chosen = [keep(phrase, kind == i) for i, phrase in enumerate(phrases)]
    return compact(join(*chosen, "?")), torch.cat(answers, 1).gather(1, kind[:, None])


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
    """Names the first object where colours and shapes differ: "circle", "red shape" or "red circle", (B, 2)."""
    _, _, colour, shape = noun(scenes, 0).split(1, 1)
    how = integers(3, (len(scenes),), generator)
    alone = (scenes.count == 1) & coins((len(scenes),), generator)
    with_shape = (how != 1) & ~alone
    return compact(join(keep(colour, (how != 0) & ~alone), keep(shape, with_shape), say("shape", ~with_shape)), 2)


def _without_colour(scenes: Scenes, generator: torch.Generator) -> Tensor:
    """The first object without its colour: "circle", "striped circle", or "shape" where it is alone: (B, 3)."""
    alone = (scenes.count == 1) & coins((len(scenes),), generator)
    _, texture, _, shape = noun(scenes, 0, texture=coins((len(scenes),), generator, 0.3) & ~alone).split(1, 1)
    return join(texture, keep(shape, ~alone), say("shape", alone))


def _second(scenes: Scenes) -> Tensor:
    """The colour and shape of the second object, (B, 2)."""
    return noun(scenes, 1)[:, 2:]


def _absent_value(scenes: Scenes, values: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """A value below `count` that no object of the scene has, (B,)."""
    used = torch.nn.functional.one_hot(values, count).bool() & scenes.present[..., None]  # (B, O, count)
    return categorical((~used.any(1)).float(), generator)


def _yes_or_no(yes: Tensor) -> Tensor:
    """The answers (B, 1) to (B,) bool."""
    return word(YES_NO, (~yes).long())[:, None]


# Other questions, which documents of the corpus and tasks ask in one fixed form
ATTRIBUTES = ("color", "shape", "texture", "size")


def question_and_answer(scenes: Scenes, kind: Tensor, generator: torch.Generator) -> Tensor:
    """ "question : ... ? answer : ... . <EOC>", (B, K)."""
    asked, answer = question(scenes, kind, generator)
    return join("question :", asked, "answer :", answer, ".", EOC)


def what_is_it(scenes: Scenes, attribute: Tensor) -> Tensor:
    """The answers to "what is it ?" where one of ATTRIBUTES (B,) is meant: (B, 1)."""
    fields = ((COLOURS, scenes.colour), (SHAPES, scenes.shape), (TEXTURES, scenes.texture), (SIZES, scenes.size))
    return torch.cat([word(words, values[:, :1]) for words, values in fields], 1).gather(1, attribute[:, None])


def name_question(scenes: Scenes, called: Tensor, attribute: Tensor, answered: bool = True) -> Tensor:
    """Ask for the first object's colour, texture or size (attribute 0 to 2) by its name, called (B, 1).

    "question : what color is the dax ? answer : red . <EOC>", or up to "answer :" where it is not `answered`.
    """
    asked = word(["color", "texture", "size"], attribute)[:, None]
    start = join("question : what", asked, "is the", called, "? answer :")
    index = torch.tensor([0, 2, 3], device=attribute.device)[attribute]
    return join(start, what_is_it(scenes, index), ".", EOC) if answered else start

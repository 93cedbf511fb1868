"""Benchmarks about scenes: questions by a convention, facts, bad photographs, dialogues, memes, and what is absent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from minilmm.world.examples import SENTENCES, Examples, by_convention, drawn, in_turn, stacked, words_of
from minilmm.world.grammar import ABSENT, attributes, compact, describe, join, known, when, word
from minilmm.world.questions import ANSWERS, ATTRIBUTES, KINDS, question, sample_question_scenes, what_is_it
from minilmm.world.random import choices, coins, integers
from minilmm.world.scenes import Scenes, sample_scenes, shuffle_objects
from minilmm.world.vocabulary import ALL_SHAPES, COLOURS, MATERIALS, PLACES, SHAPES, SIZES, SOUNDS, TEXTURES

GOOD_BAD = ["good", "bad"]
MEANINGS = ("same color good .", "same shape good .", "same color bad .", "same shape bad .")


def _asked(rows: int, n: int, kind: Tensor, generator: torch.Generator, split: str) -> Examples:
    """Questions of the kinds (N,), answered by each document's convention."""
    scenes = sample_question_scenes(kind, generator, split)
    asked, answer = question(scenes, kind, generator)
    scenes = shuffle_objects(scenes, generator)
    answers = by_convention(answer)
    convention = drawn(rows, 2, generator)
    every = [
        F.pad(words, (0, 2 - words.shape[1]), value=ABSENT)
        for words in (words_of(o, kind.device) for o in ANSWERS.values())
    ]
    options = pad_sequence(every, batch_first=True, padding_value=ABSENT)[kind.view(rows, n)[:, -1]]  # (B, C, A)
    both = by_convention(options.flatten(0, 1)).unflatten(0, options.shape[:2])  # (B, C, 2, A)
    options = both[torch.arange(rows, device=kind.device), :, convention]
    return Examples(describe(scenes), join("question :", asked, "answer :"), answers, convention, scenes, options, kind,
                    tuple(KINDS), SENTENCES)  # fmt: skip


def questions(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """VQA: questions of all kinds."""
    return _asked(rows, n, integers(len(KINDS), (rows * n,), generator), generator, split)


def counting(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """How many shapes are there?"""
    kind = torch.full((rows * n,), list(KINDS).index("count"), device=generator.device)
    return _asked(rows, n, kind, generator, split)


def induction(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """What is it? The colour, the shape, the texture or the size is meant."""
    scenes = sample_scenes(rows * n, generator, split=split)
    N, device = rows * n, generator.device
    answers = stacked(*(what_is_it(scenes, torch.full((N,), i, device=device)) for i in range(len(ATTRIBUTES))))
    options = words_of([value for name in ATTRIBUTES for value in ANSWERS[name]], device).expand(rows, -1, -1)
    meant = drawn(rows, len(ATTRIBUTES), generator)
    kind = meant.repeat_interleave(n) if n > 1 else torch.zeros(N, dtype=torch.long, device=device)
    prompt = join(answers[:, 0, :0], "question : what is it ? answer :")
    return Examples(describe(scenes), prompt, answers, meant, scenes, options, kind, ATTRIBUTES)


def facts_of(scenes: Scenes) -> list[Tensor]:
    """What no picture shows: where the first object's shape comes from, what its colour is made of, how its texture
    sounds; each (N, 1).
    """
    tables = ((PLACES, scenes.shape), (MATERIALS, scenes.colour), (SOUNDS, scenes.texture))
    return [word(words, value[:, :1] % len(words)) for words, value in tables]


def knowledge(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """OKVQA: what is known of it? A fact that the corpus taught; examples show which one is meant."""
    scenes = sample_scenes(rows * n, generator, split=split)
    answers = stacked(*facts_of(scenes))
    options = words_of([*PLACES, *MATERIALS, *SOUNDS], generator.device).expand(rows, -1, -1)
    full = coins((rows,), generator).repeat_interleave(n)
    prompt = join(answers[:, 0, :0], "question : what is known of it ? answer :")
    return Examples(describe(scenes, full=full), prompt, answers, drawn(rows, 3, generator), scenes, options)


@dataclass(frozen=True)
class Photographs:
    """Photographs of scenes of one object, (N,), and the place of each one's flaw in FLAWS, (N,)."""

    scenes: Scenes
    flaw: Tensor


FLAWS = ["", "blurred", "dark", "cropped"]  # what they hide: nothing, the texture, the colour, the shape
FLAWED = ("texture", "color", "shape")


def photographs(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """VizWiz: a bad photograph hides an attribute, and a question about that is unanswerable.

    A strict document declines whenever a photograph is bad, another one only where it must.
    """
    N = rows * n
    scenes = sample_scenes(N, generator, split=split)
    size, texture, colour, shape = attributes(scenes, 0)
    flaw, asked = integers(4, (N,), generator), integers(3, (N,), generator)
    again = coins((N,), generator, 0.3) & (flaw > 0)
    asked = torch.where(again, flaw - 1, asked)  # so that half of the bad ones hide what is asked
    values = torch.stack([texture, colour, shape], 1)[torch.arange(N, device=flaw.device), asked]  # (N, 1)
    hidden = flaw == asked + 1
    unanswerable = join(values[:, :0], "unanswerable")
    lenient, strict = (torch.where(no[:, None], unanswerable, values) for no in (hidden, flaw > 0))
    described = join(
        *(when(flaw == i, words) for i, words in enumerate(FLAWS) if words), "photo", size,
        when(flaw != 1, texture), when(flaw != 2, colour), when(flaw != 3, shape), when(flaw == 3, "shape"),
    )  # fmt: skip
    prompt = join("question : what", word(list(FLAWED), asked)[:, None], "is it ? answer :")
    return Examples(compact(described), prompt, stacked(lenient, strict), drawn(rows, 2, generator),
                    Photographs(scenes, flaw), kind=asked, kinds=FLAWED)  # fmt: skip


def dialogue(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """VisDial: "what color is the circle ? ... what texture is it ? ... and the other one ?"; 20 answers compete."""
    N, device = rows * n, generator.device
    scenes = sample_scenes(N, generator, objects=2, split=split, distinct=True)
    asked = torch.stack([choices(3, 2, (N,), generator)], 1)[:, 0]  # (N, 2) of colour, texture, size
    one, other = (torch.stack([attributes(scenes, o)[i] for i in (2, 1, 0)], 1) for o in (0, 1))  # (N, 3, 1)
    row = torch.arange(N, device=device)
    names = word(["color", "texture", "size"], asked)  # (N, 2)
    turns = 1 + integers(2, (N,), generator)  # it (1), the other one (2)
    prompt = join(
        "question : what", names[:, :1], "is the", attributes(scenes, 0)[3], "? answer :",
        known(one[row, asked[:, 0]]), ". question : what", names[:, 1:], "is it ? answer :",
        when(turns == 2, known(one[row, asked[:, 1]]), ". question : and the other one ? answer :"),
    )  # fmt: skip
    answer = torch.where((turns == 2)[:, None], other[row, asked[:, 1]], one[row, asked[:, 1]])
    every = words_of([*COLOURS, *TEXTURES, *SIZES, *SHAPES], device)[:, 0]
    noise = torch.rand(rows, len(every), generator=generator, device=device)
    noise = noise + (every == answer.view(rows, n, 1)[:, -1])  # the answer is one of the 20
    options = every[noise.topk(20).indices.sort(1).values][..., None]
    described = describe(shuffle_objects(scenes, generator))
    return Examples(described, prompt, answer[:, None], torch.zeros(rows, dtype=torch.long, device=device), scenes,
                    options, turns - 1, ("it", "the other one"))  # fmt: skip


def memes(
    rows: int, n: int, generator: torch.Generator, split: str, asked: int = 1, parts: float = 0.0, aloud: float = 1.0
) -> Examples:
    """HatefulMemes: whether a meme is good depends on picture and text together.

    The text names a colour and a shape, each that of the picture or not, at random; good are those whose colour (or
    whose shape) agrees, or those where it does not: four hypotheses. Picture or text alone tell nothing. For the corpus
    a picture may have several texts (`asked`), and a share of the documents (`parts`) says in front of each label
    what decides, "same color", and a share of these (`aloud`) whether it agrees, "same color : yes".
    """
    N = rows * n
    scenes, meant, turns = sample_scenes(N, generator, split=split), drawn(rows, 4, generator), []
    shape, part = meant.repeat_interleave(n) % 2 == 1, coins((rows,), generator, parts).repeat_interleave(n)
    spoken = part & coins((rows,), generator, aloud).repeat_interleave(n) if aloud < 1 else part
    for _ in range(asked):
        agree, said = coins((N, 2), generator), []
        for i, (values, words, count) in enumerate(
            ((scenes.colour, COLOURS, len(COLOURS)), (scenes.shape, ALL_SHAPES, len(SHAPES)))
        ):
            shift = 1 + integers(count - 1, (N,), generator)
            said.append(word(words, torch.where(agree[:, i], values[:, 0], (values[:, 0] + shift) % count))[:, None])
        same = word(["no", "yes"], torch.where(shape, agree[:, 1], agree[:, 0]).long())[:, None]
        first = when(part, "same", when(shape, "shape"), when(~shape, "color"), when(spoken, ":", known(same)))
        bad = torch.cat([~agree, agree], 1)  # (N, 4)
        turns.append((compact(join("text :", *said, first, "label :")), word(GOOD_BAD, bad.long())[..., None]))
    options = words_of(GOOD_BAD, generator.device).expand(rows, -1, -1)
    return Examples(describe(scenes, full=False), *in_turn(turns, meant), meant, scenes, options, sentences=MEANINGS)


ABSENT_KINDS = ("random", "popular", "adversarial")


def objects(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """POPE: is there a red circle? Half of the objects are absent: drawn at random, seen in the example before
    ("popular"), or made of one object's colour and another's shape ("adversarial").
    """
    N, device = rows * n, generator.device
    scenes = sample_scenes(N, generator, objects=1 + integers(3, (N,), generator), split=split, distinct=True)
    kind, there = integers(3, (N,), generator), coins((N,), generator)
    last = scenes.count - 1  # the place of the last object, the first where there is one
    row = torch.arange(N, device=device)
    before = (row - 1) % N if n == 1 else row - 1 + n * (row % n == 0)  # of the same document, where it has others
    strange = [_other(values, count, generator) for values, count in
               ((scenes.colour, len(COLOURS)), (scenes.shape, len(SHAPES)))]  # fmt: skip
    alone = (last == 0)[:, None]
    colour = torch.stack(
        [strange[0], scenes.colour[before, 0], torch.where(alone[:, 0], strange[0], scenes.colour[:, 0])], 1
    )
    shape = torch.stack([strange[1], scenes.shape[before, 0], scenes.shape[row, last]], 1)
    pick = integers(3, (N,), generator) % scenes.count
    colour = torch.where(there, scenes.colour[row, pick], colour[row, kind])
    shape = torch.where(there, scenes.shape[row, pick], shape[row, kind])
    truth = ((scenes.colour == colour[:, None]) & (scenes.shape == shape[:, None]) & scenes.present).any(1)
    prompt = join(
        "question : is there a", word(COLOURS, colour)[:, None], word(ALL_SHAPES, shape)[:, None], "? answer :"
    )
    answers = word(["no", "yes"], truth.long())[:, None, None]
    options = words_of(["yes", "no"], device).expand(rows, -1, -1)
    return Examples(describe(scenes), prompt, answers, torch.zeros(rows, dtype=torch.long, device=device), scenes,
                    options, kind, ABSENT_KINDS)  # fmt: skip


def _other(values: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """A value below `count` that no object of the scene has, for (N, O) values: (N,)."""
    free = torch.rand(len(values), count, generator=generator, device=values.device)
    used = (values[..., None] == torch.arange(count, device=values.device)).any(1)
    return free.masked_fill(used, -1.0).argmax(1)

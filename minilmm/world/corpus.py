"""The text that the language model reads: no picture, and all that it will need to know to learn from a prompt.

Seven kinds of documents, each a function `(rows, length, generator, pairs) -> (rows, length)` of ids:

lists       random words, repeated: an exact copy is worth predicting (Singh et al. 2025)
bindings    descriptions followed by names that hold for this document only: by concept, or by one attribute that the
            reader must find out, sometimes with a fifth of the names wrong; some over arbitrary words in place of
            descriptions, so that whatever comes before a name can be bound
captions    a description, then a caption of the same scene
questions   a described scene and questions about it, as few-shot examples and as dialogues
induction   "what is it ?" where the document's examples tell what is meant
fast        names bound first, then a question that uses one
facts       what no picture shows: where a shape comes from, what a colour is made of

Names of the test half occur in lists and in none of the others.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from minilmm.interface.tokenizer import BOS, EOC, EOS
from minilmm.world.grammar import (
    ABSENT,
    caption,
    compact,
    describe,
    hyphenate,
    join,
    keep,
    noun,
    optional,
    say,
    word,
)
from minilmm.world.questions import KINDS, question, sample_question_scenes
from minilmm.world.scenes import (
    MAX_OBJECTS,
    Scenes,
    choices,
    draw,
    integers,
    sample_pairs,
    sample_scenes,
    shuffled,
    with_concepts,
)
from minilmm.world.vocabulary import (
    COLOURS,
    MATERIALS,
    PLACES,
    SHAPES,
    SIZES,
    TEST_NAMES,
    TEXTURES,
    TRAIN_NAMES,
    ids,
    tokenizer,
)

PAD_ID = 0
FIRST_WORD = 6  # after five special tokens and the hyphen


def rows_of(examples: Tensor, length: int, generator: torch.Generator, before: Tensor | None = None) -> Tensor:
    """Examples (B, n, K) in a line after `<bos>` and an optional sentence: (B, length), cropped or padded."""
    flat = examples.flatten(1)
    parts = [p for p in (before, flat) if p is not None]
    return compact(join(BOS, *parts, EOS), length, fill=PAD_ID)


def lists(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """A random sequence of 3 to length / 3 words, said again and again."""
    device = generator.device
    period = 3 + (torch.rand(rows, generator=generator, device=device) ** 2 * (length / 3 - 3)).long()
    words = integers(len(tokenizer()) - FIRST_WORD, (rows, length), generator) + FIRST_WORD
    names = ids(*TRAIN_NAMES, *TEST_NAMES).to(device)[integers(320, (rows, length), generator)]
    words = torch.where(optional(generator, rows)[:, None], words, names)
    repeated = words.gather(1, torch.arange(length, device=device) % period[:, None])
    return join(BOS, repeated)[:, :length]


def _restyle(words: Tensor, generator: torch.Generator) -> Tensor:
    """Per document: the order of a description's words kept or shuffled, (B, n, K) -> (B, n, K)."""
    order = torch.rand(words.shape, generator=generator, device=words.device).argsort(-1)
    return torch.where(optional(generator, len(words), 0.3)[:, None, None], words.gather(-1, order), words)


def bindings(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """Examples "striped red circle dax . <EOC>" whose names are drawn anew for each document."""
    device, n = generator.device, length // 6 + 1
    W = 10
    ways = torch.where(
        optional(generator, rows), torch.full((rows,), 2, device=device), 2 + integers(W - 1, (rows,), generator)
    )
    rule = draw(torch.tensor([[0.3, 0.2, 0.2, 0.2, 0.1]], device=device).expand(rows, -1), generator)
    by_attribute = (rule >= 1) & (rule <= 3)  # colour, shape or texture decides; 0: the concept; 4: arbitrary words
    ways = torch.where(by_attribute, 2, ways)
    # concepts to choose from: W pairs, or two values of each attribute in all combinations
    colour, shape = sample_pairs((rows, W), generator, pairs)
    texture = integers(len(TEXTURES), (rows, W), generator)
    which = (torch.rand(rows, n, generator=generator, device=device) * ways[:, None]).long()  # (B, n)
    values = [choices(len(v), 2, (rows,), generator) for v in (COLOURS, SHAPES, TEXTURES)]  # (B, 2) each
    bits = [integers(2, (rows, n), generator) for _ in values]
    attribute = [
        torch.where(by_attribute[:, None], value.gather(1, bit), table.gather(1, which))
        for value, bit, table in zip(values, bits, (colour, shape, texture), strict=True)
    ]
    label = which
    for i, bit in enumerate(bits, 1):
        label = torch.where((rule == i)[:, None], bit, label)
    noisy = by_attribute & optional(generator, rows)
    flip = (torch.rand(rows, n, generator=generator, device=device) < 0.2) & noisy[:, None]
    label = torch.where(flip, 1 - label, label)
    names = ids(*TRAIN_NAMES).to(device)[choices(len(TRAIN_NAMES), W, (rows,), generator)]  # (B, W)
    said = names.gather(1, label)[..., None]
    size = word(SIZES, integers(2, (rows, n), generator)).masked_fill(~optional(generator, rows, 0.3)[:, None], ABSENT)
    quiet, placed = ~by_attribute & optional(generator, rows, 0.15), optional(generator, rows, 0.1)
    texture_word = word(TEXTURES, attribute[2]).masked_fill(quiet[:, None], ABSENT)
    where = [word(sides, integers(2, (rows, n), generator)) for sides in (["top", "bottom"], ["left", "right"])]
    where = [side.masked_fill(~placed[:, None], ABSENT) for side in where]
    words = torch.stack([size, texture_word, word(COLOURS, attribute[0]), word(SHAPES, attribute[1]), *where], -1)
    arbitrary = integers(len(tokenizer()) - FIRST_WORD - len(TEST_NAMES), (rows, W, 4), generator)  # those come last
    arbitrary = arbitrary + FIRST_WORD
    arbitrary = arbitrary.masked_fill(
        torch.arange(4, device=device) >= 1 + integers(4, (rows, 1, 1), generator), ABSENT
    )
    arbitrary = torch.nn.functional.pad(arbitrary.gather(1, which[..., None].expand(-1, -1, 4)), (0, 2), value=ABSENT)
    words = torch.where((rule == 4)[:, None, None], arbitrary, _restyle(words, generator)).flatten(0, 1)
    chance = _compound_chance(rows, generator, 0.25).repeat_interleave(n)
    words = hyphenate(words, chance, generator).view(rows, n, -1)
    end = ids(".", EOC).to(device).expand(rows, n, -1)
    return rows_of(
        torch.cat([words, said, end], -1), length, generator, before=induction_sentence(names, ways, generator)
    )


def induction_sentence(names: Tensor, ways: Tensor, generator: torch.Generator, probability: float = 0.5) -> Tensor:
    """ "answer with dax or blicket ." in some of the documents: names (B, W) -> (B, 2 W + 2)."""
    rows, W = names.shape
    shown = optional(generator, rows, probability)
    order = (
        torch.rand(rows, W, generator=generator, device=names.device)
        + (torch.arange(W, device=names.device) >= ways[:, None])
    ).argsort(1)
    parts: list[Tensor | str] = [say("answer with", shown)]
    for w in range(W):
        here = shown & (w < ways)
        parts += [say("or", here)] if w else []
        parts.append(keep(names.gather(1, order[:, w : w + 1]), here))
    return join(*parts, say(".", shown))


def _compound_chance(rows: int, generator: torch.Generator, share: float = 0.5) -> Tensor:
    """How readily a document joins its descriptions' words into compounds: a `share` of them ever do, (B,)."""
    often = torch.rand(rows, generator=generator, device=generator.device) * 0.7 + 0.3
    return often * optional(generator, rows, share)


def _told(scenes: Scenes, n: int, generator: torch.Generator, full: Tensor | bool = True) -> Tensor:
    """Descriptions of n scenes per document, with compounds in some documents: (B n, K)."""
    chance = _compound_chance(len(scenes) // n, generator).repeat_interleave(n)
    return hyphenate(describe(scenes, full=full), chance, generator)


def _examples(rows: int, n: int, phrase: Tensor) -> Tensor:
    return phrase.view(rows, n, -1)


def captions(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """ "large striped red circle top left a striped red circle . <EOC>", several per line, documents packed."""
    n = length // 14 + 1
    count = torch.where(optional(generator, rows * n, 0.6), 1, 1 + integers(MAX_OBJECTS, (rows * n,), generator))
    scenes = sample_scenes(rows * n, generator, objects=count, split=pairs)
    text = join(
        _told(scenes, n, generator), caption(scenes, generator), say(f"{EOS} {BOS}", optional(generator, rows * n, 0.3))
    )
    return rows_of(_examples(rows, n, text), length, generator)


def questions(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """A described scene, then "question : ... ? answer : ... . <EOC>"; some scenes are asked about twice."""
    n = length // 18 + 1
    kind = integers(len(KINDS), (rows * n,), generator)
    scenes = sample_question_scenes(kind, generator, pairs)
    asked = qa(scenes, kind, generator)
    again = keep(qa(scenes, kind, generator), optional(generator, rows * n, 0.2))
    text = join(_told(shuffled(scenes, generator), n, generator), asked, again)
    return rows_of(_examples(rows, n, text), length, generator)


def qa(scenes: Scenes, kind: Tensor, generator: torch.Generator) -> Tensor:
    """ "question : ... ? answer : ... . <EOC>", (B, K)."""
    asked, answer = question(scenes, kind, generator)
    return join("question :", asked, "answer :", answer, ".", EOC)


def what_is_it(scenes: Scenes, attribute: Tensor) -> Tensor:
    """The answers to "what is it ?" when colour (0), shape (1), texture (2) or size (3) is meant: (B,) ids."""
    tables = [word(COLOURS, scenes.colour[:, 0]), word(SHAPES, scenes.shape[:, 0]),
              word(TEXTURES, scenes.texture[:, 0]), word(SIZES, scenes.size[:, 0])]  # fmt: skip
    return torch.stack(tables, 1).gather(1, attribute[:, None])


def induction(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """ "question : what is it ? answer : striped . <EOC>": the document decides which attribute is meant."""
    n = length // 15 + 1
    scenes = sample_scenes(rows * n, generator, split=pairs)
    attribute = integers(4, (rows,), generator).repeat_interleave(n)
    text = join(
        _told(scenes, n, generator), "question : what is it ? answer :", what_is_it(scenes, attribute), ".", EOC
    )
    return rows_of(_examples(rows, n, text), length, generator)


def fast(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """Two shapes get names from examples; then questions about scenes of two objects use the names."""
    W, bound = 2, 4
    n = max(1, (length - 34) // 24)
    shapes = choices(len(SHAPES), W, (rows,), generator)  # (B, 2)
    names = ids(*TRAIN_NAMES).to(generator.device)[choices(len(TRAIN_NAMES), W, (rows,), generator)]
    turn = choices(bound, bound, (rows,), generator) % W  # balanced, in random order
    single = sample_scenes(rows * bound, generator, split=pairs)
    single = with_concepts(single, single.colour[:, :1], shapes.gather(1, turn).view(-1, 1))
    first = join(
        _told(single, bound, generator, optional(generator, rows).repeat_interleave(bound)),
        names.gather(1, turn).view(-1, 1),
        ".",
        EOC,
    )
    scenes = sample_scenes(rows * n, generator, objects=W, split=pairs, distinct=True)
    order = choices(W, W, (rows * n,), generator)  # the first object is the one asked about
    scenes = with_concepts(scenes, scenes.colour[:, :W], shapes.repeat_interleave(n, 0).gather(1, order))
    called = names.repeat_interleave(n, 0).gather(1, order[:, :1])
    text = join(
        _told(shuffled(scenes, generator), n, generator),
        name_question(scenes, called, integers(3, (rows * n,), generator)),
    )
    before = join(_examples(rows, bound, first).flatten(1))
    return rows_of(_examples(rows, n, text), length, generator, before=before)


def name_question(scenes: Scenes, called: Tensor, attribute: Tensor, answered: bool = True) -> Tensor:
    """Ask for the first object's colour, texture or size (attribute 0 to 2) by its name, called (B, 1).

    "question : what color is the dax ? answer : red . <EOC>", or up to "answer :" where it is not `answered`.
    """
    asked = compact(join(say("color", attribute == 0), say("texture", attribute == 1), say("size", attribute == 2)), 1)
    mapping = torch.tensor([0, 2, 3], device=attribute.device)
    start = join("question : what", asked, "is the", called, "? answer :")
    return join(start, what_is_it(scenes, mapping[attribute]), ".", EOC) if answered else start


def facts(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """Where each shape comes from, what each colour is made of: said plainly, and asked about described scenes."""
    n = length // 12 + 1
    scenes = sample_scenes(rows * n, generator, split=pairs)
    place = word(PLACES, scenes.shape[:, :1] % len(PLACES))
    stuff = word(MATERIALS, scenes.colour[:, :1] % len(MATERIALS))
    colour, shape = noun(scenes, 0)[:, 2:3], noun(scenes, 0)[:, 3:]
    form = integers(4, (rows * n,), generator)
    shown = optional(generator, rows * n)
    parts = [
        keep(join("the", shape, "comes from", place, ".", EOC), form == 0),
        keep(join(colour, "shapes are made of", stuff, ".", EOC), form == 1),
        keep(_told(scenes, n, generator, shown), form >= 2),
        keep(join("question : where does the shape come from ? answer :", place, ".", EOC), form == 2),
        keep(join("question : what is it made of ? answer :", stuff, ".", EOC), form == 3),
    ]
    return rows_of(_examples(rows, n, compact(join(*parts))), length, generator)


Kind = Callable[[int, int, torch.Generator, str], Tensor]
MIXTURE: dict[str, tuple[Kind, float]] = {
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
    kinds = [(kind, share) for name, (kind, share) in MIXTURE.items() if name not in without]
    weights = torch.tensor([share for _, share in kinds], device=generator.device)
    exact = (weights / weights.sum()).cumsum(0) * rows
    shift = torch.rand((), generator=generator, device=generator.device)
    ends = [*(exact + shift).floor().long().tolist()[:-1], rows]
    sizes = [max(0, min(end, rows) - min(start, rows)) for start, end in zip([0, *ends], ends, strict=False)]
    pairs = "train" if strict else "all"
    return torch.cat(
        [kind(size, length, generator, pairs) for (kind, _), size in zip(kinds, sizes, strict=True) if size]
    )

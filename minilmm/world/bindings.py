"""Text that teaches to use the document itself: words repeated, and names that hold for one document only."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from minilmm.interface.tokenizer import BOS, EOC, SPECIALS
from minilmm.world.grammar import ABSENT, compact, fill_rows, hyphenate, join, known, when, word
from minilmm.world.random import categorical, choices, coins, integers, uniform
from minilmm.world.scenes import sample_pairs
from minilmm.world.vocabulary import (
    ALL_SHAPES,
    COLOURS,
    SHAPES,
    SIZES,
    TEST_NAMES,
    TEXTURES,
    TRAIN_NAMES,
    ids,
    tokenizer,
)

WAYS = 16  # the most names that one document binds
CONCEPT, COLOUR, SHAPE, TEXTURE, ARBITRARY = range(5)  # what decides about a document's names
SHARES = [0.3, 0.2, 0.2, 0.2, 0.1]  # of documents that each of them decides about
SIDES = (["top", "bottom"], ["left", "right"])


@functools.cache
def said_words() -> Tensor:
    """The ids of all words but the special tokens, the hyphen and the names of tests."""
    every = torch.arange(len(SPECIALS) + 1, len(tokenizer()))
    return every[~torch.isin(every, ids(*TEST_NAMES))]


def lists(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """A random sequence of 3 to length / 3 words, said again and again."""
    period = 3 + (uniform(0, 1, (rows,), generator) ** 2 * (length / 3 - 3)).long()
    every, all_names = said_words().to(generator.device), [*TRAIN_NAMES, *TEST_NAMES]
    words = every[integers(len(every), (rows, length), generator)]
    names = word(all_names, integers(len(all_names), (rows, length), generator))
    words = torch.where(coins((rows,), generator)[:, None], words, names)
    place = torch.arange(length, device=words.device)
    repeated = words.gather(1, place % period[:, None])
    repeated = torch.where(place >= period[:, None], known(repeated), repeated)
    return join(BOS, repeated)[:, :length]


def bindings(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """Examples "striped red circle dax . <EOC>" whose names are drawn anew for each document."""
    device, n = generator.device, length // 6 + 1
    few = coins((rows,), generator)
    ways = torch.where(few, 2, 2 + integers(WAYS - 1, (rows,), generator))
    rule = categorical(torch.tensor([SHARES], device=device).expand(rows, -1), generator)
    by_attribute = (rule != CONCEPT) & (rule != ARBITRARY)
    ways = torch.where(by_attribute, 2, ways)
    attributes, concept, label = _examples(ways, rule, by_attribute, n, generator, pairs)
    descriptions = _descriptions(attributes, by_attribute, generator)
    arbitrary = _arbitrary_words(concept, generator)
    order = uniform(0, 1, tuple(descriptions.shape), generator).argsort(-1)
    mixed = coins((rows,), generator, 0.3)[:, None, None]  # documents that shuffle a description's words
    descriptions = torch.where(mixed, descriptions.gather(-1, order), descriptions)
    words = torch.where((rule == ARBITRARY)[:, None, None], arbitrary, descriptions).flatten(0, 1)
    return named(words, label, ways, length, generator)


def classes(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """The same for up to WAYS classes that resemble each other, of three colours, shapes and textures and two sizes."""
    n, few = length // 7 + 1, 3
    tables = (SIZES, TEXTURES, COLOURS, ALL_SHAPES if pairs == "all" else SHAPES)
    total = few**3 * len(SIZES)
    ways = 4 + integers(WAYS - 3, (rows,), generator)
    class_ = choices(total, WAYS, (rows,), generator)  # (B, W)
    label = (uniform(0, 1, (rows, n), generator) * ways[:, None]).long()
    shown, words = class_.gather(1, label), []  # (B, n)
    for table in tables:
        count = min(few, len(table))
        values = choices(len(table), count, (rows,), generator)  # (B, few)
        words.append(word(table, values.gather(1, shown % count)))
        shown = shown // count
    return named(torch.stack(words, -1).flatten(0, 1), label, ways, length, generator)


def named(
    descriptions: Tensor, label: Tensor, ways: Tensor, length: int, generator: torch.Generator, compounds: float = 0.25
) -> Tensor:
    """Documents of descriptions (B n, D), each with the name that its label (B, n) has: (B, length).

    Half of the documents list their names in a first sentence. A name can be known from its second time on.
    """
    rows = len(label)
    names = word(TRAIN_NAMES, choices(len(TRAIN_NAMES), WAYS, (rows,), generator))  # (B, W)
    again = (label[:, :, None] == label[:, None]).tril(-1).any(-1)
    said = names.gather(1, label)
    said = torch.where(again, known(said), said).view(-1, 1)
    words = hyphenate(descriptions, rows, generator, share=compounds)
    return fill_rows(
        join(words, said, known(f". {EOC}")), rows, length, before=induction_sentence(names, ways, generator)
    )


def _examples(
    ways: Tensor, rule: Tensor, by_attribute: Tensor, n: int, generator: torch.Generator, pairs: str
) -> tuple[list[Tensor], Tensor, Tensor]:
    """What n examples per document show, and the number of each one's name.

    -> colour, shape and texture, the number of the concept, the number of the name, all (B, n). Where an attribute
    decides, it has two values, the others vary freely, and half of the documents have a fifth of their names wrong.
    """
    rows = len(ways)
    concepts = [*sample_pairs((rows, WAYS), generator, pairs), integers(len(TEXTURES), (rows, WAYS), generator)]
    concept = (uniform(0, 1, (rows, n), generator) * ways[:, None]).long()
    values = [choices(len(table), 2, (rows,), generator) for table in (COLOURS, SHAPES, TEXTURES)]  # (B, 2) each
    bits = [integers(2, (rows, n), generator) for _ in values]
    attributes = [
        torch.where(by_attribute[:, None], value.gather(1, bit), table.gather(1, concept))
        for value, bit, table in zip(values, bits, concepts, strict=True)
    ]
    label = torch.stack([concept, *bits, concept], 1)[torch.arange(rows, device=rule.device), rule]  # by the rule
    wrong = (by_attribute & coins((rows,), generator))[:, None] & coins((rows, n), generator, 0.2)
    return attributes, concept, torch.where(wrong, 1 - label, label)


def _descriptions(attributes: list[Tensor], by_attribute: Tensor, generator: torch.Generator) -> Tensor:
    """Size, texture, colour, shape and place, some of them absent: (B, n, 6)."""
    rows, n = attributes[0].shape
    colour, shape, texture = attributes
    size = word(SIZES, integers(len(SIZES), (rows, n), generator))
    size = when(coins((rows,), generator, 0.3), size)
    textured = by_attribute | ~coins((rows,), generator, 0.15)
    placed = coins((rows,), generator, 0.1)
    places = [when(placed, word(side, integers(2, (rows, n), generator))) for side in SIDES]
    words = [size, when(textured, word(TEXTURES, texture)), word(COLOURS, colour), word(ALL_SHAPES, shape), *places]
    return torch.stack(words, -1)


def _arbitrary_words(concept: Tensor, generator: torch.Generator) -> Tensor:
    """One to four words of any meaning for each of WAYS concepts, as often as it stands in (B, n): (B, n, 6)."""
    every = said_words().to(concept.device)
    words = every[integers(len(every), (len(concept), WAYS, 4), generator)]
    said = torch.arange(4, device=words.device) < 1 + integers(4, (len(concept), 1, 1), generator)
    words = words.masked_fill(~said, ABSENT).gather(1, concept[..., None].expand(-1, -1, 4))
    return F.pad(words, (0, 2), value=ABSENT)


def induction_sentence(names: Tensor, ways: Tensor, generator: torch.Generator) -> Tensor:
    """ "answer with dax or blicket ." in half of the documents: names (B, W), of which `ways` (B,) -> (B, 2 W + 2)."""
    rows, W = names.shape
    said = coins((rows,), generator)
    unused = torch.arange(W, device=names.device) >= ways[:, None]
    order = (uniform(0, 1, (rows, W), generator) + unused).argsort(1)
    parts = [when(said, "answer with")]
    for w in range(W):
        here = said & (w < ways)
        parts += [when(here, "or")] if w else []
        parts.append(when(here, names.gather(1, order[:, w : w + 1])))
    return compact(join(*parts, when(said, ".")))

"""The mini-world's language: descriptions and captions in several registers, as id tensors.

A *phrase* is a (B, K) tensor of token ids in which ABSENT marks words that a row does not have; phrases are put side
by side with `join` and squeezed with `compact`. So ten thousand sentences cost a handful of tensor operations.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from minilmm.interface.tokenizer import BOS, EOC, EOS, PAD_ID
from minilmm.world.random import coins, integers, uniform
from minilmm.world.scenes import Scenes
from minilmm.world.vocabulary import ALL_SHAPES, COLOURS, HYPHEN, NUMBERS, SIZES, TEXTURES, ids

ABSENT = -1
KNOWN = 1 << 16  # added to the ids of words that can be known from what stands before them: see `known`


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
    out = F.pad(out[:, :length], (0, max(0, length - out.shape[1])), value=ABSENT)
    return out.masked_fill(out == ABSENT, fill)


def when(condition: Tensor, *phrases: Tensor | str) -> Tensor:
    """The phrases side by side in the rows where the condition (B,) holds, nothing elsewhere."""
    nothing = torch.empty(len(condition), 0, dtype=torch.long, device=condition.device)
    return join(nothing, *phrases).masked_fill(~condition[:, None], ABSENT)


def known(phrase: Tensor | str) -> Tensor:
    """A phrase marked as one that can be known: an answer, a name from its second time on, what was described.

    Text of the corpus carries such marks up to `minilmm.world.corpus.sample_text`, which takes them off.
    """
    words = ids(phrase) if isinstance(phrase, str) else phrase
    return torch.where(words == ABSENT, ABSENT, words + KNOWN)


def plain(phrase: Tensor) -> Tensor:
    """A phrase without the marks of `known`."""
    return torch.where(phrase == ABSENT, ABSENT, phrase % KNOWN)


def same_width(*phrases: Tensor) -> list[Tensor]:
    """Phrases (..., K) of several lengths, padded with absent words to the longest."""
    width = max(phrase.shape[-1] for phrase in phrases)
    return [F.pad(phrase, (0, width - phrase.shape[-1]), value=ABSENT) for phrase in phrases]


def word(words: list[str], index: Tensor) -> Tensor:
    """One word per row, chosen by index: (...) -> (...) ids."""
    return ids(*words).to(index.device)[index]


def fill_rows(examples: Tensor, rows: int, length: int, before: Tensor | None = None) -> Tensor:
    """Examples (rows * n, K) in lines of n, after `<bos>` and an optional sentence: (rows, length), cut or padded."""
    parts = [part for part in (before, examples.reshape(rows, -1)) if part is not None]
    return compact(join(BOS, *parts, EOS), length, fill=PAD_ID)


def place_words(scenes: Scenes, o: int) -> Tensor:
    """Where the o-th object stands, as two words: (B, 2), "top left"."""
    vertical = word(["top", "bottom"], (scenes.y[:, o] >= 0.5).long())
    horizontal = word(["left", "right"], (scenes.x[:, o] >= 0.5).long())
    return torch.stack([vertical, horizontal], 1)


def attributes(scenes: Scenes, o: int) -> tuple[Tensor, ...]:
    """The words for the o-th object's size, texture, colour and shape, each (B, 1); absent where the object is."""
    present, values = scenes.present[:, o], (scenes.size, scenes.texture, scenes.colour, scenes.shape)
    tables = zip((SIZES, TEXTURES, COLOURS, ALL_SHAPES), values, strict=True)
    return tuple(when(present, word(words, index[:, o : o + 1])) for words, index in tables)


def noun(scenes: Scenes, o: int) -> Tensor:
    """Texture, colour and shape of the o-th object, "striped red circle": (B, 3)."""
    return torch.cat(attributes(scenes, o)[1:], 1)


def describe(scenes: Scenes, *, full: Tensor | bool = True) -> Tensor:
    """The words that stand in text where a picture would be: (B, K), no full stop.

    full: with sizes and places ("large striped red circle top left and ..."); otherwise "striped red circle and ...".
    """
    full = torch.as_tensor(full, device=scenes.present.device).expand(len(scenes))
    parts: list[Tensor] = []
    for o in range(max(int(scenes.count.max()), 1)):
        here = scenes.present[:, o]
        size, *rest = attributes(scenes, o)
        parts += [when(here, "and")] if o else []
        parts += [when(full, size), *rest, when(here & full, place_words(scenes, o))]
    return compact(join(*parts))


def hyphenate(phrase: Tensor, documents: int, generator: torch.Generator, share: float = 0.5) -> Tensor:
    """Join neighbouring words into compounds, "striped-red small-circle": (B, K) -> (B, 2 K - 1).

    A `share` of the documents, of B / documents rows each, have compounds at all; 30 to 100 % of their gaps then get a
    hyphen, but not beside "and", which keeps objects apart.
    """
    chance = uniform(0.3, 1.0, (documents,), generator) * coins((documents,), generator, share)
    chance = chance.repeat_interleave(len(phrase) // documents)
    phrase = compact(phrase)
    apart = (phrase == ABSENT) | (phrase == int(ids("and")))
    gap = uniform(0, 1, tuple(phrase.shape), generator)[:, 1:] < chance[:, None]
    marks = torch.where(gap & ~apart[:, 1:] & ~apart[:, :-1], int(ids(HYPHEN)), ABSENT)
    return torch.stack([phrase, F.pad(marks, (0, 1), value=ABSENT)], -1).flatten(1)[:, :-1]


REGISTERS = 5


def caption(scenes: Scenes, generator: torch.Generator, *, placed: bool = True, register: int | None = None) -> Tensor:
    """A caption per scene in one of several registers, ending in ". <EOC>": (B, K).

    One object: "a striped red circle ." · "this is a red circle . it is striped ." · "the image shows a large striped
    red circle ." · "there is a striped red circle at the top left ." · "the circle is red and striped and large ."
    Without `placed`, the fourth of these says what the first does. register: the same for all rows, 0 to 4.
    Several: "a plain red circle and a striped blue star ." · "there are two shapes : a ... and a ... ." · "there is a
    plain red circle at the top left and ... ." · "a red circle is left of a blue star ."
    """
    chosen, alone = integers(REGISTERS, (len(scenes),), generator), scenes.count == 1
    chosen = chosen if register is None else torch.full_like(chosen, register)
    chosen = torch.where(alone & (chosen == 3) & (not placed), 0, chosen)
    size, texture, colour, shape = attributes(scenes, 0)
    one = [
        join("a", noun(scenes, 0), "."),
        join("this is a", colour, shape, ". it is", texture, "."),
        join("the image shows a", size, noun(scenes, 0), "."),
        join("there is a", noun(scenes, 0), "at the", place_words(scenes, 0), "."),
        join("the", shape, "is", colour, "and", texture, "and", size, "."),
    ]
    phrases = [when(alone & (chosen == i), phrase) for i, phrase in enumerate(one)]
    if not bool(alone.all()):
        phrases += _caption_several(scenes, chosen, generator)
    return compact(join(*phrases, EOC))


def _caption_several(scenes: Scenes, chosen: Tensor, generator: torch.Generator) -> list[Tensor]:
    """The parts of captions for scenes of several objects, in the registers chosen (B,)."""
    several = scenes.count != 1
    related = several & (chosen == 4) & (scenes.count == 2)
    located = several & (chosen >= 2) & ~related
    number = word(NUMBERS, scenes.count)[:, None]
    phrases = [when(several & (chosen == 1), "there are", number, "shapes :"), when(located, "there is")]
    for o in range(int(scenes.count.max())):
        here = scenes.present[:, o] & several & ~related
        phrases += [when(here, "and")] if o else []
        phrases += [when(here, "a", noun(scenes, o)), when(here & located, "at the", place_words(scenes, o))]
    relation, _ = relation_words(scenes, coins((len(scenes),), generator))
    phrases.append(when(related, "a", noun(scenes, 0)[:, 1:], "is", relation, "a", noun(scenes, 1)[:, 1:]))
    return [*phrases, when(several, ".")]


def relation_words(scenes: Scenes, coin: Tensor) -> tuple[Tensor, Tensor]:
    """How the first object stands to the second ("left of", "right of", "above", "below"), and the second to the first.

    Along an axis on which their quadrants differ; where both do, the coin (B,) decides. Each (B, 6) with absent words.
    """
    x, y = scenes.x, scenes.y
    columns, rows = ((centre[:, 0] < 0.5) != (centre[:, 1] < 0.5) for centre in (x, y))
    across = columns & (coin | ~rows)

    def words(a: int, b: int) -> Tensor:
        left, above = x[:, a] < x[:, b], y[:, a] < y[:, b]
        horizontal = [when(across & left, "left of"), when(across & ~left, "right of")]
        return join(*horizontal, when(~across & above, "above"), when(~across & ~above, "below"))

    return words(0, 1), words(1, 0)

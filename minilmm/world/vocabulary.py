"""The closed vocabulary of the mini-world, and which of it is kept for tests."""

from __future__ import annotations

import functools
import itertools

import torch
from torch import Tensor

from minilmm.interface.tokenizer import WordTokenizer

# Held out is (colour + 2 shape) % 5 == 0: a fifth of the pairs, every colour and shape equally often. Colours (and
# shapes) that are congruent modulo 5 look different, since ambiguous naming pairs them (see `held_out`).
COLOURS = ["red", "green", "blue", "yellow", "black", "teal", "purple", "orange", "gray", "brown"]
SHAPES = [
    "circle", "square", "triangle", "star", "heart", "cross",
    "ring", "rectangle", "moon", "hexagon", "arrow", "diamond",
]  # fmt: skip
PLURALS = [shape + ("es" if shape.endswith("s") else "s") for shape in SHAPES]
TEXTURES = ["plain", "striped", "dotted"]
SIZES = ["small", "large"]
NUMBERS = ["zero", "one", "two", "three", "four"]
RGB = [
    (0.88, 0.10, 0.12), (0.10, 0.70, 0.16), (0.10, 0.22, 0.88), (0.96, 0.86, 0.10), (0.04, 0.04, 0.05),
    (0.05, 0.52, 0.52), (0.55, 0.15, 0.72), (0.98, 0.55, 0.05), (0.50, 0.50, 0.50), (0.48, 0.24, 0.10),
]  # fmt: skip
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
DIGITS = list("0123456789")
PLACES = ["norland", "eastport", "highmoor", "saltbay", "oakdale", "ridgeton"]
MATERIALS = ["wood", "glass", "stone", "paper", "metal", "wool"]
HYPHEN = "-"  # joins words into a compound (`minilmm.training.lm.compounds`); the first word after the specials
VERBS = ["moves", "grows", "shrinks", "blinks", "spins", "rests"]

_GRAMMAR = (
    """. , ? : a an the this that it there here is are was not no yes and or with of in on at to than from
image picture shape shapes object objects thing one_ color texture size word letter number video question answer
output caption answer_with what where which how many does do did contain contains show shows present more fewer
larger smaller same different left right above below top bottom center see i made come comes you describe
short long name named called has have background light dark up down first last then before after
""".replace("one_", "")
    .replace("answer_with", "")
    .split()
)


def _nonsense(count: int) -> list[str]:
    """Pronounceable words that mean nothing, one token each, always the same ones in the same order."""
    onsets = ("bl", "d", "fr", "g", "k", "m", "n", "pl", "r", "sn", "t", "v", "z")
    parts = itertools.product(onsets, "aeiou", "bdklmpvz", ("ax", "ek", "ip", "ot", "un"))
    words = ["".join(part) for part in parts]
    order = torch.randperm(len(words), generator=torch.Generator().manual_seed(0)).tolist()
    return [words[i] for i in order][:count]


_NAMES = _nonsense(318)
TRAIN_NAMES = _NAMES[:256]
TEST_NAMES = ["dax", "blicket", *_NAMES[256:]]  # never bound to anything in training, of a language model or a bridge


@functools.cache
def tokenizer() -> WordTokenizer:
    """The mini-world's tokenizer."""
    groups = (COLOURS, SHAPES, PLURALS, TEXTURES, SIZES, NUMBERS, _GRAMMAR, PLACES, MATERIALS, VERBS, DIGITS, LETTERS)
    seen = dict.fromkeys(itertools.chain(*groups, TRAIN_NAMES, TEST_NAMES))  # letters and words may coincide
    return WordTokenizer([HYPHEN, *seen])


@functools.cache
def ids(*words: str) -> Tensor:
    """Token ids of the words given, (n,) on the CPU. One string may hold several words."""
    return torch.tensor(tokenizer().encode(" ".join(words)))


def held_out(colour: Tensor, shape: Tensor) -> Tensor:
    """True where no picture of the colour-shape pair is ever trained on: a fifth of the pairs."""
    return (colour + 2 * shape) % 5 == 0


GLYPHS_TRAIN, GLYPHS_TEST = range(0, 1_000_000), range(1_000_000, 2_000_000)  # classes; endless for our purposes

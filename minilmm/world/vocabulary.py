"""The closed vocabulary of the mini-world, and which of it is kept for tests."""

from __future__ import annotations

import functools
import itertools

import torch
from torch import Tensor

from minilmm.interface.tokenizer import WordTokenizer

# Colours (and shapes) whose indices are congruent modulo CYCLE look different, since ambiguous naming pairs them.
COLOURS = ["red", "green", "blue", "yellow", "black", "teal", "purple", "orange", "gray", "brown"]
SHAPES = [
    "circle", "square", "triangle", "star", "heart", "cross",
    "ring", "rectangle", "moon", "hexagon", "arrow", "diamond",
]  # fmt: skip
NOVEL = ["pentagon", "semicircle", "trapezoid", "clover"]  # only text names them: no picture of training has them
ALL_SHAPES = [*SHAPES, *NOVEL]
PLURALS = [shape + ("es" if shape.endswith("s") else "s") for shape in ALL_SHAPES]
TEXTURES = ["plain", "striped", "dotted"]
SIZES = ["small", "large"]
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
RGB = [
    (0.88, 0.10, 0.12), (0.10, 0.70, 0.16), (0.10, 0.22, 0.88), (0.96, 0.86, 0.10), (0.04, 0.04, 0.05),
    (0.05, 0.52, 0.52), (0.55, 0.15, 0.72), (0.98, 0.55, 0.05), (0.50, 0.50, 0.50), (0.48, 0.24, 0.10),
]  # fmt: skip
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
DIGITS = list("0123456789")
PLACES = ["norland", "eastport", "highmoor", "saltbay", "oakdale", "ridgeton"]  # where shapes come from
MATERIALS = ["wood", "glass", "stone", "paper", "metal", "wool"]  # what colours are made of
SOUNDS = ["quiet", "loud", "hollow"]  # how textures sound
HYPHEN = "-"  # joins words into a compound (`minilmm.training.lm.compounds`); the first word after the specials
VERBS = ["moves", "grows", "shrinks", "blinks", "spins", "rests"]
# A number, a truth or a size has two words; a document's answers use those of one convention.
CONVENTIONS = ([*NUMBERS, "yes", "no", *SIZES], [*DIGITS, "true", "false", "little", "big"])

GRAMMAR = """. , ? : a the this that it there is are not no yes and or with of in at than from image shape shapes color
texture size word question answer what where which how many does do contain shows present larger smaller
same left right above below top bottom i made come comes describe short dark first last then before after
other true false big little pushes why happens blurred cropped photo unanswerable sign text label good bad
panel box row column step instruction sentence words known sound like second third odd say tell"""


def _nonsense(count: int) -> list[str]:
    """Pronounceable words that mean nothing, one token each, always the same ones in the same order."""
    onsets = ("bl", "d", "fr", "g", "k", "m", "n", "pl", "r", "sn", "t", "v", "z")
    parts = itertools.product(onsets, "aeiou", "bdklmpvz", ("ax", "ek", "ip", "ot", "un"))
    words = ["".join(part) for part in parts]
    order = torch.randperm(len(words), generator=torch.Generator().manual_seed(0)).tolist()
    return [words[i] for i in order][:count]


_NAMES = _nonsense(256 + 158)
TRAIN_NAMES = _NAMES[:256]
TEST_NAMES = ["dax", "blicket", *_NAMES[256:]]  # never bound to anything in training, of a language model or a bridge


@functools.cache
def tokenizer() -> WordTokenizer:
    """The mini-world's tokenizer."""
    attributes = (COLOURS, ALL_SHAPES, PLURALS, TEXTURES, SIZES, NUMBERS, VERBS, PLACES, MATERIALS, SOUNDS)
    groups = (*attributes, GRAMMAR.split(), DIGITS, LETTERS, TRAIN_NAMES, TEST_NAMES)
    return WordTokenizer([HYPHEN, *dict.fromkeys(itertools.chain(*groups))])  # "a" and "i" are words and letters


@functools.cache
def other_words() -> Tensor:
    """For every id that of the same meaning by the second of CONVENTIONS; itself where both say the same: (V,)."""
    table = torch.arange(len(tokenizer()))
    table[ids(*CONVENTIONS[0])] = ids(*CONVENTIONS[1])
    return table


@functools.cache
def ids(*words: str) -> Tensor:
    """Token ids of the words given, (n,) on the CPU. One string may hold several words."""
    return torch.tensor(tokenizer().encode(" ".join(words)))


CYCLE = 5  # one pair in CYCLE is held out, every colour and shape equally often


def held_out(colour: Tensor, shape: Tensor) -> Tensor:
    """True where no picture of the colour-shape pair is ever trained on: a fifth of the pairs."""
    return (colour + 2 * shape) % CYCLE == 0


def pair(colour: Tensor, shape: Tensor) -> Tensor:
    """One number for a colour and a shape, below PAIRS."""
    return colour + len(COLOURS) * shape


def unpair(pair: Tensor) -> tuple[Tensor, Tensor]:
    """The colour and the shape of a pair's number."""
    return pair % len(COLOURS), pair // len(COLOURS)


PAIRS = len(COLOURS) * len(SHAPES)
GLYPHS_TRAIN, GLYPHS_TEST = range(0, 1_000_000), range(1_000_000, 2_000_000)  # classes of glyphs

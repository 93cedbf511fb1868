"""The closed vocabulary of the mini-world, and which of it is kept for tests."""

from __future__ import annotations

import functools
import itertools

import torch
from torch import Tensor

from minilmm.interface.tokenizer import SPECIALS, WordTokenizer

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

GRAMMAR = """. , ? : a an the this that it there here is are was not no yes and or with of in on at to than from
image picture shape shapes object objects thing color texture size word letter number video question answer
output caption what where which how many does do did contain contains show shows present more fewer
larger smaller same different left right above below top bottom center see i made come comes you describe
short long name named called has have background light dark up down first last then before after"""
MORE = """other true false big little pushes then why happens blurred cropped photo unanswerable sign text label good
bad panel box row column step instruction sentence words known sound like first second third describe odd
size say tell"""
# Words of GRAMMAR that no sentence, question or caption says. They keep their places, since the ids of shipped
# checkpoints follow from the order; text of your own may use them.
RESERVED = """an background called caption center contains did different down fewer has have here letter light long
more name named number object objects on output picture same see show thing to up video was you"""


def _nonsense(count: int) -> list[str]:
    """Pronounceable words that mean nothing, one token each, always the same ones in the same order."""
    onsets = ("bl", "d", "fr", "g", "k", "m", "n", "pl", "r", "sn", "t", "v", "z")
    parts = itertools.product(onsets, "aeiou", "bdklmpvz", ("ax", "ek", "ip", "ot", "un"))
    words = ["".join(part) for part in parts]
    order = torch.randperm(len(words), generator=torch.Generator().manual_seed(0)).tolist()
    return [words[i] for i in order][:count]


_NAMES = _nonsense(256 + 62 + 96)
TRAIN_NAMES = _NAMES[:256]
TEST_NAMES = [
    "dax",
    "blicket",
    *_NAMES[256:318],
]  # never bound to anything in training
CLASS_NAMES = [*TEST_NAMES, *_NAMES[318:]]  # and more of them, where many classes are named


@functools.cache
def tokenizer(first: int | None = None) -> WordTokenizer:
    """The mini-world's tokenizer, or that of its first words alone, which a model of an earlier vocabulary knows."""
    if first is not None:
        return WordTokenizer(tokenizer().words[len(SPECIALS) : first])
    attributes, grammar = (COLOURS, SHAPES, PLURALS[:12], TEXTURES, SIZES, NUMBERS[:5]), GRAMMAR.split()
    earlier = (*attributes, grammar, PLACES, MATERIALS, VERBS, DIGITS, LETTERS, _NAMES[:256], ["dax", "blicket"])
    groups = (*earlier, _NAMES[256:318], NUMBERS, NOVEL, PLURALS, SOUNDS, MORE.split(), CLASS_NAMES)
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

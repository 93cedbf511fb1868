"""What every few-shot task is made of: pictures, the text after each, an answer, and what a guesser could know."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from minilmm.world.render import render, render_glyphs
from minilmm.world.scenes import Scenes
from minilmm.world.vocabulary import TEST_NAMES, TRAIN_NAMES, held_out, ids

SPLITS = ("held-out", "train")


@dataclass(frozen=True)
class Settings:
    """How episodes are made; a task reads what concerns it.

    shots: inner-shots per class in naming tasks, whole examples elsewhere. ways: classes. repeats: extra copies of
    each demonstration. induction: say the names in a first sentence. names: "nonsense" or "real".
    split: "held-out" (the default of every evaluation) or "train".
    """

    shots: int = 1
    ways: int = 2
    repeats: int = 0
    induction: bool = False
    names: str = "nonsense"
    split: str = "held-out"


@dataclass(frozen=True)
class Glyphs:
    """Pictures of procedural glyphs, one class per picture: (M,)."""

    classes: Tensor


@dataclass(frozen=True)
class Episodes:
    """B episodes of n demonstrations and a query, as ids in which -1 marks absent words.

    pictures      B (n + 1) scenes or glyphs, or the pixels themselves (B (n + 1), 3, R, R); the query's is last
    source        (B, n + 1) the place in `pictures` of every picture: exact copies share one
    texts         (B, n + 1, K) what follows each picture: whole examples, and the query's up to its answer
    descriptions  (B, n + 1, D) the words that stand for the pictures where a model reads text only
    first         (B, I) a sentence before the demonstrations
    answers       (B, A) the right continuation with ". <EOC>"
    candidates    (B, C, A) all continuations to rank; a row may have fewer (all words absent)
    target        (B,) which candidate is right
    group         (B,) what the question (and the demonstrations' text) gives away; the prior is the majority within it
    """

    pictures: Scenes | Glyphs | Tensor
    source: Tensor
    texts: Tensor
    descriptions: Tensor
    first: Tensor
    answers: Tensor
    candidates: Tensor
    target: Tensor
    group: Tensor

    def __len__(self) -> int:
        return len(self.source)

    def paint(self, generator: torch.Generator, resolution: int) -> Tensor:
        """All pictures, (B, n + 1, 1, 3, R, R) in [0, 1]."""
        if isinstance(self.pictures, Scenes):
            pixels = render(self.pictures, generator, resolution)
        elif isinstance(self.pictures, Glyphs):
            pixels = render_glyphs(self.pictures.classes, generator, resolution)
        else:
            pixels = self.pictures
        return pixels[self.source][:, :, None]


def pairs_of(split: str) -> str:
    """Which colour-shape pairs a split shows; ValueError for an unknown split."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose from {', '.join(SPLITS)}")
    return split


def names_of(split: str, device: torch.device) -> Tensor:
    """The ids of the nonsense names of a split: test names are never bound in training."""
    return ids(*(TRAIN_NAMES if split == "train" else TEST_NAMES)).to(device)


def check_split(episodes: Episodes, settings: Settings) -> None:
    """Assert what a split promises: its pairs, its names, and no query picture among the demonstrations."""
    shown, query = episodes.source[:, :-1], episodes.source[:, -1:]
    assert not bool((shown == query).any()), "the query is among its demonstrations"
    if isinstance(episodes.pictures, Scenes):
        out = held_out(episodes.pictures.colour, episodes.pictures.shape)
        assert bool((out == (settings.split == "held-out"))[episodes.pictures.present].all()), "a pair of another split"
    other = names_of("train" if settings.split == "held-out" else "held-out", episodes.texts.device)
    assert not bool(torch.isin(episodes.texts, other).any()), "a name of another split"

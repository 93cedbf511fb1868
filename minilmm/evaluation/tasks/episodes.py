"""What every few-shot task is made of: pictures, the text after each, an answer, and what a guesser could know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from minilmm.evaluation.tasks.settings import SPLITS, Settings
from minilmm.interface.tokenizer import Tokenizer
from minilmm.world.grammar import ABSENT, compact
from minilmm.world.render import render, render_glyphs
from minilmm.world.scenes import Scenes
from minilmm.world.vocabulary import TEST_NAMES, TRAIN_NAMES, held_out, ids


@dataclass(frozen=True)
class Glyphs:
    """Pictures of procedural glyphs, one class per picture: (M,)."""

    classes: Tensor


@dataclass(frozen=True)
class Stored:
    """Pictures of files: rows (M,) of what `load(resolution)` gives, (N, 3, R, R) bytes."""

    load: Callable[[int], Tensor]
    rows: Tensor


@dataclass(frozen=True)
class Episodes:
    """B episodes of n demonstrations and a query, as ids in which -1 marks absent words.

    pictures      what `source` counts: scenes, glyphs, stored pictures, or the pixels themselves (M, 3, R, R)
    source        (B, n + 1) the place in `pictures` of every picture, the query's last: exact copies share one
    texts         (B, n + 1, K) what follows each picture: whole examples, and the query's up to its answer
    descriptions  (B, n + 1, D) the words that stand for the pictures where a model reads text only
    first         (B, I) a sentence before the demonstrations
    candidates    (B, C, A) all continuations to rank, each with ". <EOC>"; a row may have fewer (all words absent)
    target        (B,) which candidate is right
    group         (B,) what the question (and the demonstrations' text) gives away; the prior is the majority within it
    kinds         the names of the groups
    """

    pictures: Scenes | Glyphs | Stored | Tensor
    source: Tensor
    texts: Tensor
    descriptions: Tensor
    first: Tensor
    candidates: Tensor
    target: Tensor
    group: Tensor
    kinds: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, pictures: Scenes | Glyphs | Stored | Tensor, texts: Tensor, candidates: Tensor,
        target: Tensor | None = None, **others: Tensor | tuple[str, ...] | None,
    ) -> Episodes:  # fmt: skip
        """Episodes of which only this is said: each picture is shown once, in order, and none has a description; no
        first sentence, one group, and the first candidate is right. `others` are further fields.
        """
        B, m = texts.shape[:2]
        nothing, zero = torch.full_like(texts[:, :, :1], ABSENT), torch.zeros_like(texts[:, 0, 0])
        usual = {"source": torch.arange(B * m, device=texts.device).view(B, m), "descriptions": nothing,
                 "first": nothing[:, 0, :0], "target": zero, "group": zero}  # fmt: skip
        given = {name: value for name, value in {"target": target, **others}.items() if value is not None}
        return cls(pictures=pictures, texts=texts, candidates=candidates, **usual | given)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, rows: slice) -> Episodes:
        """Some of the episodes, over the same pictures."""
        names = [f.name for f in fields(self) if f.name not in ("pictures", "kinds")]
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    @property
    def answers(self) -> Tensor:
        """The right continuation with ". <EOC>", (B, A)."""
        return self.candidates[torch.arange(len(self), device=self.target.device), self.target]

    def paint(self, generator: torch.Generator, resolution: int) -> Tensor:
        """All pictures, (B, n + 1, 1, 3, R, R) in [0, 1]."""
        if isinstance(self.pictures, Stored):
            shown = self.pictures.load(resolution)[self.pictures.rows.cpu()[self.source.cpu()]]
            return shown[:, :, None].to(generator.device).float() / 255
        pixels = self.pictures
        if isinstance(pixels, Scenes):
            pixels = render(pixels, generator, resolution)
        elif isinstance(pixels, Glyphs):
            pixels = render_glyphs(pixels.classes, generator, resolution)
        return pixels[self.source][:, :, None]


def pairs_of(split: str) -> str:
    """Which colour-shape pairs a split shows; ValueError for an unknown split."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose from {', '.join(SPLITS)}")
    return split


def names_of(split: str, device: torch.device) -> Tensor:
    """The ids of the nonsense names of a split: test names are never bound in training."""
    return ids(*(TRAIN_NAMES if split == "train" else TEST_NAMES)).to(device)


def check_query(episodes: Episodes, settings: Settings) -> None:
    """Assert that no query picture stands among the demonstrations."""
    assert not bool((episodes.source[:, :-1] == episodes.source[:, -1:]).any()), "the query is among its demonstrations"


def check_split(episodes: Episodes, settings: Settings) -> None:
    """Assert what a split promises: its pairs, its names, and no query picture among the demonstrations."""
    check_query(episodes, settings)
    if isinstance(episodes.pictures, Scenes):
        out = held_out(episodes.pictures.colour, episodes.pictures.shape)
        assert bool((out == (settings.split == "held-out"))[episodes.pictures.present].all()), "a pair of another split"
    other = names_of("train" if settings.split == "held-out" else "held-out", episodes.texts.device)
    assert not bool(torch.isin(episodes.texts, other).any()), "a name of another split"


def table(phrases: Sequence[str], tokenizer: Tokenizer) -> Tensor:
    """Phrases as ids, (N, K); -1 marks absent words."""
    rows = [torch.tensor(tokenizer.encode(phrase), dtype=torch.long) for phrase in phrases]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=ABSENT)


def as_wide(*phrases: Tensor) -> list[Tensor]:
    """Phrases (..., K) of several lengths, padded with absent words to the longest."""
    width = max(phrase.shape[-1] for phrase in phrases)
    return [F.pad(phrase, (0, width - phrase.shape[-1]), value=ABSENT) for phrase in phrases]


def joined(*phrases: Tensor) -> Tensor:
    """Phrases (B, m, K) and words that all share (K,) side by side, absent words last: (B, m, K')."""
    full = next(p for p in phrases if p.dim() == 3)
    B, m, _ = full.shape
    whole = torch.cat([p if p.dim() == 3 else p.to(full.device).expand(B, m, -1) for p in phrases], -1)
    return compact(whole.flatten(0, 1)).view(B, m, -1)

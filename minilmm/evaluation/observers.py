"""Ideal observers: the accuracy of exact Bayes, the ceiling of a few-shot curve."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from minilmm.evaluation.tasks import Episodes, Settings, ambiguous, vqa
from minilmm.world.scenes import Scenes


def ambiguous_posterior(bits: Tensor, labels: Tensor, query: Tensor, flips: float) -> Tensor:
    """Probability that the query is called 1, by exact Bayes: (B,).

    bits (B, n, 3): which of its two values each attribute of a demonstration has; labels (B, n) in {0, 1};
    query (B, 3). Six hypotheses: one of three attributes decides, and its values go with the names one way or the
    other; each demonstration's name is swapped with probability `flips`.
    """
    hypotheses = torch.cat([bits, 1 - bits], -1)  # (B, n, 6), the name each hypothesis expects
    right = hypotheses == labels[..., None]
    likelihood = torch.where(right, 1 - flips, flips).double().prod(1)  # (B, 6)
    posterior = likelihood / likelihood.sum(1, keepdim=True)
    return (posterior * torch.cat([query, 1 - query], -1)).sum(1)


@functools.cache
def ambiguous_ideal(shots: int, flips: float, episodes: int = 20_000, seed: int = 0) -> float:
    """Expected accuracy of the ideal observer at `shots` examples per class, over simulated episodes."""
    generator = torch.Generator().manual_seed(seed)
    drawn = ambiguous.sample(episodes, generator, Settings(shots=shots, split="train"), flips)
    bits, labels = _bits(drawn)
    one = ambiguous_posterior(bits[:, :-1], labels, bits[:, -1], flips)
    guess = torch.where(one == 0.5, 0.5, (one > 0.5).double())
    truth = drawn.target.double()
    return float((guess * truth + (1 - guess) * (1 - truth)).mean())


def _bits(episodes: Episodes) -> tuple[Tensor, Tensor]:
    """Attributes as bits (B, n + 1, 3), relative to the first picture, and the demonstrations' names (B, n)."""
    assert isinstance(episodes.pictures, Scenes)
    attributes = torch.stack([getattr(episodes.pictures, a)[:, 0] for a in ("colour", "shape", "texture")], -1)
    seen = attributes[episodes.source]  # (B, n + 1, 3)
    bits = (seen != seen[:, :1]).long()
    labels = (episodes.texts[:, :-1, 0] == episodes.candidates[:, 1, :1]).long()
    return bits, labels


def ideal(task: str, shots: int) -> float | None:
    """The ideal observer's accuracy where a task has one."""
    if task in ("ambiguous-naming", "noisy-naming"):
        return ambiguous_ideal(shots, ambiguous.FLIPS if task == "noisy-naming" else 0.0)
    if task == "induction-vqa":  # before any example each of the attributes may be meant; after one, it is known
        return 1.0 if shots else 1 / len(vqa.ATTRIBUTES)
    return None

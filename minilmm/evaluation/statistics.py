"""Scores with intervals: over episodes (bootstrap), and over seeds (Student's t)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from scipy import special
from torch import Tensor


class Interval(NamedTuple):
    """A mean and the ends of its interval; unpacks as `mean, low, high`."""

    mean: float
    low: float
    high: float


def _vector(values: Tensor | Sequence[float], least: int) -> Tensor:
    """Values as doubles (N,) on the CPU; ValueError where there are too few or one is not finite."""
    vector = torch.as_tensor(values, dtype=torch.double, device="cpu")
    if vector.ndim != 1 or len(vector) < least:
        raise ValueError(f"an interval needs a vector of at least {least} values, not of shape {tuple(vector.shape)}")
    if not vector.isfinite().all():
        raise ValueError("some values are not finite: leave them out, and report how many")
    return vector


def bootstrap_interval(
    values: Tensor | Sequence[float], seed: int = 0, samples: int = 2000, level: float = 0.95
) -> Interval:
    """Mean over episodes with its percentile-bootstrap interval.

    values (N,): one score per episode. The episodes are drawn again with replacement `samples` times; the interval
    holds the middle `level` of the resampled means. The same seed gives the same interval.

    If every value is 0, or every value is 1, all resamples are alike and the interval would have no width, which
    claims a certainty that N episodes do not give. There, and only there, the bounds are **Wilson's**: 100 right of
    100 gives (1, .963, 1).

    ValueError: no values, not a vector, or a value that is not finite.
    """
    vector = _vector(values, least=1)
    mean, n = vector.mean().item(), len(vector)
    if mean in (0.0, 1.0) and bool((vector == mean).all()):
        z = float(special.ndtri((1 + level) / 2))
        width = z * z / (n + z * z)
        return Interval(0.0, 0.0, width) if mean == 0 else Interval(1.0, 1 - width, 1.0)
    generator = torch.Generator().manual_seed(seed)
    means = []
    for rows in torch.arange(samples).split(max(1, 2_000_000 // n)):  # bounded memory for any N
        picks = torch.randint(n, (len(rows), n), generator=generator)  # (rows, N)
        means.append(vector[picks].mean(1))
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.double)
    low, high = torch.cat(means).quantile(ends).tolist()
    return Interval(mean, low, high)


def student_t_central(t: float, dof: int) -> float:
    """P(|T| < t) for Student's t; 1 minus it is the two-sided p-value."""
    return 1 - 2 * float(special.stdtr(dof, -abs(t)))


def student_t_quantile(level: float, dof: int) -> float:
    """The t with P(|T| < t) = level: 2.776 for .95 and 4 degrees of freedom."""
    if dof < 1 or not 0 < level < 1:
        raise ValueError(f"Student's t needs dof >= 1 and 0 < level < 1, not dof = {dof} and level = {level}")
    return float(special.stdtrit(dof, (1 + level) / 2))


def paired_interval(differences: Tensor | Sequence[float], level: float = 0.95) -> Interval:
    """Mean difference of two arms over seeds, with its Student's t interval.

    differences (S,): one per seed, arm A minus arm B run with the same seed and data. An effect is shown where the
    interval excludes zero. S equal differences give an interval without width, which shows nothing.

    ValueError: fewer than two seeds, not a vector, or a value that is not finite.
    """
    vector = _vector(differences, least=2)
    mean, n = vector.mean().item(), len(vector)
    half = student_t_quantile(level, n - 1) * vector.std(correction=1).item() / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)

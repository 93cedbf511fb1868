"""Accuracy with a percentile-bootstrap interval over episodes (Efron & Tibshirani 1993, chapter 13)."""

import torch
from torch import Tensor


def interval(correct: Tensor, picks: Tensor) -> tuple[float, float, float]:
    """Accuracy and the ends of its 95 % interval.

    correct (N,): 1 where an episode was answered right, 0 where not. picks (S, N): S resamples of the N episodes,
    drawn with replacement, as indices. The mean of each resample is one accuracy that might have been; the interval's
    ends are their 2.5 % and 97.5 % quantiles (`torch.quantile`, which interpolates).
    """
    raise NotImplementedError("your code here")


def gap(first: Tensor, second: Tensor, picks: Tensor) -> tuple[float, float, float]:
    """How much better the first model is, and the interval of that: both answered the *same* episodes.

    first, second (N,): right or not; picks (S, N). An easy episode is easy for both: keep the pairs together.
    """
    raise NotImplementedError("your code here")


def in_order(low: float, high: float, chance: float) -> bool:
    """Is a control in order? Only where its interval holds the chance, its ends included."""
    raise NotImplementedError("your code here")

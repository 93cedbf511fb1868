"""Clocks: medians with quartiles, several contestants in turn, and the machine's matrix-product peak."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

Work = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles; unpacks as `median, low, high`."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """From repetitions; quartiles between the values there are."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def inverse(self, amount: float) -> Spread:
        """`amount` per second, from seconds: the slow quartile becomes the low one."""
        return Spread(amount / self.median, amount / self.high, amount / self.low)


def seconds(work: Work, device: str) -> float:
    """One run on the clock; on a GPU until it is really done."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def in_turn(contestants: Sequence[Work], repetitions: int, device: str, warm: int = 2) -> list[list[float]]:
    """Seconds of each contestant, (contestants, repetitions): A B, B A, A B, ... after `warm` rounds that do not count.

    Neighbours share whatever else the machine is doing, so the ratio of a round is steadier than any of its seconds;
    the order turns over because the second may find a cache that the first has filled.
    """
    found: list[list[float]] = [[] for _ in contestants]
    for turn in range(warm + repetitions):
        order = range(len(contestants)) if turn % 2 == 0 else reversed(range(len(contestants)))
        for i in order:
            spent = seconds(contestants[i], device)
            if turn >= warm:
                found[i].append(spent)
    return found


def timed(work: Work, repetitions: int, device: str, warm: int = 2) -> Spread:
    """Seconds of one piece of work."""
    return Spread.of(in_turn([work], repetitions, device, warm)[0])


def matrix_peak(sizes: Sequence[int], repetitions: int, device: str) -> tuple[float, int]:
    """The most GFLOP/s that a product of two square float32 matrices reaches here, and the size at which it does."""
    best = (0.0, 0)
    for n in sizes:
        a, b, out = (torch.rand(n, n, device=device) for _ in range(3))
        times = in_turn([lambda a=a, b=b, out=out: torch.mm(a, b, out=out)], repetitions, device)[0]  # type: ignore[misc]
        best = max(best, (2 * n**3 / min(times) / 1e9, n))
    return best

"""What a claim is, and when it counts as replicated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from minilmm.metrics import Interval, paired_interval, student_t_central, student_t_quantile
from minilmm.training.recipes import FlamingoRecipe

FRESH = tuple(range(100, 110))  # a verdict's seeds; choices are made on seeds 0 to 4
PILOT = tuple(range(5))


@dataclass(frozen=True)
class Measure:
    """An accuracy: a task, its ways and its number of shots."""

    task: str
    shots: int
    ways: int = 2

    @property
    def name(self) -> str:
        """ "naming, 5 ways, 4 shots"."""
        ways = f", {self.ways} ways" if self.task == "naming" else ""
        return f"{self.task}{ways}, {self.shots} shot{'s' if self.shots != 1 else ''}"


@dataclass(frozen=True)
class Arm:
    """A recipe by what it changes in the claim's; `lr` is that of the arm's own best run on the pilot's seeds."""

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    lr: float | None = None

    def recipe(self, base: FlamingoRecipe, seed: int) -> FlamingoRecipe:
        """The arm's recipe with a seed."""
        optimisation = replace(base.optimisation, lr=self.lr or base.optimisation.lr)
        return replace(base, optimisation=optimisation, seed=seed, **self.changes)


@dataclass(frozen=True)
class Claim:
    """A finding to test.

    number     its place in the list of claims
    says       the direction, as a sentence
    source     where the paper says so, with its figures
    arms       the paper's choice first; the verdict compares it with the second, the others are reported beside
    measure    what decides; `beside` is reported
    detects    the smallest difference that ten seeds would find with 80 % power, from the spread of the pilot's seeds;
               None until the pilot has been run
    note       what was chosen on the pilot's seeds, and what to know
    """

    name: str
    number: int
    says: str
    source: str
    base: FlamingoRecipe
    arms: tuple[Arm, ...]
    measure: Measure
    beside: tuple[Measure, ...]
    detects: float | None = None
    note: str = ""
    seeds: tuple[int, ...] = FRESH

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What decides, and what is reported beside it."""
        return (self.measure, *self.beside)


def verdict(differences: Sequence[float]) -> tuple[str, Interval]:
    """ "replicated" where the interval of paired differences lies above 0, "contradicted" below, else "inconclusive".

    differences (S,): the first arm minus the second, by seed. ValueError with fewer than two.
    """
    interval = paired_interval(differences)
    if interval.low > 0:
        return "replicated", interval
    return ("contradicted" if interval.high < 0 else "inconclusive"), interval


def p_value(differences: Sequence[float]) -> float:
    """Two-sided p of Student's t for a mean difference of 0; 1 where all differences are 0."""
    n, mean = len(differences), sum(differences) / len(differences)
    spread = math.sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1))
    if spread == 0:
        return float(mean == 0)
    return 1 - student_t_central(mean / (spread / math.sqrt(n)), n - 1)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values (Holm 1979): the smallest times their number, the next times one less, never falling."""
    adjusted, floor = {}, 0.0
    for i, name in enumerate(sorted(p, key=lambda name: p[name])):
        floor = max(floor, min(1.0, p[name] * (len(p) - i)))
        adjusted[name] = floor
    return {name: adjusted[name] for name in p}


def detectable(differences: Sequence[float], seeds: int) -> float:
    """The smallest mean difference that `seeds` pairs would show with 80 % power, from a pilot's differences."""
    n, mean = len(differences), sum(differences) / len(differences)
    spread = math.sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1))
    return (student_t_quantile(0.95, seeds - 1) + student_t_quantile(0.6, seeds - 1)) * spread / math.sqrt(seeds)

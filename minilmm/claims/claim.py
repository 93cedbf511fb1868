"""What a claim is, and when it counts as replicated."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

from minilmm.evaluation.statistics import Interval, paired_interval, student_t_central, student_t_quantile
from minilmm.training.recipes import Blip2Recipe, FlamingoRecipe

FRESH = tuple(range(200, 210))  # a verdict's seeds; choices are made on seeds 0 to 4; 100 to 109 went to older recipes
PILOT = tuple(range(5))


@dataclass(frozen=True)
class Measure:
    """An accuracy: a task, its ways and its number of shots; or what it gains over so many shots (`minus`)."""

    task: str
    shots: int
    ways: int = 2
    minus: int | None = None

    @property
    def name(self) -> str:
        """ "naming, 5 ways, 4 shots"."""
        ways = f", {self.ways} ways" if self.task == "naming" else ""
        less = f" minus {self.minus}" if self.minus is not None else ""
        return f"{self.task}{ways}, {self.shots} shot{'s' if self.shots != 1 else ''}{less}"


@dataclass(frozen=True)
class Ranking:
    """Retrieval among near-duplicates by BLIP-2's first stage: the mean of TR@1 and IR@1, by "ITC" or "ITM"."""

    by: str

    @property
    def name(self) -> str:
        """ "R@1 by ITC"."""
        return f"R@1 by {self.by}"


@dataclass(frozen=True)
class Stages:
    """BLIP-2's two stages as one run; without a first, stage 1 is skipped."""

    first: Blip2Recipe | None
    second: Blip2Recipe

    @property
    def seed(self) -> int:
        """Of both."""
        return self.second.seed


Recipe = FlamingoRecipe | Stages


@dataclass(frozen=True)
class Arm:
    """A recipe by what it changes in the claim's; `lr` is that of the arm's own best run on the pilot's seeds.

    base: another recipe than the claim's to begin from. reads: the measure that it is judged by, where not the claim's.
    Changes of `Stages` are stage 1's, except "first".
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    lr: float | None = None
    base: Recipe | None = None
    reads: str = ""

    def recipe(self, base: Recipe, seed: int) -> Recipe:
        """The arm's recipe with a seed."""
        base = self.base or base
        if isinstance(base, Stages):
            skips = "first" in self.changes or base.first is None
            first = None if skips or base.first is None else replace(base.first, seed=seed, **self.changes)
            return Stages(first, replace(base.second, seed=seed))
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
    base: Recipe
    arms: tuple[Arm, ...]
    measure: Measure | Ranking
    beside: tuple[Measure | Ranking, ...]
    detects: float | None = None
    note: str = ""
    seeds: tuple[int, ...] = FRESH

    @property
    def measures(self) -> tuple[Measure | Ranking, ...]:
        """What decides, and what is reported beside it."""
        return (self.measure, *self.beside)

    def values(self, rows: Sequence[Mapping[str, Any]], arm: Arm, seeds: Sequence[int] = ()) -> dict[int, float]:
        """What an arm is judged by, by seed: the claim's seeds unless others are given; a run that diverged has 0."""
        name = arm.reads or self.measure.name
        mine = (row for row in rows if row["arm"] == arm.name and row["seed"] in (seeds or self.seeds))
        return {row["seed"]: row.get("values", {}).get(name, 0.0) for row in mine}

    def differences(self, rows: Sequence[Mapping[str, Any]], arm: Arm, seeds: Sequence[int] = ()) -> list[float]:
        """The first arm minus another, in the order of the seeds that both have."""
        ours, theirs = (self.values(rows, which, seeds) for which in (self.arms[0], arm))
        return [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]


def verdict(differences: Sequence[float]) -> tuple[str, Interval]:
    """ "replicated" where the interval of paired differences lies above 0, "contradicted" below, else "inconclusive".

    differences (S,): the first arm minus the second, by seed. ValueError with fewer than two.
    """
    interval = paired_interval(differences)
    if interval.low > 0:
        return "replicated", interval
    return ("contradicted" if interval.high < 0 else "inconclusive"), interval


def _error(differences: Sequence[float], seeds: int) -> tuple[float, float]:
    """The mean of differences, and the standard error of a mean over so many seeds."""
    return statistics.fmean(differences), statistics.stdev(differences) / math.sqrt(seeds)


def p_value(differences: Sequence[float]) -> float:
    """Two-sided p of Student's t for a mean difference of 0; 1 where all differences are 0."""
    mean, error = _error(differences, len(differences))
    if error == 0:
        return float(mean == 0)
    return 1 - student_t_central(mean / error, len(differences) - 1)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values (Holm 1979): the smallest times their number, the next times one less, never falling."""
    order = sorted(p, key=lambda name: p[name])
    scaled = [min(1.0, p[name] * (len(p) - i)) for i, name in enumerate(order)]
    adjusted = dict(zip(order, accumulate(scaled, max), strict=True))
    return {name: adjusted[name] for name in p}


def detectable(differences: Sequence[float], seeds: int) -> float:
    """The smallest mean difference that `seeds` pairs would show with 80 % power, from a pilot's differences."""
    _, error = _error(differences, seeds)
    return (student_t_quantile(0.95, seeds - 1) + student_t_quantile(0.6, seeds - 1)) * error

"""What is asked of a model on a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

from minilmm.evaluation.tasks import CONDITIONS, Settings, Task


@dataclass(frozen=True)
class Request:
    """How a model is to be evaluated; from `beams` on as in Flamingo (appendix A.2)."""

    shots: tuple[int, ...] | None = None  # at which numbers of shots; None: the task's own
    settings: Settings = field(default_factory=Settings)  # how episodes are made
    episodes: int = 500  # at each number of shots
    conditions: tuple[str, ...] = CONDITIONS  # the real pictures, and the controls
    scoring: str | None = None  # "rank" or "generate"; None: the task's own
    seed: int = 0  # of episodes, pictures and intervals
    beams: int = 1  # of a generated answer; the paper has 3
    orders: int = 1  # of the demonstrations, over which log-likelihoods are averaged; the paper has 6
    rices: bool = False  # demonstrations of a pool whose pictures resemble the query's, the nearest last
    pool: int = 0  # how many examples RICES chooses from; 0: the task's own number
    zero_shot_texts: int = 0  # at zero shots so many examples without their pictures in front; the paper has 2
    per_token: bool = False  # rank by the mean log-probability per token: real names differ in length

    def check(self, task: Task) -> None:
        """ValueError for what cannot be measured."""
        scoring = self.scoring or task.scorings[0]
        if min(self.shots or (0,)) < 0 or self.episodes < 1:
            counts = f"shots {self.shots} and episodes {self.episodes}"
            raise ValueError(f"{counts}: shots must be 0 or more, episodes 1 or more")
        if scoring not in task.scorings:
            raise ValueError(f"unknown scoring {scoring!r} for {task.name}: choose {' or '.join(task.scorings)}")
        if self.rices and not task.pooled:
            raise ValueError(f"rices: {task.name} has no pool of examples: leave rices out, or use vqa or caption")
        if self.pool and not self.rices:
            raise ValueError("pool: is what RICES chooses from: ask for rices too")
        if (self.orders > 1 or self.per_token) and scoring != "rank":
            raise ValueError("orders and per_token apply to log-probabilities: choose scoring by rank")


class Score(TypedDict, total=False):
    """How well a model did at one number of shots, under one condition, by one metric; numbers are rounded."""

    shots: int
    condition: str
    metric: str
    value: float
    low: float  # the 95 % interval
    high: float
    prior: float  # of the best guess without pictures
    ideal: float  # of the ideal observer, where it is known
    by_kind: dict[str, float]  # per kind of question, where there are several

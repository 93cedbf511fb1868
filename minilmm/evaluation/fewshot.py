"""Few-shot evaluation: episodes to prompts, prompts to scores, with the controls beside every score.

Of a model it needs `sees`, `score` and `generate`. A model that does not see reads a description where the picture
would be, and the controls act on descriptions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from minilmm.evaluation.prompts import CONDITIONS, fork, prompts, reorder
from minilmm.evaluation.rices import Pool
from minilmm.evaluation.scoring import METRICS, SCORERS, Prompts, right
from minilmm.evaluation.statistics import bootstrap_interval
from minilmm.evaluation.tasks import Settings, Task, task_named
from minilmm.evaluation.tasks.episodes import Episodes
from minilmm.interface.model import MultimodalLM
from minilmm.interface.tokenizer import Tokenizer
from minilmm.world.grammar import ABSENT
from minilmm.world.vocabulary import tokenizer as world_tokenizer

BLOCK = 100  # episodes sampled together: results do not depend on how many are scored at once
SIZE = 48  # pixels per side, where a model does not say


@dataclass(frozen=True)
class Request:
    """What is asked of a model; beams to per_token are as in Flamingo's evaluations (appendix A.2).

    shots            at which numbers of shots; None: the task's own
    settings         how episodes are made
    episodes         how many at each number of shots
    conditions       the real pictures, and the controls
    scoring          "rank" or "generate"; None: the task's own
    seed             of episodes, pictures and intervals
    beams            beams of a generated answer; the paper has 3
    orders           the log-likelihoods of so many orders of the demonstrations are averaged; the paper has 6
    rices            demonstrations are those of a pool of 1000 whose pictures resemble the query's, the nearest last
    zero_shot_texts  at zero shots so many examples without their pictures stand in front; the paper has 2
    per_token        candidates are ranked by their mean log-probability per token: real names differ in length
    """

    shots: tuple[int, ...] | None = None
    settings: Settings = field(default_factory=Settings)
    episodes: int = 500
    conditions: tuple[str, ...] = CONDITIONS
    scoring: str | None = None
    seed: int = 0
    beams: int = 1
    orders: int = 1
    rices: bool = False
    zero_shot_texts: int = 0
    per_token: bool = False

    def check(self, task: Task, sees: bool) -> None:
        """ValueError for what cannot be measured."""
        if min(self.shots or (0,)) < 0 or self.episodes < 1:
            raise ValueError(
                f"shots {self.shots} and episodes {self.episodes}: shots must be 0 or more, episodes 1 or more"
            )
        scoring = self.scoring or task.scorings[0]
        if scoring not in task.scorings:
            raise ValueError(f"unknown scoring {scoring!r} for {task.name}: choose {' or '.join(task.scorings)}")
        if self.rices and not (task.pooled and sees):
            raise ValueError(f"rices: {task.name} has no pool to choose from, or the model no eyes: use vqa or caption")
        if (self.orders > 1 or self.per_token) and scoring != "rank":
            raise ValueError("orders, per token: are of log-likelihoods, which needs scoring by rank")


@dataclass(frozen=True)
class Score:
    """How well a model did at one number of shots, under one condition, by one metric, with its 95 % interval.

    prior: what the best guess without pictures scores. ideal: the ideal observer. by_kind: per kind of question.
    """

    shots: int
    condition: str
    metric: str
    value: float
    low: float
    high: float
    prior: float
    ideal: float | None = None
    by_kind: dict[str, float] | None = None

    def row(self) -> dict[str, Any]:
        """As JSON, rounded."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in given.items()}


@dataclass(frozen=True)
class Evaluation:
    """A model on a task, as a request has it."""

    model: MultimodalLM
    task: Task
    request: Request
    device: torch.device | str
    report: Callable[[int], None]

    @cached_property
    def scoring(self) -> str:
        """The request's, or the task's own."""
        return self.request.scoring or self.task.scorings[0]

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Whose ids the episodes are in."""
        return self.task.tokenizer or world_tokenizer()

    @cached_property
    def resolution(self) -> int:
        """Pixels per side of what the model sees."""
        config = getattr(self.model, "config", None)
        return config.vision.resolution if self.model.sees and config is not None else SIZE

    @cached_property
    def pool(self) -> Pool | None:
        """What demonstrations are chosen from, if they are."""
        request = self.request
        if not request.rices:
            return None
        return Pool(self.model, self.task, request.settings, request.seed, self.resolution, self.device)

    def blocks(self, shots: int, settings: Settings) -> Iterator[tuple[Episodes, Tensor | None, torch.Generator]]:
        """Blocks of episodes and their pictures. The seed depends on the request's and on the block alone, so that all
        conditions see the same episodes, and every model those of the others.
        """
        for block in range(0, self.request.episodes, BLOCK):
            number = ((self.request.seed * 1009 + shots) * 1_000_003 + block) % (1 << 62)
            generator = torch.Generator(self.device).manual_seed(number)
            if self.pool is not None and shots:
                episodes = self.pool.draw(shots, BLOCK, generator)
            else:
                episodes = self.task.sample(BLOCK, generator, settings)
                self.task.check(episodes, settings)
            yield episodes, episodes.paint(generator, self.resolution) if self.model.sees else None, generator

    def ask(
        self, episodes: Episodes, media: Tensor | None, condition: str, generator: torch.Generator, count: int,
        texts_only: bool,
    ) -> list[Any]:  # fmt: skip
        """What the first `count` episodes of a block come to under a condition, by the scoring asked for."""
        orders = [(episodes, media)]
        if self.request.orders > 1:
            orders = [reorder(episodes, media, generator) for _ in range(self.request.orders)]
        asked: Prompts = [
            (prompts(drawn, seen, condition, generator, texts_only, self.tokenizer)[:count], drawn[:count])
            for drawn, seen in orders
        ]
        return SCORERS[self.scoring](self.model, asked, self.tokenizer, self.request.beams, self.request.per_token)

    def score(self, shots: int) -> tuple[list[Score], float]:
        """The scores at a number of shots, and the accuracy of chance where candidates are ranked."""
        request, task, settings = self.request, self.task, replace(self.request.settings, shots=shots)
        texts_only = shots == 0 and request.zero_shot_texts > 0
        if texts_only:
            each = settings.ways if task.per_class else 1
            settings = replace(settings, shots=max(1, request.zero_shot_texts // each))
        results: dict[str, list[Any]] = {condition: [] for condition in request.conditions}
        asked: list[Episodes] = []
        chances = []
        for episodes, media, generator in self.blocks(shots, settings):
            count = min(BLOCK, request.episodes - BLOCK * len(asked))
            for condition in request.conditions:  # each draws the same, whichever stand beside it
                results[condition] += self.ask(episodes, media, condition, fork(generator), count, texts_only)
                self.report(count)
            asked.append(replace(episodes, pictures=torch.empty(0))[:count])
            options = (episodes.candidates[..., 0] != ABSENT).sum(1)
            chances.append((right(episodes).sum(1).double() / options).mean().item())
        prior = task.prior(task, settings, self.scoring, self.device)
        ideal = task.ideal(shots) if task.ideal is not None else None
        group, scores = torch.cat([episodes.group for episodes in asked]).cpu(), []
        for condition in request.conditions:
            for metric, values in METRICS[self.scoring](results[condition], asked, self.tokenizer).items():
                each_kind = {name: torch.tensor(values)[group == g] for g, name in enumerate(asked[0].kinds)}
                by_kind = {name: round(float(v.mean()), 3) for name, v in each_kind.items() if len(v)} or None
                interval = bootstrap_interval(values, seed=request.seed)
                scores.append(Score(shots, condition, metric, *interval, prior, ideal, by_kind))
        return scores, round(sum(chances) / len(chances), 4) if self.scoring == "rank" else 0.0


@torch.no_grad()
def evaluate(
    model: MultimodalLM,
    task: str | Task,
    request: Request | None = None,
    *,
    device: torch.device | str = "cpu",
    report: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Score a model on a task at several numbers of shots, under every condition: the object that `eval --json` prints.

    Its rows are those of `Score`, with intervals by bootstrap over episodes. task: a task, or its name (`task_named`).
    report: is told how many episodes were scored, after each block and condition. ValueError for what cannot be
    measured.
    """
    start, request = time.perf_counter(), request or Request()
    task = task_named(task) if isinstance(task, str) else task
    request.check(task, model.sees)
    evaluation, shots = Evaluation(model, task, request, device, report), request.shots or task.shots
    results = [evaluation.score(k) for k in shots]
    rows = [score.row() for scores, _ in results for score in scores]
    settings = asdict(request.settings)
    for name in ("shots",) if task.per_class else ("shots", "ways", "repeats", "induction", "names"):
        del settings[name]
    settings |= {"scoring": evaluation.scoring, "seed": request.seed, "episodes": request.episodes}
    how = [f for f in fields(Request) if f.name in ("beams", "orders", "rices", "zero_shot_texts", "per_token")]
    settings |= {f.name: value for f in how if (value := getattr(request, f.name)) != f.default}
    settings["inner_shots" if task.per_class else "examples"] = list(shots)
    return {
        "task": task.name,
        "settings": settings,
        "chance": round(sum(chance for _, chance in results) / len(results), 4),
        "prior": max(row["prior"] for row in rows),
        "rows": rows,
        "seconds": round(time.perf_counter() - start, 2),
        "device": str(device),
    }

"""Few-shot evaluation: episodes to prompts, prompts to scores, with the controls beside every score.

Of a model it needs `sees`, `score` and `generate`. A model that does not see reads a description where the picture
would be, and the controls act on descriptions.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from minilmm.evaluation.captions import cider
from minilmm.evaluation.prompts import fork, prompts, reorder
from minilmm.evaluation.request import Request, Score
from minilmm.evaluation.rices import Pool
from minilmm.evaluation.scoring import METRICS, SCORERS, right
from minilmm.evaluation.statistics import bootstrap_interval
from minilmm.evaluation.tasks import Settings, Task, task_named
from minilmm.evaluation.tasks.episodes import Episodes, most_common_prior
from minilmm.interface.model import MultimodalLM
from minilmm.interface.tokenizer import Tokenizer
from minilmm.world.grammar import ABSENT
from minilmm.world.vocabulary import tokenizer as world_tokenizer

BLOCK = 100  # episodes sampled together: results do not depend on how many are scored at once
SIZE = 48  # pixels per side, where a model does not say
Block = tuple[Episodes, Tensor | None, torch.Generator]  # episodes, their pictures, and what is drawn next


@dataclass(frozen=True)
class Evaluation:
    """A model on a task, as a request has it."""

    model: MultimodalLM
    task: Task
    request: Request
    scoring: str
    tokenizer: Tokenizer
    resolution: int
    device: torch.device | str
    pool: Pool | None
    report: Callable[[int], None]

    def blocks(self, shots: int, settings: Settings) -> Iterator[Block]:
        """The seed depends on the request's and on the block alone: all conditions, and all models, see the same."""
        for block in range(0, self.request.episodes, BLOCK):
            number = ((self.request.seed * 1009 + shots) * 1_000_003 + block) % (1 << 62)
            generator = torch.Generator(self.device).manual_seed(number)
            if self.pool is not None and shots:
                episodes = self.pool.draw(shots, BLOCK, generator)
            else:
                episodes = self.task.sample(BLOCK, generator, settings)
                episodes.check(settings, self.task.mixed)
            yield episodes, episodes.paint(generator, self.resolution) if self.model.sees else None, generator

    def answer(self, block: Block, condition: str, count: int, texts_only: bool) -> list[Any]:
        """What comes of the first `count` episodes under a condition: right or wrong, or captions."""
        episodes, media, generator = block
        generator = fork(generator)  # every condition draws the same, whichever stand beside it
        orders = [(episodes, media)]
        if self.request.orders > 1:
            orders = [reorder(episodes, media, generator) for _ in range(self.request.orders)]
        given = (condition, generator, texts_only, self.tokenizer)
        asked = [(prompts(drawn, seen, *given)[:count], drawn[:count]) for drawn, seen in orders]
        answers = SCORERS[self.scoring](self.model, asked, self.tokenizer, self.request)
        self.report(count)
        return answers

    def scores(self, shots: int) -> tuple[list[Score], float]:
        """A score per condition and metric, and the accuracy of chance where candidates are ranked."""
        request, task, settings = self.request, self.task, replace(self.request.settings, shots=shots)
        texts_only = shots == 0 and request.zero_shot_texts > 0
        if texts_only:
            each = settings.ways if task.per_class else 1
            settings = replace(settings, shots=max(1, request.zero_shot_texts // each))
        answers: dict[str, list[Any]] = {condition: [] for condition in request.conditions}
        asked: list[Episodes] = []
        chances = []
        for block in self.blocks(shots, settings):
            episodes, count = block[0], min(BLOCK, request.episodes - BLOCK * len(asked))
            for condition in request.conditions:
                answers[condition] += self.answer(block, condition, count, texts_only)
            asked.append(replace(episodes, pictures=torch.empty(0))[:count])
            options = (episodes.candidates[..., 0] != ABSENT).sum(1)
            chances.append((right(episodes).sum(1).double() / options).mean().item())
        own = task.prior(settings, self.scoring) if task.prior is not None else None
        known: Score = {"prior": round(most_common_prior(task, settings, self.device) if own is None else own, 4)}
        references = [answer[1] for answer in answers[request.conditions[0]]] if self.scoring == "caption" else []
        if shots and references and all(len(texts) == 1 for texts in references):  # in a style that is known
            best = cider([texts[0] for texts in references], references)
            known["ideal"] = round(sum(best) / len(best), 4)
        if task.ideal is not None:
            known["ideal"] = 1.0 if settings.convention == "given" else round(task.ideal(shots), 4)
        group = torch.cat([episodes.group for episodes in asked]).cpu()
        rows: list[Score] = []
        for condition, metric in itertools.product(request.conditions, task.metrics):
            values = METRICS[metric](answers[condition], asked)
            value, low, high = (round(x, 4) for x in bootstrap_interval(values, seed=request.seed))
            row: Score = {"shots": shots, "condition": condition, "metric": metric, "value": value, "low": low,
                          "high": high}  # fmt: skip
            row |= known if metric == task.metrics[0] else {}
            if len(values) == len(group):
                kinds = {name: torch.tensor(values)[group == g] for g, name in enumerate(asked[0].kinds)}
                means = {name: round(float(scores.mean()), 3) for name, scores in kinds.items() if len(scores)}
                row |= {"by_kind": means} if means else {}
            rows.append(row)
        return rows, round(sum(chances) / len(chances), 4) if self.scoring == "rank" else 0.0


@torch.no_grad()
def evaluate(
    model: MultimodalLM, task: str | Task, request: Request | None = None, *, device: torch.device | str = "cpu",
    report: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:  # fmt: skip
    """Score a model on a task at several numbers of shots, under every condition: the object that `eval --json` prints.

    rows: the scores (`Score`), with intervals by bootstrap over episodes. task: a task, or its name (`task_named`).
    report: gets how many episodes were scored, after each block and condition. ValueError for what cannot be measured.
    """
    start, request = time.perf_counter(), request or Request()
    task = task_named(task) if isinstance(task, str) else task
    request.check(task)
    shots, scoring = request.shots or task.shots, request.scoring or task.scorings[0]
    config = getattr(model, "config", None)
    size = config.vision.resolution if model.sees and config is not None else SIZE
    pool = Pool(model, task, request, size, device) if request.rices else None
    words = task.tokenizer or world_tokenizer()
    results = [Evaluation(model, task, request, scoring, words, size, device, pool, report).scores(k) for k in shots]
    rows = [row for rows, _ in results for row in rows]
    settings = asdict(request.settings)
    unread = {"ways", "repeats", "induction", "names"} if not task.per_class else set()
    for name in ("shots", *unread, *({"convention"} - set(task.reads))):
        del settings[name]
    settings |= {"scoring": scoring, "seed": request.seed, "episodes": request.episodes}
    how = fields(Request)[6:]  # from beams on
    settings |= {f.name: value for f in how if (value := getattr(request, f.name)) != f.default}
    settings["inner_shots" if task.per_class else "examples"] = list(shots)
    chance, prior = sum(chance for _, chance in results) / len(results), max(row.get("prior", 0.0) for row in rows)
    return {"task": task.name, "settings": settings, "chance": round(chance, 4), "prior": prior, "rows": rows,
            "seconds": round(time.perf_counter() - start, 2), "device": str(device)}  # fmt: skip

"""The few-shot harness: episodes to prompts, prompts to scores, with the controls beside every score.

It knows a model only by `sees`, `score` and `generate`. A model that does not see reads a description where the
picture would be, and the controls act on descriptions.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minilmm.data import easy_vqa, folder
from minilmm.data.answers import exact_match
from minilmm.evaluation import rices
from minilmm.evaluation.captions import cider, scene_f1
from minilmm.evaluation.observers import ideal
from minilmm.evaluation.prompts import CONDITIONS, again, prompts, reordered
from minilmm.evaluation.statistics import bootstrap_interval
from minilmm.evaluation.tasks import TASKS, Episodes, Settings, Task
from minilmm.evaluation.tasks.episodes import check_split
from minilmm.interface.document import Batch
from minilmm.interface.model import MultimodalLM
from minilmm.interface.tokenizer import EOC, Tokenizer
from minilmm.nn.decoding import finite
from minilmm.world.grammar import ABSENT, compact
from minilmm.world.vocabulary import tokenizer

BLOCK = 100  # episodes sampled together: results do not depend on how many are scored at once
BUDGET = 24_576  # tokens per forward pass, candidates included
LOGITS = 2**27  # tokens times the words of the vocabulary: a real one has 50,000, and half a gigabyte of logits


def task_named(name: str, resolution: int = 48) -> Task:
    """A task by name, "easy-vqa", or a folder of pictures; ValueError lists what there is."""
    if name in TASKS:
        return TASKS[name]
    if name == "easy-vqa":
        sample = functools.partial(easy_vqa.sample, resolution=resolution)
        return Task(sample, scoring="generate", named=False, shots=(0, 4), groups=easy_vqa.KINDS)
    if Path(name).is_dir():
        return Task(folder.sampler(Path(name), resolution), shots=(0, 1, 4))
    raise ValueError(
        f"unknown task {name!r}: choose from {', '.join([*TASKS, 'easy-vqa'])}, or name a folder of pictures"
    )


def at_once(batch: Batch, copies: int, words: Tokenizer | None) -> int:
    """How many prompts are read together, each `copies` times: as the budgets of tokens and of logits allow."""
    tokens = min(BUDGET, LOGITS // len(words or tokenizer()))
    return max(1, tokens // (batch.ids.shape[1] * copies))


def ranked(
    model: MultimodalLM, batch: Batch, episodes: Episodes, words: Tokenizer | None = None, per_token: bool = False
) -> Tensor:
    """Log-probabilities of the candidates, (B, C), per token where asked; minus infinity where a row has fewer."""
    here = episodes.candidates != ABSENT
    size = at_once(batch, here.shape[1], words)
    scores = [
        model.score(batch[rows], episodes.candidates[rows].clamp(min=0), here[rows])
        for rows in _chunks(len(batch), size)
    ]
    found = torch.cat(scores) / (here.sum(-1).clamp(min=1) if per_token else 1)
    return finite(found.masked_fill(~here[..., 0], 0.0)).masked_fill(~here[..., 0], float("-inf"))


def right(episodes: Episodes) -> Tensor:
    """Which candidates read as the right one does, (B, C) bool: several options of one text are one answer."""
    rows = torch.arange(len(episodes.target), device=episodes.target.device)
    return (episodes.candidates == episodes.candidates[rows, episodes.target][:, None]).all(-1)


def answered(
    model: MultimodalLM, batch: Batch, room: int, beams: int = 1, words: Tokenizer | None = None
) -> tuple[Tensor, Tensor]:
    """What the model says, (B, room), and whether it came to an end there, (B,)."""
    end, size = (words or tokenizer()).convert_tokens_to_ids(EOC), at_once(batch, beams, words)
    said = torch.cat([model.generate(batch[rows], room, end, beams) for rows in _chunks(len(batch), size)])
    return said, (said == end).any(1)


def correct(
    model: MultimodalLM,
    batch: Batch,
    episodes: Episodes,
    scoring: str,
    beams: int = 1,
    words: Tokenizer | None = None,
    per_token: bool = False,
) -> Tensor:
    """Which answers are right, (B,) bool: the best-scored candidate, or what it says where that ends and matches.

    "Matches" is after normalisation (`minilmm.data.answers`); an answer must end with `<EOC>`, and has
    room for two words more than it needs.
    """
    if scoring == "rank":
        best = ranked(model, batch, episodes, words, per_token).argmax(1)
        return right(episodes).gather(1, best[:, None])[:, 0]
    words = words or tokenizer()
    end = words.convert_tokens_to_ids(EOC)
    answers = compact(episodes.answers, fill=words.pad_token_id)
    said, ended = answered(model, batch, answers.shape[1] + 2, beams, words)
    heard = [row[: row.index(end) + 1] if end in row else row for row in said.tolist()]
    match = exact_match([words.decode(row) for row in heard], [words.decode(row) for row in answers.tolist()])
    return match.bool().to(ended.device) & ended


def _chunks(total: int, size: int) -> list[slice]:
    return [slice(i, i + size) for i in range(0, total, size)]


@functools.lru_cache(maxsize=256)
def prior(sample: Callable[..., Episodes], settings: Settings, device: torch.device | str, draws: int = 4000) -> float:
    """How often the most common answer is right, given what question and demonstrations give away without pictures."""
    generator = torch.Generator(device).manual_seed(7)
    blocks = [sample(500, generator, settings) for _ in range(draws // 500)]
    options = blocks[0].candidates[:, :, 0]
    answer, group = (torch.cat([getattr(b, name) for b in blocks]) for name in ("target", "group"))
    told = {int(g): options[blocks[0].group == g] for g in group.unique()}
    if not all(bool((rows == rows[:1]).all()) for rows in told.values()):
        return float((options != ABSENT).sum(1).double().reciprocal().mean())  # names are drawn anew in every episode
    return sum(int(answer[group == g].bincount().max()) for g in group.unique()) / len(answer)


@dataclass(frozen=True)
class Method:
    """How a prompt is made and scored beyond its examples, as Flamingo's evaluations do it (appendix A.2).

    beams            beams of a generated answer; the paper has 3
    orders           the log-likelihoods of so many orders of the demonstrations are averaged; the paper has 6
    rices            demonstrations are those of a pool of 1000 whose pictures resemble the query's, nearest last
    zero_shot_texts  at zero shots so many examples without their pictures stand in front; the paper has 2
    per_token        candidates are ranked by their mean log-probability per token: real names differ in length
    """

    beams: int = 1
    orders: int = 1
    rices: bool = False
    zero_shot_texts: int = 0
    per_token: bool = False


class _Pool:
    """Examples to choose demonstrations from, with what the frozen eyes make of their pictures."""

    def __init__(self, model: Any, kind: Task, settings: Settings, seed: int, resolution: int, device: Any):
        generator = torch.Generator(device).manual_seed((seed * 1009 + 1) * 1_000_003 + 999)
        self.model, self.alone = model, replace(settings, shots=0)
        self.episodes = kind.sample(rices.POOL, generator, self.alone)
        check_split(self.episodes, self.alone)
        self.pixels = self.episodes.paint(generator, resolution)[:, 0, 0]
        self.features = rices.features(model, self.pixels)

    def draw(self, kind: Task, k: int, generator: torch.Generator, resolution: int) -> Episodes:
        """A block of episodes whose k demonstrations are the nearest of the pool."""
        queries = kind.sample(BLOCK, generator, self.alone)
        check_split(queries, self.alone)
        seen = queries.paint(generator, resolution)[:, 0, 0]
        chosen = rices.nearest(rices.features(self.model, seen), self.features, k)
        return rices.demonstrated(queries, self.episodes, chosen, torch.cat([self.pixels, seen]))


@torch.no_grad()
def evaluate(
    model: MultimodalLM,
    task: str | Task,
    *,
    shots: tuple[int, ...] | None = None,
    settings: Settings | None = None,
    episodes: int = 500,
    conditions: tuple[str, ...] = CONDITIONS,
    scoring: str | None = None,
    method: Method | None = None,
    seed: int = 0,
    resolution: int = 48,
    device: torch.device | str = "cpu",
    report: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Score a model on a task at several numbers of shots, under every condition: the object that `eval --json` prints.

    rows: {"shots", "condition", "metric", "value", "low", "high", "ideal"?}, intervals by bootstrap over episodes.
    task: a name (`task_named`), or a task itself, whose name is then "task"; its words may be another tokenizer's.
    report: is told how many episodes were scored, after each block and condition.
    Pictures are drawn from a seed that depends on `seed` and the block, so that all conditions see the same episodes.
    """
    start = time.perf_counter()
    kind, task = (task_named(task, resolution), task) if isinstance(task, str) else (task, "task")
    shots = kind.shots if shots is None else shots
    settings, scoring, method = settings or Settings(), scoring or kind.scoring, method or Method()
    _check(kind, task, shots, episodes, scoring, method, model.sees)
    pool = _Pool(model, kind, settings, seed, resolution, device) if method.rices else None
    rows, priors, chances = [], [], []
    for k in shots:
        texts_only = k == 0 and method.zero_shot_texts > 0
        before = method.zero_shot_texts // settings.ways if kind.named else method.zero_shot_texts
        setting = replace(settings, shots=max(1, before) if texts_only else k)
        found: dict[str, list[Any]] = {c: [] for c in conditions}
        groups, references = [], []
        for block in range(0, episodes, BLOCK):
            number = ((seed * 1009 + k) * 1_000_003 + block) % (1 << 62)
            generator = torch.Generator(device).manual_seed(number)
            if pool is not None and k:
                drawn = pool.draw(kind, k, generator, resolution)
            else:
                drawn = kind.sample(BLOCK, generator, setting)
                if kind.words is None:
                    check_split(drawn, setting)
            media = drawn.paint(generator, resolution) if model.sees else None
            keep = min(BLOCK, episodes - block)
            asked = replace(drawn, **{n: getattr(drawn, n)[:keep] for n in ("candidates", "answers", "target")})
            for condition in conditions:
                own = again(generator)  # every condition draws the same, whichever stand beside it
                if method.orders > 1:
                    turned = [reordered(drawn, media, own) for _ in range(method.orders)]
                    batches = [(prompts(d, m, condition, own, texts_only, kind.words), d) for d, m in turned]
                    orders = [ranked(model, batch, d, kind.words, method.per_token) for batch, d in batches]
                    best = torch.stack(orders).mean(0).argmax(1, keepdim=True)
                    found[condition] += right(drawn).gather(1, best)[:keep, 0].tolist()
                    report(keep)
                    continue
                batch = prompts(drawn, media, condition, own, texts_only, kind.words)[:keep]
                if scoring == "caption":
                    said, _ = answered(model, batch, drawn.candidates.shape[-1], method.beams)
                    found[condition] += [_plain(row) for row in said.tolist()]
                else:
                    found[condition] += correct(
                        model, batch, asked, scoring, method.beams, kind.words, method.per_token
                    ).tolist()
                report(keep)
            groups.append(drawn.group[:keep].cpu())
            if scoring == "caption":
                references += [[_plain(row) for row in rows] for rows in drawn.candidates[:keep].tolist()]
            options = (drawn.candidates[..., 0] != ABSENT).sum(1)
            chances.append((right(drawn).sum(1).double() / options).mean().item())
        if kind.words is not None:  # things and names are drawn evenly: nothing but the picture tells which it is
            priors.append(chances[-1] if scoring == "rank" else 0.0)
        else:
            priors.append(0.0 if scoring == "caption" else prior(kind.sample, setting, device))
        best_possible = ideal(task, k)
        for condition in conditions:
            for metric, values in _measured(found[condition], references, scoring).items():
                value, low, high = bootstrap_interval(values, seed=seed)
                row = {"shots": k, "condition": condition, "metric": metric, "value": round(value, 4)}
                row |= {"low": round(low, 4), "high": round(high, 4), "prior": round(priors[-1], 4)}
                if best_possible is not None:
                    row["ideal"] = round(best_possible, 4)
                if kind.groups:
                    group, scores = torch.cat(groups), torch.tensor(values)
                    row["by_kind"] = {
                        name: round(float(scores[group == g].mean()), 3)
                        for g, name in enumerate(kind.groups)
                        if (group == g).any()
                    }
                rows.append(row)
    told = asdict(settings) | {"scoring": scoring, "seed": seed, "episodes": episodes}
    told |= {name: value for name, value in asdict(method).items() if value != getattr(Method(), name)}
    told["inner_shots" if kind.named else "examples"] = list(shots)
    for name in ("shots",) if kind.named else ("shots", "ways", "repeats", "induction", "names"):
        del told[name]
    return {
        "task": task,
        "settings": told,
        "chance": round(sum(chances) / len(chances), 4) if scoring == "rank" else 0.0,
        "prior": round(max(priors), 4),
        "rows": rows,
        "seconds": round(time.perf_counter() - start, 2),
        "device": str(device),
    }


def _plain(row: list[int]) -> str:
    """A caption's words, without what ends it."""
    words = tokenizer().decode([i for i in row if i != ABSENT]).split()
    return " ".join(word for word in words if not word.startswith("<") and word != ".")


def _measured(found: list[Any], references: list[list[str]], scoring: str) -> dict[str, list[float]]:
    """One score per episode, by the metric's name."""
    if scoring != "caption":
        return {"accuracy": [float(hit) for hit in found]}
    f1 = [scene_f1(text, texts) for text, texts in zip(found, references, strict=True)]
    return {"cider": cider(found, references), "scene_f1": f1}


def _check(
    kind: Task, task: str, shots: tuple[int, ...], episodes: int, scoring: str, method: Method, sees: bool
) -> None:
    """ValueError for what cannot be measured."""
    if min(shots, default=0) < 0 or episodes < 1:
        raise ValueError(f"shots {shots} and episodes {episodes}: shots must be 0 or more, episodes 1 or more")
    if kind.words is not None and (scoring == "caption" or method.rices):
        raise ValueError(f"{task}: captions and rices read the mini-world's words: choose rank or generate")
    if scoring not in ("rank", "generate", "caption") or (scoring == "caption") != (kind.scoring == "caption"):
        raise ValueError(f"unknown scoring {scoring!r} for {task}: choose rank or generate; captions have their own")
    if method.rices and not (kind.pooled and sees):
        raise ValueError(f"rices: {task} has no pool to choose from, or the model no eyes: use vqa or caption")
    if (method.orders > 1 or method.per_token) and scoring != "rank":
        raise ValueError("orders, per token: are of log-likelihoods, which needs scoring by rank")

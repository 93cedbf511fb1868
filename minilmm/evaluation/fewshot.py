"""The few-shot harness: episodes to prompts, prompts to scores, with the controls beside every score.

It knows a model only by `sees`, `score` and `generate`. A model that does not see reads a description where the
picture would be, and the controls act on descriptions.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minilmm.data import easy_vqa, folder
from minilmm.document import Batch
from minilmm.evaluation.observers import ideal
from minilmm.metrics import bootstrap_interval, exact_match
from minilmm.nn.decoding import MultimodalLM
from minilmm.tokenizer import BOS, EOC, IMAGE
from minilmm.world.grammar import ABSENT, compact, ids, join
from minilmm.world.render import blank
from minilmm.world.tasks import TASKS, Episodes, Settings, Task
from minilmm.world.tasks.episodes import check_split
from minilmm.world.vocabulary import tokenizer

CONDITIONS = ("real", "blank_images", "shuffled_images", "text_only")
BLOCK = 100  # episodes sampled together: results do not depend on how many are scored at once
BUDGET = 24_576  # tokens per forward pass, candidates included


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


def shuffle_across(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Every picture (or description) replaced by one of another episode: (B, n, ...) -> (B, n, ...)."""
    B, n = pictures.shape[:2]
    if B < 2:
        raise ValueError("shuffled_images needs at least 2 episodes")
    shift = torch.randint(1, B, (n,), generator=generator, device=generator.device)
    rows = (torch.arange(B, device=pictures.device)[:, None] + shift) % B  # (B, n)
    return pictures[rows, torch.arange(n, device=pictures.device)]


def prompts(episodes: Episodes, media: Tensor | None, condition: str, generator: torch.Generator) -> Batch:
    """Episodes as a batch of prompts, under a condition. media (B, n + 1, T, C, H, W), or None for a text LM."""
    if condition not in CONDITIONS:
        raise ValueError(f"unknown condition {condition!r}: choose from {', '.join(CONDITIONS)}")
    B, m = episodes.source.shape
    if media is None:
        stands = episodes.descriptions
        if condition == "shuffled_images":
            stands = shuffle_across(stands, generator)
        elif condition == "blank_images":
            stands = torch.full_like(stands, ABSENT)
    else:
        stands = ids(IMAGE).to(episodes.texts.device).expand(B, m, 1)
        if condition == "shuffled_images":
            media = shuffle_across(media, generator)
        elif condition == "blank_images":
            media = blank(media)
    if condition == "text_only":  # demonstrations lose their pictures and tags, the query keeps its own
        stands = torch.cat([torch.full_like(stands[:, :-1], ABSENT), stands[:, -1:]], 1)
        media = media[:, -1:] if media is not None else None
    words = torch.cat([stands, episodes.texts], -1).flatten(1)
    return Batch.of(compact(join(BOS, episodes.first, words), fill=0), media)


def correct(model: MultimodalLM, batch: Batch, episodes: Episodes, scoring: str) -> Tensor:
    """Which answers are right, (B,) bool: the best-scored candidate, or a greedy answer that ends and matches exactly.

    "Exactly" is after normalisation (`minilmm.metrics.normalise_answer`); an answer must end with `<EOC>`, and has room
    for two words more than it needs.
    """
    if scoring == "rank":
        here = episodes.candidates != ABSENT
        C = episodes.candidates.shape[1]
        size = max(1, BUDGET // (batch.ids.shape[1] * C))
        scores = [
            model.score(batch[rows], episodes.candidates[rows].clamp(min=0), here[rows])
            for rows in _chunks(len(batch), size)
        ]
        best = torch.cat(scores).masked_fill(~here[..., 0], float("-inf")).argmax(1)
        return best == episodes.target
    end = int(ids(EOC))
    answers, words = compact(episodes.answers, fill=0), tokenizer()
    size = max(1, BUDGET // batch.ids.shape[1])
    parts = [model.generate(batch[rows], answers.shape[1] + 2, end) for rows in _chunks(len(batch), size)]
    said = torch.cat(parts)
    match = exact_match([words.decode(row) for row in said.tolist()], [words.decode(row) for row in answers.tolist()])
    return match.bool().to(said.device) & (said == end).any(1)


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


@torch.no_grad()
def evaluate(
    model: MultimodalLM,
    task: str,
    *,
    shots: tuple[int, ...] | None = None,
    settings: Settings | None = None,
    episodes: int = 500,
    conditions: tuple[str, ...] = CONDITIONS,
    scoring: str | None = None,
    seed: int = 0,
    resolution: int = 48,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Score a model on a task at several numbers of shots, under every condition: the object that `eval --json` prints.

    rows: {"shots", "condition", "metric", "value", "low", "high", "ideal"?}, intervals by bootstrap over episodes.
    Pictures are drawn from a seed that depends on `seed` and the block, so that all conditions see the same episodes.
    """
    kind, start = task_named(task, resolution), time.perf_counter()
    shots = kind.shots if shots is None else shots
    settings, scoring = settings or Settings(), scoring or kind.scoring
    if min(shots, default=0) < 0 or episodes < 1:
        raise ValueError(f"shots {shots} and episodes {episodes}: shots must be 0 or more, episodes 1 or more")
    if scoring not in ("rank", "generate"):
        raise ValueError(f"unknown scoring {scoring!r}: choose rank or generate")
    rows, priors, chances = [], [], []
    for k in shots:
        setting = replace(settings, shots=k)
        hits: dict[str, list[Tensor]] = {c: [] for c in conditions}
        groups = []
        for block in range(0, episodes, BLOCK):
            number = ((seed * 1009 + k) * 1_000_003 + block) % (1 << 62)
            generator = torch.Generator(device).manual_seed(number)
            drawn = kind.sample(BLOCK, generator, setting)
            check_split(drawn, setting)
            media = drawn.paint(generator, resolution) if model.sees else None
            keep = min(BLOCK, episodes - block)
            for condition in conditions:
                batch = prompts(drawn, media, condition, generator)
                hits[condition].append(correct(model, batch, drawn, scoring)[:keep].cpu())
            groups.append(drawn.group[:keep].cpu())
            chances.append((drawn.candidates[..., 0] != ABSENT).sum(1).double().reciprocal().mean().item())
        priors.append(prior(kind.sample, setting, device))
        best = ideal(task, k)
        for condition in conditions:
            values = torch.cat(hits[condition]).float()
            value, low, high = bootstrap_interval(values, seed=seed)
            row = {"shots": k, "condition": condition, "metric": "accuracy", "value": round(value, 4)}
            row |= {"low": round(low, 4), "high": round(high, 4), "prior": round(priors[-1], 4)}
            if best is not None:
                row["ideal"] = round(best, 4)
            if kind.groups:
                group = torch.cat(groups)
                row["by_kind"] = {
                    name: round(float(values[group == g].mean()), 3)
                    for g, name in enumerate(kind.groups)
                    if (group == g).any()
                }
            rows.append(row)
    told = asdict(settings) | {"scoring": scoring, "seed": seed, "episodes": episodes}
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

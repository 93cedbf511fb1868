"""RICES: retrieval-based in-context example selection (Yang et al. 2021; Flamingo, appendix A.2).

The demonstrations of a query are those of a pool whose pictures look most like its own to the frozen encoder; the most
similar one comes last, next to the query. For a model that reads text, descriptions are compared by their words.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minilmm.evaluation.request import Request
from minilmm.evaluation.tasks import Task
from minilmm.evaluation.tasks.episodes import Episodes
from minilmm.world.grammar import ABSENT, compact, join, same_width
from minilmm.world.vocabulary import tokenizer


def bags(descriptions: Tensor) -> Tensor:
    """Which words descriptions (M, K) have, on the unit sphere: (M, V)."""
    words = F.one_hot(descriptions.clamp(min=0), len(tokenizer())).float() * (descriptions != ABSENT)[..., None]
    return F.normalize(words.amax(1), dim=-1)


def features(model: Any, pixels: Tensor) -> Tensor:
    """What the frozen encoder makes of pictures or videos, on the unit sphere: (M, T, 3, R, R) -> (M, D)."""
    parts = [model.encoder.pool(model.encoder(part)) for part in pixels.flatten(0, 1).split(256)]
    return F.normalize(torch.cat(parts).unflatten(0, pixels.shape[:2]).mean(1), dim=-1)


def nearest(query: Tensor, pool: Tensor, k: int, fits: Tensor | None = None) -> Tensor:
    """The k rows of pool (P, D) most similar to each query (B, D), the most similar last: (B, k).

    fits (B, P) bool: which rows may be chosen, all unless given.
    """
    enough = len(pool) if fits is None else int(fits.sum(1).min())
    if k > enough:
        raise ValueError(f"{k} examples from a pool of {enough}: ask for fewer shots")
    similar = query @ pool.T
    return (similar if fits is None else similar.masked_fill(~fits, -2.0)).topk(k).indices.flip(1)


def demonstrate(queries: Episodes, pool: Episodes, chosen: Tensor, pixels: Tensor) -> Episodes:
    """Queries with examples of the pool in front: chosen (B, k) rows of the pool, both drawn without shots.

    pixels (P + B, T, 3, R, R): the pool's pictures, then the queries'.
    """
    B = len(chosen)
    whole, asked = same_width(compact(join(pool.texts[:, -1], pool.answers)), queries.texts[:, -1])  # (P, K), (B, K)
    place = torch.arange(B, device=chosen.device)[:, None] + len(pool)
    texts, source = torch.cat([whole[chosen], asked[:, None]], 1), torch.cat([chosen, place], 1)
    told, own = same_width(pool.descriptions[:, 0], queries.descriptions[:, 0])
    descriptions = torch.cat([told[chosen], own[:, None]], 1)
    return replace(queries, pictures=pixels, source=source, texts=texts, descriptions=descriptions)


class Pool:
    """Examples to choose demonstrations from, with what the frozen encoder makes of their pictures."""

    def __init__(self, model: Any, task: Task, request: Request, resolution: int, device: torch.device | str):
        generator = torch.Generator(device).manual_seed((request.seed * 1009 + 1) * 1_000_003 + 999)
        self.model, self.task, self.resolution = model, task, resolution
        self.settings = replace(request.settings, shots=0)
        self.episodes, self.pixels, self.features = self._sample(request.pool or task.pooled, generator)

    def _sample(self, count: int, generator: torch.Generator) -> tuple[Episodes, Tensor, Tensor]:
        """Queries without shots, their pictures (B, T, 3, R, R) and features (B, D)."""
        episodes = self.task.sample(count, generator, self.settings)
        episodes.check(self.settings, self.task.mixed)
        if not self.model.sees:
            return episodes, torch.empty(count), bags(episodes.descriptions[:, 0])
        pixels = episodes.paint(generator, self.resolution)[:, 0]
        return episodes, pixels, features(self.model, pixels)

    def draw(self, shots: int, count: int, generator: torch.Generator) -> Episodes:
        """Episodes whose demonstrations are the nearest of the pool."""
        queries, pixels, seen = self._sample(count, generator)
        fits = queries.hypothesis[:, None] == self.episodes.hypothesis  # examples answer by the query's convention
        chosen = nearest(seen, self.features, shots, fits)
        return demonstrate(queries, self.episodes, chosen, torch.cat([self.pixels, pixels]))

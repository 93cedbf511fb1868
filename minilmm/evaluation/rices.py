"""RICES: retrieval-based in-context example selection (Yang et al. 2021; Flamingo, appendix A.2).

The demonstrations of a query are those of a pool whose pictures look most like its own to the frozen encoder; the most
similar one comes last, next to the query.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minilmm.evaluation.tasks import Settings, Task
from minilmm.evaluation.tasks.episodes import Episodes, same_width
from minilmm.world.grammar import ABSENT, compact, join

POOL = 1000


def features(model: Any, pixels: Tensor) -> Tensor:
    """What the frozen encoder makes of pictures, on the unit sphere: (M, 3, R, R) -> (M, D)."""
    parts = [model.encoder.pool(model.encoder(part)) for part in pixels.split(256)]
    return F.normalize(torch.cat(parts), dim=-1)


def nearest(query: Tensor, pool: Tensor, k: int) -> Tensor:
    """The k rows of pool (P, D) most similar to each query (B, D), the most similar last: (B, k)."""
    if k > len(pool):
        raise ValueError(f"{k} examples from a pool of {len(pool)}: ask for fewer shots")
    return (query @ pool.T).topk(k).indices.flip(1)


def demonstrate(queries: Episodes, pool: Episodes, chosen: Tensor, pixels: Tensor) -> Episodes:
    """Queries with examples of the pool in front: chosen (B, k) rows of the pool, both drawn without shots.

    pixels (P + B, 3, R, R): the pool's pictures, then the queries'.
    """
    B, k = chosen.shape
    whole, asked = same_width(compact(join(pool.texts[:, -1], pool.answers)), queries.texts[:, -1])  # (P, K), (B, K)
    place = torch.arange(B, device=chosen.device)[:, None] + len(pool)
    texts, source = torch.cat([whole[chosen], asked[:, None]], 1), torch.cat([chosen, place], 1)
    nothing = torch.full((B, k + 1, 1), ABSENT, device=chosen.device)
    return replace(queries, pictures=pixels, source=source, texts=texts, descriptions=nothing)


class Pool:
    """Examples to choose demonstrations from, with what the frozen encoder makes of their pictures."""

    def __init__(
        self, model: Any, task: Task, settings: Settings, seed: int, resolution: int, device: torch.device | str
    ):
        generator = torch.Generator(device).manual_seed((seed * 1009 + 1) * 1_000_003 + 999)
        self.model, self.task, self.settings, self.resolution = model, task, replace(settings, shots=0), resolution
        self.episodes, self.pixels, self.features = self._sample(POOL, generator)

    def _sample(self, count: int, generator: torch.Generator) -> tuple[Episodes, Tensor, Tensor]:
        """Queries without shots, their pictures (B, 3, R, R) and features (B, D)."""
        episodes = self.task.sample(count, generator, self.settings)
        episodes.check(self.settings)
        pixels = episodes.paint(generator, self.resolution)[:, 0, 0]
        return episodes, pixels, features(self.model, pixels)

    def draw(self, shots: int, count: int, generator: torch.Generator) -> Episodes:
        """Episodes whose demonstrations are the nearest of the pool."""
        queries, pixels, seen = self._sample(count, generator)
        chosen = nearest(seen, self.features, shots)
        return demonstrate(queries, self.episodes, chosen, torch.cat([self.pixels, pixels]))

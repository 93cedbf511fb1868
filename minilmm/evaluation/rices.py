"""RICES: retrieval-based in-context example selection (Yang et al. 2021; Flamingo, appendix A.2).

The demonstrations of a query are those of a pool whose pictures look most like its own to the frozen eyes; the most
similar one comes last, next to the query.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minilmm.evaluation.tasks import Episodes
from minilmm.world.grammar import ABSENT, compact, join

POOL = 1000


def features(model: Any, pixels: Tensor) -> Tensor:
    """What the frozen eyes make of pictures, on the unit sphere: (M, 3, R, R) -> (M, D)."""
    parts = [model.encoder.pool(model.encoder(part)) for part in pixels.split(256)]
    return F.normalize(torch.cat(parts), dim=-1)


def nearest(query: Tensor, pool: Tensor, k: int) -> Tensor:
    """The k rows of pool (P, D) most similar to each query (B, D), the most similar last: (B, k)."""
    if k > len(pool):
        raise ValueError(f"{k} examples from a pool of {len(pool)}: ask for fewer shots")
    return (query @ pool.T).topk(k).indices.flip(1)


def demonstrated(queries: Episodes, pool: Episodes, chosen: Tensor, pixels: Tensor) -> Episodes:
    """Queries with examples of the pool in front: chosen (B, k) rows of the pool, both drawn without shots.

    pixels (P + B, 3, R, R): the pool's pictures, then the queries'.
    """
    B, k = chosen.shape
    whole = compact(join(pool.texts[:, -1], pool.answers))  # (P, K), examples with their answers
    asked = queries.texts[:, -1]
    width = max(whole.shape[1], asked.shape[1])
    whole, asked = (F.pad(text, (0, width - text.shape[1]), value=ABSENT) for text in (whole, asked))
    place = torch.arange(B, device=chosen.device)[:, None] + len(pool)
    return replace(
        queries,
        pictures=pixels,
        source=torch.cat([chosen, place], 1),
        texts=torch.cat([whole[chosen], asked[:, None]], 1),
        descriptions=torch.full((B, k + 1, 1), ABSENT, device=chosen.device),
    )

"""Which picture stands where on a page that shows several examples of each class."""

from __future__ import annotations

import torch
from torch import Tensor

from minilmm.world.scenes import choices, integers


def arrange(batch: int, ways: int, shots: int, generator: torch.Generator, repeats: int = 0) -> tuple[Tensor, Tensor]:
    """The order of demonstrations, (B, n) indices of exemplars, and the class of every exemplar, (B, W K + 1).

    Each of W = ways classes has K = shots exemplars, every exemplar 1 + repeats exact copies; the last exemplar is the
    query's.
    """
    owner = torch.arange(ways, device=generator.device).repeat_interleave(shots).expand(batch, -1)
    query = integers(ways, (batch, 1), generator)
    copies = torch.arange(ways * shots, device=generator.device).repeat(1 + repeats)
    order = copies[choices(len(copies), len(copies), (batch,), generator)] if len(copies) else owner
    return order, torch.cat([owner, query], 1)

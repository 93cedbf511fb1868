"""Random numbers from a given generator, on its device: the same seed draws the same.

Shipped results depend on every draw and on their order. Functions that draw say so by taking a generator.
"""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform floats in [low, high)."""
    return low + (high - low) * torch.rand(*shape, generator=generator, device=generator.device)


def integers(n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform integers below n."""
    return torch.randint(n, shape, generator=generator, device=generator.device)


def coins(shape: tuple[int, ...], generator: torch.Generator, probability: float = 0.5) -> Tensor:
    """Independent bools that are True with the given probability."""
    return torch.rand(shape, generator=generator, device=generator.device) < probability


def choices(n: int, k: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """k different integers below n per row, in random order: (*shape, k)."""
    return torch.rand(*shape, n, generator=generator, device=generator.device).argsort(-1)[..., :k]


def categorical(weights: Tensor, generator: torch.Generator) -> Tensor:
    """One index per row, in proportion to the row's weights: (..., K) -> (...)."""
    noise = -torch.empty_like(weights, dtype=torch.float).exponential_(generator=generator).log()
    return (weights.float().log() + noise).argmax(-1)

"""What a model must offer to be trained, measured and asked, what it remembers of a prompt, and what it may show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from minilmm.interface.document import Batch

Stop = int | Sequence[int]  # the token that ends an answer, or several of which any does


@dataclass
class LayerCache:
    """What one attention layer remembers: keys and values (B, H, L, d), and the last projections before the smear."""

    keys: Tensor | None = None
    values: Tensor | None = None
    tail: Tensor | None = None  # (B, window - 1, (H + H_kv) d)


@dataclass
class Cache:
    """One LayerCache per layer, plus which cached positions are real (B, L) and the next position (B,)."""

    layers: list[LayerCache] = field(default_factory=list)
    mask: Tensor | None = None
    next_position: Tensor | None = None

    def select(self, rows: Tensor) -> Cache:
        """The rows named, some of them perhaps more than once: how a prefix is shared, and beams are re-ordered."""

        def pick(x: Tensor | None) -> Tensor | None:
            return None if x is None else x[rows]

        layers = [LayerCache(pick(c.keys), pick(c.values), pick(c.tail)) for c in self.layers]
        return Cache(layers, pick(self.mask), pick(self.next_position))


@dataclass(frozen=True)
class Keep:
    """Lists that a forward pass appends to, a tensor per layer, where they are given.

    maps: self-attention (B, H, L, K); cross: cross-attention (B, H, L, K); past: keys and values, (B, H, L, d) each.
    """

    maps: list[Tensor] | None = None
    cross: list[Tensor] | None = None
    past: list[tuple[Tensor, Tensor]] | None = None


NOTHING = Keep()


class Steppable(Protocol):
    """A model with a cache: prompts are read once, then continued."""

    def prefill(self, batch: Batch) -> tuple[Tensor, Cache]:
        """Left-padded prompts -> logits after each (B, V), and the cache."""
        ...

    def step(self, ids: Tensor, cache: Cache, attention_mask: Tensor | None = None) -> Tensor:
        """Append ids (B, K): logits (B, K, V)."""
        ...


class MultimodalLM(Steppable, Protocol):
    """What the harness asks of a model. `sees` says whether pictures reach it; without, it reads descriptions."""

    sees: bool

    def forward(self, batch: Batch, keep: Keep = NOTHING) -> Tensor:
        """Logits (B, L, V)."""
        ...

    def score(self, batch: Batch, continuations: Tensor, mask: Tensor) -> Tensor:
        """Log-probabilities (B, C)."""
        ...

    def generate(self, batch: Batch, max_tokens: int, stop: Stop, beams: int = 1) -> Tensor:
        """Continuations (B, max_tokens)."""
        ...

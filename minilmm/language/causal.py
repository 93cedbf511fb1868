"""A compact causal language model: the nano LM of this course, and a Llama, from one configuration.

Touvron et al. 2023 (Llama): RMSNorm before each sub-layer, rotary positions, SwiGLU, grouped-query attention.
With `smear=0` the parameters and the arithmetic are those of transformers' LlamaForCausalLM, name for name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minilmm.interface.document import Batch
from minilmm.interface.model import NOTHING, Cache, Keep, LayerCache
from minilmm.nn.attention import SelfAttention, in_order, last, rotary_angles
from minilmm.nn.decoding import Decodes


@dataclass(frozen=True)
class LMConfig:
    """Sizes of a causal LM. `positions` is "rope" or "learned"; `smear` see `SelfAttention`.

    scaled: words are read as sqrt(width) times their rows, which begin as small as that (Vaswani et al. 2017, section
    3.4; Gemma). They are then as large as what blocks add to them, and so is what a bridge puts in their place.
    """

    vocab_size: int
    width: int = 128
    layers: int = 4
    heads: int = 8
    kv_heads: int = 8
    hidden: int = 384
    context: int = 2048
    positions: str = "rope"
    theta: float = 10_000.0
    smear: int = 0
    norm_eps: float = 1e-6
    tied: bool = True
    scaled: bool = False


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)) (Shazeer 2020, eq. 6)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, config: LMConfig):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.width, config.norm_eps)
        self.self_attn = SelfAttention(config.width, config.heads, config.kv_heads, config.smear)
        self.post_attention_layernorm = nn.RMSNorm(config.width, config.norm_eps)
        self.mlp = SwiGLU(config.width, config.hidden)

    def forward(self, x: Tensor, *attention_arguments) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        x = x + self.self_attn(self.input_layernorm(x), *attention_arguments)
        return x + self.mlp(self.post_attention_layernorm(x))


def embed_scale(table: nn.Module) -> Any:
    """How many times as large as its rows the words are that a table gives: sqrt(D) for Gemma and XGLM, else 1."""
    return getattr(table, "embed_scale", 1.0)


class Decoder(Decodes):
    """How a causal LM with `embed`, `hidden` and `lm_head` is read and stepped: ours, or one of transformers."""

    embed: Callable[[Tensor], Tensor]
    hidden: Callable[..., Tensor]
    lm_head: Callable[[Tensor], Tensor]
    embed_tokens: Any

    @property
    def word_size(self) -> Tensor:
        """The root mean square of words as the first block reads them; some tables scale their rows."""
        return self.embed_tokens.weight.detach().square().mean().sqrt() * embed_scale(self.embed_tokens)

    def prefill(self, batch: Batch) -> tuple[Tensor, Cache]:
        """Read left-padded prompts: the logits after each, (B, V), and the cache to go on from."""
        return self.begin(self.embed(batch.ids), batch.attention_mask)

    def begin(self, x: Tensor, attention_mask: Tensor) -> tuple[Tensor, Cache]:
        """The same for prompts given as embeddings (B, L, D)."""
        cache = Cache()
        return self.lm_head(self.hidden(x, attention_mask, cache)[:, -1]), cache

    def step(self, ids: Tensor, cache: Cache, attention_mask: Tensor | None = None) -> Tensor:
        """Append ids (B, K) to the cache: logits (B, K, V) after each."""
        return self.lm_head(self.hidden(self.embed(ids), attention_mask, cache))


class CausalLM(Decoder, nn.Module):
    """A causal LM over ids or over embeddings: a picture enters as embeddings that no word has.

    Meets the multimodal LM's interface (`forward(batch)`, `score`, `generate`) for documents without pictures.
    """

    sees = False

    def __init__(self, config: LMConfig):
        super().__init__()
        if config.positions not in ("rope", "learned"):
            raise ValueError(f"positions is {config.positions!r}: expected 'rope' or 'learned'")
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.context, config.width) if config.positions == "learned" else None
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, config.norm_eps)
        self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.embed_tokens.embed_scale = config.width**0.5 if config.scaled else 1.0
        self.apply(self._init)
        if config.tied:
            self.lm_head.weight = self.embed_tokens.weight

    def _init(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            small = isinstance(module, nn.Embedding) and not self.config.scaled
            nn.init.normal_(module.weight, std=0.02 if small else module.weight.shape[1] ** -0.5)

    def embed(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, D)."""
        words = self.embed_tokens(ids)
        return words * embed_scale(self.embed_tokens) if self.config.scaled else words

    def hidden(
        self,
        x: Tensor,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        maps: list[Tensor] | None = None,
        offset: int | Tensor = 0,
        in_front: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Embeddings (B, L, D) to final states (B, L, D).

        attention_mask: (B, L) bool, False on padding on either side; positions count the real tokens only.
        cache: extended in place by these L tokens. offset: added to every position, so that training covers all.
        in_front: called with (i, x) in front of block i, whose input it returns: where Flamingo's layers stand.
        ValueError where a position lies beyond a learned table.
        """
        B, L, _ = x.shape
        real = attention_mask
        mask = None
        if cache is None and real is None:
            positions = (offset + torch.arange(L, device=x.device)).expand(B, L)
        else:
            real = torch.ones(B, L, dtype=torch.bool, device=x.device) if real is None else real
            start = cache.next_position if cache is not None else None  # (B,), or None before the first token
            positions = (real.long().cumsum(1) - 1).clamp(min=0) + (start[:, None] if start is not None else offset)
            before = cache.mask if cache is not None else None
            seen = real if before is None else torch.cat([before, real], 1)  # (B, K)
            K = seen.shape[1]
            itself = torch.arange(K, device=x.device) == last(L, K, x.device)  # (L, K)
            mask = in_order(L, K, x.device) & seen[:, None] | itself  # padding sees itself alone, so no row is empty
            mask = mask[:, None]  # (B, 1, L, K)
            if cache is not None:
                cache.mask = seen
                cache.next_position = positions[:, -1] + 1
        angles = None
        if self.positions is None:
            angles = rotary_angles(positions, self.config.width // self.config.heads, self.config.theta)
        else:
            if int(positions.max()) >= self.config.context:
                raise ValueError(f"position {int(positions.max())} is beyond the context of {self.config.context}")
            x = x + self.positions(positions)
        if cache is not None and not cache.layers:
            cache.layers = [LayerCache() for _ in self.layers]
        for i, layer in enumerate(self.layers):
            x = x if in_front is None else in_front(i, x)
            x = layer(x, angles, mask, real, None if cache is None else cache.layers[i], maps)
        return self.norm(x)

    def forward(self, batch: Batch | Tensor, keep: Keep = NOTHING) -> Tensor:
        """Logits (B, L, V) of every next token; of a batch, or of plain ids (B, L) without padding."""
        if isinstance(batch, Tensor):
            return self.lm_head(self.hidden(self.embed(batch), maps=keep.maps))
        return self.lm_head(self.hidden(self.embed(batch.ids), batch.attention_mask, maps=keep.maps))

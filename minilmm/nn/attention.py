"""Attention as the language models use it: grouped queries, rotary positions, a cache, optionally smeared keys."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minilmm.interface.model import LayerCache


def rotary_angles(positions: Tensor, width: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines for rotary positions (Su et al. 2021, eq. 34): (B, L) -> two (B, 1, L, width)."""
    frequency = theta ** (-torch.arange(0, width, 2, device=positions.device, dtype=torch.float) / width)
    angle = positions[:, None, :, None].float() * frequency  # (B, 1, L, width / 2)
    angle = torch.cat([angle, angle], -1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    """Turn every pair (x_i, x_{i + d/2}) of (B, H, L, d) by its angle, the half-split layout of Llama."""
    cos, sin = angles
    first, second = x.chunk(2, -1)
    return (x * cos + torch.cat([-second, first], -1) * sin).to(x.dtype)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
    maps: list[Tensor] | None = None,
) -> Tensor:
    """softmax(scale q k^T) v, with q (B, H, L, d) and k, v (B, H_kv, K, d), H a multiple of H_kv: (B, H, L, d).

    mask: (B or 1, H or 1, L, K), True where a query may look, or real numbers that are added to the scores. causal:
    instead of a mask, the i-th of L queries looks at the first i of L keys. scale: 1 / sqrt(d) unless given.
    maps: a list to which the weights (B, H, L, K) are appended, at the price of a slower path.
    """
    if k.shape[1] != q.shape[1]:
        k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
    if maps is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale)
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        mask = in_order(q.shape[2], k.shape[2], q.device)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    maps.append(scores.softmax(-1))
    return maps[-1] @ v


def in_order(queries: int, keys: int, device: torch.device) -> Tensor:
    """(L, K) bool: the last L of K positions look at themselves and what is before them."""
    return torch.arange(keys, device=device) <= last(queries, keys, device)


def last(queries: int, keys: int, device: torch.device) -> Tensor:
    """(L, 1): the numbers of the last L of K positions."""
    return torch.arange(queries, device=device)[:, None] + (keys - queries)


class SelfAttention(nn.Module):
    """Causal self-attention with grouped queries (Ainslie et al. 2023).

    smear: how many positions each key *and query* averages over, itself included, with learned softmax weights per
    head that start even (after Olsson et al. 2022, "smeared keys"); 0 switches it off. A name's key then holds the
    words before the name, so that one layer can look up "what followed these words" and in-context learning appears
    within minutes. The average is taken before the rotation and sees zeros before the first token.
    """

    def __init__(self, width: int, heads: int, kv_heads: int | None = None, smear: int = 0):
        super().__init__()
        self.heads, self.kv_heads, self.head_width, self.smear = heads, kv_heads or heads, width // heads, smear
        self.q_proj = nn.Linear(width, heads * self.head_width, bias=False)
        self.k_proj = nn.Linear(width, self.kv_heads * self.head_width, bias=False)
        self.v_proj = nn.Linear(width, self.kv_heads * self.head_width, bias=False)
        self.o_proj = nn.Linear(heads * self.head_width, width, bias=False)
        if smear:
            self.smear_logits = nn.Parameter(torch.zeros(self.heads + self.kv_heads, smear))

    def _smeared(self, qk: Tensor, cache: LayerCache | None) -> Tensor:
        """Mix the last `smear` positions of the projections (B, L, (H + H_kv) d), as a depthwise convolution."""
        before = cache.tail if cache is not None and cache.tail is not None else None
        if before is None:
            before = qk.new_zeros(len(qk), self.smear - 1, qk.shape[-1])
        padded = torch.cat([before, qk], 1)
        if cache is not None:
            cache.tail = padded[:, padded.shape[1] - (self.smear - 1) :]
        weights = self.smear_logits.softmax(-1).repeat_interleave(self.head_width, 0)  # ((H + H_kv) d, smear)
        L = qk.shape[1]
        return sum((padded[:, i : i + L] * weights[:, self.smear - 1 - i] for i in range(self.smear)), qk.new_zeros(()))

    def forward(
        self,
        x: Tensor,
        angles: tuple[Tensor, Tensor] | None,
        mask: Tensor | None = None,
        real: Tensor | None = None,
        cache: LayerCache | None = None,
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        """x (B, L, D) -> (B, L, D). real (B, L): False on padding, which must not be smeared into tokens."""
        B, L, _ = x.shape
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        if self.smear:
            qk = torch.cat([q, k], -1)
            if real is not None:
                qk = qk * real[..., None]
            q, k = self._smeared(qk, cache).split([q.shape[-1], k.shape[-1]], -1)
        q, k, v = (t.view(B, L, -1, self.head_width).transpose(1, 2) for t in (q, k, v))  # (B, H, L, d)
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        if cache is not None:
            if cache.keys is not None and cache.values is not None:
                k, v = torch.cat([cache.keys, k], 2), torch.cat([cache.values, v], 2)
            cache.keys, cache.values = k, v
        return self.o_proj(attend(q, k, v, mask, causal=mask is None, maps=maps).transpose(1, 2).reshape(B, L, -1))

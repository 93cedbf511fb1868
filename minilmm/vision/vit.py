"""A vision transformer: a picture is a sequence of patches.

Sources: Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021 (equations 1-4); the class token gives way to
the mean of the patches, as in Zhai et al., "Scaling vision transformers", CVPR 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Pre-norm transformer block in which every token sees every token that `mask` leaves: (M, L, D) -> (M, L, D)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} does not divide into {heads} heads")
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """mask: (M, L) bool, False on the keys that nobody may see."""
        M, L, D = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(M, L, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # each (M, H, L, D / H)
        seen = None if mask is None else mask[:, None, None, :]  # (M, 1, 1, L)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)  # (M, H, L, D / H)
        x = x + self.out(attended.transpose(1, 2).reshape(M, L, D))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Pictures (M, 3, H, W) in [0, 1] -> features (M, S, D), S = (H / patch)^2."""

    def __init__(self, resolution: int, patch: int, width: int, layers: int, heads: int):
        super().__init__()
        if resolution % patch:
            raise ValueError(f"resolution {resolution} does not divide into patches of {patch} pixels")
        self.width, self.positions = width, (resolution // patch) ** 2
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.position = nn.Parameter(torch.randn(self.positions, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches((images - 0.5) / 0.25).flatten(2).transpose(1, 2)  # (M, S, D)
        x = x + self.position
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def pool(self, features: Tensor) -> Tensor:
        """Mean over the patches, then each picture's vector standardised: (M, S, D) -> (M, D)."""
        return F.layer_norm(features.mean(1), (self.width,))

"""A dual encoder: pictures and texts in one space, each picture nearest to its own text.

Sources: InfoNCE is van den Oord, Li & Vinyals, "Representation learning with contrastive predictive coding", 2018;
two-way over a batch, with a learned temperature, Radford et al., "Learning transferable visual models from natural
language supervision" (CLIP), ICML 2021. Flamingo's vision encoder is trained so, and then frozen (Alayrac et al.,
NeurIPS 2022, section 2.1 and appendix).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minilmm.vision import VisionConfig, build_encoder
from minilmm.vision.vit import Block

MAX_SCALE = 100.0  # the largest inverse temperature; beyond it training is unstable (CLIP, section 2.5)


class TextTower(nn.Module):
    """ids (B, L), mask (B, L) True on tokens -> (B, D): a bidirectional transformer, then the mean over the tokens."""

    def __init__(self, vocabulary: int, width: int, layers: int, heads: int, length: int):
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(length, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.token.weight, std=0.02)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        if ids.shape[1] > len(self.position):
            raise ValueError(f"texts of {ids.shape[1]} tokens, expected at most {len(self.position)}: shorten them")
        # Positions count real tokens, so that padding on either side gives the same embedding.
        x = self.token(ids) + self.position[(mask.cumsum(1) - 1).clamp(min=0)]  # (B, L, D)
        seen = mask | ~mask.any(1, keepdim=True)  # an empty text sees its padding: kernels differ on an empty softmax
        for block in self.blocks:
            x = block(x, seen)
        weight = mask[..., None].to(x.dtype)  # (B, L, 1)
        return (self.norm(x) * weight).sum(1) / weight.sum(1).clamp(min=1)


class DualEncoder(nn.Module):
    """An image tower and a text tower that meet in `embed` dimensions.

    vocabulary: token ids below it. text_length: the most tokens per text. The temperature is learned as a logarithm,
    from 1/0.07; `logit_scale` is the logarithm of its inverse. An empty text's embedding is zero.
    """

    def __init__(
        self,
        vision: VisionConfig,
        vocabulary: int,
        *,
        text_width: int = 128,
        text_layers: int = 2,
        text_heads: int = 4,
        text_length: int = 64,
        embed: int = 128,
    ):
        super().__init__()
        self.vision, self.resolution = build_encoder(vision), vision.resolution
        self.text = TextTower(vocabulary, text_width, text_layers, text_heads, text_length)
        self.image_projection = nn.Linear(self.vision.width, embed, bias=False)
        self.text_projection = nn.Linear(text_width, embed, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_image(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] -> unit vectors (B, E)."""
        return F.normalize(self.image_projection(self.vision.pool(self.vision(images))), dim=-1)

    def encode_text(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids (B, L), mask (B, L) bool, True on tokens -> unit vectors (B, E)."""
        return F.normalize(self.text_projection(self.text(ids, mask)), dim=-1)

    def scale(self) -> Tensor:
        """The inverse temperature, at most MAX_SCALE."""
        clamped = self.logit_scale.clamp(max=math.log(MAX_SCALE))
        # The gradient passes the clamp: a scale that reached the top can come down again.
        return (self.logit_scale + (clamped - self.logit_scale).detach()).exp()

    def forward(self, images: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Pictures and as many texts -> logits (B, B): cosine of picture i and text j, over the temperature."""
        return self.scale() * self.encode_image(images) @ self.encode_text(ids, mask).T


def same_text(ids: Tensor) -> Tensor:
    """(B, L) padded ids -> (B, B) bool, True where two texts are the same, token by token."""
    return (ids[:, None] == ids[None]).all(-1)


def info_nce(logits: Tensor, same: Tensor | None = None) -> Tensor:
    """Two-way InfoNCE of logits (B, B), whose row i is picture i and whose column i is its text; a scalar, in nats.

        -1/2B sum_i [ log softmax_j(logits[i, j])[i] + log softmax_j(logits[j, i])[i] ]

    same: (B, B) bool and symmetric, True where two texts are the same. Text j that reads like text i describes picture
    i as well, so (i, j) is left out of the negatives. A model that knows nothing scores ln B; one pair alone scores 0.
    """
    if logits.ndim != 2 or logits.shape[0] != logits.shape[1]:
        raise ValueError(f"logits of shape {tuple(logits.shape)}, expected a square (B, B): one text per picture")
    if same is not None:
        own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(same & ~own, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

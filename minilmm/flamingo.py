"""Flamingo: a Visual Language Model for Few-Shot Learning (Alayrac et al., NeurIPS 2022).

A frozen vision encoder gives S features per frame; a *Perceiver resampler* turns those of any number of frames into R
tokens; *GATED XATTN-DENSE* layers, put in front of the blocks of a frozen language model, let text look at them. Every
token looks at the last picture before it and at no other (section 2.3); what earlier pictures said reaches it through
the language model's own self-attention. Gates start at 0: training starts from the language model, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minilmm.interface.document import Batch
from minilmm.interface.model import NOTHING, Cache, Keep
from minilmm.interface.tokenizer import IMAGE_ID
from minilmm.language.causal import CausalLM, LMConfig
from minilmm.nn.attention import attend
from minilmm.nn.decoding import Decodes
from minilmm.nn.places import with_places
from minilmm.vision import Encoder, VisionConfig, build_encoder


@dataclass(frozen=True)
class FlamingoConfig:
    """Sizes. latents: R tokens per picture or video. every: a gated layer in front of every n-th block of the LM.

    frames: as many time embeddings are learned; more frames interpolate between them (section 2.1 and appendix A).
    places: how large the sines are that tell the resampler where features stand; the paper has none (`nn.places`).
    variant: "" is the paper; others are made by `minilmm.ablations`.
    """

    lm: LMConfig
    vision: VisionConfig = field(default_factory=VisionConfig)
    latents: int = 4
    resampler_layers: int = 2
    heads: int = 4
    every: int = 1
    frames: int = 8
    places: float = 0.0
    variant: str = ""
    image_id: int = IMAGE_ID


class SquaredReLU(nn.Module):
    """max(x, 0)^2, in Flamingo's new layers (appendix A.1; So et al. 2021)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x).square()


def feed_forward(width: int) -> nn.Sequential:
    """Norm, four times as wide, squared ReLU, back: (..., D) -> (..., D)."""
    up, down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
    return nn.Sequential(nn.LayerNorm(width), up, SquaredReLU(), down)


class CrossAttention(nn.Module):
    """Attention of x (B, L, D) to context (B, K, D_c), each as its caller normed it, without biases: (B, L, D)."""

    def __init__(self, width: int, context_width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} does not divide into {heads} heads")
        self.heads = heads
        self.q_proj, self.o_proj = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.k_proj, self.v_proj = (nn.Linear(context_width, width, bias=False) for _ in range(2))

    def forward(
        self, x: Tensor, context: Tensor, mask: Tensor | None = None, maps: list[Tensor] | None = None
    ) -> Tensor:
        """mask (B, L, K) bool, True where x may look; a row that may look nowhere gives 0. maps get (B, H, L, K)."""
        q, k, v = (
            proj(t).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for proj, t in ((self.q_proj, x), (self.k_proj, context), (self.v_proj, context))
        )  # (B, H, L or K, d)
        if mask is None:
            return self.o_proj(attend(q, k, v, maps=maps).transpose(1, 2).flatten(-2))
        looks = mask.any(-1, keepdim=True)  # (B, L, 1) False where x may look nowhere: softmax over nothing is NaN
        out = self.o_proj(attend(q, k, v, (mask | ~looks)[:, None], maps=maps).transpose(1, 2).flatten(-2))
        if maps is not None:
            maps[-1] = maps[-1] * looks[:, None]
        return out * looks


class PerceiverResampler(nn.Module):
    """Features x_f (M, T, S, D) of M pictures or videos -> R tokens each, (M, R, D): section 2.1, figure 5.

    Time embeddings belong to frames and are added before T and S become one axis. Places need none where the
    encoder's features hold them; else `places` is the size of what is added.
    """

    def __init__(self, width: int, latents: int, layers: int, heads: int, frames: int, places: float = 0.0):
        super().__init__()
        self.places = places
        self.latents = nn.Parameter(torch.randn(latents, width) * 0.02)
        self.time_embeddings = nn.Parameter(torch.randn(frames, width) * 0.02)
        self.attention = nn.ModuleList(CrossAttention(width, width, heads) for _ in range(layers))
        self.context_norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.latents_norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.ffw = nn.ModuleList(feed_forward(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def times(self, frames: int) -> Tensor:
        """(T, 1, D): the learned ones, or linearly interpolated where there are more frames than were trained on."""
        learned: Tensor = self.time_embeddings
        if frames > len(learned):
            learned = F.interpolate(learned.T[None], size=frames, mode="linear", align_corners=True)[0].T
        return learned[:frames, None]

    def flat(self, x_f: Tensor) -> Tensor:
        """Features with their times and places, in one row: (M, T S, D)."""
        return (with_places(x_f, self.places) + self.times(x_f.shape[1])).flatten(1, 2)

    def forward(self, x_f: Tensor, maps: list[Tensor] | None = None) -> Tensor:
        x_f = self.flat(x_f)
        x = self.latents.expand(len(x_f), -1, -1)  # (M, R, D)
        layers = zip(self.attention, self.context_norm, self.latents_norm, self.ffw, strict=True)
        for attention, context_norm, latents_norm, ffw in layers:
            normed = latents_norm(x)
            x = x + attention(normed, torch.cat([context_norm(x_f), normed], 1), maps=maps)
            x = x + ffw(x)
        return self.norm(x)


class GatedCrossAttention(nn.Module):
    """GATED XATTN-DENSE (section 2.2, figure 4): y + tanh(alpha_xattn) attention(y, x), then + tanh(alpha_dense) ffw.

    What stands before the first picture passes unchanged, through the feed-forward too.
    """

    def __init__(self, width: int, media_width: int, heads: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = CrossAttention(width, media_width, heads)
        self.ffw = feed_forward(width)
        self.alpha_xattn, self.alpha_dense = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def forward(self, y: Tensor, x: Tensor, mask: Tensor, maps: list[Tensor] | None = None) -> Tensor:
        """y (B, L, D), x (B, N R, D_x), mask (B, L, N R) bool -> (B, L, D)."""
        y = y + self.alpha_xattn.tanh() * self.attention(self.norm(y), x, mask, maps)
        return y + self.alpha_dense.tanh() * self.ffw(y) * mask.any(-1, keepdim=True)


def last_image(ids: Tensor, image_id: int, real: Tensor | None = None, ahead: Tensor | None = None) -> Tensor:
    """phi of the paper: which picture each token looks at, counted from 1, 0 for none: ids (B, L) -> (B, L).

    ahead (B,) bool: documents whose text looks at the *next* picture instead (p_next, section 2.4); text behind the
    last picture then looks at none. real (B, L): False on padding, which looks at none.
    """
    tag = ids == image_id
    phi = tag.long().cumsum(1)
    if ahead is not None:
        following = phi + (~tag).long()
        following = following.masked_fill(following > tag.sum(1, keepdim=True), 0)
        phi = torch.where(ahead[:, None], following, phi)
    return phi if real is None else phi * real


def media_mask(phi: Tensor, images: int) -> Tensor:
    """(B, L) which picture, from 1 -> (B, L, N) bool: may this token look at this picture?"""
    return phi[..., None] == torch.arange(1, images + 1, device=phi.device)


@dataclass
class MediaCache(Cache):
    """The LM's cache, the pictures' tokens (B, N R, D_x), and which of them new text looks at (B, 1, N R)."""

    media: Tensor | None = None
    media_mask: Tensor | None = None

    def select(self, rows: Tensor) -> MediaCache:
        """The rows named, with their pictures."""
        text = super().select(rows)
        assert self.media is not None and self.media_mask is not None
        return MediaCache(text.layers, text.mask, text.next_position, self.media[rows], self.media_mask[rows])


class Flamingo(Decodes, nn.Module):
    """A frozen causal LM that looks at pictures between its blocks. Meets the multimodal LM's interface."""

    sees = True

    def __init__(self, config: FlamingoConfig, lm: CausalLM | None = None, encoder: Encoder | None = None):
        super().__init__()
        self.config, c = config, config
        self.lm = lm if lm is not None else CausalLM(config.lm)
        self.encoder: Encoder = encoder if encoder is not None else build_encoder(config.vision)
        width = self.encoder.width
        self.resampler = PerceiverResampler(width, c.latents, c.resampler_layers, c.heads, c.frames, c.places)
        gated = range(0, config.lm.layers, config.every)
        self.xattn = nn.ModuleDict({str(i): GatedCrossAttention(config.lm.width, width, config.heads) for i in gated})

    @torch.no_grad()
    def see(self, batch: Batch) -> Tensor:
        """The frozen encoder's features of all pictures, absent ones included: x_f (B, N, T, S, D_x)."""
        return batch.encoded(self.encoder)

    def perceive(self, batch: Batch) -> Tensor:
        """The tokens of all pictures, absent ones 0: (B, N R, D_x).

        ValueError where tags and pictures differ in number; training trusts its batches, and waits for no device.
        """
        batch.tags(self.config.image_id, check=not self.training)
        B, N = batch.media_mask.shape
        if not N:
            return self.resampler.latents.new_zeros(B, 0, self.encoder.width)
        tokens = self.resampler(self.see(batch).flatten(0, 1)).unflatten(0, (B, N))  # (B, N, R, D_x)
        return tokens.masked_fill(~batch.media_mask[..., None, None], 0.0).flatten(1, 2)

    def hidden(self, ids: Tensor, real: Tensor | None, media: Tensor, mask: Tensor, cache: Cache | None = None,
               keep: Keep = NOTHING) -> Tensor:  # fmt: skip
        """ids (B, L), pictures' tokens (B, N R, D_x), mask (B, L, N R) -> the LM's final states (B, L, D).

        keep: the LM's self-attention, and the cross-attention (B, H, L, N R) of every gated layer.
        """

        def gate(i: int, y: Tensor) -> Tensor:
            if not media.shape[1] or str(i) not in self.xattn:
                return y
            return self.xattn[str(i)](y, media, mask, keep.cross)

        return self.lm.hidden(self.lm.embed(ids), real, cache, keep.maps, in_front=gate)

    may_look = staticmethod(media_mask)

    def masks(self, batch: Batch) -> Tensor:
        """Which token looks at which of the pictures' tokens, (B, L, N R) bool."""
        phi = last_image(batch.ids, self.config.image_id, batch.attention_mask, batch.ahead)
        return self.may_look(phi, batch.media.shape[1]).repeat_interleave(self.config.latents, -1)  # (B, L, N R)

    def forward(self, batch: Batch, keep: Keep = NOTHING) -> Tensor:
        """Logits of the next token after every token, (B, L, V)."""
        media, mask = self.perceive(batch), self.masks(batch)
        return self.lm.lm_head(self.hidden(batch.ids, batch.attention_mask, media, mask, None, keep))

    def prefill(self, batch: Batch) -> tuple[Tensor, Cache]:
        """Read left-padded prompts: logits after each (B, V), and the cache."""
        media, mask = self.perceive(batch), self.masks(batch)
        cache = MediaCache(media=media, media_mask=mask[:, -1:])
        states = self.hidden(batch.ids, batch.attention_mask, media, mask, cache)
        return self.lm.lm_head(states[:, -1]), cache

    def step(self, ids: Tensor, cache: Cache, attention_mask: Tensor | None = None) -> Tensor:
        """Append text (B, K), which looks at the last picture: logits (B, K, V)."""
        assert isinstance(cache, MediaCache) and cache.media is not None and cache.media_mask is not None
        mask = cache.media_mask.expand(-1, ids.shape[1], -1)
        return self.lm.lm_head(self.hidden(ids, attention_mask, cache.media, mask, cache))

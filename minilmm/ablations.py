"""What the papers compared their models with: other resamplers, other ways in, other gates and masks, and mistakes.

`altered(model, name)` changes a freshly made Flamingo, or BLIP-2's first stage; their own files stay the papers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from minilmm.blip2 import Stage1, causal_mask, hard_negatives
from minilmm.flamingo import Flamingo, GatedCrossAttention, PerceiverResampler, media_mask
from minilmm.language.causal import Block


class MLPResampler(nn.Module):
    """Features x_f (M, T, S, D), averaged over time -> one hidden layer over all places -> (M, R, D)."""

    def __init__(self, width: int, places: int, latents: int):
        super().__init__()
        self.latents = nn.Parameter(torch.zeros(latents, width))
        self.mlp = nn.Sequential(nn.Linear(places * width, 2 * width), nn.GELU(), nn.Linear(2 * width, latents * width))
        self.norm = nn.LayerNorm(width)

    def forward(self, x_f: Tensor, maps: list[Tensor] | None = None) -> Tensor:
        x = self.mlp(x_f.mean(1).flatten(1)).unflatten(-1, self.latents.shape)
        return self.norm(x + self.latents)


class TransformerResampler(PerceiverResampler):
    """Latents and features in one sequence, all attending to all; the latents' places are what comes out, (M, R, D)."""

    def forward(self, x_f: Tensor, maps: list[Tensor] | None = None) -> Tensor:
        x_f = (x_f + self.times(x_f.shape[1])).flatten(1, 2)
        x = torch.cat([self.latents.expand(len(x_f), -1, -1), x_f], 1)  # (M, R + T S, D)
        for attention, norm, ffw in zip(self.attention, self.latents_norm, self.ffw, strict=True):
            normed = norm(x)
            x = x + attention(normed, normed, maps=maps)
            x = x + ffw(x)
        return self.norm(x[:, : len(self.latents)])


class VanillaCrossAttention(GatedCrossAttention):
    """Cross-attention of the original Transformer's decoder: no gate, no feed-forward of its own."""

    def forward(self, y: Tensor, x: Tensor, mask: Tensor, maps: list[Tensor] | None = None) -> Tensor:
        return y + self.attention(self.norm(y), x, mask, maps)


class TimesPerImage(PerceiverResampler):
    """The mistake of numbering pictures as if they were frames of one video: what a picture says depends on its place.

    The pictures of a batch are numbered in the order in which they come.
    """

    def forward(self, x_f: Tensor, maps: list[Tensor] | None = None) -> Tensor:
        number = torch.arange(len(x_f), device=x_f.device) % len(self.time_embeddings)
        return super().forward(x_f + self.time_embeddings[number][:, None, None], maps)


def every_image_so_far(phi: Tensor, images: int) -> Tensor:
    """(B, L, N): text looks at all pictures before it."""
    return phi[..., None] >= torch.arange(1, images + 1, device=phi.device)


def leaking(phi: Tensor, images: int) -> Tensor:
    """(B, L, N): a row without a picture sees all of them, as softmax over equally masked scores does."""
    return media_mask(phi, images) | (phi == 0)[..., None]


def _gates(model: Flamingo, alpha: float, trained: bool) -> None:
    for name, gate in model.xattn.named_parameters():
        if "alpha" in name:
            nn.init.constant_(gate, alpha).requires_grad_(trained)


def _resampler(model: Flamingo, kind: type[PerceiverResampler]) -> None:
    c = model.config
    model.resampler = kind(model.encoder.width, c.latents, c.resampler_layers, c.heads, c.frames)


def _mlp(model: Flamingo) -> None:
    c = model.config
    size = torch.zeros(1, 3, c.vision.resolution, c.vision.resolution)
    with torch.no_grad():
        places = model.encoder(size).shape[1]
    model.resampler = MLPResampler(model.encoder.width, places, c.latents)  # type: ignore[assignment]


def _vanilla(model: Flamingo) -> None:
    c = model.config
    for name in model.xattn:
        model.xattn[name] = VanillaCrossAttention(c.lm.width, model.encoder.width, c.heads)


def _graft(model: Flamingo) -> None:
    """New blocks on top of the whole language model, with the gated layers in front of those alone."""
    first = model.config.lm.layers
    new = [Block(model.config.lm) for _ in model.xattn]
    for block in new:  # each begins as the identity
        nn.init.zeros_(block.self_attn.o_proj.weight)
        nn.init.zeros_(block.mlp.down_proj.weight)
    model.lm.layers.extend(new)
    model.xattn = nn.ModuleDict({str(first + i): layer for i, layer in enumerate(model.xattn.values())})


def _once(model: Flamingo) -> None:
    middle = str(model.config.lm.layers // 2)
    model.xattn = nn.ModuleDict({middle: next(iter(model.xattn.values()))})


def _sees(mask: Callable[[Tensor, int], Tensor]) -> Callable[[Flamingo], None]:
    return lambda model: setattr(model, "sees_images", mask)


ABLATIONS: dict[str, Callable[[Flamingo], None]] = {
    "mlp-resampler": _mlp,
    "transformer-resampler": lambda model: _resampler(model, TransformerResampler),
    "vanilla-xattn": _vanilla,
    "grafting": _graft,
    "once-in-the-middle": _once,
    "no-gate": lambda model: _gates(model, 20.0, False),  # tanh(20) is 1
    "fixed-gate": lambda model: _gates(model, 0.2, False),
}
BUGS: dict[str, Callable[[Flamingo], None]] = {
    "attend-all-images": _sees(every_image_so_far),
    "text-before-image-leaks": _sees(leaking),
    "gate-init-one": lambda model: _gates(model, 1.0, True),
    "time-embedding-per-image": lambda model: _resampler(model, TimesPerImage),
}


def _seeing_text(queries: int, real: Tensor) -> Tensor:
    mask = causal_mask(queries, real)
    mask[:, :queries, queries:] = real[:, None]  # a word to come reaches the words before it through the queries
    return mask


def _easy(similar: Tensor, same: Tensor, generator: torch.Generator | None = None) -> Tensor:
    return hard_negatives(torch.zeros_like(similar), same, generator)


BLIP2_BUGS: dict[str, Callable[[Stage1], None]] = {
    "queries-see-text": lambda model: setattr(model, "itg_mask", _seeing_text),
    "itc-mean": lambda model: setattr(model, "over_queries", torch.mean),
    "itm-easy-negatives": lambda model: setattr(model, "partners", _easy),
}
Altered = TypeVar("Altered", Flamingo, Stage1)


def altered(model: Altered, name: str) -> Altered:
    """The model, changed in place as an ablation or a bug says; "" is the paper's. ValueError lists what there is."""
    known: dict[str, Any] = BLIP2_BUGS if isinstance(model, Stage1) else {**ABLATIONS, **BUGS}
    if name and name not in known:
        raise ValueError(f"unknown variant {name!r}: choose from {', '.join(known)}")
    if name:
        known[name](model)
    return model

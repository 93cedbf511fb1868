"""What the papers compared their models with: other resamplers, other ways in, other gates and masks, and mistakes.

Each is a small subclass of the paper's model; `variant(Flamingo, "no-gate")` finds it by its name.
"""

from __future__ import annotations

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
        x_f = self.flat(x_f)
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


def _set_gates(model: Flamingo, alpha: float, trained: bool) -> None:
    for name, gate in model.xattn.named_parameters():
        if "alpha" in name:
            nn.init.constant_(gate, alpha).requires_grad_(trained)


def _resampler(model: Flamingo, kind: type[PerceiverResampler]) -> PerceiverResampler:
    c = model.config
    return kind(model.encoder.width, c.latents, c.resampler_layers, c.heads, c.frames, c.places)


class WithMLPResampler(Flamingo):
    """An MLP in place of the Perceiver."""

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        size = torch.zeros(1, 3, self.config.vision.resolution, self.config.vision.resolution)
        with torch.no_grad():
            places = self.encoder(size).shape[1]
        self.resampler = MLPResampler(self.encoder.width, places, self.config.latents)  # type: ignore[assignment]


class WithTransformerResampler(Flamingo):
    """A Transformer over latents and features in place of the Perceiver."""

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        self.resampler = _resampler(self, TransformerResampler)


class Vanilla(Flamingo):
    """Cross-attention without gates and feed-forwards."""

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        for name in self.xattn:
            self.xattn[name] = VanillaCrossAttention(self.config.lm.width, self.encoder.width, self.config.heads)


class Grafted(Flamingo):
    """New blocks on top of the whole language model, with the gated layers in front of those alone."""

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        first = self.config.lm.layers
        new = [Block(self.config.lm) for _ in self.xattn]
        for block in new:  # each begins as the identity
            nn.init.zeros_(block.self_attn.o_proj.weight)
            nn.init.zeros_(block.mlp.down_proj.weight)
        self.lm.layers.extend(new)
        self.xattn = nn.ModuleDict({str(first + i): layer for i, layer in enumerate(self.xattn.values())})


class OnceInTheMiddle(Flamingo):
    """A single gated layer."""

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        middle = str(self.config.lm.layers // 2)
        self.xattn = nn.ModuleDict({middle: next(iter(self.xattn.values()))})


class NoGate(Flamingo):
    """All gates wide open, for good."""

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        _set_gates(self, 20.0, False)  # tanh(20) is 1


class FixedGate(Flamingo):
    """All gates at tanh(.2), for good."""

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        _set_gates(self, 0.2, False)


class AttendAllImages(Flamingo):
    """Text looks at all pictures before it."""

    may_look = staticmethod(every_image_so_far)


class TextBeforeImageLeaks(Flamingo):
    """Text before the first picture looks at all of them."""

    may_look = staticmethod(leaking)


class GateInitOne(Flamingo):
    """Gates that begin open."""

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        _set_gates(self, 1.0, True)


class TimeEmbeddingPerImage(Flamingo):
    """Pictures are numbered as if they were frames."""

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        self.resampler = _resampler(self, TimesPerImage)


class QueriesSeeText(Stage1):
    """In ITG a word to come reaches the words before it through the queries, which see the text."""

    @staticmethod
    def itg_mask(queries: int, real: Tensor) -> Tensor:
        mask = causal_mask(queries, real)
        mask[:, :queries, queries:] = real[:, None]
        return mask

    def words_after(self, ids: Tensor, real: Tensor, x_f: Tensor, past: Any = None) -> Tensor:
        """What queries computed alone is not what they compute beside text: `past` is of no use."""
        return super().words_after(ids, real, x_f)


class ITCMean(Stage1):
    """ITC by the mean over queries, not the best of them."""

    def similarity(self, image: Tensor, text: Tensor) -> Tensor:
        return torch.einsum("iqe,te->itq", image, text).mean(-1)


class ITMEasyNegatives(Stage1):
    """ITM's wrong partners are drawn at random."""

    @staticmethod
    def partners(similar: Tensor, same: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return hard_negatives(torch.zeros_like(similar), same, generator)


ABLATIONS: dict[str, type[nn.Module]] = {
    "mlp-resampler": WithMLPResampler, "transformer-resampler": WithTransformerResampler, "vanilla-xattn": Vanilla,
    "grafting": Grafted, "once-in-the-middle": OnceInTheMiddle, "no-gate": NoGate, "fixed-gate": FixedGate,
}  # fmt: skip
BUGS: dict[str, type[nn.Module]] = {
    "attend-all-images": AttendAllImages, "text-before-image-leaks": TextBeforeImageLeaks,
    "gate-init-one": GateInitOne, "time-embedding-per-image": TimeEmbeddingPerImage,
    "queries-see-text": QueriesSeeText, "itc-mean": ITCMean, "itm-easy-negatives": ITMEasyNegatives,
}  # fmt: skip
Model = TypeVar("Model", Flamingo, Stage1)


def names(paper: type[nn.Module], table: dict[str, type[nn.Module]]) -> tuple[str, ...]:
    """The names in ABLATIONS or BUGS that change this paper's model."""
    return tuple(name for name, kind in table.items() if issubclass(kind, paper))


def variant(paper: type[Model], name: str) -> type[Model]:
    """A paper's model as an ablation or a bug has it; "" is the paper's own. ValueError lists what there is."""
    if not name:
        return paper
    known = names(paper, ABLATIONS | BUGS)
    if name not in known:
        raise ValueError(f"unknown variant {name!r}: choose from {', '.join(known)}")
    return (ABLATIONS | BUGS)[name]  # type: ignore[return-value]

"""Where models look: Flamingo's words, through the gated layers and the resampler; a Q-Former's queries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from minilmm.blip2 import Blip2, Stage1
from minilmm.flamingo import Flamingo
from minilmm.interface.document import Batch
from minilmm.interface.model import Keep


def gate_openness(model: Flamingo) -> Tensor:
    """|tanh(alpha_xattn)| of every gated layer, (layers,)."""
    alphas = [p.detach() for name, p in model.xattn.named_parameters() if name.endswith("alpha_xattn")]
    return torch.cat(alphas).tanh().abs()


@torch.no_grad()
def token_attention(model: Flamingo, batch: Batch) -> Tensor:
    """How much each word takes from each token of each picture, (layers, B, L, N, R), averaged over heads.

    Each row sums to 1 where a word may look at a picture, and is 0 elsewhere.
    """
    looks: list[Tensor] = []
    model(batch, Keep(cross=looks))
    return torch.stack(looks).mean(2).unflatten(-1, (batch.media.shape[1], model.config.latents))


@torch.no_grad()
def latent_attention(model: Flamingo, batch: Batch) -> Tensor:
    """How much each of a picture's R tokens takes from each patch, in the resampler's last layer: (B N, R, T, S).

    Averaged over heads. The rest of each row goes to the latents themselves.
    """
    maps: list[Tensor] = []
    features = model.see(batch).flatten(0, 1)  # (B N, T, S, D)
    model.resampler(features, maps)
    T, S = features.shape[1:3]
    return maps[-1].mean(1)[..., : T * S].unflatten(-1, (T, S))


def patch_attention(model: Flamingo, batch: Batch) -> Tensor:
    """Where each word looks in each picture: (B, L, N, S), over patches, summed over frames.

    The gated layers' maps, weighted by how far their gates are open, times the resampler's. A reading, not a proof: the
    latents have mixed what they saw before the last layer.
    """
    weights = gate_openness(model)
    words = torch.einsum("g,gblnr->blnr", weights / weights.sum().clamp(min=1e-9), token_attention(model, batch))
    patches = latent_attention(model, batch).sum(2).unflatten(0, batch.media_mask.shape)  # (B, N, R, S)
    return torch.einsum("blnr,bnrs->blns", words, patches)


@torch.no_grad()
def query_attention(model: Stage1 | Blip2, images: Tensor) -> Tensor:
    """What each query takes from each patch of pictures (M, C, H, W): (M, Q, S), the last block's, over heads."""
    looks: list[Tensor] = []
    model.qformer(model.encoder(images), keep=Keep(cross=looks))
    return looks[-1].mean(1)


@contextmanager
def gates_at(model: Flamingo, value: float | None) -> Iterator[Flamingo]:
    """The model with every tanh(alpha) at a value (0 closes, 1 opens), and as it was afterwards; None: as it is."""
    alphas = [p for name, p in model.xattn.named_parameters() if "alpha" in name]
    before = [alpha.detach().clone() for alpha in alphas]
    with torch.no_grad():
        for alpha in alphas if value is not None else ():
            alpha.fill_(torch.atanh(torch.tensor(min(value or 0.0, 1 - 1e-7))))
    try:
        yield model
    finally:
        with torch.no_grad():
            for alpha, old in zip(alphas, before, strict=True):
                alpha.copy_(old)

"""IDEFICS as our Flamingo: what an open Flamingo does otherwise than the paper, put into our modules.

Laurencon et al., "OBELICS", NeurIPS 2023, and transformers' modeling_idefics.py. Otherwise than in the paper: RMSNorm
and SwiGLU in the gated layers, whose feed-forward changes text in front of the first picture too; ReLU in the
resampler; norms of queries and keys per head; heads whose widths do not add up to the resampler's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.idefics.vision import IdeficsVisionTransformer

from minilmm.checkpoints.saving import CheckpointError
from minilmm.flamingo import CrossAttention, Flamingo, FlamingoConfig, GatedCrossAttention, PerceiverResampler
from minilmm.language import CausalLM, LMConfig
from minilmm.language.causal import SwiGLU
from minilmm.vision import VisionConfig
from minilmm.vision.adapter import BorrowedEncoder


class UngatedText(GatedCrossAttention):
    """Idefics' feed-forward also changes tokens that see no picture; the paper's does not."""

    def forward(self, y: Tensor, x: Tensor, mask: Tensor, maps: list[Tensor] | None = None) -> Tensor:
        """y (B, L, D), x (B, N R, D_x), mask (B, L, N R) bool -> (B, L, D)."""
        y = y + self.alpha_xattn.tanh() * self.attention(self.norm(y), x, mask, maps)
        return y + self.alpha_dense.tanh() * self.ffw(y)


class HeadNorm(nn.Module):
    """A norm of every head by itself, behind a projection of queries or keys: (B, L, H d) -> (B, L, H d)."""

    def __init__(self, heads: int, norm: nn.Module):
        super().__init__()
        self.heads, self.norm = heads, norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.unflatten(-1, (self.heads, -1))).flatten(-2)


def flamingo_of(c: Any, image: dict[str, Any], image_id: int, tied: bool) -> Flamingo:
    """Our Flamingo for an IdeficsConfig. CheckpointError where our modules cannot express it."""
    p, v = c.perceiver_config, c.vision_config
    refuse(c)
    v._attn_implementation = "sdpa"
    encoder, sizes = encoder_of(IdeficsVisionTransformer, v, v.embed_dim, image)
    lm = CausalLM(LMConfig(
        c.vocab_size + c.additional_vocab_size, c.hidden_size, c.num_hidden_layers, c.num_attention_heads,
        c.num_attention_heads, c.intermediate_size, c.max_position_embeddings, theta=c.rope_parameters["rope_theta"],
        norm_eps=c.rms_norm_eps, tied=tied,
    ))  # fmt: skip
    config = FlamingoConfig(lm.config, sizes, p.resampler_n_latents, p.resampler_depth, 1, c.cross_layer_interval,
                            frames=1, image_id=image_id)  # fmt: skip
    model = Flamingo(config, lm, encoder)
    model.config = replace(config, heads=p.resampler_n_heads)
    resample_as_idefics(model.resampler, v.embed_dim, p)
    model.xattn = nn.ModuleDict({name: gated(c) for name in model.xattn})
    return model


def encoder_of(kind: Any, c: Any, width: int, image: dict[str, Any]) -> tuple[Any, VisionConfig]:
    """Their vision encoder behind the adapter, and its sizes. CheckpointError where pictures are no squares."""
    if not isinstance(c.image_size, int) or not isinstance(c.patch_size, int):
        raise CheckpointError(
            f"image_size {c.image_size}, patch_size {c.patch_size}: expected square pictures and patches"
        )
    sizes = {"patch": c.patch_size, "layers": c.num_hidden_layers, "heads": c.num_attention_heads}
    encoder = BorrowedEncoder(kind(c), c.image_size, (image["mean"], image["std"]))
    return encoder, VisionConfig("vit", c.image_size, vit_width=width, **sizes)


def refuse(c: Any) -> None:
    """CheckpointError for what is no Flamingo of ours."""
    if not c.use_resampler:
        raise CheckpointError("an Idefics without a Perceiver resampler: expected use_resampler true")
    if c.hidden_act != "silu":
        raise CheckpointError(f"hidden_act is {c.hidden_act}: expected silu, as in SwiGLU")
    if c.rope_parameters.get("rope_type", "default") != "default":
        raise CheckpointError(f"rotary positions of type {c.rope_parameters['rope_type']}: expected default")
    if c.num_hidden_layers % c.cross_layer_interval:
        raise CheckpointError(
            f"{c.num_hidden_layers} layers: expected a multiple of cross_layer_interval {c.cross_layer_interval}"
        )


def cross_attention(width: int, context: int, heads: int, head: int, norm: Any) -> CrossAttention:
    """Ours with heads of any width, and a norm of queries and keys per head where there is one."""
    attention = CrossAttention(width, context, 1)
    attention.heads, attention.o_proj = heads, nn.Linear(heads * head, width, bias=False)
    for name, inputs in (("q_proj", width), ("k_proj", context), ("v_proj", context)):
        proj = nn.Linear(inputs, heads * head, bias=False)
        plain = norm is None or name == "v_proj"
        setattr(attention, name, proj if plain else nn.Sequential(proj, HeadNorm(heads, norm())))
    return attention


def resample_as_idefics(resampler: PerceiverResampler, width: int, p: Any) -> None:
    """Puts Idefics' attention and its ReLU into a resampler; pictures only, so that times add nothing."""
    del resampler.time_embeddings
    resampler.register_buffer("time_embeddings", torch.zeros(1, width), persistent=False)
    norm = partial(nn.LayerNorm, p.resampler_head_dim) if p.qk_layer_norms_perceiver else None
    for i, ffw in enumerate(resampler.ffw):
        ffw[2] = nn.ReLU()  # type: ignore[index,operator]
        resampler.attention[i] = cross_attention(width, width, p.resampler_n_heads, p.resampler_head_dim, norm)


def gated(c: Any) -> UngatedText:
    """A gated layer with Idefics' norms, its SwiGLU and its gates, one per layer or one per channel."""
    width, heads, context = c.hidden_size, c.num_attention_heads, c.vision_config.embed_dim
    layer = UngatedText(width, context, heads)
    norm = partial(nn.RMSNorm, width // heads, c.rms_norm_eps) if c.qk_layer_norms else None
    layer.attention = cross_attention(width, context, heads, width // heads, norm)
    layer.norm = nn.RMSNorm(width, c.rms_norm_eps)  # type: ignore[assignment]
    layer.ffw = nn.Sequential(nn.RMSNorm(width, c.rms_norm_eps), SwiGLU(width, c.intermediate_size))
    if c.alpha_type == "vector":
        layer.alpha_xattn, layer.alpha_dense = (nn.Parameter(torch.zeros(width)) for _ in range(2))
    return layer

"""Floating-point operations, counted from the shapes of the products: a multiplication and an addition are two.

Only matrix products count: those of the linear maps, and the two of attention. Norms, activations, rotations, softmax,
the smear, the look-up of embeddings and the optimiser are left out, as is usual, so a share of the peak is what of it
reaches the products. Whatever an implementation computes beyond (scores of masked positions) earns it nothing.

With W the weights of all matrices that multiply (the output head is one, tied or not; the embedding is a look-up):

    forward    2 W per token
    backward   2 W per token for the gradients of inputs, and 2 W for those of weights unless they are frozen

so that training is the familiar 6 W per token, and a step through a frozen model 4 W. Attention has no weights: a query
that sees k keys costs 2 k D for its scores and 2 k D for its mixture, D = heads x head width, and a causal row of L
tokens sees L (L + 1) / 2 keys in all. Its backward pass is twice its forward pass, frozen or not, because queries, keys
and values are all inputs. A convolution is a linear map at every place of its output.
"""

from __future__ import annotations

import torch
from torch import nn

from minilmm.language import LMConfig
from minilmm.vision.resnet import StandardisedConv


def body_weights(config: LMConfig) -> int:
    """Weights of the matrices in the layers, through which every token goes."""
    head = config.width // config.heads
    attention = config.width * head * (2 * config.heads + 2 * config.kv_heads)
    return config.layers * (attention + 3 * config.width * config.hidden)


def attention_flops(config: LMConfig, length: int) -> int:
    """The forward pass of attention in all layers, one causal row of `length` tokens."""
    seen = length * (length + 1) // 2
    return config.layers * 4 * seen * config.heads * (config.width // config.heads)


def lm_step_flops(config: LMConfig, rows: int, length: int, *, frozen: bool, predicted: int | None = None) -> int:
    """One step, forward and backward, of `rows` rows of `length` tokens.

    frozen: no gradients of weights. predicted: positions that go through the head, all of them unless given.
    """
    tokens = rows * length
    linear = body_weights(config) * tokens
    linear += config.width * config.vocab_size * (tokens if predicted is None else predicted)
    return (4 if frozen else 6) * linear + 3 * rows * attention_flops(config, length)


def encoder_step_flops(encoder: nn.Module, resolution: int) -> int:
    """Forward and backward of a normaliser-free ResNet over one picture; the picture itself needs no gradient."""
    forward: list[int] = []

    def count(module: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        assert isinstance(module, StandardisedConv)
        forward.append(2 * module.weight.numel() * output.shape[-2] * output.shape[-1])

    hooks = [m.register_forward_hook(count) for m in encoder.modules() if isinstance(m, StandardisedConv)]
    with torch.no_grad():
        encoder(torch.zeros(1, 3, resolution, resolution, device=next(encoder.parameters()).device))
    for hook in hooks:
        hook.remove()
    return 3 * sum(forward) - forward[0]

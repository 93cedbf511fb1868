"""Freezing a language model so that gradients still pass through it (Tsimpoukelli et al. 2021, figure 2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def freeze(model: nn.Module) -> list[nn.Parameter]:
    """Freeze a multimodal model's language model; give back the parameters that are to be trained.

    `model` has two parts, `model.eyes` and `model.lm`. No parameter of `lm` may get a gradient; all of `eyes` must.
    A parameter that both parts share (a tied matrix) belongs to the language model: it stays frozen. Whatever was
    frozen or trainable before does not matter.
    """
    raise NotImplementedError("your code here")


def training_step(model: nn.Module, pictures: Tensor, answers: Tensor, rate: float) -> float:
    """One step of gradient descent on the parameters that are not frozen: their values change in place.

    pictures (B, D_p); answers (B,) token ids; `model.lm(model.eyes(pictures))` gives logits (B, V). Returns the mean
    cross-entropy in nats before the step. The language model is in evaluation mode (no dropout), the eyes train.
    """
    raise NotImplementedError("your code here")

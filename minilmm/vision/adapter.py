"""Any vision encoder of transformers or torchvision behind the interface of ours: see `minilmm.vision`."""

from __future__ import annotations

import importlib
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

Normal = tuple[tuple[float, ...], tuple[float, ...]]  # a picture's mean and standard deviation, per channel
CLIP: Normal = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET: Normal = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF: Normal = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NORMALS = {"clip": CLIP, "blip": CLIP, "idefics": CLIP, "dinov2": IMAGENET}  # by the start of their model's type
INSIDE = ("layer4", "features", "encoder")  # where networks of torchvision keep their grid: ResNets, convnets, ViTs
CLASS_TOKENS = ("class_embedding", "cls_token", "class_token", "distillation_token")


class BorrowedEncoder(nn.Module):
    """An encoder of another library: pictures (M, 3, H, W) in [0, 1] -> features (M, S, D).

    Pictures are resized to `resolution` (bicubic, both sides) and normalised inside. The features are the grid's, row
    by row, behind `before` tokens that are no place of it: a class token, registers. It never drops out, in training
    neither. layer: which block's output, counted as `hidden_states` of transformers are (-2: the second-to-last);
    None is BLIP-2's choice, the second-to-last of a CLIP (Li et al. 2023, section 3.4) and of others what they give.
    """

    def __init__(self, model: nn.Module, resolution: int, normal: Normal, layer: int | None = None):
        super().__init__()
        self.model, self.resolution, self.layer = model.eval(), resolution, layer
        for name, values in zip(("mean", "std"), normal, strict=True):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        # Shapes are asked for on the meta device, which computes nothing.
        state = {**self.state_dict(keep_vars=True), **dict(self.named_buffers())}
        blank = torch.zeros(1, 3, resolution, resolution, device="meta")
        with torch.no_grad():
            features = functional_call(self, {name: tensor.to("meta") for name, tensor in state.items()}, (blank,))
        self.positions, self.width = features.shape[1:]
        patch = getattr(getattr(model, "config", model), "patch_size", None)
        patch = patch[0] if isinstance(patch, list | tuple) else patch
        named = any(name.endswith(CLASS_TOKENS) for name, _ in model.named_parameters())
        self.before = self.positions - (resolution // patch) ** 2 if patch and named else 0

    def train(self, mode: bool = True) -> Self:
        """As of any module, except that the borrowed model stays in evaluation mode."""
        super().train(mode)
        self.model.eval()
        return self

    def normalised(self, images: Tensor) -> Tensor:
        """Pictures in [0, 1] of any size -> what the model was trained on, (M, 3, R, R)."""
        size = (self.resolution, self.resolution)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        return (images - mean.to(images)) / std.to(images)

    def forward(self, images: Tensor) -> Tensor:
        """(M, 3, H, W) -> (M, S, D)."""
        model: Any = self.model
        pixels = self.normalised(images).to(next(model.parameters()).dtype)
        if not hasattr(model, "config"):  # of torchvision
            kept: list[Tensor] = []
            grid = model.get_submodule(next(name for name in INSIDE if hasattr(model, name)))
            hook = grid.register_forward_hook(lambda module, inputs, output: kept.append(output))
            try:
                model(pixels)
            finally:
                hook.remove()
            out = kept[0]
        elif self.layer is None:
            out = model(pixel_values=pixels).last_hidden_state
        else:
            out = model(pixel_values=pixels, output_hidden_states=True).hidden_states[self.layer]
        return out.flatten(2).transpose(1, 2) if out.ndim == 4 else out  # convolutional grids are (M, D, h, w)

    def pool(self, features: Tensor) -> Tensor:
        """The class token where there is one, else the mean over the grid, standardised: (M, S, D) -> (M, D)."""
        return F.layer_norm(features[:, 0] if self.before else features.mean(1), (self.width,))


def transformers_encoder(model: Any, normal: Normal | None = None, layer: int | None = None) -> BorrowedEncoder:
    """A model of transformers that sees (CLIP, SigLIP, DINOv2, ViT, ...) as an encoder; of a dual one its vision half.

    normal: mean and standard deviation per channel; its family's unless given. ValueError where it takes no pictures,
    or the layer is not there.
    """
    family, encoder = model.config.model_type, getattr(model, "vision_model", model)
    c = encoder.config
    size = getattr(c, "image_size", 224)
    size = size[0] if isinstance(size, list | tuple) else size
    if not hasattr(c, "num_channels") and not hasattr(c, "patch_size"):
        raise ValueError(f"{type(model).__name__} takes no pictures: name a vision encoder, such as CLIPVisionModel")
    layers = getattr(c, "num_hidden_layers", None)
    if layer is not None and layers is not None and not -layers - 1 <= layer <= layers:
        raise ValueError(f"layer {layer} of {layers}: expected {-layers - 1} to {layers}, or None")
    if normal is None:
        normal = next((n for start, n in NORMALS.items() if family.replace("_", "").startswith(start)), HALF)
    if layer is None and family.startswith("clip"):
        layer = -2
    return BorrowedEncoder(encoder, size, normal, layer)


def torchvision_encoder(name: str, weights: str | None = "DEFAULT") -> BorrowedEncoder:
    """A network of torchvision by name ("resnet50", "convnext_tiny", "vit_b_16"), up to its grid of features.

    weights: those of torchvision, or None for random ones. ValueError where torchvision is missing or does not fit this
    torch, where the name is unknown, or where a network keeps its grid elsewhere.
    """
    try:
        models = importlib.import_module("torchvision.models")
    except Exception as error:  # built for another torch, it fails in ways of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f'torchvision cannot be imported ({reason}): pip install "minilmm[real]"') from None
    if name not in models.list_models():
        raise ValueError(f"torchvision has no network {name!r}: torchvision.models.list_models() lists them")
    model = models.get_model(name, weights=weights)
    if not any(hasattr(model, inside) for inside in INSIDE) or name.startswith(("swin", "maxvit")):
        raise ValueError(f"{name} has no known feature map: name a ResNet, a ConvNeXt, an EfficientNet or a ViT")
    resolution = 224
    if weights is not None:
        resolution = models.get_model_weights(name)[weights].transforms().crop_size[0]
    return BorrowedEncoder(model, resolution, IMAGENET)


def normal_of(facts: dict[str, Any]) -> Normal | None:
    """The mean and standard deviation that a preprocessor_config.json names, None where it names none."""
    facts = facts.get("image_processor", facts)
    if not facts.get("image_mean") or not facts.get("image_std"):
        return None
    return tuple(facts["image_mean"]), tuple(facts["image_std"])

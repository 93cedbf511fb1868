"""Vision encoders: pictures in, a grid of features out.

Every encoder meets one interface, and the bridges know no other:
    encoder(images (M, 3, H, W) in [0, 1]) -> features (M, S, D)   S positions of the grid, row by row from the top left
    encoder.pool(features (M, S, D)) -> (M, D)                     the picture as one vector
    encoder.width = D, encoder.positions = S
The pictures are centred inside. Encoders of transformers and torchvision meet it too (`adapter`); some put a class
token in front of the grid. M counts pictures: a video is T of them, which the caller folds into M and unfolds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from minilmm.vision.efficientnet import EfficientNetLite0
from minilmm.vision.resnet import NFResNet
from minilmm.vision.vit import ViT


@dataclass(frozen=True)
class VisionConfig:
    """An encoder's sizes. `dataclasses.asdict` goes to JSON, and `VisionConfig(**json)` comes back.

    resolution                        pixels per side
    stem, widths, blocks              resnet: channels after the stem; channels and residual blocks of each stage
    patch, vit_width, layers, heads   vit: pixels per patch side; channels; blocks; attention heads

    "efficientnet-lite0" has one size; its weights are an asset (`minilmm.vision.efficientnet`).
    """

    kind: Literal["resnet", "vit", "efficientnet-lite0"] = "resnet"
    resolution: int = 48
    stem: int = 32
    widths: tuple[int, ...] = (64, 128)
    blocks: tuple[int, ...] = (1, 2)
    patch: int = 8
    vit_width: int = 96
    layers: int = 4
    heads: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))  # JSON gives lists
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if self.kind not in ("resnet", "vit", "efficientnet-lite0"):
            raise ValueError(f'kind is {self.kind!r}, expected "resnet", "vit" or "efficientnet-lite0"')

    @property
    def width(self) -> int:
        """D, the channels of the features."""
        if self.kind == "efficientnet-lite0":
            return 1280
        return self.widths[-1] if self.kind == "resnet" else self.vit_width


Encoder = NFResNet | ViT | EfficientNetLite0


def build_encoder(config: VisionConfig) -> Encoder:
    """The encoder that a config describes, freshly initialised. ValueError names sizes that do not fit together."""
    if config.kind == "efficientnet-lite0":
        return EfficientNetLite0(config.resolution)
    if config.kind == "resnet":
        return NFResNet(config.resolution, config.stem, config.widths, config.blocks)
    return ViT(config.resolution, config.patch, config.vit_width, config.layers, config.heads)


__all__ = ["EfficientNetLite0", "Encoder", "NFResNet", "ViT", "VisionConfig", "build_encoder"]

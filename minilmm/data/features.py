"""Frozen eyes look once: their features of every picture are kept, and stand in a batch where pixels would.

Eyes that do not train say the same of the same picture in every step. A handful of views of each picture, shifted and
shrunk a little, take the place of endless ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from minilmm.data.named import Named, jitter

ROOM = 2**30  # bytes of features that are kept at most
CHUNK = 32  # pictures that the eyes look at together


class Eyes(nn.Module):
    """A frozen encoder that lets features pass which it made before: pictures (M, 3, H, W) are looked at, (M, S, D) are
    given back as they are. Meets the interface of an encoder (`minilmm.vision`).
    """

    def __init__(self, encoder: Any):
        super().__init__()
        self.encoder, self.width, self.positions = encoder, encoder.width, encoder.positions

    def forward(self, images: Tensor) -> Tensor:
        """-> (M, S, D). ValueError for features of other eyes."""
        if images.dim() == 4:
            with torch.no_grad():
                return self.encoder(images)
        if images.shape[1:] != (self.positions, self.width):
            size = f"({self.positions}, {self.width})"
            raise ValueError(f"features of shape {tuple(images.shape[1:])}: these eyes make {size}: look again")
        return images

    def pool(self, features: Tensor) -> Tensor:
        """(M, S, D) -> (M, D), as the encoder does."""
        return self.encoder.pool(features)


@torch.no_grad()
def looked_at(data: Named, eyes: Eyes, views: int, device: torch.device | str = "cpu") -> Named:
    """The training things of a data set with the features of `views` views of each picture, in half precision.

    The first view is the picture itself; the others are jittered, alike in every run. Fewer views where they would need
    more than `ROOM` bytes (emoji at 112 pixels: 55 MB a view). ValueError where one view does.
    """
    rows = data.rows("train")
    pictures = data.pictures[:, rows]  # (V, N, 3, R, R)
    size = pictures[:, :, 0, 0, 0].numel() * eyes.positions * eyes.width * 2
    views = min(views, ROOM // size)
    if views < 1:
        raise ValueError(f"features of {pictures[:, :, 0, 0, 0].numel()} pictures need {size / 2**30:.1f} GiB, and "
                         f"{ROOM / 2**30:.0f} is the most: choose a smaller --resolution, or other eyes")  # fmt: skip
    kept = torch.empty(*pictures.shape[:2], views, eyes.positions, eyes.width, dtype=torch.half)
    flat, found = pictures.flatten(0, 1), kept.flatten(0, 1)
    for view in range(views):
        generator = torch.Generator(device).manual_seed(view)
        for some in torch.arange(len(flat)).split(CHUNK):
            pixels = flat[some].to(device).float() / 255
            found[some, view] = eyes(jitter(pixels, generator) if view else pixels).cpu().half()
    names = [data.names[i] for i in rows.tolist()]
    return replace(data, names=names, pictures=pictures, held_out=data.held_out[rows], features=kept)

"""Frozen encoders look once: their features of every picture are kept, and given to models beside the documents.

An encoder that does not train says the same of the same picture in every step. A handful of views of each picture,
shifted and shrunk a little, take the place of endless ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from minilmm.data.named import Named, jitter

ROOM = 2**30  # bytes of features that are kept at most
CHUNK = 32  # pictures that the eyes look at together


@torch.no_grad()
def looked_at(data: Named, encoder: Any, views: int, device: torch.device | str = "cpu") -> Named:
    """The training things of a data set with the features of `views` views of each picture, in half precision.

    The first view is the picture itself; the others are jittered, alike in every run. Fewer views where they would need
    more than `ROOM` bytes (emoji at 112 pixels: 55 MB a view). ValueError where one view does.
    """
    rows = data.rows("train")
    pictures = data.pictures[:, rows]  # (V, N, 3, R, R)
    size = pictures[:, :, 0, 0, 0].numel() * encoder.positions * encoder.width * 2
    views = min(views, ROOM // size)
    if views < 1:
        raise ValueError(f"features of {pictures[:, :, 0, 0, 0].numel()} pictures need {size / 2**30:.1f} GiB, and "
                         f"{ROOM / 2**30:.0f} is the most: choose a smaller --resolution or --vision")  # fmt: skip
    kept = torch.empty(*pictures.shape[:2], views, encoder.positions, encoder.width, dtype=torch.half)
    flat, found = pictures.flatten(0, 1), kept.flatten(0, 1)
    for view in range(views):
        generator = torch.Generator(device).manual_seed(view)
        for some in torch.arange(len(flat)).split(CHUNK):
            pixels = flat[some].to(device).float() / 255
            found[some, view] = encoder(jitter(pixels, generator) if view else pixels).cpu().half()
    names = [data.names[i] for i in rows.tolist()]
    return replace(data, names=names, pictures=pictures, held_out=data.held_out[rows], features=kept)

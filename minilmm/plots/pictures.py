"""Pictures in a grid, each with its caption."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from minilmm.plots.style import new_figure, style


def picture_grid(images: Tensor, captions: Sequence[str] | None = None, *, columns: int = 6) -> Figure:
    """images (N, 3, H, W) in [0, 1], shown as they are (no smoothing), with their captions (N) below, wrapped.

    ValueError: another shape, or captions of another number.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise ValueError(f"pictures must be (N, 3, H, W) with N > 0, not {tuple(images.shape)}")
    texts = list(captions) if captions is not None else [""] * len(images)
    if len(texts) != len(images):
        raise ValueError(f"{len(images)} pictures but {len(texts)} captions: pass one for each")
    side, columns = 1.6, min(columns, len(images))
    texts = [textwrap.fill(text.replace(" .", "\N{NO-BREAK SPACE}."), width=20) for text in texts]
    rows = math.ceil(len(images) / columns)
    lines = [text.count("\n") + 1 if text else 0 for text in texts]
    lines_high = sum(
        max(lines[r * columns : (r + 1) * columns]) for r in range(rows)
    )  # the longest caption of each row
    with style():
        figure = new_figure(side * columns, rows * (side * images.shape[2] / images.shape[3] + 0.2) + 0.17 * lines_high)
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for ax in axes:
            ax.set_axis_off()
        for ax, image, text in zip(axes, images.detach().float().cpu().clamp(0, 1), texts, strict=False):
            ax.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")  # (H, W, 3)
            ax.set_title(text, y=-0.05, va="top", pad=0)
    return figure

"""What a model draws from each patch of a picture, laid over the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from minilmm.plots.style import new_figure, style


def patch_overlay(images: Tensor, weights: Tensor, titles: Sequence[str], *, label: str, columns: int = 4) -> Figure:
    """images (N, 3, H, W) in [0, 1] with weights (N, h, w), one per patch, drawn over a grey copy.

    Each picture stands beside its weights over it; one colour bar serves all, from 0 to the largest weight. `label`
    names the quantity and its unit. ValueError: numbers that do not fit.
    """
    if images.ndim != 4 or weights.ndim != 3 or not len(images) == len(weights) == len(titles):
        shapes = f"pictures {tuple(images.shape)}, weights {tuple(weights.shape)}"
        raise ValueError(f"{shapes}, {len(titles)} titles: N of each")
    N, columns = len(images), min(columns, len(images), 4)
    lines = -(-N // columns)
    top = max(float(weights.max()), 1e-9)
    with style():
        figure = new_figure(2 * 1.45 * columns + 0.9, 1.75 * lines)
        axes = figure.subplots(lines, 2 * columns, squeeze=False).flatten()
        for ax in axes:
            ax.set_axis_off()
        for n in range(N):
            axes[2 * n].imshow(_pixels(images[n]), interpolation="nearest")
            axes[2 * n].set_title(titles[n], loc="left", pad=3)
            drawn = _overlay(axes[2 * n + 1], images[n], weights[n], top)
        _colour_bar(figure, drawn, list(axes), label)
    return figure


def overlay_table(
    images: Tensor, weights: Tensor, columns: Sequence[str], rows: Sequence[str], *, label: str
) -> Figure:
    """A row per picture: images (N, 3, H, W) once, then weights (N, Q, h, w) over grey copies of it, a column per Q.

    columns (Q) head the overlays, rows (N) stand left of the pictures; a picture that equals the one above it is not
    drawn again. The colours are as in `patch_overlay`. ValueError: numbers that do not fit.
    """
    N, Q = weights.shape[:2]
    if len(images) != N or len(rows) != N or len(columns) != Q:
        raise ValueError(f"{len(images)} pictures, {len(rows)} rows, {len(columns)} columns for weights of {N} x {Q}")
    top = max(float(weights.max()), 1e-9)
    with style():
        figure = new_figure(1.05 * (Q + 1) + 1.3, 1.1 * N + 0.3)
        axes = figure.subplots(N, Q + 1, squeeze=False)
        for n in range(N):
            axes[n, 0].set_ylabel(rows[n], rotation=0, ha="right", va="center")
            axes[n, 0].set(xticks=[], yticks=[], frame_on=False)
            if n == 0 or not images[n].equal(images[n - 1]):
                axes[n, 0].imshow(_pixels(images[n]), interpolation="nearest")
            for q in range(Q):
                axes[n, q + 1].set_axis_off()
                axes[n, q + 1].set_title(columns[q] if n == 0 else "", pad=3)
                drawn = _overlay(axes[n, q + 1], images[n], weights[n, q], top)
        _colour_bar(figure, drawn, list(axes.flatten()), label)
    return figure


def _pixels(image: Tensor) -> np.ndarray:
    return image.detach().float().cpu().clamp(0, 1).permute(1, 2, 0).numpy()  # (H, W, 3)


def _overlay(ax: Axes, image: Tensor, weights: Tensor, top: float) -> AxesImage:
    """One map of weights over a grey copy of its picture."""
    H, W = image.shape[1:]
    ax.imshow(_pixels(image).mean(-1), cmap="gray", vmin=-0.5, vmax=1.2, extent=(0, W, H, 0))
    cells = weights.detach().float().cpu().numpy()
    return ax.imshow(cells, cmap="Blues", vmin=0, vmax=top, alpha=0.75, extent=(0, W, H, 0))


def _colour_bar(figure: Figure, drawn: AxesImage, axes: list[Axes], label: str) -> None:
    bar = figure.colorbar(drawn, ax=axes, label=label, aspect=20, pad=0.01)
    bar.outline.set_visible(False)  # type: ignore[operator]

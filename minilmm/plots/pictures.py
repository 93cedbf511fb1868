"""Pictures in a grid, each with its caption; and what a model draws from each patch of a picture, laid over it."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from minilmm.plots.style import colour_bar, new_figure, style


@style()
def picture_grid(
    images: Tensor, captions: Sequence[str] | None = None, *, columns: int = 6, heads: Sequence[str] = (),
    side: float = 1.6,
) -> Figure:  # fmt: skip
    """images (N, 3, H, W) in [0, 1], shown as they are (no smoothing), with their captions (N) below, wrapped.

    heads (N), if given: a few words above each. side: inches. ValueError: another shape, or texts of another number.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise ValueError(f"pictures must be (N, 3, H, W) with N > 0, not {tuple(images.shape)}")
    texts = list(captions) if captions is not None else [""] * len(images)
    if len(texts) != len(images):
        raise ValueError(f"{len(images)} pictures but {len(texts)} captions: pass one for each")
    if len(heads) not in (0, len(images)):
        raise ValueError(f"{len(images)} pictures but {len(heads)} heads: pass one for each, or none")
    columns, width = min(columns, len(images)), round(12.5 * side)  # letters in a line
    split = [text.replace(" .", "\N{NO-BREAK SPACE}.").splitlines() for text in texts]
    texts = ["\n".join(textwrap.fill(line, width) for line in lines) for lines in split]
    lines = [len(text.splitlines()) for text in texts]
    longest = [max(lines[i : i + columns]) for i in range(0, len(lines), columns)]  # caption of each row
    height = len(longest) * (side * images.shape[2] / images.shape[3] + (0.4 if heads else 0.2)) + 0.17 * sum(longest)
    figure = new_figure(side * columns, height)
    axes = figure.subplots(len(longest), columns, squeeze=False).flatten()
    for ax in axes:
        ax.set_axis_off()
    for ax, image, text in zip(axes, images, texts, strict=False):
        ax.imshow(_pixels(image), interpolation="nearest")
        ax.set_title(text, y=-0.05, va="top", pad=0)
    for ax, head in zip(axes, heads, strict=False):
        ax.text(0, 1.03, head, transform=ax.transAxes, weight="bold")
    return figure


@style()
def patch_overlay(images: Tensor, weights: Tensor, titles: Sequence[str], *, label: str, columns: int = 4) -> Figure:
    """images (N, 3, H, W) in [0, 1] with weights (N, h, w), one per patch, drawn over a grey copy.

    Each picture stands beside its weights over it; one colour bar serves all, from 0 to the largest weight. `label`
    names the quantity and its unit. ValueError: numbers that do not fit.
    """
    if images.ndim != 4 or weights.ndim != 3 or not len(images) == len(weights) == len(titles):
        shapes = f"pictures {tuple(images.shape)}, weights {tuple(weights.shape)}"
        raise ValueError(f"{shapes}, {len(titles)} titles: N of each")
    columns = min(columns, len(images), 4)
    rows = -(-len(images) // columns)
    figure = new_figure(2 * 1.45 * columns + 0.9, 1.75 * rows)
    axes = figure.subplots(rows, 2 * columns, squeeze=False).flatten()
    for ax in axes:
        ax.set_axis_off()
    for picture, overlay, image, weight, title in zip(axes[::2], axes[1::2], images, weights, titles, strict=False):
        picture.imshow(_pixels(image), interpolation="nearest")
        picture.set_title(title, loc="left", pad=3)
        drawn = _draw_overlay(overlay, image, weight, weights.max())
    colour_bar(figure, drawn, list(axes), label, aspect=20, pad=0.01)
    return figure


@style()
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
    figure = new_figure(1.05 * (Q + 1) + 1.3, 1.1 * N + 0.3)
    axes = figure.subplots(N, Q + 1, squeeze=False)
    for n, (picture, *overlays) in enumerate(axes):
        picture.set_ylabel(rows[n], rotation=0, ha="right", va="center")
        picture.set(xticks=[], yticks=[], frame_on=False)
        if n == 0 or not images[n].equal(images[n - 1]):
            picture.imshow(_pixels(images[n]), interpolation="nearest")
        for ax, weight, title in zip(overlays, weights[n], columns, strict=True):
            ax.set_axis_off()
            ax.set_title(title if n == 0 else "", pad=3)
            drawn = _draw_overlay(ax, images[n], weight, weights.max())
    colour_bar(figure, drawn, list(axes.flatten()), label, aspect=20, pad=0.01)
    return figure


def _pixels(image: Tensor) -> np.ndarray:
    return image.detach().float().cpu().clamp(0, 1).permute(1, 2, 0).numpy()  # (H, W, 3)


def _draw_overlay(ax: Axes, image: Tensor, weights: Tensor, largest: Tensor) -> AxesImage:
    """One map of weights over a grey copy of its picture."""
    H, W = image.shape[1:]
    ax.imshow(_pixels(image).mean(-1), cmap="gray", vmin=-0.5, vmax=1.2, extent=(0, W, H, 0))
    cells, top = weights.detach().float().cpu().numpy(), max(float(largest), 1e-9)
    return ax.imshow(cells, cmap="Blues", vmin=0, vmax=top, alpha=0.75, extent=(0, W, H, 0))

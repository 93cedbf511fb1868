"""Attention over text, and the masks that say what may look at what."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from minilmm.plots.style import PALETTE, colour_bar, new_figure, style


@style()
def attention_map(weights: Tensor, rows: Sequence[str], columns: Sequence[str], *, label: str = "attention weight",
                  xlabel: str = "attended to", ylabel: str = "attending") -> Figure:  # fmt: skip
    """weights (L, K), row l = what position l attends to; darker is more. `rows` (L) and `columns` (K) name the tokens.

    With other labels it shows any matrix from 0 up, such as the cosines of pictures and texts.

    ValueError: names that do not fit the weights.
    """
    figure = new_figure(1.5 + _room(rows) + 0.27 * len(columns), max(2.8, 0.5 + _room(columns) + 0.25 * len(rows)))
    ax = figure.subplots()
    image = _draw_cells(ax, weights.float(), rows, columns, cmap="Blues", vmin=0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    colour_bar(figure, image, ax, label, aspect=25, pad=0.02)
    return figure


@style()
def mask_microscope(mask: Tensor, tokens: Sequence[str], names: Sequence[str] | None = None, *,
                    xlabel: str = "text, left to right: a filled cell may look at the image of its row"
                    ) -> Figure:  # fmt: skip
    """mask (L, N) bool: may token l look at image n? One row per image, the tokens from left to right.

    Filled cells are allowed; the places of `<image>` itself are marked by bold names. With `names` (N) the rows are
    other truths about tokens: what is padding, what is learned.
    ValueError: a mask that does not fit the tokens.
    """
    names = [f"image {n + 1}" for n in range(mask.shape[-1])] if names is None else names
    figure = new_figure(max(6.2, 0.9 + 0.3 * len(tokens)), 0.5 + _room(tokens) + 0.32 * len(names))
    ax = figure.subplots()
    _draw_mask(ax, mask.T, names, tokens)
    for label in ax.get_xticklabels():
        label.set_fontweight("bold" if label.get_text() == "<image>" else "normal")
    ax.set_xlabel(xlabel)
    return figure


@style()
def mask_panels(masks: Mapping[str, Tensor], names: Sequence[str], *, split: int = 0) -> Figure:
    """Masks (N, N) bool side by side, `{title: mask}`: row n may look at the filled columns; `names` (N) on both axes.

    split: a line is drawn behind the first so many, between queries and text. ValueError: a mask that does not fit.
    """
    side = 0.24 * len(names)
    figure = new_figure(0.6 + _room(names) + (side + 0.3) * len(masks), 0.9 + _room(names) + side)
    axes = figure.subplots(1, len(masks), sharey=True, squeeze=False)[0]
    for ax, (title, mask) in zip(axes, masks.items(), strict=True):
        _draw_mask(ax, mask, names, names)
        ax.set_title(title)
        for draw_line in (ax.axvline, ax.axhline) if split else ():
            draw_line(split - 0.5, color=PALETTE[1], linewidth=2)
    axes[0].set_ylabel("looks")
    figure.supxlabel("at", fontsize=10)
    return figure


@style()
def head_map(values: Tensor, label: str) -> Figure:
    """values (layers, heads), a cell per attention head with its number in it; `label` says what, in which unit."""
    rows, columns = ([f"{name} {i}" for i in range(n)] for name, n in zip(("layer", "head"), values.shape, strict=True))
    figure = new_figure(1.8 + 0.6 * len(columns), 1.1 + 0.45 * len(rows))
    ax = figure.subplots()
    image = _draw_cells(ax, values.float(), rows, columns, cmap="Blues")
    cells = np.asarray(image.get_array())
    for (y, x), value in np.ndenumerate(cells):
        colour = "white" if value > (cells.min() + cells.max()) / 2 else "black"
        ax.text(x, y, f"{value:.2f}".removeprefix("0"), ha="center", va="center", fontsize=9, color=colour)
    colour_bar(figure, image, ax, label, aspect=15, pad=0.02)
    return figure


def _room(names: Sequence[str]) -> float:
    """Inches that the longest name takes."""
    return 0.09 * max(map(len, names), default=0)


def _draw_mask(ax: Axes, mask: Tensor, rows: Sequence[str], columns: Sequence[str]) -> None:
    _draw_cells(ax, mask.bool(), rows, columns, cmap=ListedColormap(["#F1F1F1", PALETTE[0]]), vmin=0, vmax=1)


def _draw_cells(ax: Axes, values: Tensor, rows: Sequence[str], columns: Sequence[str], **look: object) -> AxesImage:
    """A matrix with names on both axes and white lines between the cells."""
    if values.ndim != 2 or tuple(values.shape) != (len(rows), len(columns)):
        raise ValueError(f"{tuple(values.shape)} values for {len(rows)} rows and {len(columns)} columns of names")
    image = ax.imshow(values.detach().cpu().numpy(), aspect="auto", **look)  # type: ignore[arg-type]
    ax.set_xticks(range(len(columns)), columns, rotation=90)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xticks([x + 0.5 for x in range(len(columns) - 1)], minor=True)
    ax.set_yticks([y + 0.5 for y in range(len(rows) - 1)], minor=True)
    ax.grid(False)
    ax.grid(True, which="minor", axis="both", color="white", linewidth=1.5)
    ax.tick_params(which="minor", length=0)
    return image

"""Four ways to bring pictures and text together, as boxes: the families that the literature sorts models into."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from minilmm.plots.style import PALETTE, new_figure, style

EYES, TEXT, JOINT, PLAIN = PALETTE[0], PALETTE[2], PALETTE[1], "#767676"
Box = tuple[float, float, float, str, str]  # x, y, width (of 10 by 8), what it says, colour
Arrow = tuple[float, float, float, float]
FAMILIES: dict[str, tuple[list[Box], list[Arrow], str]] = {
    "dual encoder": (
        [(0.3, 3, 4, "image\nencoder", EYES), (5.7, 3, 4, "text\nencoder", TEXT), (2.5, 6, 5, "cosine", JOINT),
         (0.3, 0.5, 4, "picture", PLAIN), (5.7, 0.5, 4, "text", PLAIN)],
        [(2.3, 1.7, 2.3, 2.9), (7.7, 1.7, 7.7, 2.9), (2.3, 4.4, 4, 5.9), (7.7, 4.4, 6, 5.9)],
        "two vectors meet at the end:\nour eyes (chapter 02);\nBLIP-2's contrastive objective",
    ),
    "encoder-decoder": (
        [(0.3, 3, 4, "image\nencoder", EYES), (5.7, 3, 4, "text\ndecoder", TEXT), (5.7, 6, 4, "text", PLAIN),
         (0.3, 0.5, 4, "picture", PLAIN), (5.7, 0.5, 4, "text so far", PLAIN)],
        [(2.3, 1.7, 2.3, 2.9), (7.7, 1.7, 7.7, 2.9), (7.7, 4.4, 7.7, 5.9), (4.4, 3.7, 5.6, 3.7)],
        "the decoder looks at pictures\nthrough cross-attention:\nFlamingo (chapters 04 to 06)",
    ),
    "fusion encoder": (
        [(0.3, 2.6, 4, "image\nencoder", EYES), (5.7, 2.6, 4, "text\nencoder", TEXT),
         (2, 4.9, 6, "joint layers", JOINT), (2.5, 6.9, 5, "do they fit?", PLAIN),
         (0.3, 0.5, 4, "picture", PLAIN), (5.7, 0.5, 4, "text", PLAIN)],
        [(2.3, 1.7, 2.3, 2.5), (7.7, 1.7, 7.7, 2.5), (2.3, 4, 3.6, 4.8), (7.7, 4, 6.4, 4.8), (5, 6, 5, 6.8)],
        "both are read together by\nlayers of their own:\nBLIP-2's matching (chapter 07)",
    ),
    "unified transformer": (
        [(0.3, 2.6, 4, "image\nencoder", EYES), (0.3, 4.9, 9.4, "one transformer over everything", TEXT),
         (2.5, 6.9, 5, "text", PLAIN), (0.3, 0.5, 4, "picture", PLAIN), (5.7, 0.5, 4, "text so far", PLAIN)],
        [(2.3, 1.7, 2.3, 2.5), (2.3, 4, 2.3, 4.8), (7.7, 1.7, 7.7, 4.8), (5, 6, 5, 6.8)],
        "pictures become tokens\namong words: Frozen (03),\nBLIP-2's second stage (08)",
    ),
}  # fmt: skip


def architecture_families() -> Figure:
    """Dual encoder, encoder-decoder, fusion encoder and unified transformer, with the papers' parts."""
    with style():
        figure = new_figure(10.4, 3.9)
        for ax, (name, (boxes, arrows, where)) in zip(figure.subplots(1, 4), FAMILIES.items(), strict=True):
            ax.set(xlim=(0, 10), ylim=(-3.4, 8.3), title=name)
            ax.set_axis_off()
            for box in boxes:
                _box(ax, *box)
            for x0, y0, x1, y1 in arrows:
                ax.add_patch(FancyArrowPatch((x0, y0), (x1, y1), arrowstyle="-|>", mutation_scale=9, color="black"))
            ax.text(5, -0.5, where, ha="center", va="top", fontsize=9)
    return figure


def _box(ax: Axes, x: float, y: float, width: float, text: str, colour: str) -> None:
    plain = colour == PLAIN
    height = 1.4 if "\n" in text else 1.05
    look: dict[str, Any] = {"facecolor": "white" if plain else colour, "edgecolor": colour, "linewidth": 1.2}
    ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.25", **look))
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8.5,
            color="black" if plain else "white")  # fmt: skip

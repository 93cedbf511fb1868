"""The freeze ledger as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from minilmm.plots.style import GREY, PALETTE, new_figure, style


def freeze_ledger(parts: Sequence[str], parameters: Sequence[int], gradients: Sequence[bool], changed: Sequence[bool]
                  ) -> Figure:  # fmt: skip
    """How many parameters each part has (P), whether gradients reached them (P), whether their bytes changed (P).

    Parts that changed are filled, the others hatched; two columns of words say the same. ValueError: other lengths.
    """
    if not len(parts) == len(parameters) == len(gradients) == len(changed) or not len(parts):
        raise ValueError(f"{len(parts)} parts, {len(parameters)} counts, {len(gradients)} and {len(changed)} truths")
    with style():
        figure = new_figure(8.6, 0.9 + 0.3 * len(parts))
        ax = figure.subplots()
        thousands = [count / 1000 for count in parameters]
        for y, (count, moved) in enumerate(zip(thousands, changed, strict=True)):
            frozen = {"facecolor": "white", "edgecolor": GREY, "hatch": "////"}
            look: dict[str, Any] = {"color": PALETTE[1]} if moved else frozen
            ax.barh(y, count, height=0.7, **look)
        ax.set_yticks(range(len(parts)), parts)
        ax.invert_yaxis()
        ax.set_xlabel("parameters (thousands); filled: bytes changed, hatched: frozen")
        for x, title, values in ((1.03, "gradient?", gradients), (1.18, "changed?", changed)):
            ax.text(x, 1.01, title, transform=ax.transAxes, ha="left", va="bottom", fontsize=9, fontweight="bold")
            for y, value in enumerate(values):
                ax.text(x, y, "yes" if value else "no", transform=ax.get_yaxis_transform(), va="center", fontsize=9)
        ax.grid(True, axis="x")
    return figure

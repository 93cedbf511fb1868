"""Training curves: what a log recorded, against steps, tokens or seconds, for several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from minilmm.plots.style import DASHES, MARKERS, PALETTE, legend_below, new_panels, style

Rows = Sequence[Mapping[str, float]]
_UNITS = {"step": "optimiser steps", "tokens": "tokens read", "seconds": "time (s)"}


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Mean over the last `width` values, over fewer at the beginning: it never looks ahead."""
    total = torch.tensor([0.0, *values], dtype=torch.double).cumsum(0)  # (n + 1,)
    end = torch.arange(1, len(values) + 1)
    start = (end - width).clamp(min=0)
    return ((total[end] - total[start]) / (end - start)).tolist()


def training_curves(
    panels: Mapping[str, Mapping[str, Rows]],
    *,
    x: str = "step",
) -> Figure:
    """One panel per quantity: `{"loss": {"frozen": rows, "flamingo": rows}, "accuracy": {...}}`.

    Rows are log entries such as {"step": 10, "seconds": 1.2, "loss": 3.4}; those without the quantity are passed over,
    so one log serves all panels. Past 100 points a line is the running mean over a 50th of them, the points faint
    behind it. `x` is step, tokens, seconds or another key. A run keeps its colour and dashes in every panel.

    ValueError: no panels, a run that never logged the quantity, or rows without x.
    """
    if not panels:
        raise ValueError("no panels: nothing to draw")
    names = list(dict.fromkeys(name for runs in panels.values() for name in runs))
    with style():
        figure, axes = new_panels(len(panels), 3.4 if len(panels) > 1 else 5.2, 2.7)
        for ax, (quantity, runs) in zip(axes, panels.items(), strict=True):
            for name, rows in runs.items():
                kept = [row for row in rows if quantity in row]
                if not kept or any(x not in row for row in kept):
                    raise ValueError(f"run {name!r} logged no {quantity!r} against {x!r}: log both in the same rows")
                n, xs, ys = names.index(name), [row[x] for row in kept], [row[quantity] for row in kept]
                look = {"color": PALETTE[n % len(PALETTE)], "linestyle": DASHES[n % len(DASHES)]}
                if len(ys) > 100:
                    ax.plot(xs, ys, color=look["color"], alpha=0.18, linewidth=0.8)
                    ys = running_mean(ys, len(ys) // 50)
                marker = MARKERS[n % len(MARKERS)] if len(ys) <= 20 else None
                ax.plot(xs, ys, label=name, marker=marker, markersize=4.5, **look)
            ax.set_xlabel(_UNITS.get(x, x))
            ax.set_title(quantity)
            ax.xaxis.set_major_locator(MaxNLocator(nbins=4))
            if x != "seconds":
                ax.xaxis.set_major_formatter(EngFormatter(sep=""))  # 200k, 4M
            ax.grid(True, axis="y")
        if len(names) > 1:
            legend_below(figure, axes)
    return figure

"""Arms of an ablation side by side: every seed a point, the mean a bar through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from minilmm.plots.style import GREY, PALETTE, new_figure, style

Arms = Mapping[str, Sequence[float]]


def arms_chart(panels: Mapping[str, Arms], levels: Mapping[str, tuple[str, float]], *, xlabel: str = "score") -> Figure:
    """One panel per score, `{title: {arm: one value per seed}}`, the first arm on top and in another colour.

    levels: for a title the name and value of a grey line, such as ("chance", .5). The axis is 0 to 1; for values below
    0 or all below a quarter, such as differences between scores, it fits them, with a line at 0. ValueError: panels
    whose arms differ.
    """
    arms = list(next(iter(panels.values())))
    if any(list(panel) != arms for panel in panels.values()):
        raise ValueError("every panel must have the same arms in the same order")
    with style():
        figure = new_figure(1.9 + 3.0 * len(panels), 1.0 + 0.33 * len(arms))
        axes = list(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0])
        for ax, (title, panel) in zip(axes, panels.items(), strict=True):
            for y, values in enumerate(panel.values()):
                colour = PALETTE[1] if y == 0 else PALETTE[0]
                mean = sum(values) / len(values)
                ax.plot([mean, mean], [y - 0.32, y + 0.32], color=colour, linewidth=2.5)
                ax.plot(values, [y] * len(values), "o", color=colour, markersize=5, markerfacecolor="white")
            if title in levels:
                name, value = levels[title]
                ax.axvline(value, color=GREY, linewidth=1.2, zorder=1)
                ax.text(value, -0.75, name, color=GREY, ha="center", va="bottom", fontsize=9)
            ax.set_yticks(range(len(arms)), arms)
            every = [value for values in panel.values() for value in values]
            low, high = min(0.0, *every), max(0.0, *every)
            if low == 0 and 0.25 <= high <= 1:
                high = 1.0
            elif low < 0:
                ax.axvline(0, color=GREY, linewidth=0.8, zorder=1)
            margin = 0.03 * (high - low or 1)
            ax.set(xlim=(low - margin, high + margin), ylim=(len(arms) - 0.4, -0.8), xlabel=xlabel)
            ax.xaxis.set_major_locator(MaxNLocator(nbins=5))
            ax.set_title(title, pad=18)
            ax.grid(True, axis="x")
    return figure

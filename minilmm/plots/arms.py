"""Arms of an ablation side by side: every seed a point, the mean a bar through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from minilmm.plots.style import GREY, PALETTE, new_figure, style

Arms = Mapping[str, Sequence[float]]


def arms_chart(
    panels: Mapping[str, Arms], levels: Mapping[str, tuple[str, float]], *, xlabel: str = "accuracy"
) -> Figure:
    """One panel per score, `{title: {arm: one value per seed}}`, the first arm on top and in another colour.

    levels: for a title the name and value of a grey line, such as ("chance", .5). ValueError: panels whose arms differ.
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
            ax.set(xlim=(-0.03, 1.03), ylim=(len(arms) - 0.4, -0.8), xlabel=xlabel)
            ax.set_title(title, pad=18)
            ax.grid(True, axis="x")
    return figure

"""Curves: how a score grows with the examples in the prompt, and what a log of training recorded."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from minilmm.plots.style import DASHES, GREY, MARKERS, PALETTE, legend_below, new_panels, style

_ORDER = ("model", "control", "ideal", "chance")  # of the legend
_UNITS = {"step": "optimiser steps", "tokens": "tokens read", "seconds": "time (s)"}


class Series(TypedDict):
    """One line of a panel: values (S,) in the metric's unit at shots (S,), with the ends of their intervals if known.

    kind: "model" solid with a band, "control" thin and dashed, "ideal" dotted black, "chance" a grey level (one value
    at every number of shots) with its label at the right edge; a "chance" that changes with shots is a grey line.
    """

    label: str
    shots: Sequence[int]
    values: Sequence[float]
    low: NotRequired[Sequence[float]]
    high: NotRequired[Sequence[float]]
    kind: Literal["model", "control", "ideal", "chance"]


@style()
def few_shot_curves(panels: Sequence[Series] | Mapping[str, Sequence[Series]], *, ylabel: str = "accuracy",
                    xlabel: str = "shots") -> Figure:  # fmt: skip
    """One panel per task, `{title: series}`, at most three in a row, or one untitled panel; a single legend below.

    Shots are ordered categories, so that 0, 1, 2, 4, ..., 32 stand equally far apart. A label keeps its colour, marker
    and dashes in every panel. The axis is 0 to 1 where all values lie there, else it fits the data (CIDEr, perplexity).

    ValueError: no series, or a series whose lists differ in length.
    """
    tasks = panels if isinstance(panels, Mapping) else {"": panels}
    every = [series for task in tasks.values() for series in task]
    if not every:
        raise ValueError("no series: nothing to draw")
    for series in every:
        lengths = {len(series[key]) for key in ("shots", "values", "low", "high") if key in series}  # type: ignore[literal-required]
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"{series['label']!r}: shots, values, low and high must have one length, and not be empty")
    labels = {kind: list(dict.fromkeys(s["label"] for s in every if s["kind"] == kind)) for kind in _ORDER}
    figure, axes = new_panels(len(tasks), 3.4 if len(tasks) > 1 else 5.2, 2.9, sharey=True)
    for ax, (title, task) in zip(axes, tasks.items(), strict=True):
        shots = sorted({shot for series in task for shot in series["shots"]})
        for series in sorted(task, key=lambda s: _ORDER.index(s["kind"])):
            _draw(ax, series, shots, labels[series["kind"]].index(series["label"]))
        ax.set(title=title, xlabel=xlabel, xlim=(-0.3, len(shots) - 0.7))
        ax.set_xticks(range(len(shots)), [str(shot) for shot in shots])
        ax.grid(True, axis="y")
        if ax.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            ax.set_ylabel(ylabel)
    if all(0 <= value <= 1 for series in every for value in series["values"]):
        axes[0].set_ylim(-0.025, 1.025)
    for ax, task in zip(axes, tasks.values(), strict=True):
        _name_levels(ax, [series for series in task if series["kind"] == "chance"])
    legend_below(figure, axes)
    return figure


def series_of(result: Mapping[str, Any], label: str, controls: bool = True) -> list[Series]:
    """What `eval --json` prints as a panel's series: the model, its controls, the ideal observer, chance, prior.

    Of several metrics the first is drawn.
    """
    series: list[Any] = []
    first = [row for row in result["rows"] if row.get("metric") == result["rows"][0].get("metric")]
    for condition in dict.fromkeys(row["condition"] for row in first):
        real = condition == "real"
        if not real and not controls:
            continue
        rows = [row for row in first if row["condition"] == condition]
        shots, values, low, high, prior = (
            [row[key] for row in rows] for key in ("shots", "value", "low", "high", "prior")
        )
        name = label if real else condition.replace("_", " ").replace("text only", "text-only demonstrations")
        series.append({"label": name, "kind": "model" if real else "control", "shots": shots, "values": values,
                       "low": low, "high": high})  # fmt: skip
        if real and controls:
            if all("ideal" in row for row in rows):
                values = [row["ideal"] for row in rows]
                series.append({"label": "ideal observer", "kind": "ideal", "shots": shots, "values": values})
            level = {"kind": "chance", "shots": shots}
            if result["chance"]:
                series.append({"label": "chance", "values": [result["chance"]] * len(rows), **level})
            if max(prior) > result["chance"] + 0.05:
                series.append({"label": "prior", "values": prior, **level})
    return series


def _draw(ax: Axes, series: Series, shots: Sequence[int], n: int) -> None:
    """One series as one line: the n-th of its kind."""
    values = series["values"]
    points = sorted(zip(series["shots"], values, series.get("low", values), series.get("high", values), strict=True))
    at, y, low, high = (list(numbers) for numbers in zip(*points, strict=True))
    x, kind, interval = [shots.index(shot) for shot in at], series["kind"], "low" in series
    color = PALETTE[n % len(PALETTE)] if kind == "model" else PALETTE[(3 + n) % 6]
    looks: dict[str, dict[str, Any]] = {
        "model": {"color": color, "marker": MARKERS[n % len(MARKERS)], "zorder": 3},
        "control": {"color": color, "marker": MARKERS[(3 + n) % 7], "linestyle": DASHES[1 + n % 4], "linewidth": 1.2,
                    "markersize": 4.5, "markerfacecolor": "white", "zorder": 2.2},
        "ideal": {"color": "black", "linestyle": ":", "linewidth": 1.8, "zorder": 2.5},
        "chance": {"color": GREY, "linewidth": 1.2, "zorder": 1.5},
    }  # fmt: skip
    if kind == "chance" and len(set(y)) == 1:
        ax.axhline(y[0], **looks[kind])
    else:
        ax.plot(x, y, label=None if kind == "chance" else series["label"], **looks[kind])
    if interval and kind == "control":
        ax.vlines(x, low, high, color=color, linewidth=1.0, zorder=2.1)
    elif interval and kind == "model":
        ax.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0, zorder=2)


def _name_levels(ax: Axes, levels: Sequence[Series]) -> None:
    """Names of the grey levels outside the right edge, where no data can be; moved apart where they would touch."""
    bottom, top = ax.get_ylim()
    at = -float("inf")
    for series in sorted(levels, key=lambda s: s["values"][-1]):
        at = max(at + 0.055 * (top - bottom), series["values"][-1])
        ax.text(1.02, at, series["label"], color=GREY, va="center", transform=ax.get_yaxis_transform())


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Mean over the last `width` values, over fewer at the beginning: it never looks ahead."""
    total = torch.tensor([0.0, *values], dtype=torch.double).cumsum(0)  # (n + 1,)
    end = torch.arange(1, len(values) + 1)
    start = (end - width).clamp(min=0)
    return ((total[end] - total[start]) / (end - start)).tolist()


@style()
def training_curves(panels: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]], *, x: str = "step") -> Figure:
    """One panel per quantity: `{"loss": {"frozen": rows, "flamingo": rows}, "accuracy": {...}}`.

    Rows are log entries such as {"step": 10, "seconds": 1.2, "loss": 3.4}; those without the quantity are passed over,
    so one log serves all panels. Past 100 points a line is the running mean over a 50th of them, the points faint
    behind it. `x` is step, tokens, seconds or another key. A run keeps its colour and dashes in every panel.

    ValueError: no panels, a run that never logged the quantity, or rows without x.
    """
    if not panels:
        raise ValueError("no panels: nothing to draw")
    names = list(dict.fromkeys(name for runs in panels.values() for name in runs))
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
        ax.set(title=quantity, xlabel=_UNITS.get(x, x))
        ax.xaxis.set_major_locator(MaxNLocator(nbins=4))
        if x != "seconds":
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))  # 200k, 4M
        ax.grid(True, axis="y")
    if len(names) > 1:
        legend_below(figure, axes)
    return figure

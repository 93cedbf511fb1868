"""Few-shot curves: how a score grows with the examples in the prompt, beside its controls, its ceiling and chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minilmm.plots.style import DASHES, GREY, MARKERS, PALETTE, legend_below, new_panels, style

_ORDER = ("model", "control", "ideal", "chance")  # of the legend


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


def few_shot_curves(
    panels: Sequence[Series] | Mapping[str, Sequence[Series]],
    *,
    ylabel: str = "accuracy",
    xlabel: str = "shots",
) -> Figure:
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
    looks = {kind: list(dict.fromkeys(s["label"] for s in every if s["kind"] == kind)) for kind in ("model", "control")}
    with style():
        figure, axes = new_panels(len(tasks), 3.4 if len(tasks) > 1 else 5.2, 2.9, sharey=True)
        for ax, (title, task) in zip(axes, tasks.items(), strict=True):
            shots = sorted({shot for series in task for shot in series["shots"]})
            place = {shot: x for x, shot in enumerate(shots)}
            for series in sorted(task, key=lambda s: _ORDER.index(s["kind"])):
                _draw(ax, series, place, looks)
            ax.set_title(title)
            ax.set_xlabel(xlabel)
            ax.set_xticks(range(len(shots)), [str(shot) for shot in shots])
            ax.set_xlim(-0.3, len(shots) - 0.7)
            ax.grid(True, axis="y")
        if all(0 <= value <= 1 for series in every for value in series["values"]):
            axes[0].set_ylim(-0.025, 1.025)
        for ax, task in zip(axes, tasks.values(), strict=True):
            _name_levels(ax, [series for series in task if series["kind"] == "chance"])
        for ax in axes:
            if ax.get_subplotspec().is_first_col():  # type: ignore[union-attr]
                ax.set_ylabel(ylabel)
        legend_below(figure, axes)
    return figure


def series_of(result: Mapping[str, Any], label: str, controls: bool = True) -> list[Series]:
    """What `eval --json` prints as a panel's series: the model, its controls, the ideal observer, chance, prior.

    Of several metrics the first is drawn.
    """
    series: list[Any] = []
    first = [row for row in result["rows"] if row.get("metric") == result["rows"][0].get("metric")]
    for condition in dict.fromkeys(row["condition"] for row in first):
        rows = [row for row in first if row["condition"] == condition]
        if condition != "real" and not controls:
            continue
        points = {key: [row[key] for row in rows] for key in ("shots", "value", "low", "high", "prior")}
        told = {"shots": points["shots"], "values": points["value"], "low": points["low"], "high": points["high"]}
        real = condition == "real"
        name = label if real else condition.replace("_", " ").replace("text only", "text-only demonstrations")
        series.append({"label": name, "kind": "model" if real else "control", **told})
        if real and controls:
            if all("ideal" in row for row in rows):
                values = [row["ideal"] for row in rows]
                series.append({"label": "ideal observer", "kind": "ideal", "shots": points["shots"], "values": values})
            level = {"kind": "chance", "shots": points["shots"]}
            if result["chance"]:
                series.append({"label": "chance", "values": [result["chance"]] * len(rows), **level})
            if max(points["prior"]) > result["chance"] + 0.05:
                series.append({"label": "prior", "values": points["prior"], **level})
    return series


def _draw(ax: Axes, series: Series, place: Mapping[int, int], looks: Mapping[str, Sequence[str]]) -> None:
    """One series as one line."""
    order = sorted(range(len(series["shots"])), key=lambda i: series["shots"][i])
    x = [place[series["shots"][i]] for i in order]
    y = [series["values"][i] for i in order]
    ends = ([series["low"][i] for i in order], [series["high"][i] for i in order]) if "low" in series else None
    label, kind = series["label"], series["kind"]
    if kind == "chance":
        if len(set(y)) == 1:
            ax.axhline(y[0], color=GREY, linewidth=1.2, zorder=1.5)
        else:
            ax.plot(x, y, color=GREY, linewidth=1.2, zorder=1.5)
    elif kind == "ideal":
        ax.plot(x, y, color="black", linestyle=":", linewidth=1.8, label=label, zorder=2.5)
    elif kind == "control":
        n = looks["control"].index(label)
        look = {"color": PALETTE[(3 + n) % 6], "marker": MARKERS[(3 + n) % 7], "linestyle": DASHES[1 + n % 4]}
        ax.plot(x, y, label=label, linewidth=1.2, markersize=4.5, markerfacecolor="white", zorder=2.2, **look)
        if ends:
            ax.vlines(x, *ends, color=look["color"], linewidth=1.0, zorder=2.1)
    else:
        n = looks["model"].index(label)
        color = PALETTE[n % len(PALETTE)]
        ax.plot(x, y, label=label, color=color, marker=MARKERS[n % len(MARKERS)], zorder=3)
        if ends:
            ax.fill_between(x, *ends, color=color, alpha=0.15, linewidth=0, zorder=2)


def _name_levels(ax: Axes, levels: Sequence[Series]) -> None:
    """Names of the grey levels outside the right edge, where no data can be; moved apart where they would touch."""
    bottom, top = ax.get_ylim()
    least = 0.055 * (top - bottom)
    at = -float("inf")
    for series in sorted(levels, key=lambda s: s["values"][-1]):
        at = max(at + least, series["values"][-1])
        ax.text(1.02, at, series["label"], color=GREY, va="center", transform=ax.get_yaxis_transform())

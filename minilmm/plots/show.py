"""A figure in a notebook, followed by what it shows in words: for those who cannot see it, and for comparing runs."""

import sys
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FixedLocator

from minilmm.plots.style import png_of

_NAMED = 24  # titles or ticks that are listed; the others are counted


def show(figure: Figure) -> None:
    """Displays the figure, where this is a notebook, and prints `describe_figure(figure)`."""
    if "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None:
        from IPython.display import Image, display

        picture = png_of(figure, metadata={"Software": None})  # drawn here, so that no backend matters
        display(Image(picture, alt="figure: the text below it says what it shows"))
    print(describe_figure(figure))


def describe_figure(figure: Figure) -> str:
    """One line per axes: title, axis labels, the ends and extremes of series, the size of pictures; two digits.

    Axes in a row that hold the same become one line with their number and titles: a grid of pictures is one line.
    """
    heading = _flat(figure.get_suptitle())
    lines = [heading] if heading else []
    for content, group in groupby((ax for ax in figure.axes if _content(ax)), key=_content):
        titles = [_flat(ax.get_title()) for ax in group]
        named = [title for title in titles if title]
        if len(titles) == 1:
            lines.append(": ".join([*named, content]))
        else:
            lines.append(f"{len(titles)} x {content}" + (f": {_list(named, ' | ')}" if named else ""))
    return "\n".join(lines) or "an empty figure"


def _content(ax: Axes) -> str:
    """What one axes holds, without its title; empty for a colour bar, and where nothing is drawn."""
    if not ax.get_visible() or ax.get_label() == "<colorbar>":
        return ""
    sideways = isinstance(ax.yaxis.get_major_locator(), FixedLocator) and not ax.images  # names on y, numbers on x
    drawn: list[tuple[Any, str, object]]  # an artist, its kind, its values
    drawn = [(line, "line", line.get_xdata() if sideways else line.get_ydata()) for line in ax.lines]
    drawn += [(box, "bars", box.datavalues) for box in ax.containers if isinstance(box, BarContainer)]
    drawn += [(dots, "points", np.asarray(dots.get_offsets())[:, 1])
              for dots in ax.collections if isinstance(dots, PathCollection)]  # fmt: skip
    parts = [_image(image) for image in ax.images]
    parts += [_series(str(artist.get_label()), kind, values) for artist, kind, values in drawn]
    parts += [f"text {_list(words, ' | ')}"] if (words := [_flat(text.get_text()) for text in ax.texts]) else []
    axes = [f"{name}: {_axis(axis)}" for name, axis in (("x", ax.xaxis), ("y", ax.yaxis)) if ax.axison and _axis(axis)]
    return "; ".join(axes + [f"{n} x {part}" if n > 1 else part for part, n in Counter(parts).items()])


def _axis(axis: Axis) -> str:
    """An axis by its label and, where they were set by hand, its ticks."""
    label, names = _flat(axis.get_label_text()), ""
    if isinstance(axis.get_major_locator(), FixedLocator):
        names = _list([_flat(tick.get_text()) for tick in axis.get_ticklabels()], ", ")
    return f"{label} ({names})" if label and names else label or names


def _image(image: AxesImage) -> str:
    """A picture by its size; a matrix by its size and its extremes, or by how many of its cells are filled."""
    values = np.asarray(image.get_array(), dtype=float)
    size = f"{values.shape[0]} x {values.shape[1]}"
    if values.ndim == 3:
        return f"picture {size}"
    if np.isin(values, (0, 1)).all():
        return f"{size} cells, {int(values.sum())} filled"
    what = image.colorbar.ax.get_ylabel() if image.colorbar is not None else ""
    return _series("_", f"{size} {what or 'values'}", values.flatten())


def _series(label: str, kind: str, values: object) -> str:
    """A line by its first and last value, with its extremes where they are others; anything else by its extremes."""
    name = f"{kind} {_flat(label)}" if not label.startswith("_") else kind
    numbers = np.asarray(values, dtype=float)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return f"{name} without values"
    first, last, low, high = (_round(x, numbers) for x in (numbers[0], numbers[-1], numbers.min(), numbers.max()))
    if low == high:
        return f"{name} {low}"
    if kind != "line":
        return f"{name} {low} .. {high}"
    return f"{name} {first} to {last}" + (f" ({low} .. {high})" if {low, high} != {first, last} else "")


def _round(value: float, beside: np.ndarray) -> str:
    """Two significant digits, so that another machine prints the same; what is nothing beside the largest is 0."""
    return "0" if abs(value) < 1e-3 * np.abs(beside).max() else f"{float(f'{value:.2g}') + 0.0:g}"


def _flat(text: str) -> str:
    return " ".join(text.split())


def _list(names: Sequence[str], between: str) -> str:
    rest = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return between.join([*names[:_NAMED], *rest])

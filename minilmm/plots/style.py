"""One look for every figure: colours that colour-blind eyes tell apart, shapes and dashes that survive grey print."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

# Okabe & Ito (2008), the darker hues first; yellow is left out, it is too faint on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (1.5, 1)), (0, (7, 1.5, 1, 1.5, 1, 1.5)))
GREY = "#767676"

RC: dict[Any, Any] = {
    "font.size": 10, "axes.titlesize": 10, "axes.labelsize": 10, "legend.fontsize": 10, "xtick.labelsize": 10,
    "ytick.labelsize": 10, "axes.spines.top": False, "axes.spines.right": False,
    "grid.color": "#E4E4E4", "grid.linewidth": 0.8, "axes.axisbelow": True, "lines.linewidth": 2.0,
    "lines.markersize": 6, "legend.frameon": False, "text.parse_math": False, "figure.dpi": 110,
}  # fmt: skip


def png_of(figure: Figure, **options: Any) -> bytes:
    """The figure as a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", **options)
    return buffer.getvalue()


class Plot(Figure):
    """A Figure that belongs to no pyplot state, and that a notebook shows by itself."""

    _repr_png_ = png_of


@contextmanager
def style() -> Iterator[None]:
    """Within it, or in a function decorated with it, new artists take our look; the caller's settings come back."""
    with matplotlib.rc_context(RC):
        yield


def new_figure(width: float, height: float) -> Plot:
    """An empty white figure, width x height in inches, with constrained layout."""
    return Plot(figsize=(width, height), dpi=RC["figure.dpi"], layout="constrained", facecolor="white")


def new_panels(count: int, width: float, height: float, sharey: bool = False) -> tuple[Plot, list[Axes]]:
    """A figure of `count` panels, width x height inches each, at most three in a row (four are two rows of two).

    So a figure is never wider than a page, and its type stays readable there.
    """
    columns = 2 if count == 4 else min(count, 3)
    rows = -(-count // columns)
    figure = new_figure(width * columns + 0.9, height * rows + 0.5)
    axes = list(figure.subplots(rows, columns, sharey=sharey, squeeze=False).flatten())
    for ax in axes[count:]:
        ax.remove()
    return figure, axes[:count]


def legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend for all panels, in rows of its own below them; a label that several panels share stands once."""
    entries: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        widest = max(map(len, entries)) * 0.08 + 0.65  # inches per entry at 10 points
        columns = max(1, min(len(entries), int(figure.get_figwidth() // widest)))
        rows = -(-len(entries) // columns)
        columns = -(-len(entries) // rows)  # as few rows, evenly filled
        figure.set_figheight(figure.get_figheight() + 0.22 * rows)
        figure.legend(entries.values(), entries, loc="outside lower center", ncols=columns, handlelength=2.8)


def colour_bar(figure: Figure, drawn: ScalarMappable, axes: Any, label: str, aspect: int, pad: float) -> None:
    """A bar that explains the colours of what was drawn."""
    bar = figure.colorbar(drawn, ax=axes, label=label, aspect=aspect, pad=pad)
    bar.outline.set_visible(False)  # type: ignore[operator]


def save(figure: Figure, path: str | Path) -> Path:
    """Writes the figure (the suffix names the format: png, pdf, svg), makes its folder, returns its path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200)
    return path

"""Draws what `run.py --json` measured of Flamingo: cost by pictures and by words, ours beside transformers' Idefics.

python benchmarks/chart.py results/benchmarks.json docs/images/flamingo-cost.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from minilmm import plots
from minilmm.plots.style import PALETTE


def main(source: Path, out: Path) -> None:
    """Read the rows, write the picture. ValueError where the rows are missing."""
    rows = json.loads(source.read_text())["rows"]
    panels = [("by images", "pictures per document, 128 words"), ("by words", "words per document, 4 pictures")]
    with plots.style():
        figure = plots.new_figure(9, 3.6)
        axes = figure.subplots(1, 2, sharey=True)
        for axis, (group, label) in zip(axes, panels, strict=True):
            draw(axis, [r for r in rows if r["group"] == group], source)
            axis.set_xlabel(label)
        axes[0].set_ylabel("ms per document and training step")
        axes[0].legend()
    plots.save(figure, out)


def draw(axis: Axes, rows: list[dict[str, Any]], source: Path) -> None:
    """One panel: both readers, with quartiles."""
    looks = (
        ("ours", "minilmm's Flamingo", PALETTE[0], "o"),
        ("transformers", "transformers' Idefics", PALETTE[1], "s"),
    )
    for who, text, colour, marker in looks:
        mine = [r for r in rows if r["name"].endswith(f": {who}")]
        if not mine:
            raise ValueError(f"{source}: lacks the rows: run benchmarks/run.py with transformers installed")
        x = [int(r["name"].split()[0]) for r in mine]
        axis.plot(x, [r["value"] for r in mine], marker=marker, color=colour, label=text)
        axis.fill_between(x, [r["low"] for r in mine], [r["high"] for r in mine], alpha=0.2, color=colour, lw=0)
    axis.set(xscale="log", yscale="log")
    axis.set_xticks(x, x)
    axis.minorticks_off()
    axis.grid(True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

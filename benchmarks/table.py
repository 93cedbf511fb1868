"""Rows of a benchmark, and how they are printed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from timing import Spread


@dataclass(frozen=True)
class Row:
    """One line: a median with its quartiles; where the products are counted, GFLOP/s and their share of the peak."""

    group: str
    name: str
    unit: str
    value: float
    low: float
    high: float
    gflops: float | None = None
    share: float | None = None

    @classmethod
    def of(cls, group: str, name: str, unit: str, spread: Spread, gflops: float | None = None) -> Row:
        """A row from a spread."""
        return cls(group, name, unit, spread.median, spread.low, spread.high, gflops)


def number(value: float) -> str:
    """Three figures: .0123 as 0.0123, 1.52, 873, 12.3k, 4.56M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def table(rows: Sequence[Row], told: dict[str, Any]) -> str:
    """The rows as text of at most 80 columns."""
    lines = [textwrap.fill(", ".join(f"{k} {v}" for k, v in told.items()), 80), ""]
    lines.append(f"{'':<41}{'median':>8}  {'quartiles':<15}{'unit':<9}{'peak':>5}")
    previous = ""
    for row in rows:
        group, previous = (row.group if row.group != previous else ""), row.group
        spread = f"{number(row.low)}-{number(row.high)}"
        share = "" if row.share is None else f"{row.share:.0%}"
        name = f"{group:<13}{row.name:<28}"
        lines.append(f"{name}{number(row.value):>8}  {spread:<15}{row.unit:<9}{share:>5}".rstrip())
    return "\n".join(lines)

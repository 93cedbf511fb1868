"""What is printed: lines, tables, numbers as text, and what a training run says."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.progress import Progress

WIDTH = 80
PATIENCE = 10.0  # seconds
SHORT = {"naming_": "", "_images": "", "_real": "", "zero-shot accuracy": "zero-shot", "_": " "}


def out_console(quiet: bool = False) -> Console:
    """Standard output, never wider than 80 columns."""
    console = Console(highlight=False, quiet=quiet)
    console.width = min(console.width, WIDTH)
    return console


def say(text: str, style: str = "") -> None:
    """A line as it is: not wrapped, so that a path in it can be copied, and without markup."""
    out_console().print(text, style=style, markup=False, soft_wrap=True)


def tell(text: str, indent: int = 4, style: str = "") -> None:
    """A text of several lines, indented, in at most 80 columns."""
    lines = textwrap.wrap(text, out_console().width - indent, break_long_words=False, break_on_hyphens=False)
    say(textwrap.indent("\n".join(lines), " " * indent), style)


def new_table(*columns: str, left: int = 1, title: str | None = None) -> Table:
    """A plain table; the first `left` columns are text, the others numbers."""
    table = Table(box=None, padding=(0, 1), title=title, title_justify="left", min_width=len(title or ""))
    table.title_style = table.header_style = "bold"
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i < left else "right", overflow="fold")
    return table


def share(value: float, digits: int = 3) -> str:
    """A share of 1 as papers print it: .952, 1.00, -.100; with two digits .95, 1.0."""
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text[:-1]


def short(name: str) -> str:
    """A probe's name in a line: naming_2way_blank_images -> 2way blank."""
    for long, brief in SHORT.items():
        name = name.replace(long, brief)
    return name


def save_figure(figure: Figure, path: Path, shows: str = "") -> None:
    """Save a figure, in a folder that is made where there is none; say where it is, and what it shows."""
    from minilmm import plots

    say(f"{plots.save(figure, path)}{f': {shows}' if shows else ''}")


def progress_bar(shown: bool = True) -> Progress:
    """A bar on standard error, where that is a terminal; else silent, so that an error stays a single line."""
    from rich import progress as rich

    console = Console(stderr=True)
    columns = (rich.SpinnerColumn(), rich.TextColumn("{task.description}"), rich.BarColumn(16),
               rich.MofNCompleteColumn(), rich.TimeElapsedColumn(), rich.TextColumn("left"), rich.TimeRemainingColumn()
               )  # fmt: skip
    return rich.Progress(*columns, console=console, transient=True,
                         disable=not shown or not console.is_terminal)  # fmt: skip


class Log:
    """What a training run says: a bar on a terminal; else, on standard output, a line for the first step, for every row
    of the log, and whenever nothing was said for PATIENCE seconds. parallel: lines, each with the name, anywhere.
    """

    def __init__(self, name: str, steps: int, parallel: bool = False):
        self.bar, self.steps, self.start = progress_bar(not parallel), steps, time.perf_counter()
        self.name = [f"  {name:12}"] if parallel else []
        self.console = out_console() if self.bar.disable else self.bar.console
        self.task = self.bar.add_task(name, total=steps)
        self.last = self.start - PATIENCE  # when something was said
        self.first = 0, 0.0  # the first step of this process, and when it was done

    def __enter__(self) -> Log:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def report(self, step: int, row: dict[str, Any]) -> None:
        """A step done; with a row of the log, its loss and first probes."""
        self.bar.update(self.task, completed=step)
        now = time.perf_counter()
        self.first = self.first if self.first[0] else (step, now)
        words = [*self.name, f"{step}/{self.steps}", f"{row.get('seconds', now - self.start):.0f} s"]
        if row:
            probes = [
                (k, v) for k, v in row.items() if k not in ("step", "seconds", "loss", "gradient_norm", "perplexity")
            ][:4]
            words += [f"loss {row['loss']:.3f}", *(f"{short(k)} {share(v)}" for k, v in probes)]
        elif not self.bar.disable or now - self.last < PATIENCE:
            return
        elif done := step - self.first[0]:
            words.append(f"about {(now - self.first[1]) / done * (self.steps - step):.0f} s left")
        self.last = now
        self.console.print("  ".join(words), no_wrap=True, overflow="ellipsis", highlight=False)

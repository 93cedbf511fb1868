"""What the commands share: options, devices, consoles, numbers as text, folders that can be written to."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .names import chosen, kind_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.progress import Progress

WIDTH = 80
PATIENCE = 10.0  # seconds
MOST_PICTURES = 512  # of a prompt: training saw five
LONGEST_PROMPT = 4096  # tokens: pages of training have some 60
LARGEST_SEED = 2**32 - 1

Seed = Annotated[int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="One seed gives one result.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Also as JSON; - writes nothing else.")]
Episodes = Annotated[int, typer.Option("--episodes", min=1, max=100_000, help="How many episodes to score.")]
Shots = Annotated[str | None, typer.Option("--shots", help="Numbers of examples, such as 0,1,4.")]
Steps = Annotated[int | None, typer.Option("--steps", min=1, max=10**7, help="Optimiser steps, not the preset's.")]

typed: list[str] = []  # the arguments of this call, as `main` got them


class Stopped(Exception):
    """Ctrl-C during training: the message says how to go on."""


def launched() -> tuple[int, int]:
    """This process's number, and how many torchrun started; (0, 1) without it."""
    started = "TORCHELASTIC_RUN_ID" in os.environ
    return (int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])) if started else (0, 1)


def command_line(*extra: str) -> str:
    """The command as it was typed."""
    start = ["minilmm"]
    if launched()[1] > 1:
        start = ["torchrun", "--nproc-per-node", os.environ["LOCAL_WORLD_SIZE"], "-m", "minilmm_cli"]
    return shlex.join([*start, *typed, *(word for word in extra if word not in typed)])


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


def progress_bar() -> Progress:
    """A bar on standard error, where that is a terminal; else silent, so that an error stays a single line."""
    from rich import progress as rich

    console = Console(stderr=True)
    columns = (rich.SpinnerColumn(), rich.TextColumn("{task.description}"), rich.BarColumn(16),
               rich.MofNCompleteColumn(), rich.TimeElapsedColumn(), rich.TextColumn("left"), rich.TimeRemainingColumn()
               )  # fmt: skip
    return rich.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def new_table(*columns: str, left: int = 1, title: str | None = None) -> Table:
    """A plain table; the first `left` columns are text, the others numbers."""
    table = Table(box=None, padding=(0, 1), title=title, title_justify="left", min_width=len(title or ""))
    table.title_style = table.header_style = "bold"
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i < left else "right", overflow="fold")
    return table


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_named(name: str) -> str:
    """ "cpu" or "cuda"; on the CPU, torch takes the cores there are unless OMP_NUM_THREADS says otherwise.

    Under torchrun this process joins the others, and "cuda" is a GPU of its own.
    """
    chosen(name, ("auto", "cpu", "cuda"), "--device")
    import torch

    from minilmm.nn import parallel

    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("cuda: torch sees no GPU here: use --device cpu")
    device = "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"
    if device == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(cores())
    parallel.join(device)
    return device


def whole_numbers(text: str) -> tuple[int, ...]:
    """ "0,1,4" -> (0, 1, 4), each once; ValueError for anything else."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--shots {text[:40]!r}: give whole numbers with commas between, such as 0,1,4") from None
    if min(numbers) < 0 or max(numbers) > MOST_PICTURES:
        raise ValueError(f"--shots {text[:40]}: a number of shots is 0 to {MOST_PICTURES}")
    return tuple(dict.fromkeys(numbers))


def free_memory(device: str = "cpu") -> float:
    """Bytes that are free on the device; infinity where the system does not say."""
    if device == "cuda":
        import torch

        return torch.cuda.mem_get_info()[0]
    try:
        return int(Path("/proc/meminfo").read_text().partition("MemAvailable:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):  # Windows and macOS do not say
        return float("inf")


def check_memory(needed: float, what: str, device: str = "cpu") -> None:
    """ValueError where the bytes needed are more than the device has left, before any of them is taken."""
    free = free_memory(device)
    if needed > free:
        sizes = f"{needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} are free"
        raise ValueError(f"{what} needs about {sizes}: choose less")


def share(value: float, digits: int = 3) -> str:
    """A share of 1 as papers print it: .952, 1.00, -.100; with two digits .95, 1.0."""
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text[:-1]


def of_the_mini_world(run: str) -> str:
    """The run, if it speaks the mini-world's words; ValueError for a converted one, or one between real models."""
    kind = kind_of(run) or ""
    if kind.endswith("-converted"):
        raise ValueError(f"{run}: a converted checkpoint reads with its own tokenizer: use `minilmm ask`")
    if kind.startswith("real-"):
        raise ValueError(f"{run}: stands between real models, which do not know the mini-world: use eval, curve or ask")
    return run


def writable_folder(path: Path) -> Path:
    """Makes the folder and proves that a file can be written into it, before hours are spent; OSError otherwise."""
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path) as probe:
        probe.write(b"\0")
    return path


def writable_file(path: Path) -> Path:
    """Proves that the file can be written, before anything is measured; OSError or ValueError otherwise."""
    if path.is_dir():
        raise ValueError(f"{path}: is a folder: name a file in it")
    writable_folder(path.parent)
    if path.exists():
        open(path, "a").close()
    return path


def save_figure(figure: Figure, path: Path, shows: str = "") -> None:
    """Save a figure, in a folder that is made where there is none; say where it lies, and what it shows."""
    from minilmm import plots

    say(f"{plots.save(figure, path)}{f': {shows}' if shows else ''}")


def check_figure(path: Path) -> None:
    """Proves that a figure can be drawn there."""
    chosen(path.suffix, (".png", ".pdf", ".svg"), f"{path}: the suffix")
    writable_file(path)


def check_json(target: str | None) -> None:
    """Proves that --json can be obeyed."""
    if target not in (None, "-"):
        writable_file(Path(str(target)))


def write_json(target: str | None, result: dict[str, Any]) -> None:
    """The result as JSON, on standard output or into a file."""
    if target == "-":
        sys.stdout.write(json.dumps(result) + "\n")
    elif target is not None:
        Path(target).write_text(json.dumps(result, indent=1) + "\n")


class Log:
    """What a training run says: a bar on a terminal; else, on standard output, a line for the first step, for every row
    of the log, and whenever nothing was said for PATIENCE seconds.
    """

    def __init__(self, name: str, steps: int):
        self.bar, self.steps, self.start = progress_bar(), steps, time.perf_counter()
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
        words = [f"{step}/{self.steps}", f"{row.get('seconds', now - self.start):.0f} s"]
        if row:
            probes = [(k, v) for k, v in row.items() if k not in ("step", "seconds", "loss", "gradient_norm")][:4]
            words += [f"loss {row['loss']:.3f}", *(f"{short(k)} {share(v)}" for k, v in probes)]
        elif not self.bar.disable or now - self.last < PATIENCE:
            return
        elif done := step - self.first[0]:
            words.append(f"about {(now - self.first[1]) / done * (self.steps - step):.0f} s left")
        self.last = now
        self.console.print("  ".join(words), no_wrap=True, overflow="ellipsis", highlight=False)


def short(name: str) -> str:
    """A probe's name in a line: naming_2way_blank_images -> 2way blank."""
    for long, brief in (("naming_", ""), ("_images", ""), ("_real", ""), ("zero-shot accuracy", "zero-shot")):
        name = name.replace(long, brief)
    return name.replace("_", " ")

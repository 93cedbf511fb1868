"""What the commands share: options, checks before anything is computed, and errors as one line each."""

from __future__ import annotations

import errno
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from .names import chosen, kind_of

MOST_PICTURES = 512  # of a prompt: training saw five
LONGEST_PROMPT = 4096  # tokens: pages of training have some 60
LARGEST_SEED = 2**32 - 1
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space, or write to another disk"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "choose a place that you may write to, or change its permissions"),
    errno.EROFS: "the disk is read-only: choose another place",
    errno.ENOTDIR: "a part of the path is a file: choose another place",
    errno.EEXIST: "a file of that name is in the way: choose another place",
}

Seed = Annotated[int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="One seed gives one result.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Also as JSON; - writes nothing else.")]
Episodes = Annotated[int, typer.Option("--episodes", min=1, max=100_000, help="How many episodes to score.")]

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


# --- machines --------------------------------------------------------------------------------------------------------


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
    if needed > (free := free_memory(device)):
        sizes = f"{needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} are free"
        raise ValueError(f"{what} needs about {sizes}: choose less")


# --- options and files -----------------------------------------------------------------------------------------------


def of_the_mini_world(run: str) -> str:
    """The run, if it speaks the mini-world's words; ValueError for a converted one, or one between real models."""
    kind = kind_of(run) or ""
    if kind.endswith("-converted"):
        raise ValueError(f"{run}: a converted checkpoint has its own tokenizer: use `minilmm ask`")
    if kind.startswith("real-"):
        why = "connects real models, which do not read the mini-world's vocabulary"
        raise ValueError(f"{run}: {why}: use eval, curve or ask")
    return run


def writable_folder(path: Path) -> Path:
    """Makes the folder and proves that a file can be written into it, before hours are spent; OSError otherwise."""
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path) as probe:
        probe.write(b"\0")
    return path


def writable_file(path: Path | None) -> None:
    """Proves that the file, if there is to be one, can be written; OSError or ValueError otherwise."""
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"{path}: is a folder: name a file in it")
    writable_folder(path.parent)
    if path.exists():
        open(path, "a").close()


def check_figure(path: Path) -> None:
    """Proves that a figure can be drawn there."""
    chosen(path.suffix, (".png", ".pdf", ".svg"), f"{path}: the suffix")
    writable_file(path)


def check_json(target: str | None) -> None:
    """Proves that --json can be obeyed."""
    writable_file(None if target in (None, "-") else Path(str(target)))


def write_json(target: str | None, result: dict[str, Any]) -> None:
    """The result as JSON, on standard output or into a file."""
    if target == "-":
        sys.stdout.write(json.dumps(result) + "\n")
    elif target is not None:
        Path(target).write_text(json.dumps(result, indent=1) + "\n")


# --- errors ----------------------------------------------------------------------------------------------------------


def describe(error: BaseException) -> tuple[str, int]:
    """The line that a failure ends with, and the exit code: 1 a failure, 2 a wrong call, 130 stopped by Ctrl-C."""
    if isinstance(error, Stopped):
        return str(error), 130
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":  # Typer's word for Ctrl-C
        return "stopped", 130
    if hasattr(error, "format_message"):  # a wrong call, in the words of Typer
        path = getattr(getattr(error, "ctx", None), "command_path", None) or "minilmm"
        return f"error: {error.format_message()} ({path} --help lists what there is)", 2
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    return f"error: {explain(error)}{notes}", 1


def explain(error: BaseException) -> str:
    """What an error is about, and what to do."""
    name = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}: {REMEDIES.get(error.errno or 0, 'check the path')}"
    if isinstance(error, KeyError):
        return f"{error.args[0] if error.args else error}: an unknown name"
    if isinstance(error, UnicodeError) and hasattr(error, "reason"):
        return f"text that is not UTF-8 ({error.reason}): save the file as UTF-8"
    if name == "DistBackendError" or (isinstance(error, RuntimeError) and "gloo" in str(error)):
        return "another process was lost: killed, or out of memory"
    if name == "OutOfMemoryError" or isinstance(error, MemoryError):
        return "out of memory: fewer --shots, --ways or a smaller --batch need less"
    if isinstance(error, ValueError | ArithmeticError | ModuleNotFoundError):  # UnicodeError is a ValueError
        return str(error)
    return f"{name}: {error} (MINILMM_DEBUG=1 shows where)"

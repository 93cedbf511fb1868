"""Runs by their names, known without torch, and near misses."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from pathlib import Path

from minilmm.checkpoints.files import CARD, CHECKPOINT, ZOO, shipped

REAL_MODELS = ("smollm2", "efficientnet-lite0")


def nearest(word: str, options: Iterable[str]) -> str:
    """ ": did you mean naming?" where an option resembles the word, else nothing."""
    found = difflib.get_close_matches(word, list(options), 1, 0.65)
    return f": did you mean {found[0]}?" if found else ""


def chosen(value: str, options: Iterable[str], option: str) -> str:
    """The value, if it is one of the options; ValueError names the nearest, and lists them."""
    options = list(options)
    if value not in options:
        raise ValueError(f"{option} {value!r}{nearest(value, options) or ':'} choose from {', '.join(options)}")
    return value


def kind_of(run: str) -> str | None:
    """The kind on a run's card ("frozen", "real-blip2"), "" where it cannot be read, None where there is no run."""
    path = next((place / CARD for place in (Path(run), ZOO / run) if (place / CARD).is_file()), None)
    if path is None:
        return "" if (Path(run) / CHECKPOINT).is_file() else None
    try:
        return str(json.loads(path.read_text())["kind"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def known_run(run: str, *, models: bool = False, also: Iterable[str] = ()) -> str:
    """The run, if there is one of that name; ValueError names the nearest, of runs and of what is named `also`.

    models: real models, and those of transformers, will do as well.
    """
    if "\0" in run or not run.strip():
        raise ValueError(f"{run!r}: this is not the name of a run")
    path = Path(run)
    real = run in REAL_MODELS or run.startswith("torchvision:") or (path / "config.json").is_file()
    if kind_of(run) is not None or (models and real):
        return run
    owner = models and run.count("/") == 1 and not run.startswith(("/", "runs/")) and not path.parent.exists()
    here = (path.parent for part in ("*", "runs/*", "runs/*/*") for path in Path().glob(f"{part}/{CARD}"))
    near = nearest(run, [*shipped(), *REAL_MODELS, *sorted(map(str, here)), *also])
    if owner and not near:  # OWNER/NAME of a hub
        return run
    raise ValueError(f"{run}: no such run or checkpoint{near or ':'} shipped are {', '.join(shipped()) or 'none'}")


def is_real(run: str) -> bool:
    """Does this known run stand between real models, or is it one?"""
    kind = kind_of(run)
    return kind is None or kind.startswith("real-")

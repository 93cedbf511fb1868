"""A run: its recipe from options, its folder, how it stops and goes on, what is said at its end."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .common import Log, Stopped, command_line, launched, out_console, share, short, writable_folder


def rebuild(kind: Any, values: dict[str, Any]) -> Any:
    """A dataclass from its JSON: nested ones and tuples come back."""
    hints = typing.get_type_hints(kind)
    again = {}
    for key, value in values.items():
        inside = dataclasses.is_dataclass(hints[key])
        again[key] = rebuild(hints[key], value) if inside else tuple(value) if isinstance(value, list) else value
    return kind(**again)


def unfinished(out: Path, kind: Any) -> Any:
    """The recipe of the checkpoint in `out`, None where there is none. CheckpointError where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    from minilmm.training.checkpoint import CHECKPOINT, CheckpointError

    path = out / CHECKPOINT
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            return rebuild(kind, json.loads((file.metadata() or {})["recipe"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        raise CheckpointError(f"{path}: damaged, or of another kind of run: delete it to begin anew") from None


def changed(recipe: Any, changes: dict[str, Any]) -> Any:
    """The recipe with the options that were given: None leaves a value, a dict goes one level down."""
    given: dict[str, Any] = {}
    for key, value in changes.items():
        if isinstance(value, dict):
            given[key] = changed(getattr(recipe, key), value)
        elif value is not None:
            given[key] = value
    if given.get("steps"):  # a short run warms up for a fifth of its steps at most
        given["warmup"] = min(recipe.warmup, max(1, given["steps"] // 5))
    return dataclasses.replace(recipe, **given)


def decide(preset: Callable[[str], Any], name: str | None, default: str, out: Path, resume: bool, changes: dict) -> Any:
    """The recipe of a run: a preset with the options given; on --resume the checkpoint's, which they must match."""
    fresh = preset(name or default)
    stored = unfinished(out, type(fresh)) if resume else None
    if stored is None:
        return changed(fresh, changes)
    if changes["optimisation"]["steps"] is None:
        changes = {**changes, "optimisation": {**changes["optimisation"], "steps": stored.optimisation.steps}}
    recipe = changed(fresh if name else stored, changes)
    differ = [f.name for f in dataclasses.fields(recipe) if getattr(recipe, f.name) != getattr(stored, f.name)]
    if differ:
        told = ", ".join(f"{n} was {getattr(stored, n)}" for n in differ)
        raise ValueError(f"{out}: its checkpoint has another recipe ({told}): resume with its options, or change --out")
    return stored


@contextlib.contextmanager
def training_folder(out: Path, resume: bool) -> Iterator[None]:
    """A folder to train in: refused where it would overwrite a run, proved writable, left as it was after an error."""
    from minilmm.training.checkpoint import CARD, CHECKPOINT

    if (out / CARD).is_file():
        raise ValueError(f"{out}: holds a finished run: choose another --out, or delete it first")
    if (out / CHECKPOINT).is_file() and not resume:
        raise ValueError(f"{out}: holds an unfinished run: go on with --resume, or choose another --out")
    existed = out.exists()
    writable_folder(out)
    try:
        yield
    except KeyboardInterrupt:
        if not (out / CHECKPOINT).is_file():
            raise Stopped("stopped before the first step: nothing was trained") from None
        again = command_line("--resume")
        raise Stopped(f"stopped; checkpoint in {out}; continue with: {again}") from None
    finally:
        if not existed:
            with contextlib.suppress(OSError):  # only an empty folder goes
                out.rmdir()
    if launched()[0] == 0:
        (out / CHECKPOINT).unlink(missing_ok=True)


def run(train: Callable, recipe: Any, out: Path, resume: bool, device: str, **more: Any) -> None:
    """Train a recipe under a progress bar."""
    with Log(out.name, recipe.optimisation.steps) as log:
        train(recipe, out, device=device, resume=resume, report=log.report, command=command_line(), **more)


def finish(out: Path) -> None:
    """What was trained, in a few lines."""
    from minilmm.training.checkpoint import MODEL, read_card

    if launched()[0]:  # the card may not be there yet
        return
    metrics, console = read_card(out)["metrics"], out_console()
    left_out = ("step", "seconds", "gradient_norm", "loss")
    probes = {k: v for k, v in metrics.items() if k not in left_out and not k.startswith("tanh")}
    console.print(f"trained {metrics['step']} steps in {metrics['seconds']:.0f} s, loss {metrics['loss']:.3f}")
    console.print("  " + ", ".join(f"{short(k)} {share(v)}" for k, v in probes.items()))
    console.print(f"saved {out / MODEL}", soft_wrap=True)

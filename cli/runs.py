"""A run: its recipe from options, its folder, how it stops and goes on, what is said at its end."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .common import Stopped, check_memory, command_line, device_named, launched, writable_folder
from .console import Log, out_console, say, share, short

# Mebibytes that training takes at least for each of these in a step, measured at nano size; a page has five pictures.
MIB_OF = {"batch": 1.0, "pairs": 1.0, "pages": 3.0, "videos": 2.0}


def unfinished(out: Path, kind: Any) -> Any:
    """The recipe of the checkpoint in `out`, None where there is none. CheckpointError where it is of no use."""
    from safetensors import SafetensorError, safe_open

    from minilmm.checkpoints.saving import CHECKPOINT, CheckpointError, from_json

    path, why = out / CHECKPOINT, "damaged, or of another kind of run: delete it to begin anew"
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            stored = json.loads((file.metadata() or {})["recipe"])
        if "views" in stored and {field.name for field in dataclasses.fields(kind)} - stored.keys():
            why = "a run between real models of an earlier version: end it there, or begin anew with --force"
            raise ValueError
        return from_json(kind, stored)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError):
        raise CheckpointError(f"{path}: {why}") from None


def finished(out: Path, kind: Any) -> Any:
    """The recipe of the run that was finished in `out`, None where there is none. CheckpointError for another kind."""
    from minilmm.checkpoints.saving import CARD, CheckpointError, from_json, read_card

    if not (out / CARD).is_file():
        return None
    card = read_card(out)
    try:
        float(card["metrics"]["seconds"])
        return from_json(kind, card["recipe"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise CheckpointError(f"{out / CARD}: of another kind of run, or edited: choose another --out") from None


def changed(recipe: Any, changes: dict[str, Any]) -> Any:
    """The recipe with the options that were given, wherever it has them; None leaves a value as it is."""
    own = {field.name for field in dataclasses.fields(recipe)}
    given = {name: value for name, value in changes.items() if name in own and value is not None}
    given |= {name: changed(getattr(recipe, name), changes) for name in {"optimisation", "model"} & own}
    if given.get("steps"):  # a short run warms up for a fifth of its steps at most
        given["warmup"] = min(recipe.warmup, max(1, given["steps"] // 5))
    return dataclasses.replace(recipe, **given)


def unlike(wanted: Any, stored: Any) -> list[str]:
    """What differs between two recipes: "lr was 0.003, not 0.001"."""
    differences = []
    for f in dataclasses.fields(wanted):
        new, old = getattr(wanted, f.name), getattr(stored, f.name)
        if dataclasses.is_dataclass(new) and type(new) is type(old):
            differences += unlike(new, old)
        elif new != old:
            differences.append(f"{f.name} was {old}, not {new}")
    return differences


def decide(preset: Callable[[str], Any], name: str | None, default: str, out: Path, resume: bool, changes: dict) -> Any:
    """The recipe of a run: a preset with the options given; on --resume the stored one, which they must match."""
    fresh = preset(name or default)
    stored = (unfinished(out, type(fresh)) or finished(out, type(fresh))) if resume else None
    if stored is None:
        return changed(fresh, changes)
    changes = changes | {"steps": changes.get("steps") or stored.optimisation.steps}
    if other := ", ".join(unlike(changed(fresh if name else stored, changes), stored)[:4]):
        raise ValueError(f"{out}: its run has another recipe ({other}): resume with its options, or change --out")
    return stored


@contextlib.contextmanager
def training_folder(out: Path, resume: bool, force: bool = False) -> Iterator[None]:
    """A folder to train in, for this process alone: refused where it would overwrite a run, proved writable, left as it
    was after an error. force: the run that is there goes, as soon as there is something of the new one to keep.
    """
    from minilmm.checkpoints.files import held, set_aside
    from minilmm.checkpoints.saving import CARD, CHECKPOINT, MODEL, RUN

    if resume and force:
        raise ValueError("--resume and --force: give one of them")
    existed, alone, checkpoint = out.exists(), launched()[0] == 0, out / CHECKPOINT
    writable_folder(out)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(sigterm_as_ctrl_c())
            if alone:
                stack.enter_context(held(out))
            ways, unfinished = "choose another --out, or erase it with --force", checkpoint.is_file()
            if force and alone:
                stack.enter_context(set_aside(out, RUN, (CARD, CHECKPOINT)))
            elif not force and (out / CARD).is_file():
                raise ValueError(f"{out}: holds a finished run: {ways}")
            elif not force and unfinished and not resume:
                raise ValueError(f"{out}: holds an unfinished run: go on with --resume, {ways}")
            elif not force and (out / MODEL).is_file() and not unfinished:
                raise ValueError(f"{out}: holds a {MODEL} without a card: {ways}")
            try:
                yield
            except KeyboardInterrupt:
                if not checkpoint.is_file():
                    raise Stopped("stopped before the first step was saved: nothing was trained") from None
                raise Stopped(f"stopped; checkpoint in {out}; continue with: {go_on()}") from None
            except Exception as error:
                if not isinstance(error, ValueError) and checkpoint.is_file():
                    error.add_note(f"the last checkpoint is kept in {out}")
                raise
            if alone:
                checkpoint.unlink(missing_ok=True)
    finally:
        if not existed:
            with contextlib.suppress(OSError):  # only an empty folder goes
                out.rmdir()


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """SIGTERM ends what runs meanwhile as Ctrl-C does: in order, with what is kept."""

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # which raises KeyboardInterrupt
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def go_on() -> str:
    """The command that goes on with this one."""
    return command_line("--resume").replace(" --force", "")


def run(
    recipe: Any, out: Path, resume: bool, device: str, *, minutes: float | None = None, parallel: bool = False,
    **more: Any,
) -> None:  # fmt: skip
    """Train a recipe under a progress bar; in minutes, where they are given and the run has not begun.

    parallel: another process reports beside this one, so that lines with a name take the place of the bar.
    """
    from minilmm.training import loop
    from minilmm.training.prepare import prepare

    sizes = {name: getattr(recipe, name, 0) for name in MIB_OF}
    needed = sum(MIB_OF[name] * size for name, size in sizes.items())  # MiB of a step, a rough estimate from below
    needed *= (1 + 0.03 * getattr(recipe, "latents", 0)) * (10 if getattr(recipe, "views", 0) else 1)
    batch = ", ".join(f"{name} {size}" for name, size in sizes.items() if size)
    check_memory(needed * 2**20, f"{batch}: a step", device)
    going = unfinished(out, type(recipe)) is not None
    job = prepare(recipe, device)
    if job.note:
        say(f"{job.note}, {job.seconds:.0f} s")
    if minutes is not None and not going:
        job = loop.within(job, minutes)
        n = job.recipe.optimisation.steps
        say(f"{minutes:g} minutes hold {n} steps here; the recipe says --steps {n} from now on")
    with Log(out.name, job.recipe.optimisation.steps, parallel) as log:
        loop.train(job, out, resume=resume, report=log.report, command=command_line(), **more)


def carry_out(preset: Callable[[str], Any], given: dict[str, Any], name: str) -> Any:
    """Decide on a recipe from a command's options, train it, say what came of it: the recipe."""
    resume, minutes, out = given["resume"], given.get("minutes"), given["out"] or Path(f"runs/{name}")
    if given["steps"] is not None and minutes is not None:
        raise ValueError("--steps and --minutes: give one of them")
    if minutes is not None and launched()[1] > 1:
        raise ValueError("--minutes: works with one process: with torchrun give --steps instead")
    device = device_named(given["device"])
    recipe = decide(preset, given["preset"], "nano", out, resume, given)
    with training_folder(out, resume, given["force"]):
        run(recipe, out, resume, device, minutes=minutes)
    finish(out)
    return recipe


def finish(out: Path) -> None:
    """What was trained, in a few lines."""
    from minilmm.checkpoints.saving import MODEL, read_card

    if launched()[0]:  # the card may not be there yet
        return
    metrics = read_card(out)["metrics"]
    left_out = ("step", "seconds", "gradient_norm", "loss", "perplexity")
    probes = {k: v for k, v in metrics.items() if k not in left_out and not k.startswith("tanh")}
    say(f"trained {metrics['step']} steps in {metrics['seconds']:.0f} s, loss {metrics['loss']:.3f}")
    out_console().print("  " + ", ".join(f"{short(k)} {share(v)}" for k, v in probes.items()))
    say(f"saved {out / MODEL}")

"""Options of `train` and `pretrain`, made from the fields of recipes; known without torch."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from minilmm.training.recipes import Optimisation

from .common import LARGEST_SEED
from .names import chosen

KINDS = {"int": int, "float": float, "bool": bool}  # of fields; all others are read as text


def finite(value: float | None) -> float | None:
    """An option's number, which bounds alone let be NaN."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def option(name: str, kind: type, help: str, default: Any = None, flag: str = "", **how: Any) -> inspect.Parameter:
    """An option of a command. default: None where it may be left out, `inspect.Parameter.empty` where it may not."""
    how |= {"callback": finite} if kind is float else {}
    declared = typer.Option(*[flag] * bool(flag), help=help, **how)
    annotation = Annotated[kind | None if default is None else kind, declared]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def options_of(recipe: type) -> list[inspect.Parameter]:
    """An option for each field of a recipe that has a help text."""
    keys = ("help", "flag", "min", "max")
    found = [(f, {k: f.metadata[k] for k in keys if k in f.metadata}) for f in dataclasses.fields(recipe)]
    return [option(field.name, KINDS.get(str(field.type), str), **how) for field, how in found if "help" in how]


COMMON = (
    option("preset", str, "nano (2 CPU cores) or small (one GPU)."),
    option("out", Path, "The run's folder; runs/NAME unless given."),
    option("seed", int, "One seed, one run; 0 unless given.", min=0, max=LARGEST_SEED),
    option("device", str, "auto, cpu or cuda.", "auto"),
    option("resume", bool, "Go on from the folder's checkpoint, if it has one.", False, "--resume"),
    option("force", bool, "Erase the run that the folder holds.", False, "--force"),
    option("minutes", float, "Train for about M minutes: a few steps are timed.", min=0.01, max=10_000),
    *options_of(Optimisation),
)
Steps = next(p.annotation for p in COMMON if p.name == "steps")


def options(recipe: type, names: str, *own: inspect.Parameter) -> Callable[[Callable], Callable]:
    """Gives a command, which takes keywords, the options named: the recipe's, those that all runs have, its own."""
    table = {p.name: p for p in (*COMMON, *options_of(recipe), *own)}

    def decorate(command: Callable) -> Callable:
        asked = [table[name] for name in names.split()]
        command.__signature__ = inspect.Signature(asked)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in asked}
        return command

    return decorate


def check_choices(recipe: type, given: dict[str, Any]) -> None:
    """ValueError where an option has another value than the recipe's field may have."""
    for field in dataclasses.fields(recipe):
        if "choices" in field.metadata and given.get(field.name) is not None:
            chosen(given[field.name], field.metadata["choices"], _flag(field))


def check_fit(recipe: type, given: dict[str, Any], real: bool, timed: bool = True) -> None:
    """ValueError where an option was given that runs between real models do not have, or those of the mini-world.

    timed: runs of the mini-world have --minutes as well.
    """
    wrong = {"world": "is for the mini-world alone: leave it out between real models",
             "real": "applies only to real models: leave it out, or add --data emoji"}  # fmt: skip
    other = "world" if real else "real"
    for field in dataclasses.fields(recipe):
        usual = (None, field.metadata.get("usual"))
        if field.metadata.get("only") == other and given.get(field.name) not in usual:
            raise ValueError(f"{_flag(field)}: {wrong[other]}")
    if given.get("bug") is not None and real:
        raise ValueError(f"--bug: {wrong[other]}")
    if given.get("minutes") is not None and not real and not timed:
        raise ValueError(f"--minutes: {wrong[other]}")


def _flag(field: dataclasses.Field) -> str:
    return field.metadata.get("flag", "--" + field.name.replace("_", "-")).split("/")[0]

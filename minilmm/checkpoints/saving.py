"""Weights on disk: safetensors and a JSON card, written whole or not at all, checked when read.

A finished run's directory holds `model.safetensors` and `card.json` (kind, configuration, recipe, seed, version,
metrics, command, SHA-256 of the weights); an unfinished one holds `checkpoint.safetensors`, from which it resumes. The
same run has the same model file, byte for byte. `minilmm.checkpoints.opening` makes models of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import shutil
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

import minilmm
from minilmm.checkpoints.files import CARD, CHECKPOINT, ZOO, digest, replacing, shipped, write_tensors
from minilmm.language.causal import LMConfig
from minilmm.language.encdec import EncDecConfig
from minilmm.nn.parallel import is_main_process
from minilmm.vision import VisionConfig

MODEL, LOG = "model.safetensors", "log.jsonl"
STAGE_1 = "stage1"  # in a run of a second stage: the run that it went on from; but for BLIP-2, its card and log
LOOKS = "looks.safetensors"  # in a run of stage 1: what the queries look at in one picture, over training
RUN = (CARD, MODEL, CHECKPOINT, LOG, LOOKS, STAGE_1)  # all that a run may have in its folder
TRAINING = "minilmm-training"  # the format of a checkpoint
REAL = "real-"  # how the kinds of bridges between real models begin
RENAMED = {"seen": "feature_width"}  # fields of configurations: their name in cards of earlier versions, and now
NAMED_IN_RECIPES = (LMConfig, EncDecConfig, VisionConfig)  # recipes import no torch, and know these by name alone
T = TypeVar("T")


class CheckpointError(ValueError):
    """What is wrong with a checkpoint, in one line that names the file and the remedy."""


# --- finished runs ---------------------------------------------------------------------------------------------------


def unique_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors, each shared one under its first name alone (a tied head is stored as the embedding)."""
    places: set[int] = set()
    state = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        place = tensor.data_ptr() or id(tensor)  # on the meta device no tensor has an address
        if place not in places or tensor.numel() == 0:
            places.add(place)
            state[name] = tensor.detach().contiguous()
    return state


def save(directory: Path, model: nn.Module, kind: str, **facts: Any) -> None:
    """Write model.safetensors, then card.json with its hash and the facts given. Only the first process does."""
    if not is_main_process():
        return
    write_tensors(directory / MODEL, {k: v.cpu() for k, v in unique_state(model).items()}, {"format": "minilmm"})
    write_card(directory, kind, **facts)


def write_card(directory: Path, kind: str, **facts: Any) -> None:
    """card.json for the weights that lie in the directory."""
    card = {"kind": kind, "version": minilmm.__version__, "torch": torch.__version__, **facts}
    with replacing(directory / CARD) as path:
        path.write_text(json.dumps({**card, "sha256": digest(directory / MODEL)}, indent=1) + "\n")


def copy(run: Path, place: Path, names: tuple[str, ...] = (MODEL, CARD, LOG, LOOKS)) -> None:
    """Copy the files of a finished run into another folder."""
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (run / name).is_file():
            with replacing(place / name) as path:
                shutil.copyfile(run / name, path)


def keep_cards(run: Path, place: Path) -> None:
    """Copy card and log of a run, and of those that it went on from."""
    copy(run, place, (CARD, LOG))
    if (run / STAGE_1).is_dir():
        keep_cards(run / STAGE_1, place / STAGE_1)


def find(run: str | Path) -> Path:
    """The directory of a run, or of a shipped checkpoint by its name."""
    for directory in (Path(run), ZOO / str(run)):
        if (directory / CARD).is_file():
            return directory
    if (Path(run) / CHECKPOINT).is_file():
        raise CheckpointError(f"{run}: this run is not finished: continue it with --resume")
    raise CheckpointError(f"{run}: no such run or checkpoint; shipped are {', '.join(shipped()) or 'none'}")


def read_card(run: str | Path) -> dict[str, Any]:
    """The card of a run, checked for form."""
    path = find(run) / CARD
    try:
        card = json.loads(path.read_text())
        well_formed = all(isinstance(card[name], k) for name, k in (("kind", str), ("config", dict), ("sha256", str)))
    except (ValueError, KeyError, TypeError):
        well_formed = False
    if not well_formed:
        raise CheckpointError(f"{path}: not a minilmm card: train the run again, or restore the file")
    return card


def checked(run: str | Path) -> tuple[dict[str, Any], Path]:
    """The card of a run and the path of its weights, which are whole and those that the card was written for.

    CheckpointError where the run is missing or unfinished, or the weights are truncated or foreign.
    """
    card, path = read_card(run), find(run) / MODEL
    if not path.is_file():
        raise CheckpointError(f"{path}: the weights are missing: train the run again, or restore the file")
    if digest(path) != card["sha256"]:
        damaged = "damaged or replaced (its SHA-256 is not the card's): restore it, or train again"
        raise CheckpointError(f"{path}: {damaged}")
    return card, path


@contextlib.contextmanager
def fitting(path: Path) -> Iterator[None]:
    """What goes wrong while weights are put into the model of their card, as one CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except (
        SafetensorError, RuntimeError, TypeError, LookupError, ValueError, ArithmeticError, AttributeError
    ) as error:  # fmt: skip
        message = " ".join(str(error).split())
        known = re.search(r"size mismatch for [^:]+|Missing key.*|Unexpected key.*", message)
        reason = known[0][:100] if known else f"{type(error).__name__}: {message[:100]}"
        raise CheckpointError(f"{path}: does not fit its card ({reason}): restore {CARD}, or train again") from None


def all_finite(tensors: Iterable[Tensor]) -> Tensor:
    """Are all numbers of the tensors finite? One bool, on their device, which is not waited for."""
    return torch.stack([t.detach().isfinite().all() for t in tensors]).all()


def refuse_nan(path: Path, tensors: dict[str, Tensor]) -> None:
    """CheckpointError where a number of the tensors, which came from `path`, is not finite."""
    if tensors and not bool(all_finite(tensors.values())):
        name = next(name for name, t in tensors.items() if not bool(t.isfinite().all()))
        raise CheckpointError(f"{path}: {name} is not finite (NaN or infinity): train again with a smaller --lr")


# --- configurations and recipes as JSON ------------------------------------------------------------------------------


def from_json(cls: type[T], values: Any) -> T:
    """A dataclass from the JSON of its `dataclasses.asdict`: nested dataclasses are filled, lists become tuples.

    Of a field that may hold one of several dataclasses, it is the first that has all the names. TypeError where a name
    is unknown or missing, or where a dataclass is no JSON object.
    """
    if not isinstance(values, dict):
        raise TypeError(f"{cls.__name__} is {str(values)[:20]!r}, expected a JSON object")
    hints = typing.get_type_hints(cls, localns={kind.__name__: kind for kind in NAMED_IN_RECIPES})
    for name in values.keys() - hints.keys():
        remedy = f"is called {RENAMED[name]!r} now: rename it" if name in RENAMED else "is unknown"
        raise TypeError(f"{name!r} of {cls.__name__} {remedy}")
    return cls(**{name: _from_json(hints[name], value) for name, value in values.items()})


def _from_json(hint: Any, value: Any) -> Any:
    kinds: list[Any] = [kind for kind in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(kind)]
    if not kinds or value is None:
        return tuple(value) if isinstance(value, list) else value
    names = set(value) if isinstance(value, dict) else set()
    fits = [kind for kind in kinds if names <= {field.name for field in dataclasses.fields(kind)}]
    return from_json((fits or kinds)[0], value)


def recipe_json(recipe: Any) -> str:
    """A recipe as canonical JSON."""
    return json.dumps(dataclasses.asdict(recipe), sort_keys=True)


def same_recipe(stored: str, recipe: Any) -> bool:
    """Is this the JSON of the recipe? Fields that recipes did not have yet count as their defaults."""
    with contextlib.suppress(TypeError, ValueError):
        return from_json(type(recipe), json.loads(stored)) == recipe
    return False


# --- unfinished runs -------------------------------------------------------------------------------------------------


def save_training(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, recipe: Any, seconds: float
) -> None:
    """The whole state of a run after `step` steps, in one safetensors file."""
    tensors = {f"model.{k}": v for k, v in unique_state(model).items()}
    for i, (_, state) in enumerate(sorted(optimizer.state_dict()["state"].items())):
        tensors |= {f"optimizer.{i}.{k}": v for k, v in state.items()}
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    facts = {"format": TRAINING, "step": str(step), "recipe": recipe_json(recipe), "seconds": str(seconds)}
    write_tensors(path, tensors, facts | {"sha256": _digest(tensors, facts)})


def _digest(tensors: dict[str, Tensor], facts: dict[str, str]) -> str:
    whole = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        whole.update(tensor.flatten().view(torch.uint8).numpy().data)
    return whole.hexdigest()


def load_training(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, recipe: Any) -> tuple[int, float]:
    """Put the state back, bit for bit: the step to go on from and the seconds spent.

    CheckpointError where the file is damaged, or was written by another recipe.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}): delete it to begin anew") from None
    wrong = ""
    if facts.get("format") != TRAINING:
        wrong = "not a minilmm training checkpoint: delete it to begin anew"
    elif facts.pop("sha256", "") != _digest(tensors, facts):
        wrong = "damaged (its SHA-256 is another than when it was saved): begin anew with --force"
    elif not same_recipe(facts["recipe"], recipe):
        wrong = "belongs to another recipe: resume with that run's options, or use another --out"
    if wrong:
        raise CheckpointError(f"{path}: {wrong}")
    with fitting(path):
        model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")}, strict=False)
        state = optimizer.state_dict()
        state["state"] = {}
        for key, tensor in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".")
                state["state"].setdefault(int(index), {})[name] = tensor
        optimizer.load_state_dict(state)
    return int(facts["step"]), float(facts["seconds"])


def read_log(path: Path, *, empty: bool = False) -> list[dict[str, Any]]:
    """The rows of a run's log, each a dict with its "step"; CheckpointError where there are none, unless `empty`, or
    where a line is none. A last line without its end, which a killed process leaves, is no line.
    """
    rows: list[dict[str, Any]] = []
    lines = path.read_text(errors="replace").splitlines(keepends=True) if path.is_file() else []
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            break
        try:
            rows.append(json.loads(line))
            int(rows[-1]["step"]), float(rows[-1]["seconds"]), float(rows[-1]["loss"])
        except (ValueError, KeyError, TypeError):
            remedy = "restore the file, or train again"
            raise CheckpointError(f"{path}: line {number} is no row of a log: {remedy}") from None
    if not rows and not empty:
        raise CheckpointError(f"{path}: missing or empty: restore the file, or train again")
    return rows

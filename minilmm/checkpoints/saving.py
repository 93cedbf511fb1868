"""Weights on disk: safetensors and a JSON card, written whole or not at all, checked when read.

A finished run's directory holds `model.safetensors` and `card.json` (kind, configuration, recipe, seed, version,
metrics, command, SHA-256 of the weights); an unfinished one holds `checkpoint.safetensors`, from which it resumes. The
same run has the same model file, byte for byte.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import shutil
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model
from torch import Tensor, nn

import minilmm
from minilmm.ablations import variant
from minilmm.blip2 import Blip2, Blip2Config, Stage1
from minilmm.checkpoints.files import digest, replacing, write_tensors
from minilmm.flamingo import Flamingo, FlamingoConfig
from minilmm.frozen import Frozen, FrozenConfig
from minilmm.language import CausalLM, LMConfig
from minilmm.language.encdec import EncDecConfig, EncoderDecoder
from minilmm.nn.parallel import is_main_process
from minilmm.vision import VisionConfig
from minilmm.vision.contrastive import DualEncoder

ZOO = Path(minilmm.__file__).parent / "zoo"
MODEL, CARD, CHECKPOINT, LOG = "model.safetensors", "card.json", "checkpoint.safetensors", "log.jsonl"
STAGE_1 = "stage1"  # in a run of BLIP-2's stage 2: the run of stage 1 that it went on from
LOOKS = "looks.safetensors"  # in a run of stage 1: what the queries look at in one picture, over training
RUN = (CARD, MODEL, CHECKPOINT, LOG, LOOKS, STAGE_1)  # all that a run may have in its folder
TRAINING = "minilmm-training"  # the format of a checkpoint
REAL = "real-"  # how the kinds of bridges between real models begin
RENAMED = {"seen": "feature_width"}  # what fields were called in cards of earlier versions
T = TypeVar("T")


class CheckpointError(ValueError):
    """What is wrong with a checkpoint, in one line that names the file and the remedy."""


def shipped() -> list[str]:
    """Names of the checkpoints that come with the package."""
    return sorted(p.parent.name for p in ZOO.glob(f"*/{CARD}"))


def unique_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors, each shared one once (a tied head is stored as the embedding)."""
    seen: set[int] = set()
    state = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen or tensor.numel() == 0:
            seen.add(tensor.data_ptr())
            state[name] = tensor.contiguous()
    return state


def save(directory: Path, model: nn.Module, kind: str, **facts: Any) -> None:
    """Write model.safetensors, then card.json with its hash and the facts given. Only the first process does."""
    if not is_main_process():
        return
    write_tensors(directory / MODEL, {k: v.cpu() for k, v in unique_state(model).items()}, {"format": "minilmm"})
    write_card(directory, kind, **facts)


def write_card(directory: Path, kind: str, **facts: Any) -> None:
    """card.json for the weights that lie in the directory."""
    card = {
        "kind": kind,
        "version": minilmm.__version__,
        "torch": torch.__version__,
        **facts,
        "sha256": digest(directory / MODEL),
    }
    with replacing(directory / CARD) as path:
        path.write_text(json.dumps(card, indent=1) + "\n")


def copy(run: Path, place: Path) -> None:
    """Copy the files of a finished run into another folder."""
    place.mkdir(parents=True, exist_ok=True)
    for name in (MODEL, CARD, LOG, LOOKS):
        if (run / name).is_file():
            with replacing(place / name) as path:
                shutil.copyfile(run / name, path)


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
        for name, kind in (("kind", str), ("config", dict), ("sha256", str)):
            if not isinstance(card[name], kind):
                raise ValueError
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path}: not a minilmm card: train the run again, or restore the file") from None
    return card


def checked(run: str | Path) -> tuple[dict[str, Any], Path]:
    """The card of a run and the path of its weights, which are whole and those that the card was written for.

    CheckpointError where the run is missing or unfinished, or the weights are truncated or foreign.
    """
    card, path = read_card(run), find(run) / MODEL
    if not path.is_file():
        raise CheckpointError(f"{path}: the weights are missing: train the run again, or restore the file")
    if digest(path) != card["sha256"]:
        raise CheckpointError(
            f"{path}: damaged or replaced (its SHA-256 is not the card's): restore it, or train again"
        )
    return card, path


def load(run: str | Path, device: torch.device | str = "cpu") -> tuple[Any, dict[str, Any]]:
    """The model of a run of the mini-world (in eval mode) and its card; `opening.load` opens runs of any kind.

    CheckpointError as `checked`, or where the weights do not fit.
    """
    card, path = checked(run)
    return filled(lambda: build(card["kind"], card["config"]), path).to(device).eval(), card


def filled(make: Callable[[], nn.Module], path: Path) -> nn.Module:
    """A model with the weights of a file. CheckpointError where they do not fit, or are not finite."""
    with fitting(path):
        model = make()
        load_model(model, path)
    refuse_nan(path, dict(model.named_parameters()))
    return model


@contextlib.contextmanager
def fitting(path: Path) -> Iterator[None]:
    """What goes wrong while weights are put into the model of their card, as one CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except (
        SafetensorError,
        RuntimeError,
        TypeError,
        LookupError,
        ValueError,
        ArithmeticError,
        AttributeError,
    ) as error:
        told = re.search(r"size mismatch for [^:]+|Missing key.*|Unexpected key.*", " ".join(str(error).split()))
        reason = told[0][:100] if told else f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
        raise CheckpointError(f"{path}: does not fit its card ({reason}): restore {CARD}, or train again") from None


def all_finite(tensors: Iterable[Tensor]) -> Tensor:
    """Are all numbers of the tensors finite? One bool, on their device, which is not waited for."""
    return torch.stack([t.detach().isfinite().all() for t in tensors]).all()


def refuse_nan(path: Path, tensors: dict[str, Tensor]) -> None:
    """CheckpointError where a number of the tensors, which came from `path`, is not finite."""
    if tensors and not bool(all_finite(tensors.values())):
        name = next(name for name, t in tensors.items() if not bool(t.isfinite().all()))
        raise CheckpointError(f"{path}: {name} is not finite (NaN or infinity): train again with a smaller --lr")


def build(kind: str, config: dict[str, Any]) -> nn.Module:
    """A model from a card's kind and configuration, at random weights."""
    if kind == "lm":
        return CausalLM(from_json(LMConfig, config))
    if kind == "t5":
        return EncoderDecoder(from_json(EncDecConfig, config))
    if kind == "vision":
        return DualEncoder(**{**config, "vision": from_json(VisionConfig, config["vision"])})
    c = bridge_config(kind, config)
    if isinstance(c, FrozenConfig):
        return Frozen(c)
    if isinstance(c, FlamingoConfig):
        return variant(Flamingo, c.variant)(c)
    return Blip2(c) if kind == "blip2" else variant(Stage1, c.variant)(c)


def bridge_config(kind: str, config: dict[str, Any]) -> FrozenConfig | FlamingoConfig | Blip2Config:
    """The configuration of a bridge from its JSON. KeyError for another kind of model."""
    kinds = {"frozen": FrozenConfig, "flamingo": FlamingoConfig, "blip2-stage1": Blip2Config, "blip2": Blip2Config}
    return from_json(kinds[kind], config)


def from_json(cls: type[T], values: Any) -> T:
    """A dataclass from the JSON of its `dataclasses.asdict`: nested dataclasses are filled, lists become tuples.

    Of a field that may hold one of several dataclasses, it is the first that has all the names. TypeError where a name
    is unknown or missing, or where a dataclass is no JSON object.
    """
    if not isinstance(values, dict):
        raise TypeError(f"{cls.__name__} is {str(values)[:20]!r}, expected a JSON object")
    hints = typing.get_type_hints(cls, localns={c.__name__: c for c in (LMConfig, EncDecConfig, VisionConfig)})
    for name in values.keys() - hints.keys():
        told = f"is called {RENAMED[name]!r} now: rename it" if name in RENAMED else "is unknown"
        raise TypeError(f"{name!r} of {cls.__name__} {told}")
    return cls(**{name: _from_json(hints[name], value) for name, value in values.items()})


def _from_json(hint: Any, value: Any) -> Any:
    kinds: list[Any] = [kind for kind in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(kind)]
    if not kinds or value is None:
        return tuple(value) if isinstance(value, list) else value
    names = set(value) if isinstance(value, dict) else set()
    fits = [kind for kind in kinds if names <= {field.name for field in dataclasses.fields(kind)}]
    return from_json((fits or kinds)[0], value)


def save_training(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, recipe: Any, seconds: float
) -> None:
    """The whole state of a run after `step` steps, in one safetensors file."""
    tensors = {f"model.{k}": v for k, v in unique_state(model).items()}
    for i, (_, state) in enumerate(sorted(optimizer.state_dict()["state"].items())):
        tensors |= {f"optimizer.{i}.{k}": v for k, v in state.items()}
    tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    told = {"format": TRAINING, "step": str(step), "recipe": recipe_json(recipe), "seconds": str(seconds)}
    write_tensors(path, tensors, told | {"sha256": _digest(tensors, told)})


def _digest(tensors: dict[str, Tensor], told: dict[str, str]) -> str:
    whole = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
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
            told = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}): delete it to begin anew") from None
    if told.get("format") != TRAINING:
        raise CheckpointError(f"{path}: not a minilmm training checkpoint: delete it to begin anew")
    if told.pop("sha256", "") != _digest(tensors, told):
        raise CheckpointError(
            f"{path}: damaged (its SHA-256 is another than when it was saved): begin anew with --force"
        )
    if not same_recipe(told["recipe"], recipe):
        raise CheckpointError(
            f"{path}: belongs to another recipe: resume with that run's options, or use another --out"
        )
    with fitting(path):
        model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")}, strict=False)
        state = optimizer.state_dict()
        state["state"] = {}
        for key, tensor in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".")
                state["state"].setdefault(int(index), {})[name] = tensor
        optimizer.load_state_dict(state)
    return int(told["step"]), float(told["seconds"])


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
            raise CheckpointError(
                f"{path}: line {number} is no row of a log: restore the file, or train again"
            ) from None
    if not rows and not empty:
        raise CheckpointError(f"{path}: missing or empty: restore the file, or train again")
    return rows


def recipe_json(recipe: Any) -> str:
    """A recipe as canonical JSON."""
    return json.dumps(dataclasses.asdict(recipe), sort_keys=True)


def same_recipe(stored: str, recipe: Any) -> bool:
    """Is this the JSON of the recipe? Fields that recipes did not have yet count as their defaults."""
    with contextlib.suppress(TypeError, ValueError):
        return from_json(type(recipe), json.loads(stored)) == recipe
    return False

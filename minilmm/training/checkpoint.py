"""Weights on disk: safetensors and a JSON card, written whole or not at all, checked when read.

A finished run's directory holds `model.safetensors` and `card.json` (kind, configuration, recipe, seed, version,
metrics, command, SHA-256 of the weights); an unfinished one holds `checkpoint.safetensors`, from which it resumes.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_file
from torch import Tensor, nn

import minilmm
from minilmm.ablations import altered
from minilmm.blip2 import Blip2, Blip2Config, QFormerConfig, Stage1
from minilmm.files import digest, replacing
from minilmm.flamingo import Flamingo, FlamingoConfig
from minilmm.frozen import Frozen, FrozenConfig
from minilmm.language import CausalLM, LMConfig
from minilmm.language.encdec import EncDecConfig, EncoderDecoder
from minilmm.training.parallel import first
from minilmm.vision import VisionConfig
from minilmm.vision.contrastive import DualEncoder

ZOO = Path(minilmm.__file__).parent / "zoo"
MODEL, CARD, CHECKPOINT, LOG = "model.safetensors", "card.json", "checkpoint.safetensors", "log.jsonl"
REAL = "real-"  # how the kinds of bridges between real models begin


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
    if not first():
        return
    with replacing(directory / MODEL) as path:
        save_file(
            {k: v.cpu() for k, v in unique_state(model).items()}, path, metadata={"format": "minilmm", "kind": kind}
        )
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
        if not {"kind", "config", "sha256"} <= card.keys():
            raise ValueError
    except (ValueError, AttributeError, UnicodeDecodeError):
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
    """The model of a run (in eval mode) and its card. CheckpointError as `checked`, or where the weights do not fit.

    Of a bridge between real models its own weights are read, and those models found by their names: AssetError or
    ValueError where one is not here.
    """
    card, path = checked(run)
    if card["kind"].startswith(REAL):
        from minilmm.training import real  # which reads cards itself

        return real.open_run(run, device)[0], card
    try:
        model = build(card["kind"], card["config"])
        load_model(model, path)
    except (SafetensorError, RuntimeError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path}: does not fit its card ({str(error).splitlines()[0]})") from None
    return model.to(device).eval(), card


def build(kind: str, config: dict[str, Any]) -> nn.Module:
    """A model from a card's kind and configuration, at random weights."""
    if kind == "lm":
        return CausalLM(LMConfig(**config))
    if kind == "t5":
        return EncoderDecoder(EncDecConfig(**config))
    if kind == "vision":
        return DualEncoder(_vision(config["vision"]), **{k: v for k, v in config.items() if k != "vision"})
    if kind.endswith("-converted"):
        from minilmm import convert  # wants transformers, which nothing else here does

        return convert.build(config)
    c = bridge_config(kind, config)
    if isinstance(c, FrozenConfig):
        return Frozen(c)
    if isinstance(c, FlamingoConfig):
        return altered(Flamingo(c), c.variant)
    return Blip2(c) if kind == "blip2" else altered(Stage1(c), c.variant)


def bridge_config(kind: str, config: dict[str, Any]) -> FrozenConfig | FlamingoConfig | Blip2Config:
    """The configuration of a bridge from its JSON. KeyError for another kind of model."""
    if kind in ("frozen", "flamingo"):
        parts = {**config, "lm": LMConfig(**config["lm"]), "vision": _vision(config["vision"])}
        return FrozenConfig(**parts) if kind == "frozen" else FlamingoConfig(**parts)
    if kind in ("blip2-stage1", "blip2"):
        lm = _lm(config["lm"]) if config["lm"] is not None else None
        parts = {"qformer": QFormerConfig(**config["qformer"]), "vision": _vision(config["vision"]), "lm": lm}
        return Blip2Config(**{**config, **parts})
    raise KeyError(f"unknown kind of model {kind!r}")


def _lm(config: dict[str, Any]) -> LMConfig | EncDecConfig:
    return EncDecConfig(**config) if "buckets" in config else LMConfig(**config)


def _vision(config: dict[str, Any]) -> VisionConfig:
    return VisionConfig(**config)


def save_training(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, recipe: Any, seconds: float
) -> None:
    """The whole state of a run after `step` steps, in one safetensors file."""
    tensors = {f"model.{k}": v for k, v in unique_state(model).items()}
    for i, (_, state) in enumerate(sorted(optimizer.state_dict()["state"].items())):
        tensors |= {f"optimizer.{i}.{k}": v for k, v in state.items()}
    metadata = {"format": "minilmm-training", "step": str(step), "recipe": recipe_json(recipe), "seconds": str(seconds)}
    with replacing(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, metadata=metadata)


def load_training(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, recipe: Any) -> tuple[int, float]:
    """Put the state back, bit for bit: the step to go on from and the seconds spent.

    CheckpointError where the file is damaged, or was written by another recipe.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}): delete it to begin anew") from None
    if metadata.get("format") != "minilmm-training":
        raise CheckpointError(f"{path}: not a minilmm training checkpoint: delete it to begin anew")
    if metadata["recipe"] != recipe_json(recipe):
        raise CheckpointError(
            f"{path}: belongs to another recipe: resume with that run's options, or use another --out"
        )
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")}, strict=False)
    state = optimizer.state_dict()
    state["state"] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            state["state"].setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict(state)
    return int(metadata["step"]), float(metadata["seconds"])


def recipe_json(recipe: Any) -> str:
    """A recipe as canonical JSON."""
    return json.dumps(dataclasses.asdict(recipe), sort_keys=True)

"""Any run as a model: of the mini-world, a bridge between real models, or a converted checkpoint of transformers.

Real models stay in the assets, or where transformers keeps them: a run of a bridge between them holds the weights that
it trained, and the names of what it stands between.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from minilmm.blip2 import Blip2, Blip2Config, Stage1
from minilmm.checkpoints import minilm
from minilmm.checkpoints import saving as checkpoint
from minilmm.checkpoints.backbones import load_encoder, load_lm
from minilmm.checkpoints.saving import REAL, CheckpointError, bridge_config, checked, fitting, refuse_nan
from minilmm.flamingo import Flamingo, FlamingoConfig
from minilmm.frozen import Frozen, FrozenConfig
from minilmm.interface.tokenizer import Tokenizer
from minilmm.language import LMConfig
from minilmm.nn.qformer import in_text_half
from minilmm.vision import VisionConfig

Bridge = Frozen | Flamingo | Stage1 | Blip2


def load(run: str | Path, device: torch.device | str = "cpu") -> tuple[Any, dict[str, Any]]:
    """The model of a run (in eval mode) and its card. CheckpointError where weights are missing, damaged or do not fit.

    Of a bridge between real models its own weights are read, and those models found by their names: AssetError or
    ValueError where one is not here.
    """
    kind = checkpoint.read_card(run)["kind"]
    if kind.startswith(REAL):
        return open_run(run, device)[0], checked(run)[0]
    card, path = checked(run)
    return checkpoint.filled(lambda: build(kind, card["config"]), path).to(device).eval(), card


def build(kind: str, config: dict[str, Any]) -> nn.Module:
    """A model from a card's kind and configuration, at random weights; not of a bridge between real models."""
    if not kind.endswith("-converted"):
        return checkpoint.build(kind, config)
    from minilmm.checkpoints import convert  # wants transformers, which nothing else here does

    return convert.build(config)


@dataclass(frozen=True)
class Parts:
    """What a bridge stands between. `words` is the language model's tokenizer; without one, MiniLM's."""

    lm: Any
    words: Tokenizer
    encoder: Any
    vision: VisionConfig


def load_parts(lm: str, vision: str, resolution: int) -> Parts:
    """The frozen halves by name; "" is no language model, as in stage 1 of BLIP-2. Errors as of `backbones`."""
    model, words = load_lm(lm) if lm else (None, minilm.load_tokenizer())
    encoder, config = load_encoder(vision, resolution or None)
    return Parts(model, words, encoder, config)


def model_of(config: FrozenConfig | FlamingoConfig | Blip2Config, parts: Parts) -> Bridge:
    """The bridge of a configuration, fresh, between its parts; only what trains wants gradients."""
    model: Bridge
    if isinstance(config, FrozenConfig):
        model = Frozen(config, parts.lm, parts.encoder)
    elif isinstance(config, FlamingoConfig):
        model = Flamingo(config, parts.lm, parts.encoder)
    elif config.lm is None:
        model = Stage1(config, parts.encoder)
    else:
        model = Blip2(config, parts.lm, parts.encoder)
        for name, p in model.qformer.named_parameters():
            p.requires_grad_(not in_text_half(name))
    model.encoder.requires_grad_(False)
    if not isinstance(model, Stage1):
        model.lm.requires_grad_(False)
    return model


class Trained(nn.Module):
    """Of a model what trains: its `state_dict` holds these parameters, by the model's names, and nothing else."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:  # type: ignore[override]
        """Every parameter that wants gradients."""
        return {name: p.detach() for name, p in self.model.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def load_state_dict(self, state: Any, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """KeyError where names differ, RuntimeError where a shape does."""
        own = self.state_dict()
        if differ := sorted(own.keys() ^ state.keys()):
            raise KeyError(f"{differ[0]} is missing, or one too many")
        for name, p in own.items():
            if p.shape != state[name].shape:
                raise RuntimeError(f"{name} is {tuple(state[name].shape)}, expected {tuple(p.shape)}")
            p.copy_(state[name])


def open_run(run: str | Path, device: torch.device | str = "cpu") -> tuple[Bridge, Tokenizer, dict[str, Any]]:
    """The model of a run between the models that its card names, its tokenizer, and the card.

    AssetError or ValueError where one of them is not here; CheckpointError where it is another than in training, or for
    what `load` finds wrong.
    """
    card, path = checked(run)
    kind, config = card["kind"].removeprefix(REAL), card["config"]
    if kind == card["kind"]:
        raise CheckpointError(f"{run}: a {kind} run of the mini-world, where one between real models is needed")
    parts = load_parts("" if kind == "blip2-stage1" else config["lm"], config["vision"], config["resolution"])
    with fitting(path):
        described = bridge_config(kind, config["model"])
        theirs = described.lm if isinstance(described.lm, LMConfig) else None
        if (parts.lm is not None and parts.lm.config != theirs) or described.vision != parts.vision:
            raise CheckpointError(
                f"{run}: was trained with another {config['lm']} or {config['vision']}: its sizes differ"
            )
        model = model_of(described, parts)
        Trained(model).load_state_dict(load_file(path))
    refuse_nan(path, Trained(model).state_dict())
    return model.to(device).eval(), parts.words, card

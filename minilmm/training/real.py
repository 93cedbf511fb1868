"""The real track: the three bridges between real models, made from a recipe, or opened from a run.

The models stay in the assets, or where transformers keeps them: a run holds the weights that it trained, and the names
of what it stands between.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from minilmm.blip2 import Blip2, Blip2Config, Stage1
from minilmm.checkpoints import minilm
from minilmm.checkpoints.backbones import load_encoder, load_lm, start_qformer
from minilmm.checkpoints.saving import REAL, CheckpointError, bridge_config, checked, fitting, refuse_nan
from minilmm.data import emoji, photographs
from minilmm.data.features import Eyes
from minilmm.data.named import Form, Named
from minilmm.flamingo import Flamingo, FlamingoConfig
from minilmm.frozen import Frozen, FrozenConfig
from minilmm.interface.tokenizer import IMAGE, Tokenizer
from minilmm.language import LMConfig
from minilmm.nn.qformer import QFormerConfig, in_text_half
from minilmm.training.flamingo import units
from minilmm.training.recipes import RealBlip2Recipe, RealFlamingoRecipe, RealFrozenRecipe, RealRecipe
from minilmm.vision import VisionConfig

DATA = ("emoji", "photographs")
NAMES = ("lm", "vision", "resolution", "data")  # of a recipe: what a run stands between
Bridge = Frozen | Flamingo | Stage1 | Blip2


def form_of(data: str) -> Form:
    """How a picture and its name stand in a text."""
    return Form() if data == "emoji" else photographs.FORM


def data_named(name: str, resolution: int) -> Named:
    """Pictures with names: "emoji", "photographs", or a folder. ValueError for others."""
    if name == "emoji":
        return emoji.load(resolution)
    if name == "photographs" or Path(name).is_dir():
        return photographs.load(resolution, None if name == "photographs" else Path(name))
    raise ValueError(f"unknown data {name!r}: real models read {' or '.join(DATA)}, or a folder of captioned pictures")


@dataclass(frozen=True)
class Parts:
    """What a bridge stands between. `words` is the language model's tokenizer; without one, MiniLM's."""

    lm: Any
    words: Tokenizer
    eyes: Any
    vision: VisionConfig


def load_parts(lm: str, vision: str, resolution: int) -> Parts:
    """The frozen halves by name; "" is no language model, as in stage 1 of BLIP-2. Errors as of `backbones`."""
    model, words = load_lm(lm) if lm else (None, minilm.load_tokenizer())
    encoder, config = load_encoder(vision, resolution or None)
    return Parts(model, words, Eyes(encoder), config)


def model_of(config: FrozenConfig | FlamingoConfig | Blip2Config, parts: Parts) -> Bridge:
    """The bridge of a configuration, fresh, between its parts; only what trains wants gradients."""
    model: Bridge
    if isinstance(config, FrozenConfig):
        model = Frozen(config, parts.lm, parts.eyes)
    elif isinstance(config, FlamingoConfig):
        model = Flamingo(config, parts.lm, parts.eyes)
    elif config.lm is None:
        model = Stage1(config, parts.eyes)
    else:
        model = Blip2(config, parts.lm, parts.eyes)
        for name, p in model.qformer.named_parameters():
            p.requires_grad_(not in_text_half(name))
    model.encoder.requires_grad_(False)
    if not isinstance(model, Stage1):
        model.lm.requires_grad_(False)
    return model


def compose(recipe: RealRecipe) -> tuple[Bridge, Tokenizer]:
    """The model of a recipe, and the tokenizer of its text. Errors as of `load_parts`, or where parts do not fit."""
    if isinstance(recipe, RealBlip2Recipe):
        return first_stage(recipe) if recipe.stage == 1 else second_stage(recipe)
    parts = load_parts(recipe.lm, recipe.vision, recipe.resolution)
    tag = parts.words.convert_tokens_to_ids(IMAGE)
    config: FrozenConfig | FlamingoConfig
    if isinstance(recipe, RealFlamingoRecipe):
        sizes = {name: getattr(recipe, name) for name in ("latents", "resampler_layers", "heads", "every")}
        measured = units(parts.lm, 1.0, documents=2)  # not 16, as at nano size
        config = FlamingoConfig(parts.lm.config, parts.vision, **sizes, units=measured, image_id=tag)
    else:
        assert isinstance(recipe, RealFrozenRecipe)
        config = FrozenConfig(parts.lm.config, parts.vision, recipe.prefix_tokens, recipe.kept, recipe.noise, tag)
    torch.manual_seed(recipe.seed)
    return model_of(config, parts), parts.words


def first_stage(recipe: RealBlip2Recipe) -> tuple[Stage1, Tokenizer]:
    """Stage 1, its Q-Former beginning as MiniLM."""
    parts = load_parts("", recipe.vision, recipe.resolution)
    torch.manual_seed(recipe.seed)
    size = QFormerConfig(parts.eyes.width, 0, queries=recipe.queries, embed=256)
    qformer, _ = start_qformer("minilm", parts.eyes.width, size)
    model = model_of(Blip2Config(qformer.config, parts.vision), parts)
    assert isinstance(model, Stage1)
    model.qformer = qformer
    return model, parts.words


def second_stage(recipe: RealBlip2Recipe) -> tuple[Blip2, Tokenizer]:
    """Stage 2 behind a run of stage 1; its projection begins so that what the queries found is as large as words."""
    first, _, card = open_run(recipe.start)
    if not isinstance(first, Stage1):
        raise CheckpointError(
            f"{recipe.start}: is no stage 1 of BLIP-2: name a run of train blip2 --stage 1 with --from"
        )
    differ = [name for name in NAMES[1:] if card["config"][name] != getattr(recipe, name)]
    if differ:
        told = ", ".join(f"--{name} {card['config'][name]}" for name in differ)
        raise ValueError(f"{recipe.start}: was trained with {told}: stage 2 goes on with the same")
    lm, words = load_lm(recipe.lm)
    parts = Parts(lm, words, first.encoder, first.config.vision)
    tag = words.convert_tokens_to_ids(IMAGE)
    torch.manual_seed(recipe.seed)
    model = model_of(Blip2Config(first.config.qformer, parts.vision, lm.config, image_id=tag), parts)
    assert isinstance(model, Blip2)
    model.qformer.load_state_dict(first.qformer.state_dict())
    with torch.no_grad():
        size = lm.word_size
        nn.init.normal_(model.to_lm.weight, std=float(size) * model.to_lm.in_features**-0.5)
        nn.init.zeros_(model.to_lm.bias)
    return model, words


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
    what `minilmm.checkpoints.opening.load` finds wrong.
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


def facts(recipe: RealRecipe, model: Bridge) -> dict[str, Any]:
    """The configuration of a run's card, from which `open_run` makes the model again."""
    return {name: getattr(recipe, name) for name in NAMES} | {"model": asdict(model.config)}

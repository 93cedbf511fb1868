"""The real track: the three bridges between real models, made from a recipe."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minilmm.blip2 import Blip2, Blip2Config, Stage1
from minilmm.checkpoints.backbones import load_lm, start_qformer
from minilmm.checkpoints.opening import Bridge, Parts, load_parts, model_of, open_run
from minilmm.checkpoints.saving import REAL, CheckpointError
from minilmm.data import emoji, photographs
from minilmm.data.named import Form, Named
from minilmm.flamingo import FlamingoConfig
from minilmm.frozen import FrozenConfig
from minilmm.interface.tokenizer import IMAGE, Tokenizer
from minilmm.nn.qformer import QFormerConfig
from minilmm.training.flamingo import units
from minilmm.training.recipes import RealBlip2Recipe, RealFlamingoRecipe, RealFrozenRecipe, RealRecipe

DATA = ("emoji", "photographs")
NAMES = ("lm", "vision", "resolution", "data")  # of a recipe: what a run stands between


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
    size = QFormerConfig(parts.encoder.width, 0, queries=recipe.queries, embed=256)
    qformer, _ = start_qformer("minilm", parts.encoder.width, size)
    model = model_of(Blip2Config(qformer.config, parts.vision), parts)
    assert isinstance(model, Stage1)
    model.qformer = qformer
    return model, parts.words


def second_stage(recipe: RealBlip2Recipe) -> tuple[Blip2, Tokenizer]:
    """Stage 2 behind a run of stage 1; its projection begins so that what the queries found is as large as words."""
    first, _, card = open_run(recipe.start)
    if not card["kind"].startswith(REAL):
        world = f"a {card['kind']} run of the mini-world"
        raise CheckpointError(f"{recipe.start}: {world}, where one between real models is needed")
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


def facts(recipe: RealRecipe, model: Bridge) -> dict[str, Any]:
    """The configuration of a run's card, from which `open_run` makes the model again."""
    return {name: getattr(recipe, name) for name in NAMES} | {"model": asdict(model.config)}

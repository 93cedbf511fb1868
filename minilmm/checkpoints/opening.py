"""Any model by its name: a run of any kind, or the frozen parts that a bridge stands between.

load("runs/mine")                       the model of a run or a shipped checkpoint, and its card
open_run("runs/mine")                   the same, with its tokenizer and what it takes to ask it
load_lm("smollm2")                      load_encoder("efficientnet-lite0", 112)      start_qformer("minilm", 1280)
load_lm("lm-nano"), or a run's folder   load_encoder("vision-nano"), or a run's      start_qformer("", 64)
load_lm("EleutherAI/pythia-160m")       load_encoder("openai/clip-vit-base-patch16"), or "torchvision:resnet50"

Real models stay in the assets, or where transformers keeps them: a run of a bridge between them holds the weights that
it trained, and the names of what it stands between.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, load_model
from torch import Tensor, nn

from minilmm.ablations import variant
from minilmm.blip2 import Blip2, Blip2Config, Stage1
from minilmm.checkpoints import efficientnet, hub, minilm, saving, smollm2
from minilmm.checkpoints.reader import Reader
from minilmm.checkpoints.saving import CARD, CHECKPOINT, REAL, CheckpointError, fitting, from_json, read_card
from minilmm.flamingo import Flamingo, FlamingoConfig
from minilmm.frozen import Frozen, FrozenConfig
from minilmm.interface.tokenizer import Tokenizer
from minilmm.language import CausalLM, LMConfig
from minilmm.language.encdec import EncDecConfig, EncoderDecoder
from minilmm.nn.qformer import MaskedLM, QFormer, QFormerConfig, in_text_half
from minilmm.vision import VisionConfig
from minilmm.vision.contrastive import DualEncoder
from minilmm.world.vocabulary import tokenizer as world_tokenizer

REAL_LMS, REAL_ENCODERS, REAL_STARTS = ("smollm2",), ("efficientnet-lite0",), ("minilm",)
CONFIGS = {"frozen": FrozenConfig, "flamingo": FlamingoConfig, "blip2-stage1": Blip2Config, "blip2": Blip2Config}
Bridge = Frozen | Flamingo | Stage1 | Blip2
BridgeConfig = FrozenConfig | FlamingoConfig | Blip2Config

# --- runs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A run that is open. `reader` makes batches of prompts, and text of answers. It unpacks into the first three."""

    model: Any
    tokenizer: Any
    card: dict[str, Any]
    reader: Reader

    def __iter__(self) -> Iterator[Any]:
        return iter((self.model, self.tokenizer, self.card))


def open_run(run: str | Path, device: torch.device | str = "cpu") -> Run:
    """A run of any kind, ready to be asked. Errors as of `load`.

    CheckpointError for a converted run that came without a tokenizer, or that answers no prompts.
    """
    reader, kind = Reader(world_tokenizer()), read_card(run)["kind"]
    if kind.endswith("-converted"):
        hub.require_transformers()
        from minilmm.checkpoints.convert import asking

        reader = asking.Reader(str(run))
    if kind.startswith(REAL):
        model, tokenizer, card = _load_between_real(run)
        reader, model = Reader(tokenizer), model.to(device).eval()
    else:
        model, card = load(run, device)
        known = getattr(getattr(getattr(model, "lm", model), "config", None), "vocab_size", None)
        if kind in ("lm", "t5", *CONFIGS) and known is not None and known != len(reader.tokenizer):
            told = f"knows {known} words, and the mini-world has {len(reader.tokenizer)}: train it again"
            raise CheckpointError(f"{run}: is of an earlier version: it {told}")
    return Run(model, reader.tokenizer, card, reader)


def load(run: str | Path, device: torch.device | str = "cpu") -> tuple[Any, dict[str, Any]]:
    """The model of a run (in eval mode) and its card. CheckpointError where weights are missing, damaged or do not fit.

    Of a bridge between real models its own weights are read, and those models found by their names: AssetError or
    ValueError where one is not here, CheckpointError where it is another than in training.
    """
    if read_card(run)["kind"].startswith(REAL):
        bridge, _, card = _load_between_real(run)
        return bridge.to(device).eval(), card
    card, path = saving.checked(run)
    with fitting(path):
        model = build(card["kind"], card["config"])
        load_model(model, path)
    saving.refuse_nan(path, dict(model.named_parameters()))
    return model.to(device).eval(), card


def _load_between_real(run: str | Path) -> tuple[Bridge, Tokenizer, dict[str, Any]]:
    """A bridge between the models that its card names, the tokenizer of its text, and the card."""
    card, path = saving.checked(run)
    kind, config = card["kind"].removeprefix(REAL), card["config"]
    parts = load_parts("" if kind == "blip2-stage1" else config["lm"], config["vision"], config["resolution"])
    with fitting(path):
        described = bridge_config(kind, config["model"])
        theirs = described.lm if isinstance(described.lm, LMConfig) else None
        if (parts.lm is not None and parts.lm.config != theirs) or described.vision != parts.vision:
            another = f"another {config['lm']} or {config['vision']}"
            raise CheckpointError(f"{run}: was trained with {another}: its sizes differ")
        model = model_of(described, parts)
        Trained(model).load_state_dict(load_file(path))
    saving.refuse_nan(path, Trained(model).state_dict())
    return model, parts.tokenizer, card


def build(kind: str, config: dict[str, Any]) -> nn.Module:
    """A model from a card's kind and configuration, at random weights; not of a bridge between real models."""
    if kind.endswith("-converted"):
        hub.require_transformers()
        from minilmm.checkpoints.convert import models

        return models.build(config)
    if kind == "lm":
        return CausalLM(from_json(LMConfig, config))
    if kind == "t5":
        return EncoderDecoder(from_json(EncDecConfig, config))
    if kind == "bert":
        return MaskedLM(from_json(QFormerConfig, config))
    if kind == "vision":
        return DualEncoder(**{**config, "vision": from_json(VisionConfig, config["vision"])})
    c = bridge_config(kind, config)
    if isinstance(c, FrozenConfig):
        return Frozen(c)
    if isinstance(c, FlamingoConfig):
        return variant(Flamingo, c.variant)(c)
    return Blip2(c) if kind == "blip2" else variant(Stage1, c.variant)(c)


def bridge_config(kind: str, config: dict[str, Any]) -> BridgeConfig:
    """The configuration of a bridge from its JSON. KeyError for another kind of model."""
    if kind not in CONFIGS:
        raise KeyError(f"unknown kind of model {kind!r}")
    return from_json(CONFIGS[kind], config)


# --- bridges between parts -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """What a bridge stands between. `tokenizer` is the language model's; without one, MiniLM's."""

    lm: Any
    tokenizer: Tokenizer
    encoder: Any
    vision: VisionConfig

    @property
    def words(self) -> Tokenizer:
        """The tokenizer by its former name."""
        return self.tokenizer


def load_parts(lm: str, vision: str, resolution: int) -> Parts:
    """The frozen halves by name; "" is no language model, as in stage 1 of BLIP-2. Errors as of the loaders below."""
    model, tokenizer = load_lm(lm) if lm else (None, minilm.load_tokenizer())
    encoder, config = load_encoder(vision, resolution or None)
    return Parts(model, tokenizer, encoder, config)


def model_of(config: BridgeConfig, parts: Parts) -> Bridge:
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
            raise KeyError(f"{differ[0]} is missing or unexpected")
        for name, p in own.items():
            if p.shape != state[name].shape:
                raise RuntimeError(f"{name} is {tuple(state[name].shape)}, expected {tuple(p.shape)}")
            p.copy_(state[name])


# --- parts by name ---------------------------------------------------------------------------------------------------


def of_the_course(name: str) -> bool:
    """Is this a run, finished or not, or a shipped checkpoint?"""
    return (saving.ZOO / name / CARD).is_file() or any((Path(name) / file).is_file() for file in (CARD, CHECKPOINT))


def of_transformers(name: str) -> bool:
    """Does this look like a model of transformers: a folder with its config.json, or OWNER/NAME of a hub?"""
    if of_the_course(name) or Path(name).exists():
        return not of_the_course(name) and (Path(name) / "config.json").is_file()
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name)) and not name.startswith("runs/")


def load_lm(name: str) -> tuple[Any, Tokenizer]:
    """A causal LM, in evaluation mode, and its tokenizer, which knows `<image>` and `<EOC>`.

    A `CausalLM`, or a `TransformersLM`, which has the same interface. AssetError, CheckpointError or ValueError where
    there is none of that name.
    """
    if name in REAL_LMS:
        return smollm2.load()
    if of_transformers(name):
        return hub.load_lm(name)
    if not of_the_course(name):
        raise CheckpointError(f"{name}: no such language model: name {', '.join(REAL_LMS)}, a run, or one of "
                              "transformers, by its folder or as OWNER/NAME")  # fmt: skip
    model, _ = load(name)
    if not isinstance(model, CausalLM):
        raise CheckpointError(f"{name}: is no language model: name one with --lm")
    return model, world_tokenizer()


def load_encoder(name: str, resolution: int | None = None) -> tuple[Any, VisionConfig]:
    """A vision encoder, in evaluation mode, and its sizes: of our own those from which `build_encoder` makes it.

    resolution: pixels per side, for encoders that take several (112 unless given; 224 is what they were trained at).
    ValueError where the encoder has another, or where there is none of that name.
    """
    if name in REAL_ENCODERS:
        config = VisionConfig(name, resolution or 112)  # type: ignore[arg-type]
        return efficientnet.load(config.resolution), config
    if name.startswith("torchvision:") or of_transformers(name):
        encoder: Any = hub.load_encoder(name).requires_grad_(False).eval()
        config = VisionConfig("vit", encoder.resolution, vit_width=encoder.width)  # tells sizes, and builds nothing
    elif not of_the_course(name):
        raise CheckpointError(f"{name}: no such vision encoder: name {', '.join(REAL_ENCODERS)}, a run, "
                              "torchvision:NAME, or one of transformers, by its folder or as OWNER/NAME")  # fmt: skip
    else:
        model, card = load(name)
        if not isinstance(model, DualEncoder):
            raise CheckpointError(f"{name}: is no vision encoder: name one with --vision")
        encoder, config = model.vision, from_json(VisionConfig, card["config"]["vision"])
    if resolution not in (None, config.resolution):
        raise ValueError(f"{name} takes {config.resolution} pixels, not {resolution}: leave the resolution out")
    return encoder, config


def start_qformer(name: str, feature_width: int, config: QFormerConfig | None = None) -> tuple[QFormer, Tokenizer]:
    """A Q-Former over features of that width, and the tokenizer of its text: "minilm", or "" for a fresh one.

    config: sizes of a fresh one; of minilm, its `queries`, `every`, `context` and `embed` are taken.
    """
    if name in REAL_STARTS:
        c = config or QFormerConfig(feature_width, 0, queries=32, embed=256)
        return minilm.load(replace(c, feature_width=feature_width))
    if name:
        raise ValueError(f"unknown start of a Q-Former {name!r}: choose {', '.join(REAL_STARTS)}, or leave it out")
    tokenizer = world_tokenizer()
    c = config or QFormerConfig(feature_width, 0)
    return QFormer(replace(c, feature_width=feature_width, vocab_size=len(tokenizer))), tokenizer

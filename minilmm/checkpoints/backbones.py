"""The frozen halves by name: one of the course's checkpoints, a real model from the assets, or one of transformers.

load_lm("smollm2")                      load_encoder("efficientnet-lite0", 112)      start_qformer("minilm", 1280)
load_lm("lm-nano"), or a run's folder   load_encoder("vision-nano"), or a run's      start_qformer("", 64)
load_lm("EleutherAI/pythia-160m")       load_encoder("openai/clip-vit-base-patch16"), or "torchvision:resnet50"
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from minilmm.checkpoints import minilm, smollm2
from minilmm.checkpoints.saving import CARD, CHECKPOINT, ZOO, CheckpointError, load
from minilmm.interface.tokenizer import Tokenizer
from minilmm.language import CausalLM
from minilmm.nn.qformer import QFormer, QFormerConfig
from minilmm.vision import VisionConfig, efficientnet
from minilmm.vision.contrastive import DualEncoder
from minilmm.world.vocabulary import tokenizer

REAL_LMS, REAL_ENCODERS, REAL_STARTS = ("smollm2",), ("efficientnet-lite0",), ("minilm",)


def of_the_course(name: str) -> bool:
    """Is this a run, finished or not, or a shipped checkpoint?"""
    return (ZOO / name / CARD).is_file() or any((Path(name) / file).is_file() for file in (CARD, CHECKPOINT))


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
        quiet_transformers(name)
        from minilmm.checkpoints.models import lm_named

        return lm_named(name)
    if not of_the_course(name):
        raise CheckpointError(f"{name}: no such language model: name {', '.join(REAL_LMS)}, a run, or one of "
                              "transformers, by its folder or as OWNER/NAME")  # fmt: skip
    model, _ = load(name)
    if not isinstance(model, CausalLM):
        raise CheckpointError(f"{name}: is no language model: name one with --lm")
    return model, tokenizer()


def load_encoder(name: str, resolution: int | None = None) -> tuple[Any, VisionConfig]:
    """Eyes, in evaluation mode, and a configuration: of our own the one from which `build_encoder` makes them.

    resolution: pixels per side, for eyes that take several (112 unless given; 224 is what they were trained at).
    ValueError where the eyes have another, or where there are none of that name.
    """
    if name in REAL_ENCODERS:
        config = VisionConfig(name, resolution or 112)  # type: ignore[arg-type]
        return efficientnet.load(config.resolution), config
    if name.startswith("torchvision:") or of_transformers(name):
        quiet_transformers(name)
        from minilmm.vision.adapter import encoder_named

        eyes: Any = encoder_named(name).requires_grad_(False).eval()
        config = VisionConfig("vit", eyes.resolution, vit_width=eyes.width)  # tells sizes, and builds nothing
    elif not of_the_course(name):
        raise CheckpointError(f"{name}: no such vision encoder: name {', '.join(REAL_ENCODERS)}, a run, "
                              "torchvision:NAME, or one of transformers, by its folder or as OWNER/NAME")  # fmt: skip
    else:
        model, card = load(name)
        if not isinstance(model, DualEncoder):
            raise CheckpointError(f"{name}: is no vision encoder: name one with --vision")
        eyes, config = model.vision, VisionConfig(**card["config"]["vision"])
    if resolution not in (None, config.resolution):
        raise ValueError(f"{name} sees pictures of {config.resolution} pixels, not {resolution}: leave that out")
    return eyes, config


def quiet_transformers(name: str) -> None:
    """No bars and reports while it loads. ModuleNotFoundError, with the remedy, where transformers is missing."""
    if importlib.util.find_spec("transformers") is None:
        told = "" if Path(name).exists() else "no run of that name is here; a model of that name "
        raise ModuleNotFoundError(
            f'{name}: {told}is read by transformers, which is missing: pip install "minilmm[real]"'
        )
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def start_qformer(name: str, feature_width: int, config: QFormerConfig | None = None) -> tuple[QFormer, Tokenizer]:
    """A Q-Former over features of that width, and the tokenizer of its text: "minilm", or "" for a fresh one.

    config: sizes of a fresh one; of minilm, its `queries`, `every`, `context` and `embed` are taken.
    """
    if name in REAL_STARTS:
        c = config or QFormerConfig(feature_width, 0, queries=32, embed=256)
        return minilm.load(feature_width, queries=c.queries, every=c.every, context=c.context, embed=c.embed)
    if name:
        raise ValueError(f"unknown start of a Q-Former {name!r}: choose {', '.join(REAL_STARTS)}, or leave it out")
    words = tokenizer()
    c = config or QFormerConfig(feature_width, len(words))
    return QFormer(replace(c, feature_width=feature_width, vocab_size=len(words))), words

"""The frozen halves by name: one of the course's checkpoints, or a real model from the assets.

load_lm("smollm2")                      load_encoder("efficientnet-lite0", 112)      start_qformer("minilm", 1280)
load_lm("lm-nano"), or a run's folder   load_encoder("vision-nano"), or a run's      start_qformer("", 64)
"""

from __future__ import annotations

from dataclasses import replace

from minilmm.blip2 import QFormer, QFormerConfig
from minilmm.language import CausalLM, smollm2
from minilmm.tokenizer import Tokenizer
from minilmm.training import minilm
from minilmm.training.checkpoint import CheckpointError, load
from minilmm.vision import Encoder, VisionConfig, efficientnet
from minilmm.vision.contrastive import DualEncoder
from minilmm.world.vocabulary import tokenizer

REAL_LMS, REAL_ENCODERS, REAL_STARTS = ("smollm2",), ("efficientnet-lite0",), ("minilm",)


def load_lm(name: str) -> tuple[CausalLM, Tokenizer]:
    """A causal LM, in evaluation mode, and its tokenizer, which knows `<image>` and `<EOC>`.

    AssetError or CheckpointError where there is none of that name.
    """
    if name in REAL_LMS:
        return smollm2.load()
    model, _ = load(name)
    if not isinstance(model, CausalLM):
        raise CheckpointError(f"{name}: is no language model: name one with --lm")
    return model, tokenizer()


def load_encoder(name: str, resolution: int | None = None) -> tuple[Encoder, VisionConfig]:
    """Eyes, in evaluation mode, and the configuration from which `build_encoder` makes them at random weights.

    resolution: pixels per side, for eyes that take several (112 unless given; 224 is what they were trained at).
    ValueError where the eyes of a checkpoint have another.
    """
    if name in REAL_ENCODERS:
        config = VisionConfig(name, resolution or 112)  # type: ignore[arg-type]
        return efficientnet.load(config.resolution), config
    model, card = load(name)
    if not isinstance(model, DualEncoder):
        raise CheckpointError(f"{name}: is no vision encoder: name one with --vision")
    config = VisionConfig(**card["config"]["vision"])
    if resolution not in (None, config.resolution):
        raise ValueError(f"{name} sees pictures of {config.resolution} pixels, not {resolution}: leave that out")
    return model.vision, config


def start_qformer(name: str, seen: int, config: QFormerConfig | None = None) -> tuple[QFormer, Tokenizer]:
    """A Q-Former over features of width `seen`, and the tokenizer of its text: "minilm", or "" for a fresh one.

    config: sizes of a fresh one; of minilm, its `queries`, `every`, `context` and `embed` are taken.
    """
    if name in REAL_STARTS:
        c = config or QFormerConfig(seen, 0, queries=32, embed=256)
        return minilm.load(seen, queries=c.queries, every=c.every, context=c.context, embed=c.embed)
    if name:
        raise ValueError(f"unknown start of a Q-Former {name!r}: choose {', '.join(REAL_STARTS)}, or leave it out")
    words = tokenizer()
    c = config or QFormerConfig(seen, len(words))
    return QFormer(replace(c, seen=seen, vocab_size=len(words))), words

"""Our model for a configuration of transformers: BLIP-2 over OPT or T5, its stage 1, and IDEFICS, an open Flamingo.

Weights are left as the memory has them: whoever builds a model here fills it, and every parameter is filled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from minilmm.blip2 import Blip2, Blip2Config, Stage1
from minilmm.checkpoints.convert import names
from minilmm.checkpoints.convert.idefics import flamingo_of, square
from minilmm.checkpoints.saving import CheckpointError
from minilmm.language.adapter import TransformersLM, TransformersT5
from minilmm.language.encdec import EncDecConfig, EncoderDecoder
from minilmm.nn.qformer import QFormer, QFormerConfig
from minilmm.vision import VisionConfig
from minilmm.vision.adapter import CLIP, BorrowedEncoder

KINDS = {
    "Blip2ForConditionalGeneration": "blip2-converted",
    "Blip2ForImageTextRetrieval": "blip2-stage1-converted",
    "IdeficsForVisionText2Text": "idefics-converted",
}
RANDOM = ("normal_", "uniform_", "trunc_normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_")


class _Unfilled(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        if getattr(func, "__name__", "") in RANDOM:
            tensor = args[0] if args else (kwargs or {})["tensor"]
            tensor.detach().zero_()  # not left as it was: trunc_normal_ draws until all is within its bounds
            return tensor
        return func(*args, **(kwargs or {}))


@contextmanager
def unfilled() -> Iterator[None]:
    """While this lasts, modules draw no random weights: billions of them take minutes, and are overwritten."""
    with _Unfilled():
        yield


def architecture_of(config: dict[str, Any]) -> str:
    """Which of `KINDS` a config.json describes; CheckpointError for every other family."""
    named = (config.get("architectures") or [None])[0]
    if named is None:
        named = {"blip-2": "Blip2ForConditionalGeneration", "idefics": "IdeficsForVisionText2Text"}.get(
            str(config.get("model_type"))
        )
    if named not in KINDS:
        what = named or config.get("model_type") or "nothing that it names"
        raise CheckpointError(f"config.json describes {what}: what converts is {', '.join(KINDS)}")
    return named


def parsed(config: dict[str, Any]) -> Any:
    """A config.json as transformers' configuration. CheckpointError where it does not accept it."""
    kind: Any = getattr(transformers, architecture_of(config)).config_class
    try:
        return kind.from_dict(config)
    except Exception as error:  # its checks raise errors of several libraries
        raise CheckpointError(f"config.json: transformers does not accept it ({str(error).splitlines()[0]})") from None


def skeleton(config: dict[str, Any]) -> Any:
    """Their model without weights, on the meta device: the names, shapes and ties that a checkpoint must have."""
    architecture, c = architecture_of(config), parsed(config)
    try:
        with torch.device("meta"):
            return getattr(transformers, architecture)(c)
    except Exception as error:
        raise CheckpointError(f"config.json: no model can be made of it ({str(error).splitlines()[0]})") from None


def build(config: dict[str, Any]) -> nn.Module:
    """Our model of a card's configuration: "theirs", a config.json; "image", its mean and std; "image_id", the tag's;
    "tied", whether the words are the head too.

    CheckpointError where our modules cannot express it.
    """
    architecture, c = architecture_of(config["theirs"]), parsed(config["theirs"])
    image = config["image"] or {"mean": CLIP[0], "std": CLIP[1]}
    with unfilled():
        if architecture == "IdeficsForVisionText2Text":
            return flamingo_of(c, image, config["image_id"], config["tied"])
        return blip2_of(c, image, config, architecture == "Blip2ForImageTextRetrieval")


def table_of(config: dict[str, Any], model: nn.Module) -> names.Table:
    """The table of names for a model that `build` made of the configuration."""
    architecture, c = architecture_of(config["theirs"]), parsed(config["theirs"])
    if architecture == "IdeficsForVisionText2Text":
        return names.idefics(c)
    if architecture == "Blip2ForImageTextRetrieval":
        return names.blip2_stage1(c)
    return names.blip2(c, isinstance(getattr(model, "lm", None), EncoderDecoder))


def blip2_of(c: Any, image: dict[str, Any], config: dict[str, Any], first: bool) -> Blip2 | Stage1:
    """Our stage 1 or stage 2 for a Blip2Config of transformers."""
    q, v = c.qformer_config, c.vision_config
    if q.hidden_act != "gelu":
        raise CheckpointError(f"a Q-Former with {q.hidden_act}: ours has gelu, as BERT and BLIP-2 have")
    if q.use_qformer_text_input != first:
        raise CheckpointError(f"use_qformer_text_input is {q.use_qformer_text_input}: expected {first} here")
    if not first and config["image_id"] is None:
        raise CheckpointError(
            "config.json names no image_token_index: it was written for transformers before 4.46: download it again"
        )
    encoder: Any = BorrowedEncoder(transformers.Blip2VisionModel(v), square(v), (image["mean"], image["std"]))
    qformer = QFormerConfig(
        v.hidden_size, q.vocab_size, q.hidden_size, q.num_hidden_layers, q.num_attention_heads, q.intermediate_size,
        c.num_query_tokens, q.cross_attention_frequency, c.image_text_hidden_size, q.max_position_embeddings,
        q.layer_norm_eps,
    )  # fmt: skip
    eyes = VisionConfig("vit", v.image_size, patch=v.patch_size, vit_width=v.hidden_size, layers=v.num_hidden_layers,
                        heads=v.num_attention_heads)  # fmt: skip
    if first:
        return without_itg(Stage1(Blip2Config(qformer, eyes), encoder))
    lm: Any = language_model(c.text_config, config["tied"])
    whole = Blip2Config(qformer, eyes, lm.config, image_id=config["image_id"])
    model = Blip2(whole, lm, encoder)
    without_text(model.qformer)
    return model


def without_text(qformer: QFormer) -> None:
    """Stage 2 has queries only, and its checkpoints nothing of the text's half: no parameters remain for it."""
    qformer.words = qformer.positions = nn.Identity()  # type: ignore[assignment]
    for block in qformer.blocks:
        block.ffw_text = nn.Identity()


class NoITG(nn.Module):
    """Stands where a checkpoint has nothing."""

    def forward(self, states: Tensor) -> Tensor:
        """ValueError, always."""
        raise ValueError("no head for ITG: a retrieval model of transformers keeps those of ITC and ITM")


def without_itg(stage: Stage1) -> Stage1:
    """Retrieval checkpoints have no language head and no temperature: theirs scores without, ours keeps .07."""
    stage.transform = NoITG()  # type: ignore[assignment]
    for name, value in (("word_bias", torch.zeros(())), ("temperature", torch.tensor(0.07))):
        delattr(stage, name)
        stage.register_buffer(name, value, persistent=False)
    return stage


def language_model(c: Any, tied: bool) -> TransformersLM | TransformersT5 | EncoderDecoder:
    """Our `EncoderDecoder` for a T5 1.1 (FlanT5), else the adapter around transformers' own (OPT, the first T5)."""
    lm: Any
    if not c.is_encoder_decoder:
        lm = TransformersLM(AutoModelForCausalLM.from_config(c, dtype=torch.float32))
    elif c.model_type != "t5":
        raise CheckpointError(f"a BLIP-2 over {c.model_type}: ours reads causal language models and T5")
    elif expressible(c):
        lm = EncoderDecoder(EncDecConfig(
            c.vocab_size, c.d_model, c.num_layers, c.num_heads, c.d_ff, c.relative_attention_num_buckets,
            c.relative_attention_max_distance, c.decoder_start_token_id or 0, c.layer_norm_epsilon,
        ))  # fmt: skip
        if tied:
            lm.lm_head.weight = lm.embed_tokens.weight
    else:
        lm = TransformersT5(AutoModelForSeq2SeqLM.from_config(c, dtype=torch.float32))
    if isinstance(lm, TransformersLM | TransformersT5) and lm.tied and not tied:
        # The configuration says tied, the checkpoint has two matrices, and transformers believes the checkpoint.
        head: Any = lm.model.get_output_embeddings()
        head.weight = nn.Parameter(torch.empty_like(head.weight))
        lm.tied, lm.added_out = False, nn.Parameter(lm.added.detach().clone())
    return lm


def expressible(c: Any) -> bool:
    """Is this T5 one that our modules are: gated GELU, heads that fill the width, an own unscaled head?"""
    scaled = getattr(c, "scale_decoder_outputs", c.tie_word_embeddings)
    full = c.d_kv * c.num_heads == c.d_model and c.num_decoder_layers in (None, c.num_layers)
    return c.feed_forward_proj == "gated-gelu" and full and not scaled

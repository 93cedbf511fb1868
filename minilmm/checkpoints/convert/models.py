"""Our model for a configuration of transformers: BLIP-2 over OPT or T5, its stage 1, and IDEFICS, an open Flamingo.

A model that is built here has no weights yet: whoever builds it fills every parameter.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from minilmm.blip2 import Blip2, Blip2Config, Stage1
from minilmm.checkpoints.convert import names, weights
from minilmm.checkpoints.convert.idefics import encoder_of, flamingo_of
from minilmm.checkpoints.saving import CheckpointError
from minilmm.language.adapter import TransformersLM, TransformersT5
from minilmm.language.encdec import EncDecConfig, EncoderDecoder
from minilmm.nn.qformer import QFormerConfig
from minilmm.vision.adapter import CLIP

STAGE_1, STAGE_2 = "Blip2ForImageTextRetrieval", "Blip2ForConditionalGeneration"
IDEFICS = "IdeficsForVisionText2Text"
KINDS = {STAGE_2: "blip2-converted", STAGE_1: "blip2-stage1-converted", IDEFICS: "idefics-converted"}
FAMILIES = {"blip-2": STAGE_2, "idefics": IDEFICS}  # where a config.json names no architecture
RANDOM = ("normal_", "uniform_", "trunc_normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_")


class ZerosForRandom(TorchFunctionMode):
    """While this lasts, modules draw no random weights: billions of them take minutes, and are overwritten."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") not in RANDOM:
            return func(*args, **kwargs)
        tensor = args[0] if args else kwargs["tensor"]
        tensor.detach().zero_()  # not left as it was: trunc_normal_ draws until all is within its bounds
        return tensor


def architecture_of(config: dict[str, Any]) -> str:
    """Which of `KINDS` a config.json describes; CheckpointError for every other family."""
    family = config.get("model_type")
    name = (config.get("architectures") or [None])[0] or FAMILIES.get(str(family))
    if name not in KINDS:
        what = name or family or "nothing that it names"
        raise CheckpointError(f"config.json describes {what}: expected one of {', '.join(KINDS)}")
    return name


def their_config(config: dict[str, Any]) -> Any:
    """A config.json as transformers' configuration. CheckpointError where it does not accept it."""
    kind: Any = getattr(transformers, architecture_of(config)).config_class
    try:
        return kind.from_dict(config)
    except Exception as error:  # its checks raise errors of several libraries
        raise CheckpointError(f"config.json: transformers does not accept it ({str(error).splitlines()[0]})") from None


def skeleton(config: dict[str, Any]) -> Any:
    """Their model without weights, on the meta device: the names, shapes and ties that a checkpoint must have."""
    architecture, c = architecture_of(config), their_config(config)
    try:
        with torch.device("meta"):
            return getattr(transformers, architecture)(c)
    except Exception as error:
        raise CheckpointError(f"config.json: no model can be made of it ({str(error).splitlines()[0]})") from None


def build(config: dict[str, Any]) -> Blip2 | Stage1 | nn.Module:
    """Our model of a card's configuration: "theirs", a config.json; "image", its mean and std; "image_id", the tag's;
    "tied", whether the words are the head too.

    CheckpointError where our modules cannot express it.
    """
    architecture, c = architecture_of(config["theirs"]), their_config(config["theirs"])
    image = config["image"] or {"mean": CLIP[0], "std": CLIP[1]}
    with ZerosForRandom():
        if architecture == IDEFICS:
            return flamingo_of(c, image, config["image_id"], config["tied"])
        return blip2_of(c, image, config, architecture == STAGE_1)


def plan(config: dict[str, Any]) -> tuple[nn.Module, weights.Pairs]:
    """Our model of a card's configuration on the meta device, and what transformers calls each of its weights."""
    with torch.device("meta"):
        ours = build(config)
    return ours, weights.pairs(ours, table_of(config, ours))


def table_of(config: dict[str, Any], model: nn.Module) -> names.Table:
    """The table of names for a model that `build` made of the configuration."""
    if architecture_of(config["theirs"]) == IDEFICS:
        return names.idefics(their_config(config["theirs"]))
    return names.BLIP2_T5 if isinstance(getattr(model, "lm", None), EncoderDecoder) else names.BLIP2_LM


def convert_model(theirs: Any, image_id: int | None = None) -> nn.Module:
    """Our model with the weights of a loaded one of transformers, in memory.

    image_id: `<image>` where the configuration names none, as Idefics' does.
    """
    tied = len(weights.aliases(theirs).get(head_of(theirs) or "", [])) > 1
    tag = image_id if image_id is not None else getattr(theirs.config, "image_token_index", None)
    described = theirs.config.to_dict() | {"architectures": [type(theirs).__name__]}
    config = {"theirs": described, "image": None, "image_id": tag, "tied": tied}
    ours = build(config)
    copy_weights(ours, theirs, table_of(config, ours))
    return ours.eval()


def copy_weights(ours: nn.Module, theirs: nn.Module, table: names.Table) -> None:
    """Copy every weight of theirs to where the table puts it. KeyError and RuntimeError where it does not fit."""
    state = weights.to_ours(weights.pairs(ours, table), ours, theirs.state_dict().__getitem__)
    ours.load_state_dict({name: state[same[0]] for name, same in weights.aliases(ours).items()})


def head_of(theirs: Any) -> str | None:
    """The name of their output embeddings, where there are any."""
    head = theirs.get_output_embeddings()
    return next((f"{name}.weight" for name, m in theirs.named_modules() if head is not None and m is head), None)


def blip2_of(c: Any, image: dict[str, Any], config: dict[str, Any], first: bool) -> Blip2 | Stage1:
    """Our stage 1 or stage 2 for a Blip2Config of transformers."""
    q, v = c.qformer_config, c.vision_config
    if q.hidden_act != "gelu":
        raise CheckpointError(f"the Q-Former's hidden_act is {q.hidden_act}: expected gelu, as in BLIP-2")
    if q.use_qformer_text_input != first:
        raise CheckpointError(f"use_qformer_text_input is {q.use_qformer_text_input}: expected {first} here")
    if not first and config["image_id"] is None:
        old = "it was written for transformers before 4.46: download it again"
        raise CheckpointError(f"config.json names no image_token_index: {old}")
    encoder, sizes = encoder_of(transformers.Blip2VisionModel, v, v.hidden_size, image)
    qformer = QFormerConfig(
        v.hidden_size, q.vocab_size, q.hidden_size, q.num_hidden_layers, q.num_attention_heads, q.intermediate_size,
        c.num_query_tokens, q.cross_attention_frequency, c.image_text_hidden_size, q.max_position_embeddings,
        q.layer_norm_eps,
    )  # fmt: skip
    if first:
        return without_itg(Stage1(Blip2Config(qformer, sizes), encoder))
    lm: Any = language_model(c.text_config, config["tied"])
    model = Blip2(Blip2Config(qformer, sizes, lm.config, image_id=config["image_id"]), lm, encoder)
    # Stage 2 has queries only, and its checkpoints nothing of the text's half: no parameters remain for it.
    model.qformer.words = model.qformer.positions = nn.Identity()  # type: ignore[assignment]
    for block in model.qformer.blocks:
        block.ffw_text = nn.Identity()
    return model


class NoITG(nn.Module):
    """Stands for the head that a retrieval checkpoint does not have."""

    def forward(self, states: Tensor) -> Tensor:
        """ValueError, always."""
        raise ValueError("no head for ITG: retrieval models of transformers have heads for ITC and ITM only")


def without_itg(stage: Stage1) -> Stage1:
    """Retrieval checkpoints have no language head and no temperature: theirs scores without, ours keeps .07."""
    stage.transform = NoITG()  # type: ignore[assignment]
    for name, value in (("word_bias", torch.zeros(())), ("temperature", torch.tensor(0.07))):
        delattr(stage, name)
        stage.register_buffer(name, value, persistent=False)
    return stage


def language_model(c: Any, tied: bool) -> TransformersLM | TransformersT5 | EncoderDecoder:
    """Our `EncoderDecoder` for a T5 1.1 (FlanT5), else the adapter around transformers' own (OPT, the first T5)."""
    if c.is_encoder_decoder and c.model_type != "t5":
        raise CheckpointError(f"a BLIP-2 over {c.model_type}: expected a causal language model or a T5")
    if c.is_encoder_decoder and expressible(c):
        own: Any = EncoderDecoder(EncDecConfig(
            c.vocab_size, c.d_model, c.num_layers, c.num_heads, c.d_ff, c.relative_attention_num_buckets,
            c.relative_attention_max_distance, c.decoder_start_token_id or 0, c.layer_norm_epsilon,
        ))  # fmt: skip
        if tied:
            own.lm_head.weight = own.embed_tokens.weight
        return own
    auto: Any = AutoModelForSeq2SeqLM if c.is_encoder_decoder else AutoModelForCausalLM
    lm = (TransformersT5 if c.is_encoder_decoder else TransformersLM)(auto.from_config(c, dtype=torch.float32))
    if lm.tied and not tied:
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

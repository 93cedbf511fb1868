"""What each weight is called here and in transformers: the one table that both directions read.

A table maps names of our modules to those of transformers; what stands behind a name (".weight", ".bias", whole
modules) is called alike. Two names of theirs are two matrices stacked in one of ours.
"""

from __future__ import annotations

from typing import Any

Table = dict[str, str | tuple[str, str]]

EYES, THEIR_EYES = "encoder.model", "vision_model"
ATTENTION = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value",
             "o_proj": "output.dense", "norm": "output.LayerNorm"}  # fmt: skip
T5_ATTENTION = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o"}
T5_FEED = {name: f"DenseReluDense.{name}" for name in ("wi_0", "wi_1", "wo")}


def under(mine: str, theirs: str, names: dict[str, str]) -> Table:
    """The names below two modules."""
    return {f"{mine}.{a}": f"{theirs}.{b}" for a, b in names.items()}


def qformer(layers: int) -> Table:
    """`QFormer` and Blip2QFormerModel, with the queries and the text's embeddings, which theirs keeps outside."""
    table: Table = {"qformer.query_tokens": "query_tokens", "qformer.norm": "qformer.layernorm",
                    "qformer.words": "embeddings.word_embeddings",
                    "qformer.positions": "embeddings.position_embeddings"}  # fmt: skip
    for i in range(layers):
        mine, theirs = f"qformer.blocks.{i}", f"qformer.encoder.layer.{i}"
        table |= under(f"{mine}.attention", f"{theirs}.attention", ATTENTION)
        table |= under(f"{mine}.cross", f"{theirs}.crossattention", ATTENTION)
        for half, end in (("ffw_query", "_query"), ("ffw_text", "")):
            feed = {"up": f"intermediate{end}.dense", "down": f"output{end}.dense", "norm": f"output{end}.LayerNorm"}
            table |= under(f"{mine}.{half}", theirs, feed)
    return table


def blip2_stage1(c: Any) -> Table:
    """`Stage1` and Blip2ForImageTextRetrieval, which has no head for ITG. c: a Blip2Config of transformers."""
    heads = {"vision_proj": "vision_projection", "text_proj": "text_projection", "itm_head": "itm_head"}
    return {EYES: THEIR_EYES, **qformer(c.qformer_config.num_hidden_layers), **heads}


def blip2(c: Any, own: bool) -> Table:
    """`Blip2` and Blip2ForConditionalGeneration. own: the T5 is our `EncoderDecoder`, no adapter."""
    language: Table = {"lm.model": "language_model"}
    if own:
        language = {f"lm.{a}": f"language_model.{b}" for a, b in t5(c.text_config.num_layers).items()}
    bridge: Table = {"to_lm": "language_projection"}
    return {EYES: THEIR_EYES, **qformer(c.qformer_config.num_hidden_layers), **bridge, **language}


def t5(layers: int) -> Table:
    """`EncoderDecoder` and T5ForConditionalGeneration."""
    first, bias = "block.0.layer.0.SelfAttention", "relative_attention_bias"
    table: Table = {"embed_tokens": "shared", "lm_head": "lm_head", "encoder_norm": "encoder.final_layer_norm",
                    "norm": "decoder.final_layer_norm", "encoder_distances.bias": f"encoder.{first}.{bias}",
                    "decoder_distances.bias": f"decoder.{first}.{bias}"}  # fmt: skip
    for i in range(layers):
        for side, last in (("encoder", 1), ("decoder", 2)):
            mine, theirs = f"{side}.{i}", f"{side}.block.{i}.layer"
            table |= under(f"{mine}.attention", f"{theirs}.0.SelfAttention", T5_ATTENTION)
            table |= under(f"{mine}.cross", f"{theirs}.1.EncDecAttention", T5_ATTENTION)
            table |= under(f"{mine}.ffw", f"{theirs}.{last}", T5_FEED)
            norms = {"norm": "0.layer_norm", "cross_norm": "1.layer_norm", "ffw_norm": f"{last}.layer_norm"}
            table |= under(mine, theirs, norms)
    return table


def idefics(c: Any) -> Table:
    """`Flamingo` with the parts of Idefics, and IdeficsForVisionText2Text. c: an IdeficsConfig."""
    extra = ("model.embed_tokens.additional_embedding", "lm_head.additional_fc") if c.additional_vocab_size else None
    table: Table = {EYES: f"model.{THEIR_EYES}", "lm.norm": "model.norm", "lm.layers": "model.layers",
                    "lm.embed_tokens": ("model.embed_tokens", extra[0]) if extra else "model.embed_tokens",
                    "lm.lm_head": ("lm_head", extra[1]) if extra else "lm_head"}  # fmt: skip
    resampler = "model.perceiver_resampler"
    table |= under("resampler", resampler, {"latents": "latents", "norm": "layer_norm"})
    normed = c.perceiver_config.qk_layer_norms_perceiver
    for i in range(c.perceiver_config.resampler_depth):
        theirs = f"{resampler}.blocks.{i}"
        table |= under("resampler", theirs, {f"context_norm.{i}": "0.context_layer_norm",
                                             f"latents_norm.{i}": "0.latents_layer_norm", f"ffw.{i}.0": "1.ln",
                                             f"ffw.{i}.1": "1.fc", f"ffw.{i}.3": "1.c_proj"})  # fmt: skip
        table |= under(f"resampler.attention.{i}", f"{theirs}.0", attention(normed, "output_proj"))
    for j, i in enumerate(range(0, c.num_hidden_layers, c.cross_layer_interval)):
        mine, theirs = f"xattn.{i}", f"model.gated_cross_attn_layers.{j}"
        table |= under(mine, theirs, {"norm": "input_layernorm", "ffw.0": "post_attention_layernorm", "ffw.1": "mlp",
                                      "alpha_xattn": "alpha_cross_attn", "alpha_dense": "alpha_dense"})  # fmt: skip
        table |= under(f"{mine}.attention", f"{theirs}.cross_attn", attention(c.qk_layer_norms, "o_proj"))
    return table


def attention(normed: bool, out: str) -> dict[str, str]:
    """Projections of our CrossAttention; queries' and keys' may carry a norm per head (`HeadNorm`)."""
    names = {"v_proj": "v_proj", "o_proj": out}
    for x in "qk":
        names |= {f"{x}_proj.0": f"{x}_proj", f"{x}_proj.1.norm": f"{x}_layer_norm"} if normed else {}
        names |= {} if normed else {f"{x}_proj": f"{x}_proj"}
    return names


def theirs_of(name: str, table: Table) -> tuple[str, ...]:
    """What transformers calls the weight of this name; KeyError where the table has no such module."""
    head, tail = name, ""
    while head not in table:
        head, _, last = head.rpartition(".")
        if not head:
            raise KeyError(f"{name}: in no table of names")
        tail = f".{last}{tail}"
    found = table[head]
    return tuple(f"{part}{tail}" for part in ((found,) if isinstance(found, str) else found))

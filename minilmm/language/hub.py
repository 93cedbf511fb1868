"""Models of transformers by name: a folder, or a name of the hub; a causal one with its own tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from minilmm.language.adapter import TransformersLM
from minilmm.language.subwords import SubwordTokenizer
from minilmm.tokenizer import PAD

WAIT = 5.0  # seconds that the hub has to answer before only its cache is looked at
T = TypeVar("T")


class HubError(ValueError):
    """A model that is neither a folder nor to be had from the hub; the message is one line."""


def unreachable() -> str:
    """Why the hub cannot be asked, in a few words; "" where it answers. It is asked once, without retries."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=WAIT)
    except Exception:  # of whichever client this version of the hub's library has
        return f"{constants.ENDPOINT} cannot be reached"
    return ""


def fetched(name: str, what: str, load: Callable[[bool], T]) -> T:
    """What `load(local_files_only)` makes of a folder or a hub's name; without the hub, of its cache.

    HubError where it fails: `what` was expected under that name, and why it is not there.
    """
    offline = "" if Path(name).exists() else unreachable()
    try:
        return load(bool(offline) or Path(name).exists())
    except Exception as error:  # of the network, of the hub, of the files, of the tokenizers' own libraries
        if offline and isinstance(error, OSError):
            told = f"{offline}, and the hub's cache does not have it): name a folder, or try again online"
        else:
            told = f"{next(iter(str(error).strip().splitlines()), type(error).__name__)}): check the name"
        raise HubError(f"{name}: no {what} ({told}") from None


def lm_named(name: str) -> tuple[TransformersLM, SubwordTokenizer]:
    """A folder or a hub's name -> the model, in evaluation mode and in float, and its tokenizer.

    `<image>` and `<EOC>` are added, and `<pad>` where the model has none of its own or pads with what begins or ends a
    document. As in `minilmm.language.smollm2`, `<EOC>` begins as the newline, a thousandth longer. HubError where there
    is no such model, ValueError where its tokenizer is not one of the `tokenizers` library; both in one line.
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

"""Models of transformers and torchvision by name: a folder, a name of the hub, or "torchvision:resnet50".

The hub is asked once whether it can be reached, so that nothing waits for one that cannot.
"""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from minilmm.interface.tokenizer import PAD
from minilmm.language.subwords import SubwordTokenizer
from minilmm.vision.adapter import BorrowedEncoder, normal_of, torchvision_encoder, transformers_encoder

if TYPE_CHECKING:
    from minilmm.language.adapter import TransformersLM

WAIT = 5.0  # seconds that the hub has to answer before only its cache is looked at
T = TypeVar("T")


class HubError(ValueError):
    """A model that is neither a folder nor to be had from the hub; the message is one line."""


def require_transformers(name: str = "") -> None:
    """ModuleNotFoundError, with the remedy, where transformers is missing; where it is here, it reports no more.

    name: the model that it should read; while that loads, no bars are shown.
    """
    if importlib.util.find_spec("transformers") is None:
        missing = "" if Path(name).exists() else "no run of that name is here; a model of that name "
        what = f"{name}: {missing}needs transformers, which" if name else "transformers"
        raise ModuleNotFoundError(f'{what} is missing: pip install "minilmm[real]"')
    from transformers.utils import logging

    logging.set_verbosity_error()
    if name:
        logging.disable_progress_bar()


def unreachable() -> str:
    """Why the hub cannot be asked, in a few words; "" where it answers. It is asked once, without retries."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    answers: list[bool] = []

    def ask() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=WAIT)
        except Exception:  # of whichever client this version of the hub's library has
            return
        answers.append(True)

    asking = threading.Thread(target=ask, daemon=True)  # looking up a name has no time-out of its own
    asking.start()
    asking.join(WAIT)
    return "" if answers else f"{constants.ENDPOINT} cannot be reached"


def fetch(name: str, what: str, load: Callable[[bool], T]) -> T:
    """What `load(local_files_only)` makes of a folder or a hub's name; without the hub, of its cache.

    HubError where it fails: `what` was expected under that name, and why it is not there.
    """
    offline = "" if Path(name).exists() else unreachable()
    try:
        return load(bool(offline) or Path(name).exists())
    except Exception as error:  # of the network, of the hub, of the files, of the tokenizers' own libraries
        if offline and isinstance(error, OSError):
            reason = f"{offline}, and the hub's cache does not have it): name a folder, or try again online"
        else:
            reason = f"{next(iter(str(error).strip().splitlines()), type(error).__name__)}): check the name"
        raise HubError(f"{name}: no {what} ({reason}") from None


def load_lm(name: str) -> tuple[TransformersLM, SubwordTokenizer]:
    """A folder or a hub's name -> the causal language model, in evaluation mode and in float, and its tokenizer.

    `<image>` and `<EOC>` are added, and `<pad>` where the model has none of its own or pads with what begins or ends a
    document. As in `smollm2`, `<EOC>` begins as the newline, a thousandth longer. HubError where there is no
    such model, ValueError where its tokenizer is not one of the `tokenizers` library; both in one line.
    """
    require_transformers(name)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from minilmm.language.adapter import TransformersLM

    def load(local: bool) -> tuple[Any, Any]:
        how: dict[str, Any] = {"use_safetensors": True, "dtype": torch.float32, "local_files_only": local}
        model = AutoModelForCausalLM.from_pretrained(name, **how)
        return model, AutoTokenizer.from_pretrained(name, local_files_only=local)

    model, theirs = fetch(name, "causal language model", load)
    bos, eos, pad = theirs.bos_token or theirs.eos_token, theirs.eos_token or theirs.bos_token, theirs.pad_token
    if not hasattr(theirs, "backend_tokenizer") or bos is None:
        raise ValueError(f"{name}: its tokenizer has no fast version or no end-of-text token: choose another model")
    text, new = theirs.backend_tokenizer.to_str(), [PAD] if pad in (None, bos, eos) else []
    tokenizer = SubwordTokenizer(text, PAD if new else pad, bos, eos, new)
    last = max(tokenizer.pad_token_id, tokenizer.image_token_id, tokenizer.eoc_token_id)
    lm = TransformersLM(model, added=max(0, last + 1 - len(model.get_input_embeddings().weight)))
    begin_as_newline(lm.verified(), tokenizer)
    return lm.requires_grad_(False).eval(), tokenizer


@torch.no_grad()
def begin_as_newline(lm: TransformersLM, tokenizer: SubwordTokenizer) -> None:
    """`<EOC>`'s rows, in front of the model and behind it, become the newline's; some tables have room for them."""
    newline, eoc = tokenizer.encode("\n")[-1], tokenizer.eoc_token_id
    tables: list[tuple[Any, Any]] = [(lm.model.get_input_embeddings(), lm.added)]
    if not lm.tied:
        tables.append((lm.model.get_output_embeddings(), lm.added_out))
    for table, added in tables:
        rows, place = (table.weight, eoc) if eoc < len(table.weight) else (added, eoc - len(table.weight))
        rows[place] = 1.001 * table.weight[newline]


def load_encoder(name: str, layer: int | None = None) -> BorrowedEncoder:
    """A vision encoder: a folder or a hub's name for transformers, or "torchvision:resnet50".

    Its own mean and standard deviation are taken from its preprocessor_config.json where there is one. HubError in
    one line where there is no such encoder.
    """
    if name.startswith("torchvision:"):
        return torchvision_encoder(name.removeprefix("torchvision:"))
    require_transformers(name)
    from transformers import AutoModel
    from transformers.utils import cached_file

    def load(local: bool) -> tuple[Any, Any]:
        model = AutoModel.from_pretrained(name, use_safetensors=True, dtype=torch.float32, local_files_only=local)
        missing_is_none = {"_raise_exceptions_for_missing_entries": False}
        file = cached_file(name, "preprocessor_config.json", local_files_only=local, **missing_is_none)
        return model, normal_of(json.loads(Path(file).read_text())) if file else None

    model, normal = fetch(name, "vision encoder", load)
    return transformers_encoder(model, normal, layer)

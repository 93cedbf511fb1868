"""Checkpoints of transformers in our own modules, and back: equal weights, equal logits.

BLIP-2 over OPT (and other causal language models) and T5, its retrieval model, and IDEFICS, an open Flamingo. All that
the course explains is ours: Q-Former, projection, resampler, gated layers, the Llama, the T5 1.1; other language models
and all eyes stand behind the adapters. One table of names serves both directions (`names`). A converted run is a run
like any: `minilmm.checkpoints.opening.load` reads it, `minilmm ask` speaks with it. `transformers/` in its folder holds
what the weights do not: their configuration, the tokenizer, how pictures are prepared.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

try:
    import transformers  # noqa: F401
except ImportError:
    raise ModuleNotFoundError('transformers is missing: pip install "minilmm[real]"') from None

from minilmm.checkpoints.convert import models, weights
from minilmm.checkpoints.convert.models import KINDS, build
from minilmm.checkpoints.convert.names import Table
from minilmm.checkpoints.files import write_tensors
from minilmm.checkpoints.saving import CARD, MODEL, CheckpointError, digest, read_card, write_card

BESIDE, PATTERNS = "transformers", ("*.json", "*.txt", "*.model", "*.jinja")
FOLDER_OR_NAME = "name a checkpoint's folder, or a model of the hub such as Salesforce/blip2-opt-2.7b"


def convert(source: str, target: Path, command: str = "") -> str:
    """A checkpoint of transformers, a folder or a hub's name, becomes a run of ours; a converted run becomes theirs.

    Returns the architecture. CheckpointError and ValueError in one line where something does not fit; `target` appears
    whole or not at all, and never replaces what is there.
    """
    if os.path.lexists(target):
        raise ValueError(f"{target}: exists already: choose another place")
    back = (Path(source) / CARD).is_file()
    folder = Path(source) if back else folder_of(source)
    with appearing(target) as place:
        return to_transformers(folder, place) if back else from_transformers(folder, place, source, command)


def from_transformers(folder: Path, place: Path, source: str, command: str) -> str:
    """Read their folder shard by shard, and write a run of ours into an empty one."""
    theirs = read_json(folder / "config.json", "name the folder of a checkpoint")
    architecture, shards = models.architecture_of(theirs), weights.Shards(folder)
    skeleton = models.skeleton(theirs)
    names, head = weights.aliases(skeleton), head_of(skeleton)
    tokenizer = tokenizer_of(folder)
    config = {
        "theirs": theirs,
        "image": image_of(folder),
        "image_id": image_id_of(architecture, skeleton.config, tokenizer),
        "tied": weights.tied(shards, names, head),
    }
    with torch.device("meta"):
        ours = build(config)
    found = weights.pairs(ours, models.table_of(config, ours))
    at = weights.check(shards, found, names, skeleton)
    beside = place / BESIDE
    beside.mkdir()
    for path in small_files(folder):
        shutil.copyfile(path, beside / path.name)
    kind = KINDS[architecture]
    tensors = weights.to_ours(found, ours, lambda name: shards.tensor(at[name]))
    write_tensors(place / MODEL, tensors, {"format": "minilmm"})
    write_card(place, kind, config=config, source=source, tokenizer=tokenizer is not None, command=command)
    return architecture


def to_transformers(run: Path, place: Path) -> str:
    """Write a converted run as a folder that from_pretrained loads."""
    card = read_card(run)
    if card["kind"] not in KINDS.values():
        raise CheckpointError(
            f"{run}: was not converted (its kind is {card['kind']}), and transformers has no model for it"
        )
    if not (run / MODEL).is_file() or digest(run / MODEL) != card["sha256"]:
        raise CheckpointError(f"{run / MODEL}: missing, damaged or replaced: convert the checkpoint again")
    config = card["config"]
    skeleton, shards = models.skeleton(config["theirs"]), weights.Shards(run)
    with torch.device("meta"):
        ours = build(config)
    found = weights.pairs(ours, models.table_of(config, ours))
    missing = [name for name in found if name not in shards.at]
    if missing:
        raise CheckpointError(f"{run / MODEL}: lacks {missing[0]}: convert the checkpoint again")
    for path in small_files(run / BESIDE):
        shutil.copyfile(path, place / path.name)
    (place / "config.json").write_text(json.dumps(config["theirs"], indent=2) + "\n")
    write_tensors(place / MODEL, weights.to_theirs(found, skeleton.state_dict(), shards.tensor), {"format": "pt"})
    return models.architecture_of(config["theirs"])


def filled(model: Any, image_id: int | None = None) -> nn.Module:
    """Our model with the weights of a loaded one of transformers, in memory.

    image_id: `<image>` where the configuration names none, as Idefics' does.
    """
    group = weights.aliases(model).get(head_of(model) or "", [])
    tag = image_id if image_id is not None else getattr(model.config, "image_token_index", None)
    theirs = model.config.to_dict() | {"architectures": [type(model).__name__]}
    config = {"theirs": theirs, "image": None, "image_id": tag, "tied": len(group) > 1}
    ours = build(config)
    fill(ours, model, models.table_of(config, ours))
    return ours.eval()


def fill(ours: nn.Module, theirs: nn.Module, table: Table) -> None:
    """Copy every weight of theirs to where the table puts it. KeyError and RuntimeError where it does not fit."""
    state = weights.to_ours(weights.pairs(ours, table), ours, theirs.state_dict().__getitem__)
    ours.load_state_dict({name: state[same[0]] for name, same in weights.aliases(ours).items()})


def head_of(model: Any) -> str | None:
    """The name of their output embeddings, where there are any."""
    head = model.get_output_embeddings()
    found = [name for name, module in model.named_modules() if head is not None and module is head]
    return f"{found[0]}.weight" if found else None


def folder_of(source: str) -> Path:
    """A folder as it is; a hub's name becomes its folder in the hub's cache, without pickles."""
    if Path(source).is_dir():
        return Path(source)
    if Path(source).exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        raise ValueError(f"{source}: no such folder: {FOLDER_OR_NAME}")
    from huggingface_hub import snapshot_download

    from minilmm.checkpoints.hub import fetched

    def load(local: bool) -> str:
        return snapshot_download(source, allow_patterns=[*PATTERNS, "*.safetensors"], local_files_only=local)

    return Path(fetched(source, "such folder, nor such model of the hub", load))


def small_files(folder: Path) -> list[Path]:
    """What stands beside the weights: configurations, the tokenizer, how pictures are prepared."""
    found = sorted({path for pattern in PATTERNS for path in folder.glob(pattern) if path.is_file()})
    return [path for path in found if not path.name.endswith(".index.json")]


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """A JSON object; CheckpointError in one line."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file: {remedy}") from None
    except (ValueError, UnicodeDecodeError):
        found = None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: damaged, no JSON object: download it again")
    return found


def image_of(folder: Path) -> dict[str, Any] | None:
    """How the checkpoint's processor prepares pictures: mean and std per channel; None where no file says it."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            facts = read_json(folder / name, "")
            facts = facts.get("image_processor", facts)
            if facts.get("image_mean") and facts.get("image_std"):
                return {"mean": facts["image_mean"], "std": facts["image_std"]}
    return None


def tokenizer_of(folder: Path) -> Any:
    """The folder's tokenizer, None where it has no files of one. CheckpointError where it cannot be read."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model",
                                                      "spiece.model", "vocab.json", "vocab.txt")):  # fmt: skip
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # of the tokenizers' own libraries
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{folder}: its tokenizer cannot be read ({reason}): download its files again") from None


def image_id_of(architecture: str, c: Any, tokenizer: Any) -> int | None:
    """The id of `<image>`, of BLIP-2 from its configuration, of Idefics from its tokenizer; without one the last."""
    if architecture != "IdeficsForVisionText2Text":
        return c.image_token_index
    if tokenizer is None:
        return c.vocab_size + c.additional_vocab_size - 1
    found = tokenizer.get_vocab().get("<image>")
    if found is None or found >= c.vocab_size + c.additional_vocab_size:
        raise CheckpointError("the tokenizer has no <image> that the model knows: it belongs to another checkpoint")
    return found


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` that takes its name only when all is written, and else is removed."""
    place = target.parent / f".{target.name}.{os.getpid()}"
    new = [parent for parent in target.parents if not parent.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir()
    try:
        yield place
        place.rename(target)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):  # parents that nothing came into
            for parent in new:
                parent.rmdir()


__all__ = ["KINDS", "build", "convert", "fill", "filled"]

"""A folder of transformers becomes a run of ours, and a converted run such a folder again.

BLIP-2 over OPT (and other causal language models) and T5, its retrieval model, and IDEFICS, an open Flamingo. All that
the course explains is ours: Q-Former, projection, resampler, gated layers, the Llama, the T5 1.1; other language models
and all vision encoders stand behind the adapters. One table of names serves both directions (`names`). A converted run
is a run like any: `minilmm.checkpoints.opening.load` reads it, `minilmm ask` speaks with it. `transformers/` in its
folder holds what the weights do not: their configuration, the tokenizer, how pictures are prepared.
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

from huggingface_hub import snapshot_download
from transformers import AutoTokenizer

from minilmm.checkpoints.convert import models, weights
from minilmm.checkpoints.files import digest, write_tensors
from minilmm.checkpoints.hub import fetch
from minilmm.checkpoints.saving import CARD, MODEL, CheckpointError, read_card, write_card
from minilmm.vision.adapter import normal_of

BESIDE, PATTERNS = "transformers", ("*.json", "*.txt", "*.model", "*.jinja")
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
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
    names, tokenizer = weights.aliases(skeleton), tokenizer_of(folder)
    config = {
        "theirs": theirs,
        "image": image_of(folder),
        "image_id": image_id_of(architecture, skeleton.config, tokenizer),
        "tied": weights.tied(shards, names, models.head_of(skeleton)),
    }
    ours, pairs = models.plan(config)
    stored = weights.check(shards, pairs, names, skeleton)
    copy_small_files(folder, place / BESIDE)
    tensors = weights.to_ours(pairs, ours, lambda name: shards.tensor(stored[name]))
    write_tensors(place / MODEL, tensors, {"format": "minilmm"})
    facts = {"config": config, "source": source, "tokenizer": tokenizer is not None, "command": command}
    write_card(place, models.KINDS[architecture], **facts)
    return architecture


def to_transformers(run: Path, place: Path) -> str:
    """Write a converted run as a folder that from_pretrained loads."""
    card = read_card(run)
    config, path = card["config"], run / MODEL
    if card["kind"] not in models.KINDS.values():
        was = f"was not converted (its kind is {card['kind']})"
        raise CheckpointError(f"{run}: {was}, and transformers has no model for it")
    if not path.is_file() or digest(path) != card["sha256"]:
        raise CheckpointError(f"{path}: missing, damaged or replaced: convert the checkpoint again")
    skeleton, shards = models.skeleton(config["theirs"]), weights.Shards(run)
    _, pairs = models.plan(config)
    if missing := [name for name in pairs if name not in shards.at]:
        raise CheckpointError(f"{path}: lacks {missing[0]}: convert the checkpoint again")
    copy_small_files(run / BESIDE, place)
    (place / "config.json").write_text(json.dumps(config["theirs"], indent=2) + "\n")
    write_tensors(place / MODEL, weights.to_theirs(pairs, skeleton.state_dict(), shards.tensor), {"format": "pt"})
    return models.architecture_of(config["theirs"])


def folder_of(source: str) -> Path:
    """A folder as it is; a hub's name becomes its folder in the hub's cache, without pickles."""
    if Path(source).is_dir():
        return Path(source)
    if Path(source).exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        raise ValueError(f"{source}: no such folder: {FOLDER_OR_NAME}")

    def load(local: bool) -> str:
        return snapshot_download(source, allow_patterns=[*PATTERNS, "*.safetensors"], local_files_only=local)

    return Path(fetch(source, "such folder, nor such model of the hub", load))


def copy_small_files(folder: Path, place: Path) -> None:
    """Copy what stands beside the weights: configurations, the tokenizer, how pictures are prepared."""
    place.mkdir(exist_ok=True)
    for path in sorted({path for pattern in PATTERNS for path in folder.glob(pattern)}):
        if path.is_file() and not path.name.endswith(".index.json"):
            shutil.copyfile(path, place / path.name)


def read_json(path: Path, remedy: str = "") -> dict[str, Any]:
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
        if (folder / name).is_file() and (normal := normal_of(read_json(folder / name))):
            return dict(zip(("mean", "std"), map(list, normal), strict=True))
    return None


def tokenizer_of(folder: Path) -> Any:
    """The folder's tokenizer, None where it has no files of one. CheckpointError where it cannot be read."""
    if not any((folder / name).is_file() for name in TOKENIZERS):
        return None
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # of the tokenizers' own libraries
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(f"{folder}: its tokenizer cannot be read ({reason}): download its files again") from None


def image_id_of(architecture: str, c: Any, tokenizer: Any) -> int | None:
    """The id of `<image>`, of BLIP-2 from its configuration, of Idefics from its tokenizer; without one the last."""
    if architecture != models.IDEFICS:
        return c.image_token_index
    size = c.vocab_size + c.additional_vocab_size
    found = size - 1 if tokenizer is None else tokenizer.get_vocab().get("<image>", size)
    if found >= size:
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

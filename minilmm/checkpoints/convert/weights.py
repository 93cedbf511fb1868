"""Weights between two sets of names: which goes where, and safetensors read shard by shard."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from minilmm.checkpoints.convert.names import Table, theirs_of
from minilmm.checkpoints.saving import MODEL, CheckpointError, unique_state

INDEX = "model.safetensors.index.json"
BUFFERS = r"(position_ids|rotary_emb\.inv_freq|masked_bias)$"  # older versions stored what is computed
DTYPES = ("F64", "F32", "F16", "BF16")
Pairs = dict[str, tuple[str, ...]]  # a name of ours, and the name of theirs, or two that are stacked in it


class Shards:
    """The tensors of a folder by name, in one safetensors file or in many; none is read before it is asked for.

    CheckpointError where there are none, where only pickles are, or where a shard is missing or damaged.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.files: dict[str, Any] = {}
        self.at: dict[str, str] = {}  # in which file a tensor is
        for name in self._files():
            path = folder / name
            if not path.is_file():
                raise CheckpointError(f"{path}: this shard is missing, and {INDEX} names it: download it again")
            try:
                self.files[name] = safe_open(path, "pt")
            except (SafetensorError, OSError) as error:
                raise CheckpointError(f"{path}: damaged or no safetensors ({error}): download it again") from None
            for key in self.files[name].keys():  # noqa: SIM118
                if self.at.setdefault(key, name) != name:
                    raise CheckpointError(f"{path}: {key} is also in {self.at[key]}: delete the wrong file")

    def _files(self) -> list[str]:
        folder = self.folder
        if (folder / INDEX).is_file():
            try:
                found = sorted(set(json.loads((folder / INDEX).read_text())["weight_map"].values()))
                if found and all(Path(name).name == name for name in found):
                    return found
            except (ValueError, KeyError, TypeError, AttributeError):
                pass
            raise CheckpointError(f"{folder / INDEX}: no index of shards: download it again")
        if (folder / MODEL).is_file():
            return [MODEL]
        if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
            pickles = "its weights are pickles, which can run programs and are never read here"
            raise CheckpointError(f"{folder}: {pickles}: save them with save_pretrained in safetensors")
        raise CheckpointError(f"{folder}: holds neither {MODEL} nor {INDEX}: name a checkpoint's folder")

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor, read from the header alone."""
        part = self.files[self.at[name]].get_slice(name)
        if part.get_dtype() not in DTYPES:
            raise CheckpointError(f"{name} is {part.get_dtype()}: quantised weights do not convert")
        return tuple(part.get_shape())

    def tensor(self, name: str) -> Tensor:
        """A tensor as it lies in its file: it is mapped, not copied."""
        return self.files[self.at[name]].get_tensor(name)


def aliases(model: nn.Module) -> dict[str, list[str]]:
    """For every name of a model all names of the same tensor, the first one first."""
    same: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        same.setdefault(id(tensor), []).append(name)
    return {name: group for group in same.values() for name in group}


def tied(shards: Shards, names: dict[str, list[str]], head: str | None) -> bool:
    """Are the words their head too? Their model says so, unless the checkpoint has two different matrices."""
    if head is None or len(names[head]) < 2:
        return False
    stored = [name for name in names[head] if name in shards.at and name != head]
    return head not in shards.at or all(torch.equal(shards.tensor(head), shards.tensor(name)) for name in stored)


def pairs(ours: nn.Module, table: Table) -> Pairs:
    """The names of theirs for every stored tensor of ours; empty ones have none."""
    return {name: theirs_of(name, table) for name, tensor in unique_state(ours).items() if tensor.numel()}


def check(shards: Shards, pairs: Pairs, names: dict[str, list[str]], theirs: nn.Module) -> dict[str, str]:
    """Every name of theirs that is needed -> the name under which the checkpoint has it.

    CheckpointError where one is missing, of another shape than the configuration says, or not known at all.
    """
    state, stored, folder = theirs.state_dict(), {}, shards.folder
    for name in (name for group in pairs.values() for name in group):
        at = next((option for option in (name, *names[name]) if option in shards.at), None)
        if at is None:
            raise CheckpointError(f"{folder}: {name} is missing from the weights: download the checkpoint again")
        found, expected = shards.shape(at), tuple(state[name].shape)
        if found != expected:
            differs = f"{at} is {found}, but config.json makes it {expected}"
            raise CheckpointError(f"{folder}: {differs}: the weights belong to another configuration")
        stored[name] = at
    needless = (BUFFERS, *(getattr(theirs, "_keys_to_ignore_on_load_unexpected", None) or ()))
    known = {*names, *stored.values()}
    strange = [n for n in shards.at if n not in known and not any(re.search(pattern, n) for pattern in needless)]
    if strange:
        raise CheckpointError(f"{folder}: {len(strange)} weights that its model does not have, such as {strange[0]}")
    return stored


def to_ours(pairs: Pairs, ours: nn.Module, get: Callable[[str], Tensor]) -> dict[str, Tensor]:
    """Their tensors under our names and in our shapes; what can stay where it lies is not copied."""
    state = {}
    for name, empty in unique_state(ours).items():
        parts = [get(part) for part in pairs.get(name, ())]
        whole = torch.zeros(empty.shape) if not parts else parts[0] if len(parts) == 1 else torch.cat(parts)
        state[name] = whole.view(empty.shape)
    return state


def to_theirs(pairs: Pairs, shapes: Mapping[str, Tensor], get: Callable[[str], Tensor]) -> dict[str, Tensor]:
    """Our tensors under their names and in their shapes: the way back through the same pairs."""
    state = {}
    for name, parts in pairs.items():
        whole = get(name)
        rows = [shapes[part].shape[0] for part in parts] if len(parts) > 1 else [len(whole)]
        for part, block in zip(parts, whole.split(rows), strict=True):
            state[part] = block.view(shapes[part].shape)
    return state

"""The freeze ledger: which parameters got gradients, and which bytes changed.

`requires_grad` says what somebody meant. The ledger says what happened: it hashes every parameter before and after, and
looks at the gradients that are there. Parts that share a matrix show it once, under the first name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Line:
    """One part of a model. gradient: the norm over all its parameters, None where none has a gradient."""

    part: str
    parameters: int
    gradient: float | None
    changed: bool


def fingerprints(model: nn.Module) -> dict[str, str]:
    """SHA-256 of every parameter's bytes, by name."""
    return {
        name: hashlib.sha256(p.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()).hexdigest()
        for name, p in model.named_parameters()
    }


def ledger(model: nn.Module, before: dict[str, str], depth: int = 2) -> list[Line]:
    """One line per part, which is the first `depth` words of a parameter's name, in the model's order.

    before: `fingerprints` of the same model. ValueError where a parameter has no fingerprint.
    """
    after, parts = fingerprints(model), dict.fromkeys(_part(name, depth) for name, _ in model.named_parameters())
    if missing := after.keys() - before.keys():
        raise ValueError(f"no fingerprint of {', '.join(sorted(missing)[:3])}: take fingerprints of this model first")
    lines = []
    for part in parts:
        inside = [(name, p) for name, p in model.named_parameters() if _part(name, depth) == part]
        squares = [float(p.grad.detach().square().sum()) for _, p in inside if p.grad is not None]
        gradient = sum(squares) ** 0.5 if squares else None
        changed = any(before[name] != after[name] for name, _ in inside)
        lines.append(Line(part, sum(p.numel() for _, p in inside), gradient, changed))
    return lines


def _part(name: str, depth: int) -> str:
    words = name.split(".")[:-1] or [name]
    return ".".join(words[:depth])

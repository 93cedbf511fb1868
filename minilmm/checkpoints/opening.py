"""Any run as a model: of the mini-world, a bridge between real models, or a converted checkpoint of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from minilmm.checkpoints import saving as checkpoint


def load(run: str | Path, device: torch.device | str = "cpu") -> tuple[Any, dict[str, Any]]:
    """The model of a run (in eval mode) and its card. CheckpointError where weights are missing, damaged or do not fit.

    Of a bridge between real models its own weights are read, and those models found by their names: AssetError or
    ValueError where one is not here.
    """
    kind = checkpoint.read_card(run)["kind"]
    if kind.startswith(checkpoint.REAL):
        from minilmm.training import real

        return real.open_run(run, device)[0], checkpoint.checked(run)[0]
    card, path = checkpoint.checked(run)
    return checkpoint.filled(lambda: build(kind, card["config"]), path).to(device).eval(), card


def build(kind: str, config: dict[str, Any]) -> nn.Module:
    """A model from a card's kind and configuration, at random weights; not of a bridge between real models."""
    if not kind.endswith("-converted"):
        return checkpoint.build(kind, config)
    from minilmm.checkpoints import convert  # wants transformers, which nothing else here does

    return convert.build(config)

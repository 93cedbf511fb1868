"""Any recipe, made ready to train."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from minilmm.training import bert, blip2, flamingo, frozen, lm, t5, vision
from minilmm.training.job import Job
from minilmm.training.recipes import Recipe

MODULES = {"LMRecipe": lm, "T5Recipe": t5, "BertRecipe": bert, "VisionRecipe": vision, "FrozenRecipe": frozen,
           "FlamingoRecipe": flamingo, "Blip2Recipe": blip2}  # fmt: skip


def prepare(recipe: Recipe, device: torch.device | str = "cpu") -> Job:
    """The job of a recipe. ValueError or CheckpointError for parts that are missing or do not fit."""
    start = time.perf_counter()
    job = MODULES[type(recipe).__name__].prepare(recipe, device)  # type: ignore[attr-defined]
    return replace(job, seconds=time.perf_counter() - start)

"""The tasks, one file each (or one per family), named in one table.

A task is a function `sample(batch, generator, settings) -> Episodes`. To add one, write its file and name it here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from minilmm.evaluation.tasks import ambiguous, caption, naming, vqa
from minilmm.evaluation.tasks.episodes import SPLITS, Episodes, Settings
from minilmm.interface.tokenizer import Tokenizer
from minilmm.world.questions import KINDS


@dataclass(frozen=True)
class Task:
    """A task: how to sample it, how it is scored unless asked otherwise ("rank", "generate", "caption"), whether it has
    ways, and whether its examples are independent, so that demonstrations may be chosen from a pool (RICES).
    """

    sample: Callable[[int, torch.Generator, Settings], Episodes]
    scoring: str = "rank"
    named: bool = True
    shots: tuple[int, ...] = (0, 1, 2, 4, 8)
    pooled: bool = False
    groups: tuple[str, ...] = ()  # names of the kinds that `Episodes.group` counts
    words: Tokenizer | None = None  # whose ids the episodes are in; None: the mini-world's


TASKS = {
    "naming": Task(naming.sample),
    "glyph-naming": Task(naming.sample_glyphs),
    "ambiguous-naming": Task(ambiguous.sample, shots=(0, 1, 2, 4, 8, 16)),
    "noisy-naming": Task(ambiguous.sample_noisy, shots=(0, 1, 2, 4, 8, 16)),
    "vqa": Task(vqa.sample, scoring="generate", named=False, pooled=True, groups=tuple(KINDS)),
    "induction-vqa": Task(vqa.sample_induction, scoring="generate", named=False, groups=tuple(vqa.ATTRIBUTES)),
    "caption": Task(caption.sample, scoring="caption", named=False, shots=(0, 4, 8), pooled=True),
    "fast-vqa": Task(vqa.sample_fast, scoring="generate", groups=tuple(vqa.ATTRIBUTES)),
}

__all__ = ["SPLITS", "TASKS", "Episodes", "Settings", "Task"]

"""How episodes are made, and under which conditions they are asked. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass

SPLITS = ("held-out", "train")
CONDITIONS = ("real", "blank_images", "shuffled_images", "text_only")


@dataclass(frozen=True)
class Settings:
    """How episodes are made; a task reads what concerns it.

    shots: examples per class in naming tasks, whole examples elsewhere. ways: classes. repeats: extra copies of each
    demonstration. induction: say the names in a first sentence. names: "nonsense" or "real". split: "held-out" (the
    default of every evaluation) or "train".
    """

    shots: int = 1
    ways: int = 2
    repeats: int = 0
    induction: bool = False
    names: str = "nonsense"
    split: str = "held-out"

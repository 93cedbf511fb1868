"""What a task is. Nothing here imports torch: the command line reads the table of tasks before it starts."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from minilmm.evaluation.tasks.episodes import Episodes
    from minilmm.evaluation.tasks.settings import Settings
    from minilmm.interface.tokenizer import Tokenizer

EVERY = ("episodes", "shots", "split", "conditions", "beams", "zero_shot_texts")  # options that every task reads


def later(name: str) -> Callable[..., Any]:
    """A function of a task's file, such as "vqa.sample". The file is imported when the function is first called."""
    file, function = name.split(".")

    def call(*arguments: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(f"minilmm.evaluation.tasks.{file}"), function)(*arguments, **options)

    return call


most_common, check_split = later("priors.most_common"), later("episodes.check_split")


@dataclass(frozen=True)
class Task:
    """What differs between tasks.

    name       as the command line and the results call it
    sample     (batch, generator, settings) -> Episodes
    reads      which of "ways", "repeats", "induction" and "names" it reads of the settings
    scorings   how it may be scored, first how it is scored unless asked otherwise: "rank", "generate"; or "caption"
    shots      how many examples are shown unless asked otherwise
    per_class  shots are counted per class; otherwise they are whole examples
    ways       the number of classes, where there is no other
    pooled     examples are independent of each other, so that they may be chosen from a pool (RICES)
    described  a model that reads text only finds words in the place of pictures
    prior      (task, settings, scoring, device) -> the best accuracy without pictures; by default that of the most
               common answer
    ideal      shots -> the accuracy of the ideal observer
    check      (episodes, settings): AssertionError where episodes break what their split promises
    tokenizer  whose ids the episodes are in; None: the mini-world's
    """

    name: str
    sample: Callable[..., Episodes]
    reads: tuple[str, ...] = ()
    scorings: tuple[str, ...] = ("rank", "generate")
    shots: tuple[int, ...] = (0, 1, 2, 4, 8)
    per_class: bool = False
    ways: int | None = None
    pooled: bool = False
    described: bool = True
    prior: Callable[[Task, Settings, str, torch.device | str], float] = most_common
    ideal: Callable[[int], float] | None = None
    check: Callable[[Episodes, Settings], None] = check_split
    tokenizer: Tokenizer | None = None
    priors: dict[tuple, float] = field(default_factory=dict, init=False, compare=False, repr=False)  # once computed

    @property
    def options(self) -> tuple[str, ...]:
        """Everything that an evaluation of it reads, by the names of `Request` and `Settings`."""
        ranked = ("orders", "per_token") if "rank" in self.scorings else ()
        scoring = () if self.scorings == ("caption",) else ("scoring",)
        return (*EVERY, *scoring, *ranked, *self.reads, *(("rices",) if self.pooled else ()))

    def over(self, *data: Any, tokenizer: Tokenizer | None = None) -> Task:
        """The same task over pictures that are brought along, of which `sample` makes the function that samples."""
        sample: Callable[..., Any] = self.sample
        return replace(self, sample=sample(*data), tokenizer=tokenizer)

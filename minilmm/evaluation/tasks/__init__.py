"""The tasks, one file each (or one per family), named in one table.

A task is a function `sample(batch, generator, settings) -> Episodes` in a file of this folder, and what else differs is
said on its line. To add one, write its file and its line.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from minilmm.evaluation.tasks.settings import CONDITIONS, SPLITS, Settings
from minilmm.evaluation.tasks.task import Task, later

if TYPE_CHECKING:
    from minilmm.data.named import Form, Named
    from minilmm.interface.tokenizer import Tokenizer

NAMING = ("ways", "repeats", "induction")
TO_SIXTEEN = (0, 1, 2, 4, 8, 16)
even_prior, ranked_prior = later("priors.even"), later("priors.ranked")
SAID = ("generate", "rank")

TASKS = {task.name: task for task in (
    Task("naming", later("naming.sample"), (*NAMING, "names"), per_class=True, prior=even_prior),
    Task("glyph-naming", later("naming.sample_glyphs"), NAMING, per_class=True, described=False, prior=even_prior),
    Task("ambiguous-naming", later("ambiguous.sample"), NAMING, shots=TO_SIXTEEN, per_class=True, ways=2,
         prior=even_prior, ideal=later("ambiguous.ideal")),
    Task("noisy-naming", later("ambiguous.sample_noisy"), NAMING, shots=TO_SIXTEEN, per_class=True, ways=2,
         prior=even_prior, ideal=later("ambiguous.noisy_ideal")),
    Task("vqa", later("vqa.sample"), scorings=SAID, pooled=True),
    Task("induction-vqa", later("vqa.sample_induction"), scorings=SAID, ideal=later("vqa.induction_ideal")),
    Task("caption", later("caption.sample"), scorings=("caption",), shots=(0, 4, 8), pooled=True, prior=ranked_prior),
    Task("fast-vqa", later("vqa.sample_fast"), ("ways",), SAID, per_class=True, ways=2),
    Task("easy-vqa", later("easy_vqa.sample"), scorings=SAID, shots=(0, 4), described=False),
)}  # fmt: skip

# Tasks over pictures that are brought along (`Task.over`): a folder's path; or pictures with names, a real language
# model's tokenizer, and how a picture and its name stand in text.
FOLDER = Task("folder", later("folder.sampler"), ("ways",), shots=(0, 1, 4), per_class=True, described=False,
              prior=even_prior)  # fmt: skip
REAL = {task.name: task for task in (
    Task("naming", later("named.naming"), (*NAMING, "names"), shots=(0, 1, 2, 4), per_class=True, prior=ranked_prior,
         check=later("episodes.check_query")),
    Task("caption", later("named.captions"), scorings=("generate",), shots=(0,), prior=ranked_prior,
         check=later("episodes.check_query")),
)}  # fmt: skip


def task_named(name: str) -> Task:
    """A task by name, or over a folder of pictures; ValueError lists what there is."""
    if name in TASKS:
        return TASKS[name]
    if Path(name).is_dir():
        return replace(FOLDER, name=name).over(Path(name))
    raise ValueError(f"unknown task {name!r}: choose from {', '.join(TASKS)}, or name a folder of pictures")


def real_task(name: str, data: Named, tokenizer: Tokenizer, form: Form | None = None) -> Task:
    """ "naming" or "caption" over pictures with names. ValueError for another task."""
    if name not in REAL:
        raise ValueError(f"{name}: between real models there are {', '.join(REAL)} and retrieval")
    return REAL[name].over(data, tokenizer, form, tokenizer=tokenizer)


__all__ = ["CONDITIONS", "FOLDER", "REAL", "SPLITS", "TASKS", "Settings", "Task", "real_task", "task_named"]

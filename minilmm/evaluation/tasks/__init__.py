"""The tasks, one file each (or one per family), named in one table.

A task is a function `sample(batch, generator, settings) -> Episodes` in a file of this folder, and a line of TASKS that
says what else differs. To add one, write its file and its line. Nothing here imports torch: the command line reads the
table before it starts, and a task's file is imported when its task is first sampled.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minilmm.data.named import Form, Named
    from minilmm.interface.tokenizer import Tokenizer

SPLITS = ("held-out", "train")
CONDITIONS = ("real", "blank_images", "shuffled_images", "text_only")
EVERY = ("episodes", "shots", "conditions", "beams", "zero_shot_texts")  # options that every task reads
FLIPS = 0.2  # of noisy naming


@dataclass(frozen=True)
class Settings:
    """How episodes are made; a task reads what concerns it."""

    shots: int = 1  # examples per class in naming tasks, whole examples elsewhere
    ways: int = 2  # classes
    repeats: int = 0  # extra copies of each demonstration
    induction: bool = False  # say the names in a first sentence
    names: str = "nonsense"  # or "real"
    split: str = "held-out"  # the default of every evaluation, or "train"
    convention: str = "inferred"  # from the examples, or "given" by a first sentence


@dataclass(frozen=True)
class Task:
    """What differs between tasks.

    name       as the command line and the results call it
    sample     (batch, generator, settings) -> Episodes
    reads      which of "ways", "repeats", "induction", "names" and "convention" it reads of the settings
    scorings   how it may be scored, first how it is scored unless asked otherwise: "rank", "generate"; or "caption"
    shots      how many examples are shown unless asked otherwise
    per_class  shots are counted per class; otherwise they are whole examples
    ways       the number of classes, where there is no other
    pooled     how many examples a pool has from which they may be chosen (RICES); 0 where they depend on each other
    metrics    what is measured, the most important first; by default accuracy, and CIDEr and scene F1 of captions
    split      whether its episodes differ from split to split
    mixed      episodes show pairs of both halves, on purpose
    described  a model that reads text only finds words in the place of pictures
    prior      (settings, scoring) -> the best accuracy without pictures; by default that of the most common answer
    ideal      shots -> the accuracy of the ideal observer
    tokenizer  whose ids the episodes are in; None: the mini-world's
    benchmark  of the papers that it stands for; "" where it stands for none
    """

    name: str
    sample: Callable[..., Any]
    reads: tuple[str, ...] = ()
    scorings: tuple[str, ...] = ("rank", "generate")
    shots: tuple[int, ...] = (0, 1, 2, 4, 8)
    per_class: bool = False
    ways: int | None = None
    pooled: int = 0
    metrics: tuple[str, ...] = ("accuracy",)
    split: bool = True
    mixed: bool = False
    described: bool = True
    prior: Callable[[Settings, str], float] | None = None
    ideal: Callable[[int], float] | None = None
    tokenizer: Tokenizer | None = None
    benchmark: str = ""
    priors: dict[tuple[Settings, str], float] = field(default_factory=dict, init=False, compare=False)  # once counted

    @property
    def options(self) -> tuple[str, ...]:
        """Everything that an evaluation of it reads, by the names of `Request` and `Settings`."""
        ranked = ("orders", "per_token") if "rank" in self.scorings else ()
        scoring = () if self.scorings == ("caption",) else ("scoring",)
        others = (*(("split",) if self.split else ()), *(("rices", "pool") if self.pooled else ()))
        return (*EVERY, *scoring, *ranked, *self.reads, *others)


def later(name: str) -> Callable[..., Any]:
    """A function of a file in this folder, such as "naming.sample"; the file is imported when it is first called."""
    file, function = name.split(".")
    return lambda *given, **how: getattr(importlib.import_module(f"{__name__}.{file}"), function)(*given, **how)


def even(settings: Settings, scoring: str) -> float:
    """Every class is the right one equally often."""
    return 1 / settings.ways


def ranked(settings: Settings, scoring: str) -> float:
    """The same where candidates are ranked; 0 where a caption is generated, since none is right by chance."""
    return 1 / settings.ways if scoring == "rank" else 0.0


def asks(ask: str, metric: str = "accuracy", **how: bool) -> dict[str, Any]:
    """The sampler and the ideal observer of a benchmark: `ask` names its function, such as "asked.memes"."""
    made = {"sample": partial(later("benchmarks.sample"), ask=ask, **how)}
    ideals = {"accuracy": "benchmarks.ideal", "auc": "benchmarks.ideal_auc"}
    return made | ({"ideal": partial(later(ideals[metric]), ask=ask)} if metric in ideals else {})


def fourth(settings: Settings, scoring: str) -> float:
    """Of five answers one looks wrong by itself, the others look alike."""
    return 0.25


NAMING, TO_SIXTEEN, SAID = ("ways", "repeats", "induction"), (0, 1, 2, 4, 8, 16), ("generate", "rank")
GIVEN: dict[str, Any] = {"reads": ("convention",), "metrics": ("exact",)}  # answers follow a convention
ONE = ("generate",)  # answers are said; there are too many to rank
RANKED = ("rank",)  # what is measured is the order of candidates
CAPTIONED: dict[str, Any] = {"scorings": ("caption",), "shots": (0, 4, 8), "prior": ranked}
CAPTIONS = ("cider", "scene_f1", "chair")
GPT_4V = "GPT-4V's examples"
TASKS = {task.name: task for task in (
    Task("naming", later("naming.sample"), (*NAMING, "names"), per_class=True, prior=even,
         benchmark="Frozen's open-ended miniImageNet"),
    Task("glyph-naming", later("naming.sample_glyphs"), NAMING, per_class=True, described=False, prior=even),
    Task("ambiguous-naming", later("ambiguous.sample"), NAMING, shots=TO_SIXTEEN, per_class=True, ways=2, prior=even,
         ideal=later("ambiguous.ideal")),
    Task("noisy-naming", partial(later("ambiguous.sample"), flips=FLIPS), NAMING, shots=TO_SIXTEEN, per_class=True,
         ways=2, prior=even, ideal=partial(later("ambiguous.ideal"), flips=FLIPS)),
    Task("vqa", **asks("asked.questions"), **GIVEN, scorings=SAID, pooled=1000, benchmark="VQAv2"),
    Task("induction-vqa", **asks("asked.induction"), scorings=SAID),
    Task("caption", **asks("styles.captions", "cider"), **CAPTIONED, pooled=1000, metrics=CAPTIONS,
         benchmark="MS-COCO, Flickr30k"),
    Task("fast-vqa", later("fast.sample"), ("ways",), SAID, per_class=True, ways=2, benchmark="Frozen's Fast-VQA"),
    Task("easy-vqa", later("easy_vqa.sample"), scorings=SAID, shots=(0, 4), described=False),
    Task("classification", later("benchmarks.sample_classes"), scorings=RANKED, shots=(0, 4, 8, 16), pooled=720,
         metrics=("accuracy", "top5"), benchmark="ImageNet-1k"),
    Task("novel-caption", **asks("styles.novel_captions", "cider"), **CAPTIONED, metrics=CAPTIONS, split=False,
         mixed=True, benchmark="NoCaps"),
    Task("knowledge", **asks("asked.knowledge"), scorings=SAID, benchmark="OKVQA"),
    Task("photographs", **asks("asked.photographs"), scorings=ONE, metrics=("accuracy", "declines"),
         benchmark="VizWiz"),
    Task("reading", **asks("printed.signs"), reads=("convention",), scorings=ONE, split=False, benchmark="TextVQA"),
    Task("dialogue", **asks("asked.dialogue"), scorings=RANKED, metrics=("mrr", "accuracy"),
         prior=later("benchmarks.dialogue_prior"), benchmark="VisDial"),
    Task("memes", **asks("asked.memes", "auc"), reads=("convention",), scorings=RANKED, metrics=("auc",),
         shots=TO_SIXTEEN, prior=even, benchmark="HatefulMemes"),
    Task("hallucination", **asks("asked.objects"), scorings=SAID, metrics=("accuracy", "yes_rate"),
         benchmark="POPE, CHAIR"),
    Task("counting", **asks("asked.counting"), **GIVEN, scorings=SAID, pooled=1000, benchmark=GPT_4V),
    Task("actions", later("benchmarks.sample_actions"), scorings=RANKED, shots=(0, 4, 8, 16), pooled=720,
         metrics=("accuracy", "top5"), benchmark="Kinetics700"),
    Task("rare-actions", **asks("stories.actions", rarely=True), scorings=RANKED, metrics=("map",), prior=even,
         benchmark="RareAct"),
    Task("video-vqa", **asks("stories.video_questions"), **GIVEN, scorings=ONE,
         benchmark="MSVDQA, MSRVTTQA, iVQA"),
    Task("temporal", **asks("stories.temporal"), prior=fourth, benchmark="NextQA, STAR"),
    Task("video-caption", **asks("styles.video_captions", "cider"), **CAPTIONED, metrics=("cider",),
         benchmark="VATEX"),
    Task("steps", **asks("styles.steps", "cider"), **CAPTIONED, metrics=("cider",),
         benchmark="YouCook2"),
    Task("panels", **asks("printed.panels"), **GIVEN, scorings=ONE, benchmark=GPT_4V),
    Task("boxes", **asks("printed.boxes"), reads=("convention",), scorings=ONE, metrics=("accuracy", "iou"),
         benchmark=GPT_4V),
    Task("instructions", **asks("instructed.instructions"), scorings=ONE, shots=(0, 1, 4, 8), benchmark="FLAN, LLaVA"),
    Task("tables", **asks("printed.tables"), **GIVEN, scorings=ONE, split=False, benchmark=GPT_4V),
)}  # fmt: skip

# Tasks over pictures that are brought along: `sample` is here a function of them that makes the function.
FOLDER = Task(
    "folder", later("folder.sampler"), ("ways",), shots=(0, 1, 4), per_class=True, described=False, prior=even
)
REAL = {task.name: task for task in (  # pictures with names, in the ids of a real language model
    Task("naming", later("named.naming"), (*NAMING, "names"), shots=(0, 1, 2, 4), per_class=True, prior=ranked),
    Task("caption", later("named.captions"), scorings=("generate",), shots=(0,), prior=ranked),
)}  # fmt: skip


def task_named(name: str) -> Task:
    """A task by name, or over a folder of pictures; ValueError lists what there is."""
    if name in TASKS:
        return TASKS[name]
    if Path(name).is_dir():
        return replace(FOLDER, name=name, sample=FOLDER.sample(Path(name)))
    raise ValueError(f"unknown task {name!r}: choose from {', '.join(TASKS)}, or name a folder of pictures")


def real_task(name: str, data: Named, tokenizer: Tokenizer, form: Form | None = None) -> Task:
    """ "naming" or "caption" over pictures with names. ValueError for another task."""
    if name not in REAL:
        raise ValueError(f"{name}: with real models choose {', '.join(REAL)} or retrieval")
    return replace(REAL[name], sample=REAL[name].sample(data, tokenizer, form), tokenizer=tokenizer)

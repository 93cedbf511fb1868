"""Instructions: an instruction says what to tell of a picture, and in which form.

An instructed task is one to three attributes in some order, told as words ("large circle") or as a sentence ("it is
large circle"). Training has four fifths of the tasks, each in several wordings. Tests have other wordings of these,
and the tasks that training never had.
"""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from minilmm.world.examples import Examples
from minilmm.world.grammar import attributes, compact, describe, join, when
from minilmm.world.random import integers
from minilmm.world.scenes import Scenes, sample_scenes

Task = tuple[tuple[str, ...], bool]  # what is told, in this order; whether in a sentence
ATTRIBUTES = ("size", "texture", "color", "shape")
EVERY = [(what, sentence) for k in (1, 2, 3) for what in permutations(ATTRIBUTES, k) for sentence in (False, True)]
NEW_TASKS = EVERY[3::5]  # 16 of 80
TASKS = [task for task in EVERY if task not in NEW_TASKS]
WORDINGS = ("tell the {what} {form}", "say the {what} {form}", "{form} , tell the {what}",
            "what is the {what} ? answer {form}")  # fmt: skip
NEW_WORDINGS = ("{form} , say the {what}", "answer {form} : the {what}")
KINDS = ("new wording", "new task")


def instruction(task: Task, wording: str) -> str:
    """ "instruction : tell the color and shape in two words . answer :"."""
    what, sentence = task
    form = "in a sentence" if sentence else ("in one word", "in two words", "in three words")[len(what) - 1]
    return f"instruction : {wording.format(what=' and '.join(what), form=form)} . answer :"


def told(task: Task, scenes: Scenes) -> Tensor:
    """What a task has told of lone objects: "red circle", "it is large red": (N, K)."""
    what, sentence = task
    words = dict(zip(ATTRIBUTES, attributes(scenes, 0), strict=True))
    phrase = join(*(words[name] for name in what))
    return join("it is", phrase) if sentence else phrase


def instructions(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """Lone objects; all examples of a document follow one instruction.

    Of pairs to train on, tasks and wordings of training. Else half of the documents have a task of training in a new
    wording, and the others a new task in a wording of training.
    """
    N = rows * n
    scenes, kind = sample_scenes(N, generator, split=split), integers(2, (rows,), generator)
    old = [(task, wording) for task in TASKS for wording in WORDINGS]
    sets = [[(task, wording) for task in TASKS for wording in NEW_WORDINGS],
            [(task, wording) for task in NEW_TASKS for wording in WORDINGS]]  # fmt: skip
    asked = old if split == "train" else [*sets[0], *sets[1]]
    first, second = (integers(len(some), (rows,), generator) for some in sets)
    chosen = torch.where(kind == 0, first, len(sets[0]) + second)
    if split == "train":
        kind, chosen = torch.zeros_like(kind), integers(len(old), (rows,), generator)
    each = chosen.repeat_interleave(n)
    prompts = join(*(when(each == i, instruction(*pair)) for i, pair in enumerate(asked)))
    every = list(dict.fromkeys(task for task, _ in asked))
    number = torch.tensor([every.index(task) for task, _ in asked], device=each.device)[each]
    answers = join(*(when(number == i, told(task, scenes)) for i, task in enumerate(every)))
    return Examples(describe(scenes), compact(prompts), compact(answers)[:, None], torch.zeros_like(kind), scenes,
                    kind=kind.repeat_interleave(n), kinds=KINDS)  # fmt: skip

"""easy-vqa (Victor Zhou, 2019): 5000 pictures of one shape, 48,000 questions, 13 answers.

It comes with `pip install "minilmm[easy-vqa]"` or `minilmm assets get easy-vqa`, and has its own training and test
split, with no picture in common.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from minilmm.checkpoints.assets import locate, state
from minilmm.data.pictures import load_pixels
from minilmm.interface.document import Document, Image, Text
from minilmm.interface.tokenizer import EOC

KINDS = ("color", "shape", "presence", "negated")


@dataclass(frozen=True)
class EasyVQA:
    """One split: N pictures and Q questions about them."""

    images: Tensor  # (N, 3, R, R) uint8
    image_index: Tensor  # (Q,) long, the row of each question's picture
    questions: list[str]  # as the package has them: "what color is the shape?"
    answers: list[str]  # "blue"

    def __len__(self) -> int:
        return len(self.questions)


def load(split: Literal["train", "test"], resolution: int) -> EasyVQA:
    """A split, with all its pictures in memory (4000 or 1000). ModuleNotFoundError with neither package nor asset."""
    if split not in ("train", "test"):
        raise ValueError(f'easy-vqa has the splits "train" and "test", not {split!r}')
    try:
        import easy_vqa
    except ModuleNotFoundError:
        questions, answers, numbers, paths = read_asset(split)
    else:
        questions, answers, numbers = getattr(easy_vqa, f"get_{split}_questions")()
        paths = getattr(easy_vqa, f"get_{split}_image_paths")()
    order = sorted(paths)
    row = {number: i for i, number in enumerate(order)}
    images = torch.stack([load_pixels(paths[number], resolution) for number in order])  # (N, 3, R, R)
    return EasyVQA(images, torch.tensor([row[number] for number in numbers]), questions, answers)


def read_asset(split: str) -> tuple[list[str], list[str], list[int], dict[int, Path]]:
    """Questions, answers, numbers of pictures and their files, read without the package."""
    if state("easy-vqa") != "here":
        remedy = 'pip install "minilmm[easy-vqa]", or minilmm assets get easy-vqa'
        raise ModuleNotFoundError(f"easy-vqa is not installed: {remedy}")
    folder = locate("easy-vqa") / "easy_vqa" / "data" / split
    asked, answers, numbers = map(list, zip(*json.loads((folder / "questions.json").read_text()), strict=True))
    return asked, answers, numbers, {int(file.stem): file for file in (folder / "images").glob("*.png")}


def kind(question: str) -> str:
    """Which of KINDS a question is; ValueError for one that easy-vqa does not ask."""
    first, *words = question.lower().replace("?", " ").split() or [""]
    if first == "what":
        return "color" if "color" in words else "shape"
    if first in ("is", "does"):
        return "negated" if {"no", "not"} & set(words) else "presence"
    raise ValueError(f"{question!r} is no question of easy-vqa: expected one with what, is or does in front")


def prompt(question: str) -> str:
    """The question as a prompt in the mini-world's form: "question : what color is the shape ? answer :"."""
    return f"question : {question.lower().replace('?', ' ').strip()} ? answer :"


def documents(data: EasyVQA, rows: Sequence[int] | Tensor) -> list[Document]:
    """Questions by number, each as [Image, the prompt (not learned), Text("blue . <EOC>")].

    Questions about one picture share its pixels, so that all of them fit in memory.
    """
    chosen = torch.as_tensor(rows, dtype=torch.long).tolist()
    pictures = data.image_index[chosen].tolist()
    pixels = {n: Image(data.images[n].float() / 255) for n in set(pictures)}
    return [
        [pixels[n], Text(prompt(data.questions[q]), learn=False), Text(f"{data.answers[q]} . {EOC}")]
        for q, n in zip(chosen, pictures, strict=True)
    ]


def prior(train: EasyVQA, test: EasyVQA) -> float:
    """Accuracy on `test` of the most frequent training answer to the very same question: what needs no eyes (.670).

    A question that training never asks gets the most frequent answer of all.
    """
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for question, answer in zip(train.questions, train.answers, strict=True):
        seen[question][answer] += 1
    best = {question: counts.most_common(1)[0][0] for question, counts in seen.items()}
    usual = Counter(train.answers).most_common(1)[0][0]
    right = sum(best.get(q, usual) == a for q, a in zip(test.questions, test.answers, strict=True))
    return right / len(test)

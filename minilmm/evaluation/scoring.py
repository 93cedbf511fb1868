"""How prompts are scored: by ranking candidates, by generating the answer, by generating a caption.

A scorer takes prompts, and for each episode returns what came of it: the candidates' log-probabilities, what was said,
or a caption. A metric makes numbers of that.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from minilmm.data.answers import exact_match
from minilmm.evaluation.captions import cider, invented, scene_f1s
from minilmm.evaluation.request import Request
from minilmm.evaluation.tasks.episodes import Episodes
from minilmm.interface.document import Batch
from minilmm.interface.model import MultimodalLM
from minilmm.interface.tokenizer import EOC, Tokenizer
from minilmm.nn.decoding import finite
from minilmm.world.grammar import ABSENT, compact

UNANSWERABLE = "unanswerable"
BUDGET = 24_576  # tokens per forward pass, candidates included
LOGITS = 2**27  # tokens times the words of the vocabulary: a real one has 50,000, and half a gigabyte of logits

Metric = Callable[[list[Any], list[Episodes]], list[float]]  # of what a scorer returned, one number per episode or so
Prompts = list[tuple[Batch, Episodes]]  # the same episodes, each time with their demonstrations in another order


def parts(batch: Batch, copies: int, tokenizer: Tokenizer) -> list[slice]:
    """Which prompts are read together, each `copies` times: as many as the budgets of tokens and of logits allow."""
    tokens = min(BUDGET, LOGITS // len(tokenizer))
    size = max(1, tokens // (batch.ids.shape[1] * copies))
    return [slice(i, i + size) for i in range(0, len(batch), size)]


def log_probabilities(
    model: MultimodalLM, batch: Batch, episodes: Episodes, tokenizer: Tokenizer, per_token: bool = False
) -> Tensor:
    """Those of the candidates, (B, C), per token where asked; minus infinity where a row has fewer candidates."""
    here = episodes.candidates != ABSENT
    scores = torch.cat([
        model.score(batch[rows], episodes.candidates[rows].clamp(min=0), here[rows])
        for rows in parts(batch, here.shape[1], tokenizer)
    ])  # fmt: skip
    scores = scores / (here.sum(-1).clamp(min=1) if per_token else 1)
    return finite(scores.masked_fill(~here[..., 0], 0.0)).masked_fill(~here[..., 0], float("-inf"))


def right(episodes: Episodes) -> Tensor:
    """Which candidates read as the right one does, (B, C) bool: several options of one text are one answer."""
    return (episodes.candidates == episodes.answers[:, None]).all(-1)


def generate(model: MultimodalLM, batch: Batch, length: int, beams: int, tokenizer: Tokenizer) -> Tensor:
    """What the model says, (B, length) ids, up to and with <EOC> where it says that."""
    end = tokenizer.convert_tokens_to_ids(EOC)
    return torch.cat([model.generate(batch[rows], length, end, beams) for rows in parts(batch, beams, tokenizer)])


Ranking = tuple[Tensor, Tensor]  # log-probabilities (C,) of an episode's candidates, and which of them are right
Captioned = tuple[str, list[str]]  # what was said of a picture, and its references
Said = tuple[bool, str, str]  # is it right? what was said, and what would have been right


def rank(model: MultimodalLM, asked: Prompts, tokenizer: Tokenizer, request: Request) -> list[Ranking]:
    """The log-probabilities of each episode's candidates, averaged over orders."""
    orders = [log_probabilities(model, batch, episodes, tokenizer, request.per_token) for batch, episodes in asked]
    scores = torch.stack(orders).mean(0)
    return list(zip(scores.cpu(), right(asked[0][1]).cpu(), strict=True))


def answer(model: MultimodalLM, asked: Prompts, tokenizer: Tokenizer, request: Request) -> list[Said]:
    """Whether what the model says ends and matches, after normalisation (`minilmm.data.answers`).

    It must end with <EOC>, and has room for two tokens more than it needs.
    """
    batch, episodes = asked[0]
    end, answers = tokenizer.convert_tokens_to_ids(EOC), compact(episodes.answers, fill=tokenizer.pad_token_id)
    said = generate(model, batch, answers.shape[1] + 2, request.beams, tokenizer).tolist()
    texts = [tokenizer.decode(row[: row.index(end) + 1] if end in row else row) for row in said]
    wanted = [tokenizer.decode(row) for row in answers.tolist()]
    match = exact_match(texts, wanted).tolist()
    ended = [bool(same) and end in row for same, row in zip(match, said, strict=True)]
    return list(zip(ended, texts, wanted, strict=True))


def caption(model: MultimodalLM, asked: Prompts, tokenizer: Tokenizer, request: Request) -> list[Captioned]:
    """What the model says of each picture, and what would be right."""
    batch, episodes = asked[0]
    said = generate(model, batch, episodes.candidates.shape[-1], request.beams, tokenizer)
    right = [[_plain(row, tokenizer) for row in rows] for rows in episodes.candidates.tolist()]
    return [(_plain(row, tokenizer), own) for row, own in zip(said.tolist(), right, strict=True)]


def _plain(row: list[int], tokenizer: Tokenizer) -> str:
    """A caption's words, without what ends it."""
    words = tokenizer.decode([i for i in row if i != ABSENT]).split()
    return " ".join(word for word in words if not word.startswith("<") and word != ".")


def place(scores: Tensor, right: Tensor) -> int:
    """How many candidates are more probable than the best right one; in a tie with a wrong one it comes behind."""
    return int(((scores >= scores[right].max()) & ~right & scores.isfinite()).sum())


def accuracy(answers: list[Any], asked: list[Episodes]) -> list[float]:
    """1 where the most probable candidate, or what was said, is right, else 0."""
    first = answers[0][0]
    if isinstance(first, Tensor):
        return [float(right[scores.argmax()]) for scores, right in answers]
    return [float(hit) for hit, *_ in answers]


def exact(answers: list[Any], asked: list[Episodes]) -> list[float]:
    """The same, but word by word: "two" is not "2", as a document's convention has it."""
    if isinstance(answers[0][0], Tensor):
        return accuracy(answers, asked)
    return [float(said == wanted) for _, said, wanted in answers]


def top5(answers: list[Ranking], asked: list[Episodes]) -> list[float]:
    """1 where the right candidate is among the five most probable."""
    return [float(place(*answer) < 5) for answer in answers]


def mrr(answers: list[Ranking], asked: list[Episodes]) -> list[float]:
    """1 / r where the right candidate is the r-th most probable (VisDial's mean reciprocal rank)."""
    return [1 / (1 + place(*answer)) for answer in answers]


def margins(answers: list[Ranking], episodes: list[Episodes]) -> tuple[Tensor, Tensor]:
    """How much more probable the second of two candidates is than the first, and whether it is right: each (B,)."""
    scores, right = (torch.stack(part) for part in zip(*answers, strict=True))
    return scores[:, 1] - scores[:, 0], right[:, 1]


def auc(answers: list[Ranking], asked: list[Episodes]) -> list[float]:
    """For each episode the share of the other label's that it is on the right side of, a tie counting one half; their
    mean over both labels is the area under the ROC curve (Hanley & McNeil 1982).
    """
    margin, label = margins(answers, asked)
    above = (margin[:, None] > margin).double() + 0.5 * (margin[:, None] == margin)
    own, other = above[label][:, ~label].mean(1), above[label][:, ~label].mean(0)
    return [*own.tolist(), *other.tolist()]


def average_precisions(answers: list[Ranking], asked: list[Episodes]) -> list[float]:
    """The average precision of "yes", the first candidate, for each pair that is asked for: a group (RareAct's mAP)."""
    margin, label = margins(answers, asked)
    margin, label, group = -margin, ~label, torch.cat([episodes.group for episodes in asked]).cpu()
    found = []
    for g in group.unique():
        own = label[group == g][margin[group == g].argsort(descending=True)].double()
        if 0 < own.sum() < len(own):
            precision = own.cumsum(0) / torch.arange(1, len(own) + 1)
            found.append(float((precision * own).sum() / own.sum()))
    return found


def declines(answers: list[Said], asked: list[Episodes]) -> list[float]:
    """1 where a question that cannot be answered is declined, 0 where it is answered; the others do not count."""
    return [float(hit) for hit, _, wanted in answers if UNANSWERABLE in wanted]


def yes_rate(answers: list[Any], asked: list[Episodes]) -> list[float]:
    """1 where "yes" is said, or more probable (POPE); it should be as frequent as it is right."""
    if isinstance(answers[0][0], Tensor):
        return [float(scores[0] > scores[1]) for scores, _ in answers]
    return [float("yes" in said.split()) for _, said, _ in answers]


def iou(answers: list[Said], asked: list[Episodes]) -> list[float]:
    """Intersection over union of the cells of two boxes; 0 where no four ordered numbers were said. Sizes are boxes
    from 0 on.
    """
    return [box_overlap(said, wanted) for _, said, wanted in answers]


def edges(text: str) -> list[int]:
    """Left, top, right and bottom of a box whose edges are told in any order; the numbers of another text."""
    words = text.split()
    told = {name: int(number) for name, number in pairwise(words) if number.isdigit()}
    named = [told[name] for name in ("left", "top", "right", "bottom") if name in told]
    return named or [int(word) for word in words if word.isdigit()]


def box_overlap(said: str, wanted: str) -> float:
    """Of two boxes "left 1 top 2 right 4 bottom 5" in any order (or two sizes "4 6"), ends included."""
    one, other = edges(said), edges(wanted)
    if len(one) != len(other):
        return 0.0
    one, other = ([0] * (4 - len(box)) + box for box in (one, other))
    sides = [(max(0, x[2 + i] - x[i] + 1)) for x in (one, other) for i in range(2)]
    shared = [max(0, min(one[2 + i], other[2 + i]) - max(one[i], other[i]) + 1) for i in range(2)]
    both = shared[0] * shared[1]
    total = sides[0] * sides[1] + sides[2] * sides[3] - both
    return both / total if total else 0.0


def of_captions(measure: Callable[[list[str], list[list[str]]], list[float]]) -> Metric:
    """A measure of captions against their references, as a metric."""
    return lambda answers, asked: measure(*map(list, zip(*answers, strict=True)))


SCORERS: dict[str, Callable[..., list[Any]]] = {"rank": rank, "generate": answer, "caption": caption}
METRICS: dict[str, Metric] = {
    "accuracy": accuracy, "exact": exact, "top5": top5, "mrr": mrr, "auc": auc, "map": average_precisions,
    "declines": declines, "yes_rate": yes_rate, "iou": iou, "cider": of_captions(cider),
    "scene_f1": of_captions(scene_f1s), "chair": of_captions(invented),
}  # fmt: skip

"""How prompts are scored: by ranking candidates, by generating the answer, by generating a caption.

A scorer takes prompts, and for each episode returns whether the answer is right, or the caption; its metric makes
numbers of that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minilmm.data.answers import exact_match
from minilmm.evaluation.captions import cider, scene_f1
from minilmm.evaluation.request import Request
from minilmm.evaluation.tasks.episodes import Episodes
from minilmm.interface.document import Batch
from minilmm.interface.model import MultimodalLM
from minilmm.interface.tokenizer import EOC, Tokenizer
from minilmm.nn.decoding import finite
from minilmm.world.grammar import ABSENT, compact

BUDGET = 24_576  # tokens per forward pass, candidates included
LOGITS = 2**27  # tokens times the words of the vocabulary: a real one has 50,000, and half a gigabyte of logits

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


def rank(model: MultimodalLM, asked: Prompts, tokenizer: Tokenizer, request: Request) -> list[bool]:
    """Whether the most probable candidate is the right one; log-probabilities are averaged over orders."""
    orders = [log_probabilities(model, batch, episodes, tokenizer, request.per_token) for batch, episodes in asked]
    best = torch.stack(orders).mean(0).argmax(1, keepdim=True)
    return right(asked[0][1]).gather(1, best)[:, 0].tolist()


def answer(model: MultimodalLM, asked: Prompts, tokenizer: Tokenizer, request: Request) -> list[bool]:
    """Whether what the model says ends and matches, after normalisation (`minilmm.data.answers`).

    It must end with <EOC>, and has room for two tokens more than it needs.
    """
    batch, episodes = asked[0]
    end, answers = tokenizer.convert_tokens_to_ids(EOC), compact(episodes.answers, fill=tokenizer.pad_token_id)
    said = generate(model, batch, answers.shape[1] + 2, request.beams, tokenizer).tolist()
    texts = [tokenizer.decode(row[: row.index(end) + 1] if end in row else row) for row in said]
    match = exact_match(texts, [tokenizer.decode(row) for row in answers.tolist()]).tolist()
    return [bool(same) and end in row for same, row in zip(match, said, strict=True)]


def caption(model: MultimodalLM, asked: Prompts, tokenizer: Tokenizer, request: Request) -> list[str]:
    """What the model says of each picture."""
    batch, episodes = asked[0]
    said = generate(model, batch, episodes.candidates.shape[-1], request.beams, tokenizer)
    return [_plain(row, tokenizer) for row in said.tolist()]


def _plain(row: list[int], tokenizer: Tokenizer) -> str:
    """A caption's words, without what ends it."""
    words = tokenizer.decode([i for i in row if i != ABSENT]).split()
    return " ".join(word for word in words if not word.startswith("<") and word != ".")


def accuracy(hits: list[bool], asked: list[Episodes], tokenizer: Tokenizer) -> dict[str, list[float]]:
    """1 for each right answer, 0 for each wrong one."""
    return {"accuracy": [float(hit) for hit in hits]}


def caption_metrics(said: list[str], asked: list[Episodes], tokenizer: Tokenizer) -> dict[str, list[float]]:
    """CIDEr and scene F1 of each caption, against the candidates as references."""
    references = [[_plain(row, tokenizer) for row in rows] for e in asked for rows in e.candidates.tolist()]
    f1 = [scene_f1(text, texts) for text, texts in zip(said, references, strict=True)]
    return {"cider": cider(said, references), "scene_f1": f1}


SCORERS: dict[str, Callable[..., list[Any]]] = {"rank": rank, "generate": answer, "caption": caption}
METRICS: dict[str, Callable[[list[Any], list[Episodes], Tokenizer], dict[str, list[float]]]] = {
    "rank": accuracy,
    "generate": accuracy,
    "caption": caption_metrics,
}

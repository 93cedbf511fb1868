"""Retrieval and zero-shot classification: pure functions of embeddings, then of models and data.

Text retrieval (TR) looks for a picture's text among all texts, image retrieval (IR) for a text's picture among all
pictures; R@k is the share of queries whose answer is among the k most similar (Radford et al. 2021; Flamingo's and
BLIP-2's Flickr30k and COCO tables). Hits are returned query by query, so that intervals can be taken over queries.

Ties are pessimistic: a wrong candidate that is as similar as the right one ranks before it. A collapsed model, to which
all is alike, scores 0 and not 1. Similarities that are not finite are an error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minilmm.blip2 import Stage1
from minilmm.checkpoints.opening import load
from minilmm.checkpoints.saving import STAGE_1, CheckpointError, find, read_card
from minilmm.data.named import Named, name_texts, pairs
from minilmm.data.world import TEXT_LENGTH, near_duplicates
from minilmm.evaluation.statistics import bootstrap_interval
from minilmm.evaluation.tasks import TASKS, Settings
from minilmm.evaluation.tasks.benchmarks import CLASSES
from minilmm.evaluation.tasks.episodes import Episodes
from minilmm.interface.tokenizer import BOS, Tokenizer
from minilmm.nn.decoding import finite
from minilmm.vision import Encoder
from minilmm.vision.contrastive import DualEncoder, same_text
from minilmm.world.grammar import compact, describe
from minilmm.world.render import render
from minilmm.world.scenes import sample_scenes
from minilmm.world.vocabulary import COLOURS, SHAPES, TEXTURES, ids, tokenizer

Row = dict[str, Any]


def ranks(similarity: Tensor, correct: Tensor) -> Tensor:
    """(Q, C) similarities, (Q, C) bool that mark the right candidates -> (Q,) rank of the best right one, from 1.

    The rank counts the wrong candidates that are at least as similar. ValueError where a query has no right candidate,
    or a similarity is not finite.
    """
    if not correct.any(1).all():
        raise ValueError(f"query {int(correct.any(1).int().argmin())} has no right candidate: leave it out")
    best = finite(similarity).masked_fill(~correct, -torch.inf).amax(1, keepdim=True)  # (Q, 1)
    return 1 + (~correct & (similarity >= best)).sum(1)


def chance(correct: Tensor, k: int) -> float:
    """R@k of a random order, in [0, 1]: (Q, C) bool that mark the right candidates -> the mean over queries.

    All p right ones of C are behind the first k with probability C(C - p, k) / C(C, k).
    """
    C = correct.shape[1]
    missed = [math.comb(C - p, min(k, C)) / math.comb(C, min(k, C)) for p in correct.sum(1).tolist()]
    return 1 - sum(missed) / len(missed)


def _pairs(similarity: Tensor, groups: Tensor | None) -> Tensor:
    """(N, M) bool: does text m describe picture n?"""
    N, M = similarity.shape
    if groups is None:
        if N != M:
            raise ValueError(f"{N} pictures and {M} texts: `groups` must say which picture each text describes")
        groups = torch.arange(M, device=similarity.device)
    return groups == torch.arange(N, device=similarity.device)[:, None]


def recall_at(similarity: Tensor, k: int, groups: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Hits among the first k, both ways: TR@k per picture (N,) bool, IR@k per text (M,) bool.

    similarity: (N, M), picture n and text m. groups: (M,) long, the picture that each text describes; by default text n
    describes picture n. A picture with several texts is hit when any of them is among the first k.
    """
    correct = _pairs(similarity, groups)
    return ranks(similarity, correct) <= k, ranks(similarity.T, correct.T) <= k


@dataclass(frozen=True)
class Recall:
    """One line of a retrieval table.

    direction  "TR" (picture to text) or "IR" (text to picture)
    k          how many candidates are looked at
    hits       (Q,) bool, query by query
    chance     the recall of a random order
    """

    direction: str
    k: int
    hits: Tensor
    chance: float

    @property
    def recall(self) -> float:
        """R@k in [0, 1]."""
        return self.hits.float().mean().item()


def retrieval_rows(
    image_embeddings: Tensor, text_embeddings: Tensor, ks: Sequence[int] = (1, 5, 10), groups: Tensor | None = None
) -> list[Recall]:
    """TR@k, then IR@k, by the cosine of (N, E) pictures and (M, E) texts; `groups` as in `recall_at`."""
    similarity = F.normalize(image_embeddings, dim=-1) @ F.normalize(text_embeddings, dim=-1).T  # (N, M)
    correct = _pairs(similarity, groups)
    rows = []
    for direction, scores, right in (("TR", similarity, correct), ("IR", similarity.T, correct.T)):
        rank = ranks(scores, right)
        rows += [Recall(direction, k, rank <= k, chance(right, k)) for k in ks]
    return rows


def ensemble(prompt_embeddings: Tensor) -> Tensor:
    """Prompt ensembling (Radford et al. 2021, section 3.1.4): (C, P, E), P phrasings of each class name -> (C, E).

    The mean of the normalised embeddings, normalised again.
    """
    return F.normalize(F.normalize(prompt_embeddings, dim=-1).mean(1), dim=-1)


def classify(image_embeddings: Tensor, class_embeddings: Tensor) -> Tensor:
    """Zero-shot classification: (B, E) pictures, (C, E) classes -> (B,) index of the class of the highest cosine.

    Among equal classes the first is taken: a collapsed model gives one class to every picture, which scores chance.
    ValueError for embeddings that are not finite.
    """
    return finite(F.normalize(image_embeddings, dim=-1) @ F.normalize(class_embeddings, dim=-1).T).argmax(-1)


def result_row(metric: str, hits: Tensor, chance: float, seed: int) -> Row:
    """A line of a result: the mean of hits (Q,) with its interval over queries, and what a random order has."""
    value, low, high = bootstrap_interval(hits.float().cpu(), seed=seed)
    return {"metric": metric, "value": value, "low": low, "high": high, "chance": chance}


@torch.no_grad()
def retrieval(
    model: DualEncoder | Stage1, count: int = 500, seed: int = 0, device: torch.device | str = "cpu",
    candidates: int = 16,
) -> list[Row]:  # fmt: skip
    """TR@1/5/10 and IR@1/5/10 on held-out scenes of the mini-world, each with one that differs in a single attribute.

    By the first stage of BLIP-2 with ITC, then with ITM ranking ITC's first `candidates` again (the paper: 128), 0 for
    never.
    """
    generator = torch.Generator(device).manual_seed(1_000_003 + seed)
    scenes = near_duplicates(count, generator)
    text = compact(describe(scenes), TEXT_LENGTH, fill=0)
    if isinstance(model, DualEncoder):
        images = render(scenes, generator, model.resolution)
        found = retrieval_rows(model.encode_image(images), model.encode_text(text, text != 0))
        return [result_row(f"{line.direction}@{line.k}", line.hits, line.chance, seed) for line in found]
    text = torch.cat([ids(BOS).to(device).expand(count, 1), text], 1)
    images = render(scenes, torch.Generator(device).manual_seed(1_000_033 + seed), model.config.vision.resolution)
    own = torch.eye(count, dtype=torch.bool, device=device)
    return matching_rows(model, model.see(images), text, own, seed, candidates)


@torch.no_grad()
def zero_shot(model: DualEncoder, count: int = 1000, seed: int = 0, device: torch.device | str = "cpu") -> list[Row]:
    """What contrastive eyes classify without a language model, on pictures of held-out pairs.

    Which of the 120 colour-shape pairs is it? A class is the mean of three captions. And the classes of the task
    `classification`: by their descriptions, and by the nearest of one picture or five of each.
    """
    generator = torch.Generator(device).manual_seed(2_000_003 + seed)
    scenes = sample_scenes(count, generator, split="held-out")
    lines = [f"a {t} {colour} {shape} . <EOC>" for shape in SHAPES for colour in COLOURS for t in TEXTURES]
    text = compact(torch.tensor([tokenizer().encode(line) for line in lines], device=device), TEXT_LENGTH, fill=0)
    classes = ensemble(model.encode_text(text, text != 0).unflatten(0, (-1, len(TEXTURES))))
    predicted = classify(model.encode_image(render(scenes, generator, model.resolution)), classes)
    right = predicted == scenes.colour[:, 0] + len(COLOURS) * scenes.shape[:, 0]
    rows = [result_row("zero-shot accuracy", right, 1 / len(classes), seed)]

    def some(number: int) -> tuple[Episodes, Tensor]:
        drawn = TASKS["classification"].sample(number, generator, Settings(shots=0))
        return drawn, model.encode_image(drawn.paint(generator, model.resolution)[:, 0, 0])  # (M, E)

    (asked, images), (shown, pictures) = some(count), some(5 * CLASSES)
    text = compact(shown.descriptions[:CLASSES, 0], TEXT_LENGTH, fill=0)
    by = {"classification by text": model.encode_text(text, text != 0), "by the nearest of 1 each": pictures[:CLASSES],
          "by the nearest of 5 each": pictures}  # fmt: skip
    for name, references in by.items():
        right = shown.target[classify(images, references)] == asked.target
        rows.append(result_row(name, right, 1 / CLASSES, seed))
    return rows


@torch.no_grad()
def matching_rows(
    model: Stage1, x_f: Tensor, text: Tensor, right: Tensor, seed: int = 0, candidates: int = 16
) -> list[Row]:
    """R@k by ITC and by ITM, of any pictures' features (N, S, D) and texts (N, L), [CLS] first and padded with 0.

    right (N, N) bool: which text belongs to which picture.
    """
    real = text != 0
    similar = model.similarity(model.image_embeddings(model.qformer(x_f)[0]), model.text_embeddings(text, real))
    rows = []
    for by in ("ITC", "ITM") if candidates else ("ITC",):
        for direction, scores, own in (("TR", similar, right), ("IR", similar.T, right.T)):
            if by == "ITM":
                scores = rerank(model, scores, x_f, text, real, direction, candidates)
            rank = ranks(scores, own)
            rows += [result_row(f"{direction}@{k}, {by}", rank <= k, chance(own, k), seed) for k in (1, 5, 10)]
    return rows


def rerank(
    model: Stage1, scores: Tensor, x_f: Tensor, text: Tensor, real: Tensor, direction: str, candidates: int
) -> Tensor:
    """Scores (Q, C) in which each row's best `candidates` are put first, in the order of ITM's match."""
    found = scores.clone()
    best = scores.topk(min(candidates, scores.shape[1]), 1).indices  # (Q, k)
    for queries in torch.arange(len(scores), device=scores.device).split(8):
        own, others = queries[:, None].expand_as(best[queries]).flatten(), best[queries].flatten()
        pictures, texts = (own, others) if direction == "TR" else (others, own)
        logits = model.match(x_f[pictures], text[texts], real[texts])
        found[own, others] = 10 + logits.log_softmax(-1)[:, 1]  # above every cosine
    return found


def first_stage(run: str | Path) -> Stage1:
    """The first stage of a run of BLIP-2, whichever stage the run is of. CheckpointError where there is none."""
    place = find(run)
    if read_card(place)["kind"] == "blip2":
        if not (place / STAGE_1).is_dir():
            raise CheckpointError(f"{run}: has no stage 1, which retrieval needs: name the run of stage 1")
        place = place / STAGE_1
    model, _ = load(place)
    if not isinstance(model, Stage1):
        raise CheckpointError(f"{run}: is no BLIP-2: name a run of train blip2, such as blip2-nano")
    return model


@torch.no_grad()
def retrieval_of_names(
    model: Stage1, tokenizer: Tokenizer, data: Named, seed: int = 0, candidates: int = 16
) -> list[Row]:
    """TR@k and IR@k of held-out things: each vendor's picture among their names, and back; rows have the vendor."""
    rows = []
    device = next(model.parameters()).device
    for vendor in data.vendors:
        pictures, names = pairs(data, "held-out", vendor)
        text = name_texts(names, tokenizer, model.config.qformer.context).to(device)
        x_f = torch.cat([model.see(some.to(device).float() / 255) for some in pictures.split(32)])
        found = matching_rows(model, x_f, text, same_text(text), seed, candidates)
        rows += [row | {"metric": f"{row['metric']}, {vendor}"} for row in found]
    return rows


@torch.no_grad()
def retrieval_across_vendors(encoder: Encoder, data: Named, seed: int = 0) -> list[Row]:
    """R@k of held-out things by a frozen encoder alone: which picture of the next vendor resembles this one the most?

    ValueError for pictures of one vendor.
    """
    if len(data.vendors) < 2:
        raise ValueError("pictures of one vendor, and retrieval between vendors needs two: choose --data emoji")
    pictures = data.pictures[:, data.rows("held-out")]  # (V, N, 3, R, R)
    device = next(encoder.parameters()).device
    x = [torch.cat([encoder.pool(encoder(some.to(device).float() / 255)) for some in p.split(32)]) for p in pictures]
    rows = []
    for i, ends in enumerate(zip(data.vendors, data.vendors[1:], strict=False)):
        for line in retrieval_rows(x[i], x[i + 1]):
            metric = f"R@{line.k}, {' to '.join(ends if line.direction == 'TR' else ends[::-1])}"
            rows.append(result_row(metric, line.hits, line.chance, seed))
    return rows

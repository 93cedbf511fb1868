"""Retrieval and zero-shot classification from embeddings: pure functions of tensors.

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

import torch
from torch import Tensor
from torch.nn import functional as F

from minilmm.nn.decoding import finite


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

"""Retrieval: recall at k, and nearest neighbours for a prompt (Flamingo, section 3 and RICES in the appendix)."""

import torch
from torch import Tensor


def recall_at(similarity: Tensor, k: int) -> tuple[float, float]:
    """TR@k and IR@k of N pairs, k from 1 to N: similarity (N, N), row i is picture i, text i is its own.

    TR@k: for how many pictures, as a share of N, is the own text among the k most similar texts? IR@k: for how many
    texts is the own picture among the k most similar pictures? A tie counts against: a stranger that is as similar
    stands before the own one, so that a model to which everything is alike gets 0 and not 1.
    """
    # BEGIN SOLUTION
    own = similarity.diagonal()
    others = ~torch.eye(len(similarity), dtype=torch.bool)
    before_text = ((similarity >= own[:, None]) & others).sum(1)  # (N,): strangers before picture i's own text
    before_picture = ((similarity >= own[None, :]) & others).sum(0)
    return (before_text < k).float().mean().item(), (before_picture < k).float().mean().item()
    # END SOLUTION


def demonstrations_for(query: Tensor, support: Tensor, shots: int) -> list[int]:
    """The `shots` pictures most like the query by cosine, the most similar *last*: (D,) and (N, D) -> indices.

    Last stands nearest to the question. 0 shots are an empty list. ValueError where fewer pictures are there than shots
    are wanted.
    """
    # BEGIN SOLUTION
    if shots > len(support):
        raise ValueError(f"{shots} shots from {len(support)} pictures: take fewer shots or more pictures")
    cosine = (support @ query) / (support.norm(dim=1) * query.norm())
    return cosine.argsort()[len(support) - shots :].tolist()
    # END SOLUTION

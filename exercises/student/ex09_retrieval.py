"""Retrieval: recall at k, and nearest neighbours for a prompt (Flamingo, section 3 and RICES in the appendix)."""

import torch
from torch import Tensor


def recall_at(similarity: Tensor, k: int) -> tuple[float, float]:
    """TR@k and IR@k of N pairs, k from 1 to N: similarity (N, N), row i is picture i, text i is its own.

    TR@k: for how many pictures, as a share of N, is the own text among the k most similar texts? IR@k: for how many
    texts is the own picture among the k most similar pictures? A tie counts against: a stranger that is as similar
    stands before the own one, so that a model to which everything is alike gets 0 and not 1.
    """
    raise NotImplementedError("your code here")


def demonstrations_for(query: Tensor, support: Tensor, shots: int) -> list[int]:
    """The `shots` pictures most like the query by cosine, the most similar *last*: (D,) and (N, D) -> indices.

    Last stands nearest to the question. 0 shots are an empty list. ValueError where fewer pictures are there than shots
    are wanted.
    """
    raise NotImplementedError("your code here")

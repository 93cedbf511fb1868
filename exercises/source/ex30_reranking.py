"""Retrieval in two steps: ITC finds candidates, ITM puts them in order (BLIP-2, retrieval).

ITC compares vectors that were made apart: N pictures and M texts take N + M runs, and a table of cosines. ITM reads
each pair together, which takes a run per pair. So ITC chooses the k best (128 in the paper), and ITM reads those alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Match = Callable[[Tensor, Tensor], Tensor]  # numbers of pictures (n,), of texts (n,) -> probabilities of a match (n,)


def candidates(similar: Tensor, k: int) -> Tensor:
    """The k columns that each row is most similar to, best first: (N, M) -> (N, k), or (N, M) where k is larger."""
    # BEGIN SOLUTION
    return similar.topk(min(k, similar.shape[1]), 1).indices
    # END SOLUTION


def ranked_texts(similar: Tensor, match: Match, k: int) -> Tensor:
    """For every picture (row of ITC's similarities) all texts, best first: (N, M) -> numbers of texts (N, M).

    The k most similar come first, by the probability that `match` gives them, and by that alone. The rest follow, in
    order of similarity. `match` is slow: ask it once about each candidate and about nothing else.
    """
    # BEGIN SOLUTION
    order = candidates(similar, similar.shape[1])  # (N, M)
    first, rest = order[:, :k], order[:, k:]
    pictures = torch.arange(len(similar))[:, None].expand_as(first)
    matched = match(pictures.flatten(), first.flatten()).view_as(first)  # (N, k)
    return torch.cat([first.gather(1, matched.argsort(1, descending=True)), rest], 1)
    # END SOLUTION


def ranked_images(similar: Tensor, match: Match, k: int) -> Tensor:
    """For every text (*column* of the same (N, M)) all pictures, best first, likewise -> numbers of pictures (M, N).

    `match` is the same function: it takes pictures first, then texts.
    """
    # BEGIN SOLUTION
    return ranked_texts(similar.T, lambda texts, pictures: match(pictures, texts), k)
    # END SOLUTION

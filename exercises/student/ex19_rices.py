"""RICES, examples chosen for each query, and answers averaged over orders (Yang et al. 2021; Flamingo, appendix A.2).

Exercise 09 looked for one query's neighbours. A benchmark asks many, and often draws its queries from the very pool
that the examples come from: then the nearest picture is the query, and its answer would stand in the prompt.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def nearest(queries: Tensor, support: Tensor, k: int, own: Tensor) -> Tensor:
    """The k pictures most like each query by cosine, the most similar *last*: (B, D) and (N, D) -> (B, k) indices.

    queries, support: features of the frozen eyes. own (B,): each query's own place in the support, -1 where it is not
    there. A query is never its own example; another picture with the same features may be. Last stands nearest to the
    question. One batch may hold queries of both kinds. ValueError where some query has fewer than k *other* pictures;
    for one that is not in the support all are others.
    """
    raise NotImplementedError("your code here")


def arranged(chosen: Tensor, orders: Tensor) -> Tensor:
    """The same k examples in P orders: chosen (k,), orders (P, k) -> (P, k).

    Under the order (2, 0, 1) the prompt shows the example that was chosen third, then the first, then the second.
    """
    raise NotImplementedError("your code here")


def ensembled(logs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean log-likelihood of each candidate over the orders, and the best candidate.

    logs (B, P, C): the log-likelihood of each of C candidates behind each of P prompts, which show the same examples in
    different orders -> (B, C) and (B,).
    """
    raise NotImplementedError("your code here")

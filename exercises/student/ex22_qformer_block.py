"""A block of the Q-Former: shared self-attention, a look at the picture, two feed-forwards (section 3.1, figure 2).

The Q-Former is a BERT, so its norms come *after* each part and its residual: norm(x + part(x)). (Flamingo's blocks and
most language models of today normalise before.) Several heads, biases and the gains of the norms are left out here;
norm is `F.layer_norm(x, x.shape[-1:])`.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = dict[str, Tensor]


def attention(x: Tensor, context: Tensor, mask: Tensor | None, weights: Weights) -> Tensor:
    """x (B, L, D) looks at context (B, K, D_c) where the mask (B, L, K) is True, None: everywhere -> (B, L, D).

    One head: queries x @ weights["q"], keys and values context @ weights["k"] and @ weights["v"], scores divided by the
    square root of their width D. What is seen goes through weights["o"] (D, D), is added to x, and the sum is normed.
    """
    raise NotImplementedError("your code here")


def feed_forward(x: Tensor, weights: Weights) -> Tensor:
    """weights["up"] (D, H), GELU, weights["down"] (H, D), added to x, normed: (B, L, D) -> (B, L, D)."""
    raise NotImplementedError("your code here")


def block(x: Tensor, queries: int, x_f: Tensor, mask: Tensor | None, weights: dict[str, Weights]) -> Tensor:
    """One block: x (B, Q + L, D), of which the first Q are queries -> (B, Q + L, D).

    1. weights["self"]: queries and words together, in one self-attention, under the mask (B, Q + L, Q + L).
    2. weights["cross"]: the queries, and they alone, look at all of the picture's features x_f (B, S, D_s). Every other
       block has no such weights: there this step is left out.
    3. weights["ffw_query"] for the queries, weights["ffw_text"] for the words.

    Gradients pass to all that comes in.
    """
    raise NotImplementedError("your code here")

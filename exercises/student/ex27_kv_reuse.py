"""What the queries computed for ITC serves ITG too (section 3.2, figure 2; the authors' code does this).

Neither mask lets a query see a word. So the queries run alone, once, and the keys and values that they had in every
layer are kept: the words of ITG find them there and run by themselves. ITM must run everything: its queries see words.

The model is as small as can be: in each layer one head of self-attention is added to what came in. No norms, no
feed-forward, no picture.
"""

import torch
from ex21_masks import causal  # the reference's, unless graded with --chain
from torch import Tensor

Weights = dict[str, Tensor]
Past = tuple[Tensor, Tensor]  # keys and values, (B, K, D) each


def layer(x: Tensor, mask: Tensor | None, weights: Weights, past: Past | None = None) -> tuple[Tensor, Past]:
    """Tokens x (B, L, D) after one layer, (B, L, D), and *their own* keys and values.

    Queries, keys and values are x @ weights["q"], ["k"] and ["v"], scores are divided by the square root of D; what is
    seen is added to x. past: keys and values of tokens in front, which x sees besides its own. mask (B, L, K + L) bool,
    of which the first K columns belong to `past`; None: all see all.
    """
    raise NotImplementedError("your code here")


def queries_alone(x: Tensor, layers: list[Weights]) -> tuple[Tensor, list[Past]]:
    """ITC's run: queries (B, Q, D), which all see each other, through all layers -> (B, Q, D), every layer's `Past`."""
    raise NotImplementedError("your code here")


def words_behind(x: Tensor, real: Tensor, kept: list[Past], layers: list[Weights]) -> Tensor:
    """ITG's run: words (B, L, D), real (B, L) bool, behind queries that have run -> the words' outputs (B, L, D).

    As if queries and words had run together under the causal mask of exercise 21, `causal(queries, real)`.
    """
    raise NotImplementedError("your code here")


def may_reuse(mask: Tensor, queries: int) -> bool:
    """Would queries that run alone compute what they do under this mask, (B, Q + L, Q + L) bool, whatever it is?"""
    raise NotImplementedError("your code here")

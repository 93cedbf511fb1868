"""Decoding with a key-value cache: every token is read once."""

import torch
from ex03_attention import attention  # the reference's, unless graded with --chain
from torch import Tensor

Cache = dict[str, Tensor]


def step(x: Tensor, weights: dict[str, Tensor], cache: Cache) -> tuple[Tensor, Cache]:
    """One head of self-attention for one new token, with all earlier keys and values from the cache.

    x: (B, 1, D), the new token; weights: "q", "k", "v", each (D, d); cache: {} at first, then {"k": (B, L, d),
    "v": (B, L, d)} of the L tokens so far -> the new token's output (B, 1, d), and a new cache of L + 1 tokens.

    Give back a new dictionary: the one that came in may be in use for another continuation of the same prompt.
    """
    raise NotImplementedError("your code here")


def prefill(x: Tensor, weights: dict[str, Tensor]) -> tuple[Tensor, Cache]:
    """Read a whole prompt at once: x (B, L, D) -> outputs (B, L, d), each as if decoded step by step, and the cache.

    Use `attention` of exercise 03, which wants heads: (B, H, L, d) with H = 1.
    """
    raise NotImplementedError("your code here")

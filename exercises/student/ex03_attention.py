"""Scaled dot-product attention with a causal mask (Vaswani et al. 2017, section 3.2.1)."""

import torch
from torch import Tensor


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Every position looks at itself and at what came before it.

    q, k: (B, H, L, d); v: (B, H, L, d_v) -> (B, H, L, d_v)

    1. Scores: the dot product of every query with every key, divided by the square root of d.  (B, H, L, L)
    2. A query at position i must not see keys at positions j > i.
    3. Softmax over the keys, then the weighted mean of the values.
    """
    raise NotImplementedError("your code here")

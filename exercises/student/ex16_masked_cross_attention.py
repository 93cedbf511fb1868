"""Cross-attention in which some rows may look nowhere (Flamingo, section 2.3: text in front of the first picture).

A softmax always sums to 1: over scores that are all -inf it is NaN, and over scores that are all the same huge negative
number it is uniform, so that text without a picture sees all of them. transformers had this in its Idefics (#26428).
"""

from torch import Tensor


def cross_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Text looks at pictures' tokens: q (B, H, L, d), k and v (B, H, K, d) -> (B, L, D).

    1. Scores: queries with keys, divided by the square root of d. mask (B, L, K) bool: True where a query may look, the
       same for all heads.
    2. Softmax over the keys that may be seen, then the weighted mean of the values.
    3. The heads side by side, (B, L, H d), then the output map: @ weight.T + bias, with weight (D, H d), bias (D,).
    4. A row that may look nowhere gives exactly 0, and no gradient is NaN, whatever the inputs.
    """
    raise NotImplementedError("your code here")

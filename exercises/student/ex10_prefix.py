"""The visual prefix: pictures as words that no dictionary has (Tsimpoukelli et al. 2021, section 3)."""

import torch
from torch import Tensor

IMAGE = 3


def prefix(pooled: Tensor, weight: Tensor, n: int) -> Tensor:
    """n vectors as wide as a word embedding for every picture: (M, D_v) and (n D, D_v) -> (M, n, D).

    One linear map without a bias. The first D of its outputs are the first vector, the next D the second, and so on.
    """
    raise NotImplementedError("your code here")


def splice(words: Tensor, ids: Tensor, prefixes: Tensor) -> Tensor:
    """One document with every picture's prefix in place of its tag.

    words (L, D): the word embeddings; ids (L,): the tokens; prefixes (M, n, D): in the order of the tags, M may be 0
    -> (L + (n - 1) M, D). The tag's own embedding goes. ValueError where tags and prefixes differ in number.
    """
    raise NotImplementedError("your code here")

"""InfoNCE with a temperature, both ways (Radford et al. 2021, figure 3; Flamingo's eyes are trained with it)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def similarities(images: Tensor, texts: Tensor) -> Tensor:
    """Cosines of every picture with every text: (B, D) and (B, D) -> (B, B), row i is picture i."""
    # BEGIN SOLUTION
    return F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    # END SOLUTION


def info_nce(similarity: Tensor, temperature: float) -> Tensor:
    """The loss of a batch of pairs, in nats: cosines (B, B) with the pairs on the diagonal -> a number.

    The cosines divided by the temperature are logits. Each picture must find its text among the B texts, each text its
    picture among the B pictures: two cross-entropies, each the mean over B, and the loss is the mean of the two.
    """
    # BEGIN SOLUTION
    logits = similarity / temperature
    pairs = torch.arange(len(logits))
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2
    # END SOLUTION

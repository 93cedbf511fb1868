"""GATED XATTN-DENSE, the layer that Flamingo puts between frozen blocks (section 2.2, figure 4)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class GatedBlock(nn.Module):
    """What text sees is added to it through a gate, and what it makes of that through a second gate.

    attention: a function of (y, x, mask) that gives (B, L, D). It is 0 for a token that may look at nothing.
    ffw: a function of y that gives (B, L, D), token by token. It need not be 0 anywhere.
    Both hold their own layer norms: you add none.
    """

    def __init__(self, attention: Callable[[Tensor, Tensor, Tensor], Tensor], ffw: Callable[[Tensor], Tensor]):
        """Two trained gates, `alpha_xattn` and `alpha_dense`: one number each, of shape (1,), closed at first."""
        super().__init__()
        self.attention, self.ffw = attention, ffw
        raise NotImplementedError("your code here")

    def forward(self, y: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        """Text y (B, L, D), pictures' tokens x (B, K, D), mask (B, L, K) bool, True where y may look -> (B, L, D).

        First y <- y + tanh(alpha_xattn) attention, then y <- y + tanh(alpha_dense) ffw of the new y. A token that may
        look at nothing leaves the block as it came, bit for bit, whatever the gates.
        """
        raise NotImplementedError("your code here")

"""Where on the grid a feature stands, for attention that takes features in any order.

The features of deep encoders hold their places already, and the papers add none. Those of a small convolutional network
hardly do: what stands first and what second can be read from the whole grid in order, but not from a set of features.
DETR (Carion et al. 2020, section 3.2) adds such sines to a convolutional network's features for the same reason.
"""

from __future__ import annotations

import torch
from torch import Tensor


def grid_sines(places: int, width: int) -> Tensor:
    """Sines and cosines of each place's row and column, from half a turn of the grid's side to four: (S, D).

    ValueError where the places are no square, or the width is no multiple of 4.
    """
    side, quarter = round(places**0.5), width // 4
    if side**2 != places or quarter * 4 != width:
        raise ValueError(f"{places} features of width {width}: need a square grid, and a width that 4 divides")
    turns = 2.0 ** (3 * torch.arange(quarter) / quarter - 1)
    angle = 2 * torch.pi * torch.arange(side)[:, None] / side * turns  # (side, D / 4)
    one = torch.cat([angle.sin(), angle.cos()], 1)
    return torch.cat([one[:, None].expand(-1, side, -1), one.expand(side, -1, -1)], -1).flatten(0, 1)


def with_places(x_f: Tensor, size: float) -> Tensor:
    """Features (..., S, D) and `size` times the sines of their places; unchanged where that is 0."""
    return x_f if not size else x_f + size * grid_sines(*x_f.shape[-2:]).to(x_f)

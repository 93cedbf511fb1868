"""Rotary positions, RoPE (Su et al. 2021, section 3.2), in the half-split layout of Llama."""

import torch
from torch import Tensor


def angles(positions: Tensor, width: int, theta: float) -> Tensor:
    """How far each pair of dimensions turns at each position, in radians: (L,) -> (L, width / 2).

    Pair i of width / 2 turns by  position * theta ** (-2 i / width):  the first fast, the last slowly.
    """
    raise NotImplementedError("your code here")


def rotate(x: Tensor, angle: Tensor) -> Tensor:
    """Turn every pair of a vector by its angle, counter-clockwise: x (..., L, width), angle (L, width / 2).

    Pair i is (x[i], x[i + width / 2]):  (a, b) -> (a cos - b sin, b cos + a sin).
    """
    raise NotImplementedError("your code here")

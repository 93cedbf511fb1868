"""Scaled weight standardisation, in place of batch normalisation (Brock, De & Smith 2021, section 4)."""

import torch
from torch import Tensor


def standardise(weight: Tensor, gain: Tensor, eps: float = 1e-4) -> Tensor:
    """A convolution's weights, standardised filter by filter: (O, I, k, k) and gain (O,) -> (O, I, k, k).

    Every filter (one output channel) sees N = I k k inputs, its fan-in. Take off the filter's mean, divide by the
    square root of (N times its variance, but at least eps), and multiply by its gain. Then inputs of variance 1 give
    outputs of variance gain^2, and the positive mean that activations have does not grow from layer to layer.

    The variance is the mean squared deviation: the sum of squares divided by N, not by N - 1.
    """
    raise NotImplementedError("your code here")

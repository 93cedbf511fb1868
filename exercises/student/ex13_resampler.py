"""The Perceiver resampler: features of any number of frames in, R tokens out (Flamingo, section 2.1, figure 5).

Layer norms, several heads and the map behind the heads are left out here, so that numbers can be followed by hand.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

Weights = dict[str, Tensor]


def times_for(frames: int, times: Tensor) -> Tensor:
    """One time embedding per frame: F learned ones (F, D) -> (frames, D).

    No more frames than F: the first ones as they are. More: the first and the last learned one belong to the first and
    the last frame, and the frames between stand at equal distances and are interpolated linearly. (Flamingo was trained
    on 8 frames and tested on 30 in this way.)
    """
    raise NotImplementedError("your code here")


def with_times(x_f: Tensor, times: Tensor) -> Tensor:
    """Features (M, T, S, D) of M pictures or videos: T frames of S places -> (M, T S, D), in order of time.

    Every frame gets its time embedding, the same at all its places. Places get none: the eyes have marked them.
    """
    raise NotImplementedError("your code here")


def attend(x: Tensor, x_f: Tensor, weights: Weights) -> Tensor:
    """R latents (M, R, D) look at features (M, K, D) *and* at themselves -> (M, R, D).

    One head: queries x @ weights["q"]; keys and values from the features and, behind them, the latents:
    [x_f, x] @ weights["k"] and [x_f, x] @ weights["v"]. Scores are divided by the square root of D.
    """
    raise NotImplementedError("your code here")


def layer(x: Tensor, x_f: Tensor, weights: Weights) -> Tensor:
    """The latents after one layer: (M, R, D) and (M, K, D) -> (M, R, D).

    x plus what it sees, and that plus its feed-forward: squared ReLU, max(0, h)^2, between the matrices
    weights["up"] (D, 4 D) and weights["down"] (4 D, D).
    """
    raise NotImplementedError("your code here")


def resample(x_f: Tensor, latents: Tensor, times: Tensor, layers: list[Weights]) -> Tensor:
    """Features (M, T, S, D) -> (M, R, D): the same R learned latents (R, D) start for every picture or video.

    Each layer looks anew at all features with their times, and goes on with the latents of the layer before.
    """
    raise NotImplementedError("your code here")

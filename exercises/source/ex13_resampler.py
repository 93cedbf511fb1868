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
    # BEGIN SOLUTION
    if frames <= len(times):
        return times[:frames]
    return F.interpolate(times.T[None], size=frames, mode="linear", align_corners=True)[0].T
    # END SOLUTION


def with_times(x_f: Tensor, times: Tensor) -> Tensor:
    """Features (M, T, S, D) of M pictures or videos: T frames of S places -> (M, T S, D), in order of time.

    Every frame gets its time embedding, the same at all its places. Places get none: the eyes have marked them.
    """
    # BEGIN SOLUTION
    return (x_f + times_for(x_f.shape[1], times)[:, None]).flatten(1, 2)
    # END SOLUTION


def attend(x: Tensor, x_f: Tensor, weights: Weights) -> Tensor:
    """R latents (M, R, D) look at features (M, K, D) *and* at themselves -> (M, R, D).

    One head: queries x @ weights["q"]; keys and values from the features and, behind them, the latents:
    [x_f, x] @ weights["k"] and [x_f, x] @ weights["v"]. Scores are divided by the square root of D.
    """
    # BEGIN SOLUTION
    both = torch.cat([x_f, x], 1)  # (M, K + R, D)
    q, k, v = x @ weights["q"], both @ weights["k"], both @ weights["v"]
    scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5  # (M, R, K + R)
    return scores.softmax(-1) @ v
    # END SOLUTION


def layer(x: Tensor, x_f: Tensor, weights: Weights) -> Tensor:
    """The latents after one layer: (M, R, D) and (M, K, D) -> (M, R, D).

    x plus what it sees, and that plus its feed-forward: squared ReLU, max(0, h)^2, between the matrices
    weights["up"] (D, 4 D) and weights["down"] (4 D, D).
    """
    # BEGIN SOLUTION
    x = x + attend(x, x_f, weights)
    return x + (x @ weights["up"]).relu().square() @ weights["down"]
    # END SOLUTION


def resample(x_f: Tensor, latents: Tensor, times: Tensor, layers: list[Weights]) -> Tensor:
    """Features (M, T, S, D) -> (M, R, D): the same R learned latents (R, D) start for every picture or video.

    Each layer looks anew at all features with their times, and goes on with the latents of the layer before.
    """
    # BEGIN SOLUTION
    x_f = with_times(x_f, times)
    x = latents.expand(len(x_f), -1, -1)
    for weights in layers:
        x = layer(x, x_f, weights)
    return x
    # END SOLUTION

"""One update from several data sets: accumulated, clipped once, decayed by groups (Flamingo, section 2.4 and B.1).

The model is a line: the prediction for an input x (D,) is x @ w. A data set is a pair of inputs (n, D) and targets
(n,). Its loss is the mean of the squared errors over its own n examples.
"""

import torch
from torch import Tensor, nn

Data = tuple[Tensor, Tensor]


def weighted_loss(w: Tensor, datasets: list[Data], weights: list[float]) -> Tensor:
    """What is to be made small: the sum over data sets of weight (lambda of the paper) times loss. (D,) -> a number.

    The weights are taken as they are: they need not sum to 1.
    """
    # BEGIN SOLUTION
    losses = [(x @ w - y).square().mean() for x, y in datasets]
    return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum()
    # END SOLUTION


def accumulated(w: Tensor, datasets: list[Data], weights: list[float]) -> Tensor:
    """The gradient of the same sum with respect to w, data set by data set: (D,).

    Each data set's gradient is taken by itself and added to what is there: so the activations of one data set at a time
    are in memory. (By hand: that of a mean squared error is 2 / n times x.T @ (x @ w - y).)
    """
    # BEGIN SOLUTION
    gradient = torch.zeros_like(w)
    for (x, y), weight in zip(datasets, weights, strict=True):
        gradient = gradient + weight * 2 / len(y) * x.T @ (x @ w - y)
    return gradient
    # END SOLUTION


def update(w: Tensor, datasets: list[Data], weights: list[float], rate: float, limit: float) -> Tensor:
    """The new w after one step of gradient descent with what was accumulated: (D,).

    Where the accumulated gradient is longer than `limit` it is shortened to that length, in its own direction.
    """
    # BEGIN SOLUTION
    gradient = accumulated(w, datasets, weights)
    return w - rate * gradient * (limit / gradient.norm()).clamp(max=1)
    # END SOLUTION


def round_robin(w: Tensor, datasets: list[Data], weights: list[float], rate: float) -> Tensor:
    """The new w after a round in which each data set in turn has a step of its own: (D,). No clipping.

    What Flamingo's authors compare with, and found worse. A step's gradient is that of one data set, times its weight.
    """
    # BEGIN SOLUTION
    for data, weight in zip(datasets, weights, strict=True):
        w = w - rate * accumulated(w, [data], [weight])
    return w
    # END SOLUTION


def decay_groups(model: nn.Module, decay: float) -> list[dict]:
    """Parameter groups for `torch.optim.AdamW`: [{"params": [...], "weight_decay": ...}, ...].

    Only what is trained (`requires_grad`) stands in a group, each parameter once. No decay (0.0): all of
    `model.resampler`, as in the paper, and, as is usual, everything with fewer than two dimensions (biases, the gains
    of layer norms, gates). All other parameters: `decay`.
    """
    # BEGIN SOLUTION
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    spared = {name for name, p in trained.items() if name.startswith("resampler.") or p.dim() < 2}
    return [
        {"params": [p for name, p in trained.items() if name not in spared], "weight_decay": decay},
        {"params": [p for name, p in trained.items() if name in spared], "weight_decay": 0.0},
    ]
    # END SOLUTION

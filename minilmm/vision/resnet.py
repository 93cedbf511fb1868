"""NF-ResNet: a residual network without normalisation layers, the kind of eyes that Frozen and Flamingo have.

Sources: [1] Brock, De & Smith, "Characterizing signal propagation to close the performance gap in unnormalized
ResNets", ICLR 2021. [2] Brock, De, Smith & Simonyan, "High-performance large-scale image recognition without
normalization", ICML 2021. [3] De & Smith, "Batch normalization biases residual blocks towards the identity function
in deep networks", NeurIPS 2020 (SkipInit).

What batch normalisation did, three constants and one reparametrisation do here, so that no picture's features depend on
its neighbours in the batch. In a block  x_{l+1} = x_l + alpha * f_l(x_l / beta_l)  [1, section 4; 2, section 2]:
    beta_l    the standard deviation of x_l expected at initialisation, so that f_l reads unit variance
    alpha     how much variance a block adds: with Var(f_l) = 1, beta_{l+1}^2 = beta_l^2 + alpha^2
    gamma     makes the activation g preserve variance: Var(gamma * g(z)) = 1 for z ~ N(0, 1)
    W_hat     weights of mean 0 and variance 1 / fan-in per output channel: a convolution preserves variance, and the
              positive means that activations have cannot grow from block to block
One thing is simpler than in the papers: where the grid halves, theirs add a residual branch to a strided convolution;
ours is that convolution alone, and the variance starts afresh at 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ALPHA = 0.2  # as in [1] and [2]
GAMMA = 1.7015  # of GELU: (Var gelu(z))^-1/2 for z ~ N(0, 1); that of ReLU is (2 / (1 - 1/pi))^1/2 [1, section 4]


def activation(x: Tensor, beta: float = 1.0) -> Tensor:
    """gelu(x / beta); the gamma that it needs sits in the weights of the convolution that follows, as in [1]."""
    return F.gelu(x if beta == 1 else x / beta)


class StandardisedConv(nn.Module):
    """A convolution with scaled weight standardisation: (M, I, H, W) -> (M, O, H / stride, W / stride).

    W_hat = gamma * gain * (W - mean W) / (N * var W)^1/2, the mean and the variance over the fan-in N = I * k * k of
    each output channel [1, section 4; 2, equation 1]; gain is learned, gamma fixed. `forward` takes a scale of the
    output, which is applied to the weights because they are smaller.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, gamma: float = GAMMA):
        super().__init__()
        self.stride, self.padding, self.gamma = stride, (kernel - 1) // 2, gamma
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) / math.sqrt(inputs * kernel * kernel))
        self.gain = nn.Parameter(torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def standardised(self) -> Tensor:
        """W_hat, (O, I, k, k)."""
        fan_in = self.weight[0].numel()
        var, mean = torch.var_mean(self.weight, dim=(1, 2, 3), correction=0, keepdim=True)  # (O, 1, 1, 1)
        scale = (var * fan_in).clamp(min=1e-4).rsqrt() * (self.gamma * self.gain.view(-1, 1, 1, 1))
        return (self.weight - mean) * scale

    def forward(self, x: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        return F.conv2d(x, self.standardised() * scale, self.bias * scale, self.stride, self.padding)


class Block(nn.Module):
    """A pre-activation bottleneck, the inner width half of D: x (M, D, H, W) -> x + alpha * f(x / beta), same shape.

    `skip_gain` multiplies the branch and starts at 0, so that a new network is its transitions only (SkipInit [3]).
    """

    def __init__(self, width: int, beta: float):
        super().__init__()
        self.beta = beta
        self.conv1 = StandardisedConv(width, width // 2, 1)
        self.conv2 = StandardisedConv(width // 2, width // 2, 3)
        self.conv3 = StandardisedConv(width // 2, width, 1)
        self.skip_gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(activation(x, self.beta))  # (M, D / 2, H, W)
        h = self.conv2(activation(h))
        return x + self.conv3(activation(h), scale=ALPHA * self.skip_gain)


class Stage(nn.Module):
    """A transition, which halves the grid and sets the variance back to 1, then residual blocks at one width."""

    def __init__(self, inputs: int, width: int, blocks: int, beta: float):
        super().__init__()
        self.beta_in = beta
        self.transition = StandardisedConv(inputs, width, 3, stride=2)
        self.blocks = nn.ModuleList(Block(width, math.sqrt(1 + b * ALPHA**2)) for b in range(blocks))
        self.beta = math.sqrt(1 + blocks * ALPHA**2)  # of the output

    def forward(self, x: Tensor) -> Tensor:
        x = self.transition(activation(x, self.beta_in))  # (M, D, H / 2, W / 2)
        for block in self.blocks:
            x = block(x)
        return x


class NFResNet(nn.Module):
    """Pictures (M, 3, H, W) in [0, 1] -> features (M, S, D), S = (H / 2^(1 + stages))^2, D the last stage's width.

    The stem halves the grid and so does each stage: 48 pixels give 6 x 6 after two stages, 224 give 7 x 7 after four,
    as in ResNet-50. A 3 x 3 kernel of stride 2 stands on even pixels, so after two stages the grid's position (r, c) is
    centred on pixel (8 r, 8 c), not on the middle of an 8 x 8 patch.
    """

    def __init__(self, resolution: int, stem: int, widths: Sequence[int], blocks: Sequence[int]):
        super().__init__()
        shrink = 2 ** (1 + len(widths))
        if len(widths) != len(blocks) or not widths or min(blocks) < 0:
            raise ValueError(f"widths {tuple(widths)}, blocks {tuple(blocks)}: each stage needs a width and a number")
        if resolution % shrink:
            raise ValueError(f"resolution {resolution} with {len(widths)} stages: expected a multiple of {shrink}")
        self.width, self.positions = widths[-1], (resolution // shrink) ** 2
        self.stem = StandardisedConv(3, stem, 3, stride=2, gamma=1.0)  # no activation before it
        self.stages = nn.ModuleList()
        beta = 1.0
        for inputs, width, count in zip([stem, *widths], widths, blocks, strict=False):
            self.stages.append(stage := Stage(inputs, width, count, beta))
            beta = stage.beta
        self.beta = beta

    def forward(self, images: Tensor) -> Tensor:
        x = ((images - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)  # a tenth faster on a CPU
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return GAMMA * activation(x, self.beta).flatten(2).transpose(1, 2)  # (M, S, D), about unit variance

    def pool(self, features: Tensor) -> Tensor:
        """Mean over the grid, then each picture's vector standardised: (M, S, D) -> (M, D).

        The mean over the grid is much the same for all pictures; without the last step, what tells them apart is a
        small part of the vector, and a map that reads it learns slowly.
        """
        return F.layer_norm(features.mean(1), (self.width,))

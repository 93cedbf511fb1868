"""EfficientNet-Lite0, an encoder for photographs; `minilmm.checkpoints.efficientnet` reads its weights.

Tan and Le 2019 (EfficientNet: blocks MBConv, Sandler et al. 2018); Lite leaves squeeze-and-excitation out and has ReLU6
for swish. In inference a batch norm is a product and a sum per channel, so it is folded into the convolution in front:
fewer layers, and no running statistics that a training run could change.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

STAGES = (  # blocks, kernel, stride of the first, expansion, channels (Tan and Le, table 1)
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip


class Conv(nn.Conv2d):
    """A convolution with TensorFlow's padding "SAME": outputs are ceil(size / stride), and an odd pixel of padding
    stands on the right and below.
    """

    def __init__(self, channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1):
        super().__init__(channels, out, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """(M, C, H, W) -> (M, C', ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        extra = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in (x.shape[-1], x.shape[-2])]
        if any(extra):
            x = F.pad(x, [end for size in extra for end in (size // 2, size - size // 2)])
        return super().forward(x)


class MBConv(nn.Module):
    """A 1 x 1 convolution to more channels, one per channel, one to fewer; added to the input where shapes agree."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = channels * expansion
        self.expand = Conv(channels, wide) if expansion > 1 else None
        self.depthwise = Conv(wide, wide, kernel, stride, groups=wide)
        self.project = Conv(wide, out)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """(M, C, H, W) -> (M, C', H / stride, W / stride)."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """Pictures (M, 3, H, W) in [0, 1] -> features (M, S, 1280), S = ceil(H / 32)^2: 49 at 224 pixels, 16 at 112."""

    def __init__(self, resolution: int = 224):
        super().__init__()
        if resolution < 32:
            raise ValueError(f"resolution is {resolution}: EfficientNet-Lite0 needs at least 32 pixels")
        self.width, self.positions = 1280, (-(-resolution // 32)) ** 2
        self.stem, channels, blocks = Conv(3, 32, 3, 2), 32, []
        for repeats, kernel, stride, expansion, out in STAGES:
            for i in range(repeats):
                blocks.append(MBConv(channels, out, kernel, stride if i == 0 else 1, expansion))
                channels = out
        self.blocks, self.head = nn.Sequential(*blocks), Conv(channels, self.width)

    def forward(self, images: Tensor) -> Tensor:
        x = (images * 255 - 127) / 128  # the pixels of its training
        x = F.relu6(self.head(self.blocks(F.relu6(self.stem(x)))))  # (M, 1280, H / 32, W / 32)
        return x.flatten(2).transpose(1, 2)

    def pool(self, features: Tensor) -> Tensor:
        """Mean over the positions, as its own classifier reads it: (M, S, D) -> (M, D)."""
        return features.mean(1)

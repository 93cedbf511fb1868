"""What a model draws from each patch of a picture, laid over the picture."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from minilmm.plots.style import new_figure, style


def patch_overlay(images: Tensor, weights: Tensor, titles: Sequence[str], *, label: str, columns: int = 4) -> Figure:
    """images (N, 3, H, W) in [0, 1] with weights (N, h, w), one per patch, drawn over a grey copy.

    Each picture stands beside its weights over it; one colour bar serves all, from 0 to the largest weight. `label`
    names the quantity and its unit. ValueError: numbers that do not fit.
    """
    if images.ndim != 4 or weights.ndim != 3 or not len(images) == len(weights) == len(titles):
        shapes = f"pictures {tuple(images.shape)}, weights {tuple(weights.shape)}"
        raise ValueError(f"{shapes}, {len(titles)} titles: N of each")
    N, columns = len(images), min(columns, len(images))
    lines = -(-N // columns)
    top = max(float(weights.max()), 1e-9)
    with style():
        figure = new_figure(2 * 1.45 * columns + 0.9, 1.75 * lines)
        axes = figure.subplots(lines, 2 * columns, squeeze=False).flatten()
        drawn = None
        for ax in axes:
            ax.set_axis_off()
        for n in range(N):
            picture = images[n].detach().float().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
            H, W = picture.shape[:2]
            axes[2 * n].imshow(picture, interpolation="nearest")
            axes[2 * n].set_title(titles[n], loc="left", pad=3)
            axes[2 * n + 1].imshow(picture.mean(-1), cmap="gray", vmin=-0.5, vmax=1.2, extent=(0, W, H, 0))
            cells = weights[n].detach().float().cpu().numpy()
            drawn = axes[2 * n + 1].imshow(cells, cmap="Blues", vmin=0, vmax=top, alpha=0.75, extent=(0, W, H, 0))
        assert drawn is not None
        bar = figure.colorbar(drawn, ax=list(axes), label=label, aspect=20, pad=0.01)
        bar.outline.set_visible(False)  # type: ignore[operator]
    return figure

"""Charts of a chapter: the arms of an ablation, what a training run changed, and the families of models."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from minilmm.plots.style import GREY, PALETTE, new_figure, style

Arms = Mapping[str, Sequence[float]]


@style()
def arms_chart(panels: Mapping[str, Arms], levels: Mapping[str, tuple[str, float]], *, xlabel: str = "score") -> Figure:
    """One panel per score, `{title: {arm: one value per seed}}`, the first arm on top and in another colour.

    Every seed is a point, the mean a bar through them. levels: for a title the name and value of a grey line, such as
    ("chance", .5). The axis is 0 to 1; for values below 0 or all below a quarter, such as differences between scores,
    it fits them, with a line at 0. ValueError: panels whose arms differ.
    """
    arms = list(next(iter(panels.values())))
    if any(list(panel) != arms for panel in panels.values()):
        raise ValueError("every panel must have the same arms in the same order")
    figure = new_figure(1.9 + 3.0 * len(panels), 1.0 + 0.33 * len(arms))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (title, panel) in zip(axes, panels.items(), strict=True):
        for y, values in enumerate(panel.values()):
            colour, mean = PALETTE[1] if y == 0 else PALETTE[0], sum(values) / len(values)
            ax.plot([mean, mean], [y - 0.32, y + 0.32], color=colour, linewidth=2.5)
            ax.plot(values, [y] * len(values), "o", color=colour, markersize=5, markerfacecolor="white")
        if title in levels:
            name, value = levels[title]
            ax.axvline(value, color=GREY, linewidth=1.2, zorder=1)
            ax.text(value, -0.75, name, color=GREY, ha="center", va="bottom", fontsize=9)
        ax.set_yticks(range(len(arms)), arms)
        every = [value for values in panel.values() for value in values]
        low, high = min(0.0, *every), max(0.0, *every)
        if low == 0 and 0.25 <= high <= 1:
            high = 1.0
        elif low < 0:
            ax.axvline(0, color=GREY, linewidth=0.8, zorder=1)
        margin = 0.03 * (high - low or 1)
        ax.set(xlim=(low - margin, high + margin), ylim=(len(arms) - 0.4, -0.8), xlabel=xlabel)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=5))
        ax.set_title(title, pad=18)
        ax.grid(True, axis="x")
    return figure


@style()
def freeze_ledger(parts: Sequence[str], parameters: Sequence[int], gradients: Sequence[bool], changed: Sequence[bool]
                  ) -> Figure:  # fmt: skip
    """How many parameters each part has (P), whether gradients reached them (P), whether their bytes changed (P).

    Parts that changed are filled, the others hatched; two columns of words say the same. ValueError: other lengths.
    """
    lengths = [len(values) for values in (parts, parameters, gradients, changed)]
    if len(set(lengths)) > 1 or not len(parts):
        raise ValueError(f"lists of lengths {lengths}: expected one length for all, at least 1")
    figure = new_figure(8.6, 0.9 + 0.3 * len(parts))
    ax = figure.subplots()
    frozen: dict[str, Any] = {"facecolor": "white", "edgecolor": GREY, "hatch": "////"}
    for y, (count, moved) in enumerate(zip(parameters, changed, strict=True)):
        ax.barh(y, count / 1000, height=0.7, **({"color": PALETTE[1]} if moved else frozen))
    ax.set_yticks(range(len(parts)), parts)
    ax.invert_yaxis()
    ax.set_xlabel("parameters (thousands); filled: bytes changed, hatched: frozen")
    for x, title, values in ((1.03, "gradient?", gradients), (1.18, "changed?", changed)):
        ax.text(x, 1.01, title, transform=ax.transAxes, ha="left", va="bottom", fontsize=9, fontweight="bold")
        for y, value in enumerate(values):
            ax.text(x, y, "yes" if value else "no", transform=ax.get_yaxis_transform(), va="center", fontsize=9)
    ax.grid(True, axis="x")
    return figure


IMAGE, TEXT, JOINT, PLAIN = PALETTE[0], PALETTE[2], PALETTE[1], GREY
Box = tuple[float, float, float, str, str]  # x, y, width (of 10 by 8), what it says, colour
Arrow = tuple[float, float, float, float]
FAMILIES: dict[str, tuple[list[Box], list[Arrow], str]] = {
    "dual encoder": (
        [(0.3, 3, 4, "image\nencoder", IMAGE), (5.7, 3, 4, "text\nencoder", TEXT), (2.5, 6, 5, "cosine", JOINT),
         (0.3, 0.5, 4, "picture", PLAIN), (5.7, 0.5, 4, "text", PLAIN)],
        [(2.3, 1.7, 2.3, 2.9), (7.7, 1.7, 7.7, 2.9), (2.3, 4.4, 4, 5.9), (7.7, 4.4, 6, 5.9)],
        "two vectors meet at the end:\nour eyes (chapter 02);\nBLIP-2's contrastive objective",
    ),
    "encoder-decoder": (
        [(0.3, 3, 4, "image\nencoder", IMAGE), (5.7, 3, 4, "text\ndecoder", TEXT), (5.7, 6, 4, "text", PLAIN),
         (0.3, 0.5, 4, "picture", PLAIN), (5.7, 0.5, 4, "text so far", PLAIN)],
        [(2.3, 1.7, 2.3, 2.9), (7.7, 1.7, 7.7, 2.9), (7.7, 4.4, 7.7, 5.9), (4.4, 3.7, 5.6, 3.7)],
        "the decoder looks at pictures\nthrough cross-attention:\nFlamingo (chapters 04 to 06)",
    ),
    "fusion encoder": (
        [(0.3, 2.6, 4, "image\nencoder", IMAGE), (5.7, 2.6, 4, "text\nencoder", TEXT),
         (2, 4.9, 6, "joint layers", JOINT), (2.5, 6.9, 5, "do they fit?", PLAIN),
         (0.3, 0.5, 4, "picture", PLAIN), (5.7, 0.5, 4, "text", PLAIN)],
        [(2.3, 1.7, 2.3, 2.5), (7.7, 1.7, 7.7, 2.5), (2.3, 4, 3.6, 4.8), (7.7, 4, 6.4, 4.8), (5, 6, 5, 6.8)],
        "both are read together by\nlayers of their own:\nBLIP-2's matching (chapter 07)",
    ),
    "unified transformer": (
        [(0.3, 2.6, 4, "image\nencoder", IMAGE), (0.3, 4.9, 9.4, "one transformer over everything", TEXT),
         (2.5, 6.9, 5, "text", PLAIN), (0.3, 0.5, 4, "picture", PLAIN), (5.7, 0.5, 4, "text so far", PLAIN)],
        [(2.3, 1.7, 2.3, 2.5), (2.3, 4, 2.3, 4.8), (7.7, 1.7, 7.7, 4.8), (5, 6, 5, 6.8)],
        "pictures become tokens\namong words: Frozen (03),\nBLIP-2's second stage (08)",
    ),
}  # fmt: skip


@style()
def architecture_families() -> Figure:
    """Dual encoder, encoder-decoder, fusion encoder and unified transformer, with the papers' parts."""
    figure = new_figure(10.4, 3.9)
    for ax, (name, (boxes, arrows, where)) in zip(figure.subplots(1, 4), FAMILIES.items(), strict=True):
        ax.set(xlim=(0, 10), ylim=(-3.4, 8.3), title=name)
        ax.set_axis_off()
        for x, y, width, text, colour in boxes:
            fill, ink = ("white", "black") if colour == PLAIN else (colour, "white")
            height = 1.4 if "\n" in text else 1.05
            ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.25",
                                        facecolor=fill, edgecolor=colour, linewidth=1.2))  # fmt: skip
            ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8.5, color=ink)
        for x0, y0, x1, y1 in arrows:
            ax.add_patch(FancyArrowPatch((x0, y0), (x1, y1), arrowstyle="-|>", mutation_scale=9, color="black"))
        ax.text(5, -0.5, where, ha="center", va="top", fontsize=9)
    return figure

"""Figures from arrays: they know no model, keep no global state and choose no backend."""

from minilmm.plots.attention import attention_map, mask_microscope
from minilmm.plots.curves import Series, few_shot_curves
from minilmm.plots.pictures import picture_grid
from minilmm.plots.show import show
from minilmm.plots.style import new_figure, save, style
from minilmm.plots.training import training_curves

__all__ = [
    "Series", "attention_map", "few_shot_curves", "mask_microscope", "new_figure", "picture_grid", "save", "show",
    "style", "training_curves",
]  # fmt: skip

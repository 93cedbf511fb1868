"""Figures from arrays: they know no model, keep no global state and choose no backend."""

from minilmm.plots.arms import arms_chart
from minilmm.plots.attention import attention_map, head_map, mask_microscope, mask_panels
from minilmm.plots.curves import Series, few_shot_curves, series_of
from minilmm.plots.families import architecture_families
from minilmm.plots.ledger import freeze_ledger
from minilmm.plots.patches import overlay_table, patch_overlay
from minilmm.plots.pictures import picture_grid
from minilmm.plots.show import show
from minilmm.plots.style import new_figure, save, style
from minilmm.plots.training import training_curves

__all__ = [
    "Series", "architecture_families", "arms_chart", "attention_map", "few_shot_curves", "freeze_ledger", "head_map",
    "mask_microscope", "mask_panels", "new_figure", "overlay_table", "patch_overlay", "picture_grid", "save",
    "series_of", "show", "style", "training_curves",
]  # fmt: skip

"""Figures from arrays: they know no model, keep no global state and choose no backend."""

from minilmm.plots.attention import attention_map, head_map, mask_microscope, mask_panels
from minilmm.plots.charts import architecture_families, arms_chart, freeze_ledger
from minilmm.plots.curves import Series, few_shot_curves, series_of, training_curves
from minilmm.plots.pictures import overlay_table, patch_overlay, picture_grid
from minilmm.plots.show import describe_figure, show
from minilmm.plots.style import new_figure, save, style

__all__ = [
    "Series", "architecture_families", "arms_chart", "attention_map", "describe_figure", "few_shot_curves",
    "freeze_ledger", "head_map", "mask_microscope", "mask_panels", "new_figure", "overlay_table", "patch_overlay",
    "picture_grid", "save", "series_of", "show", "style", "training_curves",
]  # fmt: skip

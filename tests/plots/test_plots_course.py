"""The figures that chapters share: what they hold, and what they refuse."""

import pytest
import torch

from minilmm.plots import (
    architecture_families,
    arms_chart,
    freeze_ledger,
    head_map,
    mask_microscope,
    patch_overlay,
    series_of,
)
from minilmm.plots.show import describe_figure


def test_a_head_map_writes_every_value_into_its_cell():
    figure = head_map(torch.tensor([[0.0, 0.25], [0.5, 1.0]]), "share")
    told = [text.get_text() for text in figure.axes[0].texts]
    assert told == [".00", ".25", ".50", "1.00"]
    assert "head 1" in describe_figure(figure) and "layer 1" in describe_figure(figure)


def test_the_mask_microscope_takes_other_rows():
    figure = mask_microscope(
        torch.tensor([[True, False], [True, True]]), ["a", "b"], ["read", "learned"], xlabel="tokens"
    )
    assert figure.axes[0].get_xlabel() == "tokens" and "3 filled" in describe_figure(figure)
    with pytest.raises(ValueError, match="names"):
        mask_microscope(torch.ones(2, 2, dtype=torch.bool), ["a", "b"], ["read"])


def test_patches_lie_over_their_own_pictures_on_one_scale():
    weights = torch.zeros(2, 3, 3)
    weights[1, 0, 2] = 4.0
    figure = patch_overlay(torch.rand(2, 3, 12, 12), weights, ["a", "b"], label="fall")
    overlays = [ax.images[1] for ax in figure.axes if len(ax.images) == 2]
    assert [tuple(o.get_clim()) for o in overlays] == [(0, 4), (0, 4)]
    assert float(overlays[1].get_array()[0, 2]) == 4 and tuple(overlays[1].get_extent()) == (0, 12, 12, 0)
    with pytest.raises(ValueError, match="N of each"):
        patch_overlay(torch.rand(2, 3, 12, 12), weights, ["a"], label="fall")


def test_arms_show_every_seed_and_the_mean():
    figure = arms_chart({"vqa": {"frozen": [0.5, 0.7], "scratch": [0.0, 0.0]}}, {"vqa": ("prior", 0.4)})
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["frozen", "scratch"]
    assert [line.get_xdata()[0] for line in ax.lines[:4:2]] == [0.6, 0.0]
    assert list(ax.lines[1].get_xdata()) == [0.5, 0.7]
    with pytest.raises(ValueError, match="same arms"):
        arms_chart({"a": {"x": [1.0]}, "b": {"y": [1.0]}}, {})


def test_the_ledger_fills_what_changed_and_hatches_the_rest():
    figure = freeze_ledger(["eyes", "lm"], [1000, 4000], [True, False], [True, False])
    eyes, lm = figure.axes[0].patches
    assert (eyes.get_width(), lm.get_width()) == (1, 4) and not eyes.get_hatch() and lm.get_hatch()
    with pytest.raises(ValueError, match="one length for all"):
        freeze_ledger(["eyes", "lm"], [1], [True, False], [True, False])


def test_the_four_families_name_the_papers():
    told = describe_figure(architecture_families())
    for name in (
        "dual encoder",
        "encoder-decoder",
        "fusion encoder",
        "unified transformer",
        "Frozen",
        "Flamingo",
        "BLIP-2",
    ):
        assert name in told


def test_a_result_becomes_series_with_controls_ideal_and_chance():
    rows = [
        {"shots": k, "condition": c, "value": 0.5 + 0.1 * k, "low": 0.4, "high": 0.9, "prior": 0.5, "ideal": 0.8}
        for c in ("real", "blank_images") for k in (0, 1)
    ]  # fmt: skip
    series = series_of({"rows": rows, "chance": 0.5}, "ours")
    assert [(s["label"], s["kind"]) for s in series] == [
        ("ours", "model"), ("ideal observer", "ideal"), ("chance", "chance"), ("blank images", "control")]  # fmt: skip
    assert (
        series[0]["values"] == [0.5, 0.6] and len(series_of({"rows": rows, "chance": 0.5}, "ours", controls=False)) == 1
    )

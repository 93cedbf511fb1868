"""Figures carry every line, label and name that was asked for, and leave matplotlib's global state alone."""

import subprocess
import sys

import matplotlib
import pytest
import torch
from matplotlib.colors import to_hex

from minilmm.plots import (
    arms_chart,
    attention_map,
    few_shot_curves,
    mask_microscope,
    mask_panels,
    new_figure,
    overlay_table,
    picture_grid,
    save,
    show,
    training_curves,
)
from minilmm.plots.curves import running_mean
from minilmm.plots.show import describe_figure
from minilmm.plots.style import new_panels

MODEL = {"label": "Flamingo", "shots": [0, 4, 1], "values": [0.5, 0.9, 0.7], "kind": "model"}
MODEL |= {"low": [0.4, 0.8, 0.6], "high": [0.6, 1.0, 0.8]}
OTHER = {"label": "Frozen", "shots": [0, 1], "values": [0.5, 0.6], "kind": "model"}
CONTROL = MODEL | {"label": "blank images", "kind": "control", "values": [0.5, 0.5, 0.5]}
IDEAL = {"label": "ideal observer", "shots": [1, 4], "values": [0.8, 1.0], "kind": "ideal"}
CHANCE = {"label": "chance", "shots": [0, 1, 4], "values": [0.5, 0.5, 0.5], "kind": "chance"}
PRIOR = {"label": "prior", "shots": [0], "values": [0.51], "kind": "chance"}


def lines(ax):
    return {line.get_label(): line for line in ax.lines}


def test_few_shot_curves_draw_each_kind_in_its_own_way():
    figure = few_shot_curves([MODEL, OTHER, CONTROL, IDEAL, CHANCE, PRIOR])
    (ax,) = figure.axes
    drawn = lines(ax)
    assert len(ax.lines) == 6 and len(ax.collections) == 2  # a band and a control's intervals
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "4"]  # categories, in order
    assert drawn["Flamingo"].get_xdata().tolist() == [0, 1, 2]
    assert drawn["Flamingo"].get_ydata().tolist() == [0.5, 0.7, 0.9]
    assert drawn["Flamingo"].get_linestyle() == "-" and drawn["blank images"].get_linestyle() != "-"
    assert drawn["blank images"].get_linewidth() < drawn["Flamingo"].get_linewidth()
    assert drawn["ideal observer"].get_linestyle() == ":" and drawn["ideal observer"].get_color() == "black"
    assert drawn["Flamingo"].get_marker() != drawn["Frozen"].get_marker()
    heights = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert heights["prior"] - heights["chance"] > 0.04  # levels that nearly coincide keep legible names
    assert [t.get_text() for t in figure.legends[0].texts] == ["Flamingo", "Frozen", "blank images", "ideal observer"]
    assert ax.get_xlabel() == "shots" and ax.get_ylabel() == "accuracy"


def test_panels_share_one_legend_and_one_look():
    figure = few_shot_curves({"naming": [MODEL, OTHER], "ambiguous": [OTHER, CHANCE]})
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("naming", "ambiguous")
    assert to_hex(lines(left)["Frozen"].get_color()) == to_hex(lines(right)["Frozen"].get_color())
    assert len(figure.legends) == 1 and len(figure.legends[0].texts) == 2


def test_other_metrics_fit_the_axis_to_the_data():
    (ax,) = few_shot_curves([OTHER | {"values": [70, 113.8]}], ylabel="CIDEr").axes
    assert ax.get_ylim()[1] > 113


def test_bad_series_are_named():
    with pytest.raises(ValueError, match="'Frozen'"):
        few_shot_curves([OTHER | {"values": [0.5]}])
    with pytest.raises(ValueError, match="nothing to draw"):
        few_shot_curves([])


def test_legend_and_level_names_cover_no_axes():
    figure = few_shot_curves({"naming": [MODEL, OTHER, CONTROL, CHANCE], "ambiguous": [OTHER, IDEAL, CHANCE]})
    figure.draw_without_rendering()
    boxes = [ax.get_window_extent() for ax in figure.axes]
    outside = [figure.legends[0].get_window_extent(), *(t.get_window_extent() for ax in figure.axes for t in ax.texts)]
    assert not any(box.overlaps(other) for box in boxes for other in outside)
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in outside)


def test_no_figure_is_wider_than_a_page():
    for count in range(1, 7):
        figure, axes = new_panels(count, 3.4, 2.9)
        assert len(axes) == len(figure.axes) == count and figure.get_figwidth() <= 11.2
        rows = {ax.get_subplotspec().rowspan.start for ax in axes}
        assert len(rows) == (count > 3) + 1


def test_a_picture_that_is_looked_at_many_times_is_drawn_once():
    images, weights = torch.rand(1, 3, 12, 12).expand(3, -1, -1, -1), torch.rand(3, 2, 6, 6)
    figure = overlay_table(images, weights, ["query 1", "query 2"], ["a", "b", "c"], label="attention")
    pictures = [image for ax in figure.axes for image in ax.images if image.get_array().ndim == 3]
    assert len(pictures) == 1 and len(figure.axes) == 3 * 3 + 1
    with pytest.raises(ValueError, match="2 columns"):
        overlay_table(images, weights[:, :1], ["query 1", "query 2"], ["a", "b", "c"], label="attention")


def test_the_axis_of_arms_fits_differences():
    figure = arms_chart({"gain": {"a": [-0.02, 0.03], "b": [0.1, 0.05]}, "score": {"a": [0.5], "b": [0.9]}}, {})
    (low, high), whole = (ax.get_xlim() for ax in figure.axes)
    assert -0.03 < low < -0.02 and 0.1 < high < 0.11 and whole == pytest.approx((-0.03, 1.03))


def test_training_curves():
    rows = [{"step": i, "seconds": i / 2, "loss": 5 / (1 + i)} for i in range(200)]
    rows[100] = rows[100] | {"accuracy": 0.5}
    rows[199] = rows[199] | {"accuracy": 0.9}
    figure = training_curves({"loss": {"a": rows, "b": rows[:50]}, "accuracy": {"a": rows}}, x="seconds")
    loss, accuracy = figure.axes
    assert len(loss.lines) == 3  # the long run stands twice: faint, and as its running mean
    assert accuracy.lines[0].get_xdata().tolist() == [50, 99.5]
    assert loss.get_xlabel() == "time (s)" and loss.get_title() == "loss"
    assert loss.lines[1].get_color() == accuracy.lines[0].get_color()
    with pytest.raises(ValueError, match="'a' logged no 'perplexity'"):
        training_curves({"perplexity": {"a": rows}})
    with pytest.raises(ValueError, match="against 'tokens'"):
        training_curves({"loss": {"a": rows}}, x="tokens")
    assert running_mean([2.0, 4.0, 6.0, 8.0], 2) == [2, 3, 5, 7]


def test_picture_grid():
    figure = picture_grid(torch.rand(5, 3, 8, 12), ["a"] * 4 + ["a caption that needs more than one line"], columns=3)
    assert len(figure.axes) == 6 and sum(len(ax.images) for ax in figure.axes) == 5
    assert "\n" in figure.axes[4].get_title()
    assert figure.axes[0].images[0].get_array().shape == (8, 12, 3)
    for images, captions in ((torch.rand(3, 8, 8), None), (torch.rand(0, 3, 8, 8), None), (torch.rand(1, 3, 8, 8), [])):
        with pytest.raises(ValueError):
            picture_grid(images, captions)
    figure = picture_grid(torch.rand(2, 3, 8, 8), ["a", "b"], heads=["first", ""])
    assert [[text.get_text() for text in ax.texts] for ax in figure.axes] == [["first"], [""]]
    figure = picture_grid(torch.rand(1, 3, 8, 8), ["a line\nand another one that is long"], side=1.2)
    assert figure.axes[0].get_title().splitlines() == ["a line", "and another one", "that is long"]
    with pytest.raises(ValueError, match="2 pictures but 1 heads"):
        picture_grid(torch.rand(2, 3, 8, 8), heads=["first"])


def test_mask_panels():
    masks = {"a": torch.eye(3, dtype=torch.bool), "b": torch.ones(3, 3, dtype=torch.bool)}
    figure = mask_panels(masks, ["q", "x", "y"], split=1)
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    assert [int(ax.images[0].get_array().sum()) for ax in figure.axes] == [3, 9]
    with pytest.raises(ValueError, match="2 rows and 2 columns"):
        mask_panels(masks, ["q", "x"])


def test_attention_map_and_mask_microscope():
    figure = attention_map(torch.eye(2, 3), ["$a$", "b"], ["x", "y", "z"])
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["$a$", "b"]
    assert figure.axes[1].get_ylabel() == "attention weight"
    mask = torch.tensor([[False, False], [True, False], [True, False], [False, True]])
    figure = mask_microscope(mask, ["<bos>", "<image>", "dax", "<image>"])
    (ax,) = figure.axes
    assert ax.images[0].get_array().tolist() == mask.T.tolist()
    assert [tick.get_fontweight() for tick in ax.get_xticklabels()] == ["normal", "bold", "normal", "bold"]
    with pytest.raises(ValueError, match="for 2 rows and 2 columns of names"):
        attention_map(mask.float(), ["a", "b"], ["x", "y"])


def test_save_and_notebook_display_leave_no_trace(tmp_path):
    before = dict(matplotlib.rcParams)
    figure = few_shot_curves([MODEL])
    assert save(figure, tmp_path / "new" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before


def test_no_pyplot():
    code = "import minilmm.plots, sys; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_figure_in_words_names_axes_series_and_extremes():
    dip = {"label": "dip", "shots": [0, 1, 2], "values": [0.5, 0.123, 0.9], "kind": "control"}
    assert describe_figure(few_shot_curves({"naming": [MODEL, dip], "vqa": [OTHER]})).splitlines() == [
        "naming: x: shots (0, 1, 2, 4); y: accuracy; line Flamingo 0.5 to 0.9; line dip 0.5 to 0.9 (0.12 .. 0.9)",
        "vqa: x: shots (0, 1); line Frozen 0.5 to 0.6",
    ]
    rows = [{"step": 10 * i, "loss": 1234.0 - i} for i in range(3)]
    assert describe_figure(training_curves({"loss": {"a": rows}})) == "loss: x: optimiser steps; line a 1200"


def test_a_grid_of_pictures_is_one_line_and_matrices_are_counted():
    images = torch.zeros(3, 3, 8, 4)
    assert describe_figure(picture_grid(images, ["a red", "b", "c"], columns=2)) == "3 x picture 8 x 4: a red | b | c"
    mask = torch.tensor([[True, False], [True, True], [False, True]])
    assert describe_figure(mask_microscope(mask, ["<image>", "b", "c"])).endswith(
        "y: image 1, image 2; 2 x 3 cells, 4 filled"
    )
    weights = torch.tensor([[1.0, 1e-9], [0.251, 0.749]])
    told = describe_figure(attention_map(weights, ["a", "b"], ["c", "d"]))
    assert told == "x: attended to (c, d); y: attending (a, b); 2 x 2 attention weight 0 .. 1"


def test_bars_points_and_an_empty_figure_in_words():
    figure = new_figure(3, 3)
    assert describe_figure(figure) == "an empty figure"
    left, right, _ = figure.subplots(1, 3)
    left.bar(["cat", "dog"], [3, 4], label="pets")
    right.barh([0, 1], [0.5, 7.0])
    right.scatter([1, 2], [float("nan"), 2], label="seen")
    right.set_title("two\nlines")
    figure.suptitle("all")
    assert describe_figure(figure).splitlines()[0] == "all"
    assert "bars pets 3 .. 4" in describe_figure(
        figure
    ) and "two lines: bars 0.5 .. 7; points seen 2" in describe_figure(figure)


def test_show_prints_where_there_is_no_notebook(capsys):
    assert show(picture_grid(torch.zeros(1, 3, 8, 8), ["one"])) is None
    assert capsys.readouterr().out == "one: picture 8 x 8\n"

"""Linear probes of a vision encoder's features."""

import torch
from tiny import tiny_frozen

from minilmm.evaluation.probes import CLASSES, FAMILIES, fit, probes
from minilmm.flamingo import Flamingo, FlamingoConfig
from minilmm.vision import VisionConfig
from minilmm.vision.contrastive import DualEncoder
from minilmm.world.scenes import in_reading_order, sample_scenes
from minilmm.world.vocabulary import held_out, tokenizer


def test_ridge_regression_against_its_normal_equations():
    torch.manual_seed(0)
    x, classes = torch.randn(50, 6, dtype=torch.double), torch.randint(3, (50,))
    onehot = torch.eye(3, dtype=torch.double)[classes]
    weights = fit(x, onehot, ridge=2.0)
    gradient = x.T @ (x @ weights - onehot) + 2.0 * weights  # of half the penalised squared error
    assert weights.shape == (6, 3) and gradient.abs().max() < 1e-9


def test_probes_are_tested_on_what_they_were_not_fitted_on(generator):
    for draw in FAMILIES:
        pictures, classes = draw(200, generator, "held-out", 48)
        assert pictures.shape == (200, 3, 48, 48)
        assert all(set(values.unique().tolist()) <= set(range(CLASSES[name])) for name, values in classes.items())
    for split, share in (("held-out", 1.0), ("train", 0.0)):
        classes = FAMILIES[0](200, generator, split, 48)[1]
        assert held_out(classes["colour"], classes["shape"]).float().mean() == share


def test_a_random_encoder_tells_places_and_a_blind_one_nothing():
    torch.manual_seed(0)
    model = DualEncoder(VisionConfig(stem=4, widths=(8, 8), blocks=(0, 0)), len(tokenizer()))
    rows = {row["metric"]: row for row in probes(model, 200, fitted=400)}
    assert list(rows) == list(CLASSES) and rows["place"]["low"] > 0.5
    assert rows["letter"]["chance"] == 1 / 26
    model.vision.forward = lambda images: torch.zeros(len(images), 4, 8)
    blind = {row["metric"]: row["value"] for row in probes(model, 400, fitted=400)}
    assert blind["place"] < 0.4 and blind["letter"] < 0.12 and blind["size"] < 0.65


def test_a_bridge_is_probed_beside_its_eyes():
    model = tiny_frozen()
    rows = {row["metric"]: row["value"] for row in probes(model, 200, fitted=400)}
    assert set(rows) == {f"{name}, {way}" for name in CLASSES for way in ("eyes", "prefix")}
    flamingo = Flamingo(FlamingoConfig(model.config.lm, model.config.vision), model.lm, model.encoder).eval()
    flamingo.resampler.forward = lambda x_f: torch.zeros(len(x_f), 4, 8)
    blind = {row["metric"]: row["value"] for row in probes(flamingo, 200, fitted=400)}
    assert blind["place, tokens"] < 0.4 < blind["place, eyes"] == rows["place, eyes"]
    assert blind["letter, tokens"] < 0.12


def test_two_objects_are_probed_in_reading_order(generator):
    scenes = in_reading_order(sample_scenes(200, generator, objects=2))
    one, two = (2 * (scenes.y[:, o] >= 0.5) + (scenes.x[:, o] >= 0.5) for o in (0, 1))
    assert bool((one < two).all()) and bool(scenes.present[:, :2].all()) and not bool(scenes.present[:, 2:].any())

"""The shipped checkpoints: sound files, and what they have learned, with margins that noise cannot cross."""

import json
from pathlib import Path

import pytest
import torch
from minilmm_cli.main import main

from minilmm.checkpoints.opening import load
from minilmm.checkpoints.saving import LOG, MODEL, STAGE_1, ZOO, digest, read_log, shipped
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.probes import probes
from minilmm.evaluation.retrieval import first_stage, retrieval, zero_shot
from minilmm.evaluation.tasks import Settings

pytestmark = pytest.mark.slow
EPISODES = 200
EVALS = sorted((Path(__file__).parent / "evals").glob("*.json"))  # of each checkpoint, by task


def scores(run, task, shots, conditions=("real", "blank_images"), episodes=EPISODES, **settings):
    """{(shots, condition): row} of a shipped model."""
    model, _ = load(run)
    result = evaluate(model, task, Request(shots, Settings(**settings), episodes, conditions))
    return {(row["shots"], row["condition"]): row for row in result["rows"]}


def test_eight_checkpoints_are_shipped_whole():
    bridges = {"frozen-nano", "flamingo-nano", "blip2-nano", "blip2-t5-nano"}
    assert set(shipped()) == {"lm-nano", "t5-nano", "bert-nano", "vision-nano", *bridges}
    for name in shipped():
        card = json.loads((ZOO / name / "card.json").read_text())
        assert {"kind", "config", "recipe", "seed", "metrics", "command", "version", "sha256"} <= card.keys()
        assert card["command"].startswith("minilmm ") and digest(ZOO / name / MODEL) == card["sha256"]
        assert (ZOO / name / MODEL).stat().st_size < 18e6
        load(name)


def same_bytes(one, other):
    """Whether two modules have the same tensors under the same names."""
    pairs = list(zip(one.state_dict().items(), other.state_dict().items(), strict=True))
    return len(pairs) > 10 and all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)


@pytest.mark.parametrize(
    "bridge, lm",
    [("frozen-nano", "lm-nano"), ("flamingo-nano", "lm-nano"), ("blip2-nano", "lm-nano"), ("blip2-t5-nano", "t5-nano")],
)
def test_bridges_read_through_language_models_that_kept_every_byte(bridge, lm):
    assert same_bytes(load(bridge)[0].lm, load(lm)[0])


@pytest.mark.parametrize("bridge", ["flamingo-nano", "blip2-nano", "blip2-nano/stage1", "blip2-t5-nano"])
def test_frozen_eyes_are_those_of_vision_nano(bridge):
    assert same_bytes(load(bridge)[0].encoder, load("vision-nano")[0].vision)


def test_blip2_answers_questions_without_an_example():
    rows = scores("blip2-nano", "vqa", (0,), convention="given")
    real, blank = rows[0, "real"], rows[0, "blank_images"]
    assert real["low"] > blank["high"] and real["low"] > real["prior"]


def test_matching_has_learned_and_both_contrast_and_matching_find_the_text():
    rows = {row["metric"]: row for row in retrieval(first_stage("blip2-nano"), 200)}
    for by in ("ITC", "ITM"):
        assert rows[f"IR@1, {by}"]["low"] > 20 * rows[f"IR@1, {by}"]["chance"], by
    log = read_log(ZOO / "blip2-nano" / STAGE_1 / LOG)
    assert log[-1]["itm"] < 0.2  # of a constant guess .637


def test_the_language_model_learns_in_context_and_not_before():
    assert scores("lm-nano", "naming", (1,), ways=2)[1, "real"]["low"] > 0.9
    five = scores("lm-nano", "naming", (0, 1), ways=5)
    assert five[1, "real"]["low"] > 0.85
    assert five[0, "real"]["low"] < 0.2 < five[0, "real"]["high"]  # names mean nothing before they are given
    assert scores("lm-nano", "naming", (1,), ways=10)[1, "real"]["low"] > 0.75


def test_the_language_model_weighs_evidence():
    noisy = scores("lm-nano", "noisy-naming", (1, 16), conditions=("real",))
    assert noisy[16, "real"]["low"] > noisy[1, "real"]["value"]
    clear = scores("lm-nano", "ambiguous-naming", (1, 8), conditions=("real",))
    assert clear[8, "real"]["low"] > clear[1, "real"]["value"]


def test_the_language_model_learns_what_only_examples_reveal():
    for task in ("knowledge", "vqa", "counting"):
        rows = scores("lm-nano", task, (0, 8))
        assert rows[8, "real"]["low"] > rows[0, "real"]["high"], task
        assert rows[8, "real"]["low"] > rows[8, "real"]["prior"] + 0.1 > rows[8, "blank_images"]["value"] - 0.1, task


def test_frozen_names_from_pictures_having_seen_captions_only():
    conditions = ("real", "blank_images", "shuffled_images", "text_only")
    two = scores("frozen-nano", "naming", (0, 1), conditions, ways=2)
    assert two[1, "real"]["low"] > 0.75
    for condition in conditions[1:]:
        assert two[1, condition]["low"] < 0.55 and two[1, condition]["high"] > 0.45, condition
    assert two[0, "real"]["low"] < 0.5 < two[0, "real"]["high"]
    assert scores("frozen-nano", "naming", (1,), ways=5)[1, "real"]["low"] > 0.45


def test_frozen_answers_questions_from_pictures():
    for shots in ((0,), (2,)):
        rows = scores("frozen-nano", "vqa", shots)
        real, blank = rows[shots[0], "real"], rows[shots[0], "blank_images"]
        assert real["low"] > blank["high"] and real["low"] > real["prior"]


def test_flamingo_names_from_pictures_and_holds_it_past_the_pictures_of_training():
    conditions = ("real", "blank_images", "shuffled_images", "text_only")
    two = scores("flamingo-nano", "naming", (1,), conditions, ways=2)
    assert two[1, "real"]["low"] > 0.9
    for condition in conditions[1:]:
        assert two[1, condition]["low"] < 0.55 and two[1, condition]["high"] > 0.45, condition
    assert scores("flamingo-nano", "naming", (1,), ways=5)[1, "real"]["low"] > 0.85
    assert scores("flamingo-nano", "naming", (8,), ("real",), ways=2)[8, "real"]["low"] > 0.9  # 17 pictures


def test_flamingo_weighs_evidence():
    noisy = scores("flamingo-nano", "noisy-naming", (0, 4, 16), conditions=("real",))
    assert noisy[0, "real"]["high"] < noisy[4, "real"]["low"] and noisy[0, "real"]["high"] < noisy[16, "real"]["low"]
    clear = scores("flamingo-nano", "ambiguous-naming", (0, 1, 16), conditions=("real",))
    assert clear[0, "real"]["high"] < clear[1, "real"]["low"] and clear[16, "real"]["low"] > 0.75


def test_flamingo_answers_questions_from_pictures():
    rows = scores("flamingo-nano", "vqa", (0, 4))
    for shots in (0, 4):
        real, blank = rows[shots, "real"], rows[shots, "blank_images"]
        assert real["low"] > blank["high"] and real["low"] > real["prior"]


def test_the_eyes_retrieve_and_classify():
    model, _ = load("vision-nano")
    found = {row["metric"]: row for row in retrieval(model, 200)}
    for name in ("TR@1", "IR@1"):
        assert found[name]["low"] > 20 * found[name]["chance"]
    assert found["TR@5"]["value"] > found["TR@1"]["value"]
    assert zero_shot(model, 200)[0]["low"] > 0.25
    found = {row["metric"]: row["value"] for row in probes(model, 200, fitted=1000)}
    assert min(found[name] for name in ("texture", "size", "letter", "digit")) > 0.75 and found["shape"] > 0.5


@pytest.mark.parametrize("path", EVALS, ids=lambda path: path.stem)
def test_evaluations_come_out_as_they_were_recorded(path, tmp_path, monkeypatch):
    """Everything that `eval --json` says but the seconds, and numbers up to what processors round differently."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    near = lambda number: pytest.approx(float(number), abs=1e-4)  # noqa: E731
    for task, expected in json.loads(path.read_text(), parse_float=near).items():
        how = ["--task", task, "--episodes", "20", "--device", "cpu", "--json", str(tmp_path / "result.json")]
        if task != "retrieval":
            how += ["--shots", "0,1", "--conditions", "real,shuffled_images"]
        assert main(["eval", path.stem, *how]) == 0
        result = json.loads((tmp_path / "result.json").read_text())
        assert result.pop("seconds") > 0 and len(result["rows"]) > 3
        assert result == expected and list(result) == list(expected)


def test_every_checkpoint_has_recorded_evaluations():
    assert {path.stem for path in EVALS} == set(shipped()) - {"bert-nano"}  # which answers nothing

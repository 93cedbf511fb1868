"""Claims: what counts as replicated, what is recorded, and that a stopped claim goes on."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from minilmm.claims import (
    CLAIMS,
    SWEEPS,
    Arm,
    Claim,
    Measure,
    holm,
    p_value,
    progress,
    read_results,
    run_claim,
    verdict,
)
from minilmm.claims import run as runner
from minilmm.claims.claim import Ranking, detectable
from minilmm.training.flamingo import preset


def test_verdicts_follow_the_interval():
    assert verdict([0.1, 0.2, 0.15])[0] == "replicated"
    assert verdict([-0.1, -0.2, -0.15])[0] == "contradicted"
    assert verdict([0.1, -0.1, 0.02])[0] == "inconclusive"
    with pytest.raises(ValueError, match="at least 2"):
        verdict([0.1])
    differences = [0.3, 0.1, 0.2, 0.4]  # mean .25, sd .1291, t = 3.873 with 3 degrees of freedom
    assert p_value(differences) == pytest.approx(0.0305, abs=2e-4)
    assert p_value([0.0, 0.0]) == 1.0


def test_holm_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_more_seeds_detect_less():
    pilot = [0.1, 0.0, 0.2, 0.05, 0.15]
    assert 0 < detectable(pilot, 20) < detectable(pilot, 10) < detectable(pilot, 5)


def test_spikes_are_jumps_above_all_of_a_window():
    losses = [1.0] * 40
    assert runner.spikes(losses) == 0
    losses[35] = 2.0
    assert runner.spikes(losses) == 1


@pytest.fixture
def claim(monkeypatch):
    """A claim whose runs cost nothing."""
    made = []

    def one(claim, arm, seed, device):
        made.append((arm.name, seed))
        value = {"paper": 0.9, "other": 0.5}[arm.name] + seed / 1e4
        digest = runner.digest(claim, arm.recipe(claim.base, seed))
        return {"arm": arm.name, "seed": seed, "digest": digest, "values": {claim.measure.name: value}, "spikes": 0}

    monkeypatch.setattr(runner, "one", one)
    arms = (Arm("paper"), Arm("other", {"variant": "no-gate"}))
    found = Claim("toy", 1, "a toy", "nowhere", preset("quick"), arms, Measure("naming", 1), (), 0.1, seeds=(100, 101))
    return found, made


def test_runs_are_recorded_and_never_made_twice(claim, tmp_path):
    toy, made = claim
    run_claim(toy, tmp_path, (100,))
    assert made == [("paper", 100), ("other", 100)]
    rows = run_claim(toy, tmp_path, (100, 101))
    assert made[2:] == [("paper", 101), ("other", 101)] and len(rows) == 4
    assert not progress(toy, read_results(tmp_path, toy), toy.seeds)
    told = json.loads((tmp_path / "toy.json").read_text())
    assert told["arms"]["other"] == {"lr": None, "variant": "no-gate"} and len(told["rows"]) == 4
    twin = replace(toy, name="twin", arms=(Arm("the same"), *toy.arms[1:]))
    assert [row["arm"] for row in run_claim(twin, tmp_path, (100,))] == ["the same", "other"] and len(made) == 4
    changed = replace(toy, base=replace(toy.base, pages=3))
    assert read_results(tmp_path, changed) == []  # another recipe: its runs are still to be made
    (tmp_path / "toy.json").write_text("{}")
    with pytest.raises(ValueError, match="no record of a claim"):
        read_results(tmp_path, toy)


def test_arms_that_read_one_run_differently_share_it(claim, tmp_path):
    toy, made = claim
    pair = replace(toy, name="pair", arms=(Arm("paper"), Arm("the same", reads="another measure")))
    rows = run_claim(pair, tmp_path, (100, 101))
    assert made == [("paper", 100), ("paper", 101)] and len(rows) == 4
    rows = [row | {"values": {toy.measure.name: 0.9, "another measure": 0.7}} for row in rows]
    assert pair.differences(rows, pair.arms[1]) == pytest.approx([0.2, 0.2])


def test_a_gain_is_a_difference_of_shots_and_ranking_needs_a_first_stage(monkeypatch):
    values = {4: 0.75, 0: 0.5}
    row = lambda model, task, request, **how: {"rows": [{"value": values[request.shots[0]]}]}  # noqa: E731
    monkeypatch.setattr(runner, "evaluate", row)
    flat = CLAIMS["shots"]
    model = SimpleNamespace(config=SimpleNamespace(vision=SimpleNamespace(resolution=48)))
    found = runner.measure(replace(flat, beside=(Ranking("ITC"),)), model, None, 0, "cpu")
    assert found == {"vqa, 4 shots minus 0": 0.25}


def test_the_claims_are_written_down_whole():
    for claim in (*CLAIMS.values(), *SWEEPS.values()):
        assert len({arm.name for arm in claim.arms}) == len(claim.arms) >= 2
        for arm in claim.arms:
            assert arm.recipe(claim.base, 7).seed == 7  # every change names a field of the recipe
        assert len({m.name for m in claim.measures}) == len(claim.measures)
    assert all(len(claim.seeds) >= 5 and min(claim.seeds) >= 100 for claim in CLAIMS.values())
    assert all(len(claim.seeds) >= 10 for claim in CLAIMS.values() if claim.number in (8, 11, 15))  # the central ones
    whole = {runner.digest(c, c.arms[0].recipe(c.base, 200)) for c in map(CLAIMS.get, ("itg", "re-ranking"))}
    assert len(whole) == 1  # claims on matching share the run of both stages


RECORDS = Path(__file__).parents[2] / "results" / "claims"


@pytest.mark.skipif(not RECORDS.is_dir(), reason="no claim is on record")
def test_recorded_runs_are_those_of_todays_recipes():
    """Every row that lies in the clone is read."""
    for path in sorted(RECORDS.glob("*.json")):
        claim, rows = (CLAIMS | SWEEPS)[path.stem], runner.recorded(path)
        assert len(rows) > 4 and read_results(RECORDS, claim) == rows

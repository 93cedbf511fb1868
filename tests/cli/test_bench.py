"""`minilmm bench`: every task, resumable, the overall score."""

import json
from dataclasses import asdict

import pytest
from minilmm_cli import bench
from minilmm_cli.main import main
from tiny import tiny_frozen

from minilmm.checkpoints.saving import save
from minilmm.evaluation import fewshot
from minilmm.evaluation.tasks import TASKS

FEW = ("naming", "memes", "caption")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A tiny Frozen, three tasks, few episodes."""
    model = tiny_frozen()
    (tmp_path / "frozen").mkdir()
    save(tmp_path / "frozen", model, "frozen", config=asdict(model.config), recipe={}, seed=0)
    monkeypatch.setattr(bench, "TASKS", {name: TASKS[name] for name in FEW})
    monkeypatch.setattr(bench, "QUICK", (30, (0, 2)))
    monkeypatch.setattr(bench, "ABOVE", -1.0)  # a random language model does no task
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return str(tmp_path / "frozen")


def test_every_task_is_measured_once_and_the_rest_is_read(run, tmp_path, monkeypatch, capsys):
    out = tmp_path / "bench"
    assert main(["bench", run, "--quick", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines()[:-2])) <= 80 and all(name in said for name in (*FEW, "overall"))
    told = json.loads((out / "bench.json").read_text())
    assert set(told["results"]) == {"words", run} and (out / "bench.png").is_file()
    assert set(told["overall"]["words"].values()) == {1.0}
    measured = []
    real = fewshot.evaluate
    monkeypatch.setattr(fewshot, "evaluate", lambda *a, **k: measured.append(a[1].name) or real(*a, **k))
    (out / "frozen" / "memes.json").unlink()
    assert main(["bench", run, "--quick", "--out", str(out)]) == 0
    assert measured == ["memes"] and json.loads((out / "bench.json").read_text())["overall"] == told["overall"]
    assert main(["bench", run, "--quick", "--out", str(out), "--seed", "1"]) == 0
    assert len(measured) == 1 + 2 * len(FEW)  # of another seed nothing was measured yet


def test_the_overall_score_by_hand():
    def result(**scores):
        rows = [{"shots": int(k[1:]), "condition": "real", "metric": metric, "value": v, "prior": 0.2}
                for k, (metric, v) in scores.items()]  # fmt: skip
        return {"rows": rows}

    mine = {"a": result(k0=("accuracy", 0.4), k4=("accuracy", 0.6)), "b": result(k0=("cider", 3.0))}
    best = {"a": result(k0=("accuracy", 0.8), k4=("accuracy", 0.9)), "b": result(k0=("cider", 6.0))}
    assert bench.overall(mine, best, 0) == pytest.approx(0.5)
    assert bench.overall(mine, best, 4) == pytest.approx(2 / 3)
    assert bench.overall(mine, best, 9) is None
    assert bench.value(mine["b"], 0) == pytest.approx(0.3) and bench.value(mine["b"], 0, "prior") == 0.02
    mine["c"], best["c"] = result(k0=("accuracy", 0.25)), result(k0=("accuracy", 0.25))  # as any guess
    assert bench.overall(mine, best, 0) == pytest.approx(0.5)


def test_what_cannot_be_asked_is_refused(run, tmp_path, capsys):
    for name, words in (("nowhere", "no such run"), ("vision-nano", "takes no prompts")):
        assert main(["bench", name, "--quick", "--out", str(tmp_path / "b")]) != 0
        assert words in capsys.readouterr().err
    assert bench.numbers(TASKS["naming"], (0, 4, 16, 32)) == (0, 4, 16)
    assert bench.numbers(TASKS["memes"], (0, 4, 16, 32)) == (0, 4, 16, 32)

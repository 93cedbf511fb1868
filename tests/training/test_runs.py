"""Runs on disk: one process writes, nothing is overwritten or mixed, nothing that is not finite is kept or opened."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import pytest
import safetensors.torch
import torch
from minilmm_cli import common, console
from minilmm_cli import runs as commands
from minilmm_cli.main import main
from safetensors.torch import load_file, save_file
from torch import nn

from minilmm.checkpoints import files
from minilmm.checkpoints import saving as checkpoint
from minilmm.checkpoints.opening import load
from minilmm.checkpoints.saving import CheckpointError, read_log
from minilmm.claims import CLAIMS, read_results
from minilmm.claims import run as runner
from minilmm.language import LMConfig
from minilmm.training import lm, loop
from minilmm.training.job import Job, adamw
from minilmm.training.loop import train
from minilmm.training.prepare import prepare
from minilmm.training.recipes import LMRecipe, Optimisation
from minilmm.world.vocabulary import tokenizer

TINY = LMRecipe(
    LMConfig(len(tokenizer()), 16, 1, 2, 2, 32, smear=2), Optimisation(3, 1e-2, 1), 2, (16, 24, 32), tokens=64
)
NAN, INFINITE = float("nan"), float("inf")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MINILMM_DEBUG", raising=False)
    monkeypatch.setattr(lm, "preset", lambda name: TINY)


@pytest.fixture
def call(capsys):
    """Runs a command: exit code, standard output, standard error."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def fails(call):
    """Runs a command that must fail in one line that holds the words given."""

    def run(*arguments, holds, code=1):
        got, _, err = call(*arguments)
        assert got == code and err.startswith("error: ") and err.count("\n") == 1, (got, err)
        for word in holds:
            assert word in err, err

    return run


@pytest.fixture
def finished(tmp_path):
    """The folder of a finished run."""
    (tmp_path / "run").mkdir()
    train(prepare(TINY), tmp_path / "run", probe_every=100)
    return tmp_path / "run"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- one process at a time --------------------------------------------------------------------------------------------

HOLD = """
import pathlib, sys, time
from minilmm.checkpoints.files import held
with held(pathlib.Path(sys.argv[1])):
    print(flush=True)
    time.sleep(60)
"""


def test_a_folder_is_held_by_one_process_until_that_ends_however_it_ends(tmp_path, fails, call):
    place = tmp_path / "run"
    place.mkdir()
    other = subprocess.Popen([sys.executable, "-c", HOLD, place], stdout=subprocess.PIPE)
    try:
        other.stdout.readline()
        fails(
            "pretrain", "lm", "--out", place, holds=[str(place), f"process {other.pid} writes there", "another --out"]
        )
        assert os.listdir(place) == [".lock"]
    finally:
        other.kill()
        other.wait()
    assert call("pretrain", "lm", "--out", place)[0] == 0  # what a killed process left blocks nobody
    assert not (place / ".lock").exists()


def test_a_record_is_held_as_well(tmp_path):
    record = tmp_path / "record.json"
    with files.held(record):
        assert os.listdir(tmp_path) == [".record.json.lock"]
    assert os.listdir(tmp_path) == []


# --- nothing is overwritten -------------------------------------------------------------------------------------------


def test_a_run_is_erased_by_force_alone_and_only_by_one_that_trains(finished, fails, call):
    before = contents(finished)
    fails("pretrain", "lm", "--out", finished, holds=["holds a finished run", "--force", "another --out"])
    fails("pretrain", "lm", "--out", finished, "--resume", holds=["holds a finished run"])
    fails("pretrain", "lm", "--out", finished, "--resume", "--force", holds=["give one of them"])
    fails("train", "frozen", "--lm", "no-lm", "--out", finished, "--force", holds=["no-lm"])
    assert contents(finished) == before
    (finished / "notes.txt").write_text("mine")
    assert call("pretrain", "lm", "--out", finished, "--force", "--seed", "1")[0] == 0
    after = contents(finished)
    assert json.loads(after["card.json"])["seed"] == 1 and after["notes.txt"] == b"mine"
    assert after["model.safetensors"] != before["model.safetensors"]
    assert after.keys() == {"card.json", "model.safetensors", "log.jsonl", "notes.txt"}


def test_weights_that_are_no_run_are_not_overwritten(tmp_path, fails):
    save_file({"w": torch.ones(1)}, tmp_path / "model.safetensors")
    fails("pretrain", "lm", "--out", tmp_path, holds=["model.safetensors without a card", "--force"])


def test_another_recipe_is_told_by_what_differs(finished, tmp_path, monkeypatch, fails):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    out = tmp_path / "stopped"
    out.mkdir()
    train(prepare(TINY), out, probe_every=100)
    (out / "card.json").unlink()
    fails("pretrain", "lm", "--out", out, holds=["holds an unfinished run", "--resume", "--force"])
    options = ["--resume", "--seed", "5", "--lr", "0.5", "--smear", "1"]
    wanted = ["lr was 0.01, not 0.5", "smear was 2, not 1", "seed was 0, not 5"]
    fails("pretrain", "lm", "--out", out, *options, holds=wanted)
    told = commands.unlike(replace(TINY, seed=3), TINY)
    assert told == ["seed was 0, not 3"]
    with pytest.raises(CheckpointError, match="another kind of run"):
        commands.finished(finished, Optimisation)


def test_a_record_of_another_recipe_is_not_overwritten(tmp_path, fails, call, monkeypatch):
    claim, record = CLAIMS["last-image"], tmp_path / "last-image.json"
    row = {"arm": claim.arms[0].name, "seed": 200, "digest": "another", "values": {}}
    record.write_text(json.dumps({"rows": [row]}))
    fails("claims", "run", "last-image", "--out", tmp_path, holds=["1 runs of another recipe", "--again"])
    assert json.loads(record.read_text())["rows"] == [row]
    (tmp_path / "gating.json").write_text("{")
    fails("claims", "run", "gating", "--out", tmp_path, holds=["gating.json", "no record of a claim"])

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "one", stopped)
    (tmp_path / "gating.json").unlink()
    code, _, err = call("claims", "run", "last-image", "--again", "--jobs", "1", "--seeds", "200", "--out", tmp_path)
    assert code == 130 and "0 runs are recorded" in err and "continue with: minilmm claims run" in err
    assert "--again" not in err and read_results(tmp_path, claim) == []


def test_quickstart_leaves_other_runs_alone(finished, fails):
    (finished.parent / "q").mkdir()
    mine = finished.rename(finished.parent / "q" / "frozen")
    before = contents(mine)
    out = ["quickstart", "--out", mine.parent]
    fails(*out, holds=["holds frozen/card.json already", "--resume", "another --out", "--force"])
    fails(*out, "--resume", holds=["another kind of run"])
    assert contents(mine) == before


# --- nothing that is not finite ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    optimisation: Optimisation
    seed: int = 0


def fit(out, loss, steps=6, lr=1e-2):
    """Trains a small layer with a loss of (model, step), a checkpoint after every step."""
    model = nn.Linear(2, 1)
    recipe = Recipe(Optimisation(steps, lr, 1))
    loop.fit(Job(recipe, "toy", model, {}, lambda recipe, generator, step: step, lambda step: loss(model, step)), out)


@pytest.mark.parametrize(
    "bad, told",
    [("loss", "loss is nan at step 4"), ("gradient", "norm is nan at step 4"), ("weight", "weight .* after step 4")],
)
def test_what_is_not_finite_ends_the_run_and_is_not_kept(tmp_path, monkeypatch, bad, told):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)

    def loss(model, step):
        fine = model.weight.square().sum()
        if step != 3:
            return fine
        if bad == "weight":
            with torch.no_grad():
                model.bias.fill_(INFINITE)
            return fine
        if bad == "loss":
            signal.raise_signal(signal.SIGINT)  # what would be saved is looked at, too
            return fine * NAN
        return (0 * (model.weight - model.weight.detach()).sum()).sqrt()

    with pytest.raises(ArithmeticError, match=told):
        fit(tmp_path, loss)
    kept = load_file(tmp_path / "checkpoint.safetensors")
    assert all(bool(t.isfinite().all()) for t in kept.values()) and float(kept["optimizer.0.step"]) == 3


def test_a_checkpoint_is_promised_only_where_there_is_one(tmp_path, monkeypatch, fails):
    original, steps = lm.loss_of, []

    def loss_of(model, *drawn, rest):
        steps.append(len(steps))
        return original(model, *drawn, rest=rest) * (NAN if steps[-1] == bad else 1)

    monkeypatch.setattr(lm, "loss_of", loss_of)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    for bad, kept in ((0, False), (2, True)):
        out = tmp_path / str(bad)
        steps.clear()
        fails("pretrain", "lm", "--out", out, holds=["the loss is nan", "lower --lr", "kept in" if kept else ""])
        assert (out / "checkpoint.safetensors").is_file() is kept


def test_weights_that_are_not_finite_are_not_opened(finished, fails):
    weights = load_file(finished / "model.safetensors")
    weights["norm.weight"][3] = NAN
    save_file(weights, finished / "model.safetensors", {"format": "minilmm"})
    card = json.loads((finished / "card.json").read_text())
    card["sha256"] = files.digest(finished / "model.safetensors")
    (finished / "card.json").write_text(json.dumps(card))
    fails("eval", finished, "--task", "naming", holds=["norm.weight is not finite", "train again"])


# --- files ------------------------------------------------------------------------------------------------------------


def test_the_same_run_has_the_same_bytes_and_a_new_files_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            train(prepare(TINY), tmp_path / name, probe_every=100)
    finally:
        os.umask(before)
    a, b = (tmp_path / name / "model.safetensors" for name in ("a", "b"))
    assert a.read_bytes() == b.read_bytes()
    model, _ = load(tmp_path / "a")
    for i in range(8):  # names in no order of their own would differ by now
        checkpoint.save(tmp_path / "b", model, "lm", config={}, number=i)
        assert a.read_bytes() == b.read_bytes()
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "a").iterdir()} == {0o640}


def test_a_checkpoint_of_which_one_bit_differs_is_refused(tmp_path, fails):
    train(prepare(TINY), tmp_path, probe_every=100)
    path = tmp_path / "checkpoint.safetensors"
    (tmp_path / "card.json").unlink()
    damaged = bytearray(path.read_bytes())
    damaged[-40] ^= 1
    path.write_bytes(damaged)
    fails("pretrain", "lm", "--out", tmp_path, "--resume", holds=["checkpoint.safetensors: damaged", "--force"])


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch, fails):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    original, calls = safetensors.torch.save_file, []

    def full(tensors, path, metadata):
        calls.append(path)
        if len(calls) > 1:
            raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")
        original(tensors, path, metadata)

    monkeypatch.setattr("safetensors.torch.save_file", full)
    out = tmp_path / "run"
    fails("pretrain", "lm", "--out", out, holds=["checkpoint.safetensors: No space left", "free some", "is kept in"])
    assert {path.name for path in out.iterdir()} == {"checkpoint.safetensors", "log.jsonl"}
    monkeypatch.undo()
    told = checkpoint.load_training(out / "checkpoint.safetensors", model := lm.CausalLM(TINY.model),
                                    adamw(list(model.parameters()), TINY.optimisation), TINY)  # fmt: skip
    assert told[0] == 1


@pytest.mark.parametrize("change, told", [
    ({"heads": 0}, "ZeroDivisionError"), ({"width": 24}, "size mismatch for"), ({"layers": 2}, "Missing key"),
    ({"depth": 3}, "depth"), ({"vocab_size": -1}, "negative"), ({"width": "wide"}, "TypeError"),
])  # fmt: skip
def test_an_edited_card_is_one_line(finished, fails, change, told):
    card = json.loads((finished / "card.json").read_text())
    card["config"] |= change
    (finished / "card.json").write_text(json.dumps(card))
    fails("eval", finished, "--task", "naming", holds=["model.safetensors: does not fit its card", told, "restore"])
    for broken in ({**card, "kind": 3}, {**card, "config": []}, {"kind": "lm"}, []):
        (finished / "card.json").write_text(json.dumps(broken))
        fails("eval", finished, "--task", "naming", holds=["card.json: not a minilmm card", "restore"])


def test_a_log_is_read_or_told_by_its_line(tmp_path):
    path, row = tmp_path / "log.jsonl", {"step": 1, "seconds": 0.5, "loss": 2.0}
    path.write_text(json.dumps(row) + "\n" + '{"step": 2, "sec')  # what a killed process leaves
    assert read_log(path) == [row]
    for text, told in (("", "missing or empty"), ('{"step": 1}\n', "line 1"), (f"{json.dumps(row)}\n[]\n", "line 2")):
        path.write_text(text)
        with pytest.raises(CheckpointError, match=f"log.jsonl: {told}.*train again"):
            read_log(path)
    path.write_text("")
    assert read_log(path, empty=True) == []


# --- numbers, memory, time, signals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("option, value", [
    ("--steps", "0"), ("--steps", "1" * 23), ("--seed", "1" * 23), ("--lr", "nan"), ("--lr", "inf"), ("--lr", "0"),
    ("--batch", "1000000000"), ("--minutes", "inf"), ("--minutes", "nan"), ("--noise", "nan"), ("--ridge", "inf"),
])  # fmt: skip
def test_numbers_have_bounds(tmp_path, fails, option, value):
    fails("train", "frozen", option, value, "--out", tmp_path / "x", holds=[option], code=2)
    assert not (tmp_path / "x").exists()


def test_sizes_have_bounds(tmp_path, fails, monkeypatch):
    fails("train", "flamingo", "--latents", "100000", "--out", tmp_path / "x", holds=["--latents"], code=2)
    fails("claims", "run", "gating", "--seeds", "0-99999999999999", "--out", tmp_path / "x", holds=["--seeds"])
    monkeypatch.setattr(common, "free_memory", lambda device="cpu": 4 * 2**30)
    fails("train", "frozen", "--batch", "50000", "--out", tmp_path / "x",
          holds=["batch 50000: a step needs about 48.8 GiB of memory, and 4.0 are free"])  # fmt: skip
    assert not (tmp_path / "x").exists()
    assert common.free_memory() > 0


def test_without_a_terminal_time_is_told_in_lines(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(console.time, "perf_counter", lambda: now[0])
    log = console.Log("run", 41)
    for step in range(1, 42):
        now[0] += 2.0
        log.report(step, {"seconds": now[0] - 100, "loss": 1.0} if step == 40 else {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["1/41  2 s", "6/41  12 s  about 70 s left", "11/41  22 s  about 60 s left"]
    assert lines[-1].startswith("40/41  80 s  loss 1.000") and len(lines) == 9


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_acknowledged_at_once_and_keeps_a_checkpoint(tmp_path, monkeypatch, call, number):
    original, steps = lm.loss_of, []

    def loss_of(model, *drawn, rest):
        steps.append(len(steps))
        if steps[-1] == 1:
            signal.raise_signal(number)
        return original(model, *drawn, rest=rest)

    monkeypatch.setattr(lm, "loss_of", loss_of)
    code, _, err = call("pretrain", "lm", "--out", tmp_path / "run")
    told, end = err.splitlines()
    assert code == 130 and told.startswith("stopping when this step is done")
    again = f"minilmm pretrain lm --out {tmp_path / 'run'} --resume"
    assert end == f"stopped; checkpoint in {tmp_path / 'run'}; continue with: {again}"
    monkeypatch.undo()
    monkeypatch.setattr(lm, "preset", lambda name: TINY)
    assert call("pretrain", "lm", "--out", tmp_path / "run", "--resume")[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_step_leaves_nothing(tmp_path, monkeypatch, request, call, number):
    monkeypatch.setattr(lm, "prepare", lambda *_: signal.raise_signal(number))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    code, _, err = call("pretrain", "lm", "--out", tmp_path / "run")
    assert code == 130 and err.startswith("stopped before the first step was saved") and err.count("\n") == 1
    assert not (tmp_path / "run").exists()


KILLED = """
import sys
from minilmm.training import lm, loop
from minilmm_cli.main import main
from test_runs import TINY
lm.preset, loop.CHECKPOINT_SECONDS = lambda name: TINY, -1.0
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_kill_9_and_resume_give_the_same_bytes(tmp_path, call):
    command = ["pretrain", "lm", "--steps", "49", "--out"]  # fewer than between two probes
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    other = subprocess.Popen([sys.executable, "-c", KILLED, *command, killed], cwd=os.path.dirname(__file__))
    while not (killed / "checkpoint.safetensors").is_file() and other.poll() is None:
        time.sleep(0.01)
    other.kill()
    assert other.wait() == -signal.SIGKILL
    assert call(*command, killed, "--resume")[0] == 0 and call(*command, whole)[0] == 0
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()

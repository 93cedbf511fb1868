"""Several processes train what one would: losses, weights, who writes, how they stop, and what cannot be split."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import assert_near
from torch import nn

from minilmm.language import LMConfig
from minilmm.language.encdec import EncDecConfig
from minilmm.nn import parallel
from minilmm.training import job, loop
from minilmm.training.loop import train
from minilmm.training.prepare import prepare
from minilmm.training.recipes import (
    Blip2Recipe,
    FlamingoRecipe,
    FrozenRecipe,
    LMRecipe,
    Optimisation,
    T5Recipe,
    VisionRecipe,
)
from minilmm.vision import VisionConfig
from minilmm.world.vocabulary import tokenizer

ROOT = Path(__file__).parents[2]
FAST = Optimisation(6, 1e-2, 1)
EYES = VisionConfig(stem=8, widths=(8, 16), blocks=(1, 1))
NAMES = ("lm", "t5", "vision", "frozen", "flamingo", "unused", "blip2")


def run(name, halves, out, **how):
    """Train a tiny recipe, with every step in its log; odd batches, of which some are too small for two processes."""

    def train(job, out, **how):
        return loop.train(replace(job, probe=None, snapshot=None), out, probe_every=1, **how)

    out.mkdir(parents=True, exist_ok=True)
    words, parts = len(tokenizer()), {"lm": str(halves / "lm"), "vision": str(halves / "vision")}
    mixed = FlamingoRecipe(FAST, latents=2, first=1, described=2, pairs=5, pages=3, videos=1, p_next=0.5, **parts)
    if name == "lm":
        model = LMConfig(words, 16, 1, 2, 2, 32, smear=2)
        return train(prepare(LMRecipe(model, FAST, first=2, lengths=(16, 24, 32), tokens=128)), out, **how)
    if name == "t5":
        return train(prepare(T5Recipe(EncDecConfig(words, 16, 1, 2, 32), FAST, tokens=240)), out, **how)
    if name == "vision":
        return train(prepare(VisionRecipe(EYES, FAST, batch=7, embed=16)), out, **how)
    if name == "frozen":
        return train(prepare(FrozenRecipe(FAST, batch=5, encoder=EYES, **parts)), out, **how)
    if name == "flamingo":
        return train(prepare(mixed), out, **how)
    if name == "unused":  # an ablation that leaves parameters out
        return train(prepare(replace(mixed, variant="vanilla-xattn")), out, **how)
    small = {"queries": 2, "layers": 2, "heads": 2, "hidden": 32}
    return train(prepare(Blip2Recipe(FAST, stage=2, batch=5, **small, **parts)), out, **how)


def stopping_at(step):
    """The second process alone is told to stop."""
    original, calls = job.loss_of, []

    def loss_of(model, batch):
        calls.append(1)
        if len(calls) == step and not parallel.is_main_process():
            os.kill(os.getpid(), signal.SIGTERM)
        return original(model, batch)

    job.loss_of = loss_of


def worker(folder):
    """What each of two processes does; the second has folders of its own, in which nothing may appear."""
    torch.set_num_threads(1)
    parallel.join("cpu")
    mine = folder / ("two" if parallel.is_main_process() else "nobody")
    for name in NAMES:
        run(name, folder / "one", mine / name)
    stopping_at(3)
    try:
        run("frozen", folder / "one", folder / "stopped")
    except KeyboardInterrupt:
        torch.distributed.barrier()  # the first writes the checkpoint that both go on from
        steps = [json.loads(row)["step"] for row in (folder / "stopped" / "log.jsonl").read_text().splitlines()]
        assert steps == [1, 2, 3], steps
        run("frozen", folder / "one", folder / "stopped", resume=True)
    refused = []
    numbered = FlamingoRecipe(FAST, variant="time-embedding-per-image")
    for recipe in (Blip2Recipe(FAST), numbered, VisionRecipe(EYES, FAST, batch=1)):
        try:
            train(prepare(recipe), folder)
        except ValueError as error:
            refused.append(str(error))
    if parallel.is_main_process():
        (folder / "refused.json").write_text(json.dumps(refused))
    parallel.leave()


def failing():
    """The command, in two processes of which the second alone fails, in its second step."""
    original, calls = job.loss_of, []

    def loss_of(model, batch):
        calls.append(1)
        if len(calls) == 2 and os.environ["RANK"] == "1":
            raise ValueError("something of the second process's: do something")
        return original(model, batch)

    job.loss_of = loss_of
    from minilmm_cli.main import main

    sys.exit(main(sys.argv[2:]))


def torchrun(*arguments):
    """Two processes: the exit code, what they printed, and what they said on standard error."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command += map(str, arguments)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Every recipe trained by one process, and by two."""
    folder = tmp_path_factory.mktemp("parallel")
    for name in NAMES:
        run(name, folder / "one", folder / "one" / name)
    code, _, err = torchrun(__file__, folder)
    assert code == 0, err
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_processes_train_what_one_does(trained, name):
    one, two = ([json.loads(row) for row in (trained / n / name / "log.jsonl").open()] for n in ("one", "two"))
    for key in ("loss", "gradient_norm"):
        assert [row[key] for row in two] == pytest.approx([row[key] for row in one], rel=1e-4)
    assert len(two) == FAST.steps
    expected, found = (load_file(trained / n / name / "model.safetensors") for n in ("one", "two"))
    # A tenth of one step: where a gradient is 0 (of a key's bias, of a rare word), Adam makes steps of its rounding.
    differ = {
        key: float(((found[key] - weight).abs() > FAST.lr / 10).float().mean()) for key, weight in expected.items()
    }
    assert max(differ.values()) < 1e-3, max(differ.items(), key=lambda item: item[1])


@pytest.mark.slow
def test_the_first_process_alone_writes(trained):
    assert {p.name for p in (trained / "two" / "frozen").iterdir()} >= {"card.json", "model.safetensors", "log.jsonl"}
    assert not [p for p in (trained / "nobody").rglob("*") if p.is_file()]


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_and_they_go_on(trained):
    whole, resumed = (load_file(trained / n / "model.safetensors") for n in ("two/frozen", "stopped"))
    for key, weight in whole.items():
        assert_near(resumed[key], weight)


@pytest.mark.slow
def test_what_cannot_be_split_is_refused(trained):
    stage_1, numbered, few = json.loads((trained / "refused.json").read_text())
    assert "stage 1" in stage_1 and "train it without torchrun" in stage_1
    assert "time-embedding-per-image" in numbered and "2 processes share it" in few


@pytest.mark.slow
def test_the_command_speaks_once_and_fails_once(trained, tmp_path):
    halves = ["--lm", trained / "one" / "lm", "--vision", trained / "one" / "vision", "--eyes", "start"]
    train = ["train", "frozen", "--device", "cpu", "--batch", "4", "--steps", "3", *halves, "--out"]
    code, out, err = torchrun("-m", "minilmm_cli", *train, tmp_path / "a")
    assert code == 0 and out.count("trained 3 steps") == 1 and "error" not in err
    assert json.loads((tmp_path / "a" / "card.json").read_text())["command"].startswith("torchrun --nproc-per-node 2")
    assert not (tmp_path / "a" / "checkpoint.safetensors").exists()
    code, _, err = torchrun(__file__, "fail", *train, tmp_path / "b")
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code != 0 and lines == ["error: something of the second process's: do something"]
    assert not (tmp_path / "b" / "card.json").exists()


def test_one_process_shares_with_nobody():
    model, counted = nn.Linear(2, 1), torch.ones(3, 2, dtype=torch.bool)
    assert parallel.shard(counted) == (slice(None), 1.0) and parallel.is_main_process() and parallel.processes() == 1
    x = torch.rand(3)
    assert parallel.gathered(x, slice(None), 3) is x and parallel.whole(x) is x and parallel.anyone(True)
    assert parallel.averaged(model, model.forward) == model.forward
    parallel.require_single_process("anything")


if __name__ == "__main__":
    if sys.argv[1] == "fail":
        failing()
    else:
        worker(Path(sys.argv[1]))

"""What is shown is what was asked: every task reads the options that it is said to read, and no other."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import matplotlib
import pytest
import torch
from minilmm_cli import claims, look, measure, names
from minilmm_cli.common import check_memory
from minilmm_cli.main import app, main

from minilmm.checkpoints import opening
from minilmm.checkpoints import saving as checkpoint
from minilmm.claims import CLAIMS
from minilmm.claims import run as runner
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.tasks import REAL, TASKS, Settings

ROOT = Path(__file__).parents[2]
OTHERS = {"--ways": {"ways": 3}, "--repeats": {"repeats": 1}, "--induction": {"induction": True},
          "--names": {"names": "real"}, "--split": {"split": "train"},
          "--convention": {"convention": "given"}}  # fmt: skip


def drawn(task, **settings):
    """Everything that an episode of a task says, or the error that it refuses a setting with."""
    try:
        episodes = TASKS[task].sample(8, torch.Generator().manual_seed(0), Settings(**settings))
    except ValueError as error:
        return str(error)
    return [t.tolist() for t in (episodes.source, episodes.texts, episodes.first, episodes.candidates)]


def test_the_names_are_those_of_the_package():
    assert names.shipped() == checkpoint.shipped()
    for task in (*TASKS.values(), *REAL.values()):  # every option is a field of what is asked
        fields = {*Request.__dataclass_fields__, *Settings.__dataclass_fields__}
        assert set(task.options) <= fields and len(set(task.options)) == len(task.options)
        assert ("rices" in task.options) == bool(task.pooled) and ("orders" in task.options) == (
            "rank" in task.scorings
        )


@pytest.mark.parametrize("task", [name for name in TASKS if name != "easy-vqa"])
@pytest.mark.parametrize("option", OTHERS)
def test_a_task_reads_what_it_is_said_to_read(task, option):
    changed = drawn(task, **OTHERS[option]) != drawn(task)
    fixed = option == "--names" and task in ("ambiguous-naming", "noisy-naming")  # there is nothing but nonsense
    assert changed == (option.removeprefix("--") in TASKS[task].options) or fixed


@pytest.mark.parametrize("task", [*TASKS, *measure.VISION_TASKS])
def test_an_option_that_a_task_does_not_read_is_refused_by_name(task, capsys):
    values = {"--shots": "1", "--ways": "2", "--repeats": "1", "--induction": "", "--names": "real", "--split": "train",
              "--scoring": "generate", "--conditions": "real", "--orders": "2", "--rices": "", "--per-token": "",
              "--zero-shot-texts": "2", "--beams": "2"}  # fmt: skip
    reads = TASKS[task].options if task in TASKS else ("episodes",)
    for option in values.keys() - {f"--{name.replace('_', '-')}" for name in reads}:
        line = ["eval", "frozen-nano", "--task", task, option, values[option]]
        assert main([word for word in line if word]) == 1
        assert capsys.readouterr().err.startswith(f"error: {option} {values[option]}".strip())


def commands(group, path=()):
    """The words of every command, and the function behind it."""
    for command in group.registered_commands:
        yield (*path, command.name), command.callback
    for inner in group.registered_groups:
        yield from commands(inner.typer_instance, (*path, inner.name))


def test_every_number_has_a_range():
    checked, bare = 0, []
    for path, function in commands(app):
        if path[0] in ("train", "pretrain", "quickstart", "exercises", "grade"):
            continue
        for name, hint in get_type_hints(function, include_extras=True).items():
            kinds = [hint, *get_args(hint), *(k for inner in get_args(hint) for k in get_args(inner))]
            if get_origin(hint) is Annotated and (int in kinds or float in kinds):
                option = next(part for part in get_args(hint) if hasattr(part, "min"))
                checked += 1
                bare += [(path, name)] * (None in (option.min, option.max))
    assert checked >= 12 and not bare


def test_memory_is_estimated_before_it_is_taken():
    check_memory(1, "a little")
    if Path("/proc/meminfo").exists():
        with pytest.raises(ValueError, match=r"all of it needs about 1073741824\.0 GiB"):
            check_memory(2.0**60, "all of it")


def test_runs_of_one_name_are_told_apart(tmp_path, monkeypatch):
    assert look.short_names(["runs/a", "runs/b"]) == {"a": "runs/a", "b": "runs/b"}
    assert look.short_names(["a/run", "b/run", "a/run"]) == {"a/run": "a/run", "b/run": "b/run"}
    kept = []
    monkeypatch.setattr(
        "minilmm.plots.training_curves", lambda panels: kept.append(panels) or matplotlib.figure.Figure()
    )
    for folder in ("a", "b"):
        (tmp_path / folder / "run").mkdir(parents=True)
        (tmp_path / folder / "run" / "card.json").write_text('{"kind": "frozen", "config": {}, "sha256": ""}')
        (tmp_path / folder / "run" / "log.jsonl").write_text('{"step": 1, "seconds": 1.0, "loss": 2.0}\n')
    monkeypatch.chdir(tmp_path)
    assert main(["show", "training", "a/run", "b/run", "--out", "drawn"]) == 0
    assert list(kept[0]["loss"]) == ["a/run", "b/run"]


# --- claims -----------------------------------------------------------------------------------------------------------


def recorded(folder, claim, values):
    """A record with one value per arm and seed, as the claim's own recipes would have made it."""
    rows = [
        {"arm": claim.arms[a].name, "seed": claim.seeds[s], "values": {m.name: value for m in claim.measures},
         "digest": runner.digest(claim, claim.arms[a].recipe(claim.base, claim.seeds[s]))}
        for (a, s), value in values.items()
    ]  # fmt: skip
    folder.mkdir(parents=True)
    (folder / f"{claim.name}.json").write_text(json.dumps({"rows": rows}))
    return runner.read_results(folder, claim)


def test_only_seeds_that_both_arms_have_are_shown(tmp_path, capsys):
    claim = CLAIMS["shots"]
    rows = recorded(tmp_path / "r", claim, {(0, 0): 0.1, (0, 1): 0.3, (1, 0): 0.0, (1, 1): -0.2, (1, 2): 0.9})
    assert [claims.paired_values(claim, rows, arm) for arm in claim.arms] == [[0.1, 0.3], [0.0, -0.2]]
    claims.show(claim, rows)
    out = capsys.readouterr().out
    assert ".200" in out and "-.100" in out and ".233" not in out  # .233: with the seed that has no partner
    figure = tmp_path / "arms.png"
    assert main(["claims", "report", "--out", str(tmp_path / "r"), "--figure", str(figure)]) == 0
    assert (tmp_path / "arms-shots.png").is_file()


def test_claims_say_where_there_is_no_record(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claims, "RESULTS", Path("docs/images"))
    assert claims.records(None) == ROOT / "docs" / "images"  # of the clone that the package was installed from
    monkeypatch.setattr(claims, "RESULTS", Path("nowhere/claims"))
    assert main(["claims", "list"]) == 0
    out = capsys.readouterr().out
    assert "no record here" in out and "not run" not in out
    assert main(["claims", "list", "--out", "moon"]) == 1 and "moon: no such folder" in capsys.readouterr().err


# --- what is printed --------------------------------------------------------------------------------------------------

TABLES = ["claims list", "doctor", "show mask --out {}", "show mask blip2 --out {}", "show words",
          "show tasks --out {}", "assets list", "exercises list", "params flamingo-3b", "params frozen-nano",
          "trace frozen", "show failures frozen-nano --out {}", "show answers frozen-nano --out {}"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("line", TABLES)
def test_everything_printed_fits_80_columns(line, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(line.format(tmp_path).split()) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) > 4
    assert not [row for row in out.splitlines() if len(row) > 80 and str(tmp_path) not in row]


def test_the_version_and_completion(capsys):
    import minilmm

    assert main(["--version"]) == 0 and capsys.readouterr().out == f"minilmm {minilmm.__version__}\n"
    assert main(["--help"]) == 0 and "--install-completion" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("line", ["--help", "exercises list", "doctor", "grade 01 --solutions", "show words"])
def test_any_terminal_will_do(line, encoding):
    here = os.environ | {"PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1"}
    told = subprocess.run([sys.executable, "-m", "minilmm_cli", *line.split()], capture_output=True, env=here, cwd=ROOT)
    assert told.returncode == 0 and not told.stderr, told.stderr
    assert len(told.stdout.decode(encoding).splitlines()) > 3


def test_a_hub_that_is_out_of_reach_is_one_line(tmp_path, monkeypatch, capsys):
    constants = pytest.importorskip("huggingface_hub.constants")
    for name, value in (("HF_HUB_OFFLINE", False), ("ENDPOINT", "http://127.0.0.1:9"), ("HF_HUB_CACHE", str(tmp_path))):
        monkeypatch.setattr(constants, name, value)
    for line in ("eval moon/base --task naming", "convert moon/base --to out"):
        assert main(line.split()) == 1
        err = capsys.readouterr().err
        assert err.startswith("error: moon/base: ") and err.count("\n") == 1 and "cannot be reached" in err


def test_near_misses_are_named(capsys):
    for line, told in (("evall", "'eval'"), ("eval frozen-nano --tsak naming", "--task"), ("eval frozn-nano --task vqa",
                       "frozen-nano?"), ("eval frozen-nano --task nameing", "naming?"), ("claims run gatin", "gating?"),
                       ("params flamingo-3", "flamingo-3b?"), ("show trainning", "training?")):  # fmt: skip
        assert main(line.split()) in (1, 2)
        err = capsys.readouterr().err
        assert told in err and err.count("\n") == 1, err


def test_progress_counts_episodes():
    model, counted = opening.load("lm-nano")[0], []
    evaluate(model, "naming", Request((0, 1), episodes=120, conditions=("real", "text_only")), report=counted.append)
    assert sum(counted) == 2 * 2 * 120 and max(counted) == 100


def heed_ctrl_c():
    """A shell's background job ignores Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 1.5, 3.0, 6.0])  # while the command, while torch, while the model is at work
def test_ctrl_c_is_one_line_at_any_moment(seconds, tmp_path):
    command = [sys.executable, "-m", "minilmm_cli", "eval", "flamingo-nano", "--task", "naming", "--shots", "32"]
    here = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, **pipes, text=True, env=here, cwd=tmp_path, preexec_fn=heed_ctrl_c)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == "stopped\n"

"""The command line: every command runs on tiny models, every bad input is one line, every run stops and goes on."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from minilmm_cli.main import main
from minilmm_cli.quickstart import in_another_process
from PIL import Image
from safetensors.torch import load_file

from minilmm.claims import run as runner
from minilmm.language import LMConfig
from minilmm.training import blip2, flamingo, frozen, job, lm, loop, vision
from minilmm.training.recipes import LMRecipe, Optimisation, VisionRecipe
from minilmm.vision import VisionConfig
from minilmm.world.vocabulary import tokenizer

TINY_LM = LMRecipe(
    LMConfig(len(tokenizer()), width=32, layers=1, heads=4, kv_heads=4, hidden=32, smear=2),
    Optimisation(steps=2, lr=1e-3),
    lengths=(64, 128),
    tokens=256,
)
TINY_EYES = VisionRecipe(
    VisionConfig(stem=4, widths=(8, 8), blocks=(0, 0)), Optimisation(steps=2, lr=1e-3), batch=8, embed=8
)


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A folder with finished runs `lm`, `vision` and `frozen`, all tiny, made by the command itself."""
    place = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(lm, "preset", lambda name: TINY_LM)
        patch.setattr(vision, "preset", lambda name: TINY_EYES)
        assert main(["pretrain", "lm", "--out", str(place / "lm"), "--no-lists", "--smear", "3"]) == 0
        assert main(["pretrain", "vision", "--out", str(place / "vision"), "--seed", "1"]) == 0
        assert main([*train(place), "--out", str(place / "frozen"), "--steps", "2"]) == 0
    return place


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MINILMM_DEBUG", raising=False)


def train(place):
    """The start of a command that trains a tiny Frozen."""
    parts = ["--lm", str(place / "lm"), "--vision", str(place / "vision")]
    return ["train", "frozen", "--preset", "quick", *parts, "--eyes", "start", "--batch", "8"]


@pytest.fixture
def call(capsys):
    """Runs a command line: exit code, standard output, standard error."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def fails(call):
    """Runs a command line that must fail in one line that holds the words given."""

    def run(*arguments, holds, code=1):
        got, out, err = call(*arguments)
        assert got == code, err
        assert err.startswith("error: ") and err.count("\n") == 1 and "Traceback" not in out + err
        for word in [holds] if isinstance(holds, str) else holds:
            assert word in err, err
        return err

    return run


def saved(path, size=(60, 40), color=(220, 30, 30), mode="RGB"):
    Image.new(mode, size, color).save(path)
    return path


# --- measuring --------------------------------------------------------------------------------------------------------


def test_eval_prints_only_json(runs, call):
    arguments = ["eval", runs / "frozen", "--task", "naming", "--shots", "0,1", "--ways", "3", "--episodes", "20"]
    code, out, err = call(*arguments, "--json", "-")
    result = json.loads(out)
    assert code == 0 and err == ""
    assert list(result) == ["model", "task", "settings", "chance", "prior", "rows", "seconds", "device"]
    assert result["chance"] == pytest.approx(1 / 3, abs=1e-3) and result["settings"]["ways"] == 3
    assert [(r["shots"], r["condition"]) for r in result["rows"][:2]] == [(0, "real"), (0, "blank_images")]
    assert len(result["rows"]) == 8
    again = json.loads(call(*arguments, "--json", "-")[1])
    assert again["rows"] == result["rows"]


def test_eval_table_fits_80_columns(runs, call, tmp_path):
    target = tmp_path / "sub" / "r.json"
    code, out, _ = call(
        "eval", runs / "lm", "--task", "noisy-naming", "--shots", "0,16", "--episodes", "9", "--json", target
    )
    assert code == 0 and "ideal" in out and "text only" in out
    assert max(len(line) for line in out.splitlines() if str(runs) not in line) <= 80
    told = json.loads(target.read_text())
    assert told["rows"][0]["ideal"] == 0.5 and told["settings"]["inner_shots"] == [0, 16]


def test_eval_options_reach_the_settings(runs, call):
    more = ["--repeats", "1", "--induction", "--names", "real", "--split", "train", "--scoring", "generate"]
    code, out, _ = call("eval", runs / "lm", "--task", "naming", "--shots", "1", "--episodes", "3", *more, "--seed",
                        "5", "--conditions", "real", "--json", "-")  # fmt: skip
    settings = json.loads(out)["settings"]
    assert code == 0 and settings["repeats"] == 1 and settings["induction"] and settings["names"] == "real"
    assert settings["split"] == "train" and settings["scoring"] == "generate" and settings["seed"] == 5
    assert [r["condition"] for r in json.loads(out)["rows"]] == ["real"]


@pytest.mark.parametrize("task", ["retrieval", "zero-shot", "probes"])
def test_eval_of_the_eyes(runs, call, task):
    code, out, _ = call("eval", runs / "vision", "--task", task, "--episodes", "20", "--json", "-")
    result = json.loads(out)
    assert code == 0 and set(result["rows"][0]) >= {"shots", "condition", "metric", "value", "low", "high"}
    code, out, _ = call("eval", runs / "vision", "--task", task, "--episodes", "20")
    assert code == 0 and "95 % interval" in out


def test_curve(runs, call, tmp_path):
    out = tmp_path / "c.png"
    code, said, err = call("curve", runs / "frozen", runs / "lm", "--task", "ambiguous-naming", "--shots", "0,1",
                           "--episodes", "5", "--out", out, "--json", "-")  # fmt: skip
    result = json.loads(said)
    assert code == 0 and err == "" and Image.open(out).format == "PNG"
    assert [len(c["rows"]) for c in result["curves"]] == [8, 2]


def test_folder_of_pictures_trains_and_evaluates(runs, call, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    words = ["a red circle", "a blue square", "a green star", "a black moon"]
    lines = []
    for i in range(24):
        saved(folder / f"{i}.png", color=(i * 9, 40, 200 - i * 7))
        lines.append(json.dumps({"file_name": f"{i}.png", "text": words[i % 4]}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    code, out, err = call(*train(runs), "--data", folder, "--steps", "1", "--out", tmp_path / "run")
    assert code == 0, err
    code, out, err = call(
        "eval", tmp_path / "run", "--task", folder, "--shots", "0,1", "--episodes", "4", "--json", "-"
    )
    assert code == 0 and len(json.loads(out)["rows"]) == 8, err


# --- looking ----------------------------------------------------------------------------------------------------------


def test_ask(runs, call, tmp_path):
    a, b = saved(tmp_path / "a.png"), saved(tmp_path / "b.jpg", size=(300, 20), mode="L", color=9)
    code, out, err = call(
        "ask", runs / "frozen", "--image", a, "--prompt", "question : what color is the shape ? answer :"
    )
    assert code == 0 and err == "" and out.count("\n") == 1 and "<EOC>" not in out
    code, out, _ = call("ask", runs / "frozen", "--image", a, "--image", b, "--prompt", "<image> dax . <EOC> <image>",
                        "--max-tokens", "3")  # fmt: skip
    assert code == 0 and len(out.split()) <= 3
    assert call("ask", runs / "lm", "--prompt", "a red circle")[0] == 0
    code, out, err = call("ask", runs / "frozen", "--image", a, "--choices", "dax,red circle")
    shares = [float(line.split()[-1]) for line in out.splitlines()[1:]]
    assert code == 0 and len(shares) == 2 and sum(shares) == pytest.approx(1, abs=2e-3), err


def train_flamingo(place):
    """The start of a command that trains a tiny Flamingo."""
    parts = ["--lm", str(place / "lm"), "--vision", str(place / "vision"), "--steps", "2", "--pairs", "4"]
    return ["train", "flamingo", "--preset", "quick", *parts, "--pages", "3", "--videos", "1"]


@pytest.fixture(scope="session")
def seeing(runs):
    """The same folder with a tiny Flamingo, `flamingo`, in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        assert main([*train_flamingo(runs), "--out", str(runs / "flamingo")]) == 0
    return runs


def test_flamingo_trains_with_options_and_says_what_does_not_fit(seeing, call, fails, tmp_path):
    card = json.loads((seeing / "flamingo" / "card.json").read_text())
    assert card["kind"] == "flamingo" and card["recipe"]["pages"] == 3 and card["config"]["variant"] == ""
    for option, value in (("--bug", "attend-all-images"), ("--variant", "mlp-resampler"), ("--variant", "grafting")):
        code, _, err = call(*train_flamingo(seeing), option, value, "--out", tmp_path / value)
        assert code == 0 and err == "", err
        code, _, err = call("eval", tmp_path / value, "--task", "naming", "--shots", "1", "--episodes", "4")
        assert code == 0 and err == "", err
    tuned = tmp_path / "tuned"
    code, _, err = call("train", seeing / "flamingo", "--data", "instructions", "--steps", "1", "--out", tuned)
    recipe = json.loads((tuned / "card.json").read_text())["recipe"]
    assert code == 0 and err == "" and (recipe["data"], recipe["start"]) == ("instructions", str(seeing / "flamingo"))
    code, out, err = call("eval", tuned, "--task", "instructions", "--shots", "0,1", "--episodes", "4")
    assert code == 0 and err == "" and "instructions" in out
    fails("train", seeing / "frozen", "--data", "vqa", "--out", tmp_path / "x", holds="a frozen run: a Flamingo or")
    fails(*train_flamingo(seeing), "--bug", "moon", "--out", tmp_path / "x", holds="gate-init-one")
    fails(*train_flamingo(seeing), "--variant", "moon", "--out", tmp_path / "x", holds="vanilla-xattn")
    fails(*train_flamingo(seeing), "--data", "moon", "--out", tmp_path / "x", holds="choose world")
    fails(
        "train", "flamingo", "--start", seeing / "frozen", "--steps", "1", "--out", tmp_path / "x", holds="no Flamingo"
    )
    fails(*train_flamingo(seeing), "--start", seeing / "flamingo", "--out", tmp_path / "x", holds="--start")


def test_evaluations_as_flamingos(seeing, call, fails):
    run = seeing / "flamingo"
    for options in (("--rices",), ("--zero-shot-texts", "2"), ("--beams", "2")):
        code, out, err = call("eval", run, "--task", "vqa", "--shots", "0,1", "--episodes", "3", *options)
        assert code == 0 and err == "" and max(map(len, out.splitlines())) <= 80, err
    code, out, err = call("eval", run, "--task", "caption", "--shots", "0", "--episodes", "3")
    assert code == 0 and "CIDEr" in out and "scene F1" in out and "no chance level" in out, err
    code, _, err = call("eval", run, "--task", "naming", "--shots", "1", "--orders", "2", "--episodes", "3")
    assert code == 0 and err == ""
    pooled = ("--task", "actions", "--shots", "1", "--episodes", "2", "--rices", "--pool", "36")
    code, out, err = call("eval", run, *pooled)
    assert code == 0 and "RICES of 36" in out, err
    fails("eval", run, "--task", "vqa", "--pool", "72", "--shots", "1", holds="pool: is what RICES chooses from")
    fails("eval", run, "--task", "naming", "--rices", "--shots", "1", holds="--rices: naming does not use it")
    fails("eval", seeing / "vision", "--task", "retrieval", "--rices", holds="--rices")


def test_looking_inside_flamingo(seeing, call, fails, tmp_path):
    code, out, err = call("show", "mask", "--out", tmp_path)
    assert code == 0 and (tmp_path / "mask.png").stat().st_size > 0 and "image:-  shows:-  <image>:1" in out, err
    code, out, err = call("show", "mask", "blip2", "--out", tmp_path / "q")
    assert code == 0 and (tmp_path / "q" / "mask-blip2.png").is_file(), err
    told = "ITG: multimodal causal: a query sees 4 queries and 0 words; the second word sees 4 queries and 2"
    assert told in " ".join(out.split())
    code, _, err = call("show", "attention", seeing / "flamingo", "--out", tmp_path)
    assert code == 0 and (tmp_path / "words.png").is_file() and (tmp_path / "patches.png").is_file(), err
    code, out, err = call("show", "gates", seeing / "flamingo", "--out", tmp_path)
    assert code == 0 and (tmp_path / "gates.png").is_file() and "language model none" in out, err
    fails("show", "gates", seeing / "frozen", holds="no gated layers")
    fails("show", "attention", holds="name one Flamingo")
    fails("show", "failures", seeing / "lm", holds="reads text only")
    fails("show", "mask", seeing / "flamingo", holds="give blip2, or no name")


def test_blip2_in_two_stages(runs, call, fails, tmp_path):
    first, second = tmp_path / "b1", tmp_path / "b2"
    common = ["--vision", runs / "vision", "--steps", "2", "--batch", "8"]
    code, out, err = call("train", "blip2", "--stage", "1", *common, "--out", first)
    assert code == 0 and "a model that knows nothing: itc 2.079, itm 0.637" in out, err
    assert f"itg {math.log(len(tokenizer()) + 1):.3f}" in out
    code, out, err = call("eval", first, "--task", "retrieval", "--episodes", "6", "--json", "-")
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert [r["metric"] for r in rows[::3]] == ["TR@1, ITC", "IR@1, ITC", "TR@1, ITM", "IR@1, ITM"]
    code, out, err = call(
        "train", "blip2", "--stage", "2", "--from", first, "--lm", runs / "lm", *common, "--out", second
    )
    assert code == 0 and (second / "model.safetensors").is_file(), err
    a, b = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    assert torch.equal(a["qformer.blocks.0.ffw_text.up.weight"], b["qformer.blocks.0.ffw_text.up.weight"])
    assert not torch.equal(a["qformer.query_tokens"], b["qformer.query_tokens"])
    code, out, err = call("eval", second, "--task", "vqa", "--shots", "0,1", "--episodes", "6")
    assert code == 0 and "prior" in out, err
    for run in (first, second):
        code, out, err = call("show", "attention", run, "--out", tmp_path / "looks")
        assert code == 0 and (tmp_path / "looks" / "queries.png").is_file() and "look alike by" in out, err
        code, out, _ = call("params", run)
        assert code == 0 and max(map(len, out.splitlines())) <= 80
    assert (tmp_path / "looks" / "queries-training.png").is_file()
    tuned = tmp_path / "tuned"
    code, out, err = call("train", second, "--data", "instructions", *common, "--out", tuned)
    assert code == 0, err
    c = load_file(tuned / "model.safetensors")
    assert not torch.equal(b["qformer.blocks.0.ffw_text.up.weight"], c["qformer.blocks.0.ffw_text.up.weight"])
    assert all(torch.equal(b[name], c[name]) for name in b if name.startswith(("lm.", "encoder.")))
    assert json.loads((tuned / "card.json").read_text())["config"]["asked"] is True
    assert call("eval", tuned, "--task", "instructions", "--shots", "0,1", "--episodes", "6")[0] == 0
    fails("train", "blip2", "--stage", "2", "--from", first, "--data", "x", "--out", tmp_path / "x", holds="world, or")
    fails("eval", first, "--task", "vqa", holds="takes no prompts")
    fails("show", "answers", first, holds="stage 2 of a BLIP-2")
    fails("train", "blip2", "--stage", "2", "--out", tmp_path / "x", holds="--from")
    fails("train", "blip2", "--stage", "3", "--out", tmp_path / "x", holds="choose 1 or 2")
    fails("train", "blip2", "--stage", "2", "--from", tmp_path / "none", "--out", tmp_path / "x", holds="no such run")
    fails("train", "blip2", "--stage", "2", "--from", runs / "vision", "--out", tmp_path / "x", holds="no BLIP-2")
    fails("train", "blip2", "--stage", "1", "--objectives", "itc,mlm", "--out", tmp_path / "x", holds="choose from itc")
    fails("train", "blip2", "--stage", "1", *common[:2], "--batch", "1", "--out", tmp_path / "x", holds="larger batch")
    assert not list((tmp_path / "x").glob("*.safetensors"))


def test_claims(call, fails, tmp_path, monkeypatch):
    code, out, _ = call("claims", "list", "--out", tmp_path)
    assert code == 0 and "gating" in out and "not run" in out
    fails("claims", "report", "--out", tmp_path, holds="no record")
    fails("claims", "run", "moon", holds="last-image")
    fails("claims", "run", "gating", "--seeds", "many", "--out", tmp_path, holds="100-109")

    def one(claim, arm, seed, device):
        found = runner.digest(claim, arm.recipe(claim.base, seed))
        value = 0.5 + 0.2 * (arm is claim.arms[0]) + seed / 1e4 * (arm is claim.arms[1])
        return {"arm": arm.name, "seed": seed, "digest": found, "values": {m.name: value for m in claim.measures}}

    monkeypatch.setattr(runner, "one", one)
    code, out, err = call("claims", "run", "last-image", "--seeds", "200-203", "--jobs", "1", "--out", tmp_path)
    assert code == 0 and err == "" and "replicated" in out, err
    code, out, _ = call("claims", "run", "last-image", "--seeds", "200-203", "--out", tmp_path)
    assert "0 to make" in out
    code, out, _ = call("claims", "report", "--out", tmp_path, "--figure", tmp_path / "claims.png")
    assert code == 0 and "Holm" in out and (tmp_path / "claims-last-image.png").is_file()


@pytest.mark.slow
def test_show(call, tmp_path):
    code, out, _ = call("show", "world", "--out", tmp_path)
    assert code == 0 and {p.suffix for p in tmp_path.iterdir()} == {".png"} and len(out.splitlines()) >= 6
    code, out, _ = call("show", "words")
    assert code == 0 and "blicket*" in out and max(map(len, out.splitlines())) <= 80


def test_trace_and_params(runs, call):
    code, out, _ = call("trace", "frozen", "--run", runs / "frozen")
    assert code == 0 and "<bos> [v1 v2] dax . <EOC> [v1 v2]" in out and "none: frozen" in out
    code, out, _ = call("trace", "frozen")
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    code, out, _ = call("params", runs / "frozen")
    model = load_file(runs / "frozen" / "model.safetensors")
    assert code == 0 and f"{sum(t.numel() for t in model.values()):,}" in out
    names = ("lm-small", "vision-small", "frozen-small", "frozen-7b", "flamingo-small", "flamingo-3b", "flamingo-80b")
    for name in names:
        code, out, _ = call("params", name)
        assert code == 0 and max(map(len, out.splitlines())) <= 80
    code, out, _ = call("params", "blip2-qformer")
    assert code == 0 and "186,702,654" in out and "-0.7%" in out and max(map(len, out.splitlines())) <= 80


def test_doctor_says_what_is_missing(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("doctor")
    assert code == (0 if "all is well" in out else 1) and "torch" in out and "finite" in out and err == ""
    monkeypatch.setattr("minilmm.checkpoints.files.ZOO", tmp_path)
    code, out, _ = call("doctor")
    assert code == 1 and "make zoo" in out


@pytest.mark.slow
def test_quickstart(runs, call, fails, tmp_path, monkeypatch):
    small = replace(frozen.preset("quick"), encoder=TINY_EYES.model, batch=8)
    monkeypatch.setattr(frozen, "preset", lambda name: small)
    brief = replace(flamingo.preset("quick"), vision=str(runs / "vision"), pairs=4, pages=3, videos=1, first=2)
    monkeypatch.setattr(flamingo, "preset", lambda name: brief)
    preset, eyes = blip2.preset, str(runs / "vision")
    monkeypatch.setattr(blip2, "preset", lambda name, stage: replace(preset(name, stage), batch=8, vision=eyes))
    monkeypatch.setattr("minilmm_cli.quickstart.PANELS", [("naming", "naming", 2, (0, 1)), ("VQA", "vqa", 2, (0, 1))])
    arguments = ["quickstart", "--lm", runs / "lm", "--out", tmp_path / "q", "--steps", "4", "--episodes", "4"]
    code, out, err = call(*arguments)
    assert code == 0 and err == "", err
    assert max(len(line) for line in out.splitlines() if str(tmp_path) not in line and str(runs) not in line) <= 80
    for name in ("few_shot.png", "training.png", "report.md", "results.json"):
        assert (tmp_path / "q" / name).stat().st_size > 0
    told = json.loads((tmp_path / "q" / "results.json").read_text())
    assert set(told["results"]) == {"Frozen", "Flamingo", "BLIP-2"} and "blank or shuffled" in out
    assert "parameters trained" in out and (tmp_path / "q" / "blip2" / "stage1" / "card.json").is_file()
    assert told["results"]["Flamingo"]["naming"]["rows"][0]["condition"] == "real"
    report = (tmp_path / "q" / "report.md").read_text()
    assert "minilmm quickstart" in report and "seed: 0" in report
    assert "what next" in out
    before = {path: path.read_bytes() for path in (tmp_path / "q").rglob("*.safetensors")}
    code, out, err = call(*arguments, "--resume")  # the finished runs are measured again, not trained
    assert code == 0, err
    assert out.count("has trained already") == 4
    fails(*arguments, holds=["holds frozen/card.json already", "--resume", "--force"])
    fails(*arguments, "--resume", "--seed", "5", holds=["frozen: its run has another recipe (seed was 0, not 5)"])
    (tmp_path / "q" / "frozen" / "log.jsonl").write_text("")
    fails(*arguments, "--resume", holds="log.jsonl: missing or empty")
    assert before == {path: path.read_bytes() for path in before}

    def stopped(run, *_, **__):
        if run == "BLIP-2":
            raise KeyboardInterrupt
        return {}

    monkeypatch.setattr("minilmm_cli.quickstart.few_shot", stopped)
    code, _, err = call(*arguments, "--force")  # all are trained anew, and the same run has the same bytes
    assert code == 130 and err.startswith("stopped; what has trained is in") and err.endswith(" --resume\n")
    assert "--force" not in err and not (tmp_path / "q" / "results.json").exists()
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.slow
def test_a_task_in_another_process_gives_its_result_or_its_error_and_stops_with_this_one():
    with in_another_process(os.getpid) as result:
        assert result() != os.getpid()
    with in_another_process(torch.get_num_threads) as result:
        assert result() == 1
    with pytest.raises(ValueError, match="torn"), in_another_process(partial(int, "torn")) as result:
        result()
    with pytest.raises(MemoryError, match="second process died"), in_another_process(partial(os._exit, 9)) as result:
        result()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), in_another_process(partial(time.sleep, 60)):
        raise KeyboardInterrupt
    assert time.monotonic() - start < 30


def test_help_needs_no_torch():
    code = "import sys; from minilmm_cli.main import main; main(['--help']); print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "quickstart" in said and said.rstrip().endswith("False")


# --- bad input --------------------------------------------------------------------------------------------------------


def test_bad_calls(runs, fails):
    run = runs / "frozen"
    fails("eval", run, "--task", "juggling", holds=["juggling", "noisy-naming", "easy-vqa", "retrieval"])
    fails("eval", "no-such-run", "--task", "naming", holds=["no-such-run", "shipped are"])
    fails("eval", run, "--task", "naming", "--shots", "-1", holds="--shots -1")
    fails("eval", run, "--task", "naming", "--shots", "one", holds=["'one'", "0,1,4"])
    fails("eval", run, "--task", "naming", "--ways", "1", holds="--ways", code=2)
    fails("eval", run, "--task", "naming", "--ways", "25", holds=["25 ways", "24"])
    fails("eval", run, "--task", "noisy-naming", "--ways", "3", holds="2 ways")
    fails("eval", run, "--task", "vqa", "--ways", "3", holds="vqa does not use it")
    fails("eval", run, "--task", "naming", "--episodes", "0", holds="--episodes", code=2)
    fails("eval", run, "--task", "naming", "--names", "silly", holds=["silly", "nonsense"])
    fails("eval", run, "--task", "naming", "--split", "test", holds=["test", "held-out"])
    fails("eval", run, "--task", "naming", "--device", "tpu", holds=["tpu", "auto"])
    fails("eval", run, "--task", "naming", "--conditions", "dark", holds=["dark", "blank_images"])
    fails("eval", run, "--task", "retrieval", holds="vision-nano")
    fails("eval", runs / "vision", "--task", "naming", holds="retrieval")
    fails("eval", runs / "lm", "--task", "easy-vqa", holds="text only")
    fails("eval", run, holds="--task", code=2)
    fails("eval", run, "--task", "naming", "--colour", "red", holds="--colour", code=2)
    fails("juggle", holds="juggle", code=2)
    fails("curve", run, "--task", "naming", "--out", "a.txt", holds=".png")
    fails("curve", run, "--task", "zero-shot", holds="minilmm eval")
    fails("show", "moon", holds="world")
    fails("trace", "blip2", holds="frozen")
    fails("trace", "frozen", "--run", runs / "lm", holds="lm run")
    fails("ask", runs / "lm", "--prompt", "a red circle", "--choices", "dax", holds="--choices 'dax'")
    fails("ask", runs / "lm", "--prompt", "circle " * 9000, holds="9000 words")
    fails("params", "gpt-4", holds="gpt-4")


def test_bad_training_calls(runs, fails, tmp_path):
    out = ["--out", tmp_path / "x"]
    fails("train", "frozen", "--preset", "huge", *out, holds=["huge", "quick"])
    fails("pretrain", "lm", "--preset", "huge", *out, holds=["huge", "nano"])
    fails("pretrain", "vision", "--kind", "eagle", *out, holds=["eagle", "resnet"])
    fails(*train(runs), "--data", "nowhere", *out, holds=["nowhere", "easy-vqa"])
    fails(*train(runs), "--variant", "melted", *out, holds=["melted", "blind"])
    fails(*train(runs), "--prefix-tokens", "3", *out, holds="1, 2 or 4")
    fails(*train(runs), "--steps", "1", "--minutes", "1", *out, holds="one of them")
    fails("train", "frozen", "--lm", "no-lm", *out, holds="no-lm")
    fails("train", "frozen", "--lm", runs / "vision", *out, holds="no language model")
    fails("train", "frozen", "--steps", "0", *out, holds="--steps", code=2)
    assert not (tmp_path / "x").exists()
    fails(*train(runs), "--out", runs / "frozen", holds=["finished run", "another --out"])
    file = tmp_path / "file"
    file.write_text("")
    fails(*train(runs), "--out", file, holds=["file", "another place"])
    fails(*train(runs), "--out", file / "run", holds=["file", "another place"])
    fails(*train(runs), "--out", "/proc/minilmm/run", holds="/proc/minilmm")
    fails("eval", runs / "frozen", "--task", "naming", "--json", tmp_path, holds="is a folder")
    fails("eval", runs / "frozen", "--task", "naming", "--json", file / "a.json", holds="file")


def test_bad_pictures_and_prompts(runs, fails, tmp_path):
    run, good = runs / "frozen", saved(tmp_path / "good.png")
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:60])
    fails("ask", run, "--image", bad, holds="bad.png")
    fails("ask", run, "--image", tmp_path / "none.png", holds=["none.png", "no such file"])
    fails("ask", run, "--image", good, "--prompt", "what colour is thatt ?", holds=["colour", "thatt", "show words"])
    fails("ask", run, "--image", good, "--prompt", "<image> and <image>", holds=["2 <image> tags", "1 pictures"])
    fails("ask", run, "--prompt", "<image>", holds="0 pictures")
    fails("ask", run, holds="--prompt")
    fails("ask", runs / "vision", "--image", good, holds="vision run")
    fails("ask", runs / "lm", "--image", good, holds="text only")


def test_bad_folders(runs, fails, tmp_path):
    folder, metadata = tmp_path / "data", tmp_path / "data" / "metadata.jsonl"
    folder.mkdir()

    def refused(holds):
        fails("eval", runs / "frozen", "--task", folder, "--episodes", "2", holds=holds)
        fails(*train(runs), "--data", folder, "--out", tmp_path / "run", holds=holds)
        assert not (tmp_path / "run").exists()

    refused("empty")
    saved(folder / "a.png")
    refused("no metadata.jsonl")
    metadata.write_text('{"file_name": "b.png", "text": "a red circle"}\n')
    refused(["line 1", "b.png"])
    metadata.write_text('{"file_name": "a.png", "text": "a red circle"}\n{oops\n')
    refused(["line 2", "JSON"])
    metadata.write_text('{"file_name": "a.png"}\n')
    refused(["line 1", "text"])
    metadata.write_text('{"file_name": "a.png", "text": "a zebra runs"}\n')
    refused(["runs", "zebra"])


def test_bad_checkpoints(runs, fails, tmp_path):
    card, model = (runs / "frozen" / "card.json").read_text(), (runs / "frozen" / "model.safetensors").read_bytes()
    arguments = ["eval", tmp_path, "--task", "naming"]
    (tmp_path / "card.json").write_text(card)
    fails(*arguments, holds="weights are missing")
    (tmp_path / "model.safetensors").write_bytes(model[: len(model) // 2])
    fails(*arguments, holds=["model.safetensors", "restore"])
    (tmp_path / "card.json").write_text('{"hello": 1}')
    fails(*arguments, holds="not a minilmm card")
    (tmp_path / "checkpoint.safetensors").write_bytes(b"rubbish")
    (tmp_path / "card.json").unlink()
    fails(*arguments, holds="not finished")
    fails(*train(runs), "--out", tmp_path, holds=["unfinished", "--resume"])
    fails(*train(runs), "--out", tmp_path, "--resume", holds=["checkpoint.safetensors", "delete it"])


def test_a_full_disk_and_a_divergence(runs, fails, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "model.safetensors")

    monkeypatch.setattr(loop, "save", full)
    fails(*train(runs), "--steps", "1", "--out", tmp_path / "a", holds=["model.safetensors", "free some space"])
    monkeypatch.setattr(job, "loss_of", lambda model, batch: model.to_prefix.weight.sum() * float("nan"))
    fails(*train(runs), "--steps", "1", "--out", tmp_path / "b", holds=["nan", "--lr"])


# --- stopping and going on --------------------------------------------------------------------------------------------


def test_minutes_become_steps_in_the_recipe(runs, call, tmp_path):
    code, out, err = call(*train(runs), "--minutes", "0.02", "--out", tmp_path / "run")
    assert code == 0, err
    steps = json.loads((tmp_path / "run" / "card.json").read_text())["recipe"]["optimisation"]["steps"]
    assert f"--steps {steps}" in out


@pytest.mark.slow
def test_ctrl_c_and_resume_give_the_same_weights(runs, call, fails, tmp_path):
    steps = ["--steps", "400"]
    assert call(*train(runs), *steps, "--out", tmp_path / "whole")[0] == 0
    out = tmp_path / "stopped"
    command = [*train(runs), *steps, "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-m", "minilmm_cli.main", *command], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=os.environ)  # fmt: skip
    log = out / "log.jsonl"
    while not (log.is_file() and log.stat().st_size) and process.poll() is None:  # its first row: a quarter is done
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    told, end = err.splitlines()  # at once, and when the step is done
    assert told.startswith("stopping") and end.startswith(f"stopped; checkpoint in {out}") and "--resume" in end
    assert not (out / "card.json").exists()
    fails(*command, holds=["unfinished", "--resume"])
    fails(*command, "--resume", "--seed", "3", holds=["seed was 0"])
    assert call(*train(runs), "--out", out, "--resume")[0] == 0  # the checkpoint knows the number of steps
    whole, resumed = (load_file(tmp_path / n / "model.safetensors") for n in ("whole", "stopped"))
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    assert not Path(out / "checkpoint.safetensors").exists()

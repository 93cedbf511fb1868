"""A thousand command lines, right and wrong: each ends in time, in a table or in one line, and harms no run."""

import contextlib
import hashlib
import io
import json
import re
import shutil
import time
from collections import Counter
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from minilmm_cli import bench
from minilmm_cli.main import app, main
from minilmm_cli.names import ZOO
from PIL import Image

pytestmark = pytest.mark.slow
LINES, SECONDS = 1000, 60
LEFT_OUT = {("exercises", "build"), ("exercises", "mutants"), ("notebooks", "build"), ("notebooks", "run")}
RUNS = ["frozen-nano", "flamingo-nano", "lm-nano", "t5-nano", "vision-nano", "blip2-nano", "runs/mine", "smollm2"]
NUMBERS = [
    "1", "2", "0", "3", "-1", "7.5", "9" * 23, "1e400", "nan", "inf", "-inf", "0x10", "", "two", "٣", "1_0", "4096",
]  # fmt: skip
BAD = [
    "", " ", "moon", "-", "--", "é✓", "a/b", "../..", "/", "x" * 300, "0", "a,b", ",", "runs/torn", "runs/half", "vqa",
]  # fmt: skip
FILES = [
    "a.png", "broken.png", "none.png", "pictures", "empty", "pictures/metadata.jsonl", "out.png", "new/out.json",
    "a.txt",
]  # fmt: skip
TYPED = ["What is it?", "", "moon?", "zebra", "/image a.png", "", "/image broken.png", "/image", "/x", "/again", "é✓"]
WORDS = [*BAD, "--tsak", "-x", "--help", "--version"]
TASKS = ["naming", "vqa", "caption", "noisy-naming", "retrieval", "zero-shot", "fast-vqa", "easy-vqa", "pictures"]
GOOD = {
    "RUN": RUNS,
    "--task": [
        "naming",
        "vqa",
        "caption",
        "noisy-naming",
        "retrieval",
        "zero-shot",
        "fast-vqa",
        "easy-vqa",
        "pictures",
    ],
    "--shots": ["0", "1", "0,1", "2", "512", "513", "1,1", "-1", "0,,1"],
    "--episodes": ["1", "2", "3"],
    "--conditions": ["real", "real,text_only", "blank_images", "shuffled_images"],
    "--names": ["nonsense", "real"],
    "--split": ["held-out", "train"],
    "--scoring": ["rank", "generate", "caption"],
    "--device": ["cpu", "auto", "cuda", "mps"],
    "--prompt": ["a red circle", "<image> dax . <EOC> <image>", "what ?", "<image>", "circle " * 5000, "<EOC>"],
    "--choices": ["dax,blicket", "dax", "dax,dax", "red circle,zebra"],
    "--image": ["a.png", "broken.png", "none.png", "pictures"],
    "--json": ["-", "new/out.json", "pictures", "/proc/x.json"],
    "--seeds": ["200", "200-201", "5-3", "0-99999999999999999999", "-1"],
    "--data": ["world", "emoji", "pictures", "empty", "easy-vqa", "vqa"],
    "--preset": ["quick", "nano", "small"],
    "--figure": ["arms.png", "arms.txt", "arms"],
    "--from": ["blip2-nano", "runs/mine"],
    "--stage": ["1", "2", "3"],
    "--lm": ["lm-nano", "t5-nano", "smollm2", "a/b"],
    "--vision": ["vision-nano", "efficientnet-lite0", "lm-nano"],
    "--out": ["out", "new/run", "runs/mine", "runs/half", "a.txt", "out.png", "records"],
    "what": ["words", "mask", "training", "attention", "gates", "failures", "answers", "frozen"],
    "name": ["lm-small", "flamingo-3b", "frozen-7b", "blip2-qformer", "last-image", "shots", "frozen-nano"],
    "names": ["moon", "tuxpaint"],  # nothing that pip would fetch
    "ids": ["99", "moon"],
    "one": ["03", "3", "moon"],
    "source": ["a/b", "pictures", "runs/mine", "empty"],
}


def commands(group, path=()):
    """The words of every command, and its parameters: name, whether it is an option, whether it is a flag."""
    for command in group.registered_commands:
        parameters = []
        for name, hint in get_type_hints(command.callback, include_extras=True).items():
            if get_origin(hint) is not Annotated:
                continue
            info, kind = get_args(hint)[1], get_args(hint)[0]
            words = getattr(info, "param_decls", None) or [f"--{name.replace('_', '-')}"]
            option = "Option" in type(info).__name__
            shown = (
                words[0].split("/")[0] if option else "RUN" if name in ("run", "runs") and path != ("show",) else name
            )
            parameters.append((shown, option, bool in (kind, *get_args(kind))))
        yield (*path, command.name), parameters
    for inner in group.registered_groups:
        yield from commands(inner.typer_instance, (*path, inner.name))


COMMANDS = [(path, parameters) for path, parameters in commands(app) if path not in LEFT_OUT]


@st.composite
def lines(draw):
    """A command, most of its arguments, some of its options; most values fit, some are of another kind."""
    path, parameters = draw(st.sampled_from(COMMANDS))
    line = list(path)
    for name, option, flag in parameters:
        wanted = draw(st.integers(0, 9))
        if option and wanted > (7 if name in ("--task", "--episodes", "--out", "--steps", "--stage") else 1):
            continue
        if not option and wanted == 9:
            continue
        good = GOOD.get(name, NUMBERS + FILES)
        value = draw(st.sampled_from(good if draw(st.integers(0, 9)) < 8 else NUMBERS + BAD + FILES))
        line += [name] if flag else [name, value] if option else [value]
        if not option and draw(st.integers(0, 5)) == 0:
            line.append(draw(st.sampled_from(good)))
    if draw(st.integers(0, 19)) == 0:
        line.insert(draw(st.integers(0, len(line))), draw(st.sampled_from(WORDS)))
    return line


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with pictures, a run, an unfinished and a torn one; nothing trains, and no hub is asked."""
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("pictures", "empty", "runs/torn", "runs/half"):
        (folder / name).mkdir(parents=True)
    Image.new("RGB", (40, 30), (220, 30, 30)).save(folder / "a.png")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:50])
    (folder / "a.txt").write_text("text")
    rows = []
    for i in range(20):
        Image.new("RGB", (20, 20), (i * 12, 40, 200)).save(folder / "pictures" / f"{i}.png")
        rows.append(json.dumps({"file_name": f"{i}.png", "text": ["a red circle", "a blue star", "a moon"][i % 3]}))
    (folder / "pictures" / "metadata.jsonl").write_text("\n".join(rows))
    shutil.copytree(ZOO / "frozen-nano", folder / "runs" / "mine")
    (folder / "runs" / "torn" / "card.json").write_text('{"kind": ')
    (folder / "runs" / "half" / "checkpoint.safetensors").write_bytes(b"rubbish")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("MINILMM_CACHE", str(folder / "cache"))
        patch.delenv("MINILMM_DEBUG", raising=False)
        patch.chdir(folder)
        from huggingface_hub import constants

        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        for module in ("runs", "quickstart"):
            patch.setattr(f"minilmm_cli.{module}.run", lambda *_, **__: None)
        patch.setattr("minilmm.claims.run._made", lambda claim, todo, *_: made(claim, todo))
        patch.setattr("minilmm.course.grading.Grader.grade", ungraded)
        for name in ("FULL", "QUICK"):
            patch.setattr(f"minilmm_cli.bench.{name}", (2, (0, 1)))
        patch.setattr("minilmm_cli.bench.TASKS", {"naming": bench.TASKS["naming"]})
        patch.setattr("minilmm_cli.chat.lines", lambda mark: iter(TYPED))
        yield folder


def ungraded(*_, **__):
    """Instead of a grade, which would take a minute."""
    raise ValueError("nothing is graded here: leave grade out")


def made(claim, todo):
    """Rows of a claim as if they had been made."""
    return ({"arm": arm.name, "seed": seed, "digest": ""} for arm, seed in todo)


def digests(folder):
    """Every byte of the runs."""
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


INTERNAL = re.compile(
    r"MINILMM_DEBUG|codec|[Tt]ensor|long long|\baten\b|\bc10\b|\b[A-Z]\w+Error\b|object at 0x|NoneType|unpack"
)


def faults(code, out, err, seconds):
    """What is wrong with the end of a line."""
    found = [] if code in (0, 1, 2) else [f"exit code {code}"]
    found += ["a traceback"] * ("Traceback" in out + err) + ["an internal message"] * bool(INTERNAL.search(err))
    one_line = err.startswith("error: ") and err.count("\n") == 1
    told = code == 0 or one_line or (code == 2 and "Usage" in out) or (code == 1 and "checks failed" in out)
    return found + ["not one line"] * (not told) + ["too long"] * (seconds > SECONDS)


def test_every_line_ends_well(place):
    before, ends, wrong = digests(place / "runs"), [], []

    @settings(max_examples=LINES, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(lines())
    def every(line):
        out, err, start = io.StringIO(), io.StringIO(), time.perf_counter()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(line)
        ends.append((time.perf_counter() - start, code, line))
        if found := faults(code, out.getvalue(), err.getvalue(), ends[-1][0]):
            wrong.append((found, line, err.getvalue()[-300:]))

    every()
    assert not wrong, "\n".join(map(str, wrong))
    after = digests(place / "runs")  # where a figure may lie beside a run, if that is what was asked
    assert before.items() <= after.items(), "a run was changed"
    codes = Counter(code for _, code, _ in ends)
    assert len(ends) >= LINES and min(codes[code] for code in (0, 1, 2)) > LINES / 20, codes

"""What needs no torch imports nothing heavy: help, lists, hints, and every wrong option or value."""

import subprocess
import sys
from pathlib import Path

import pytest
from minilmm_cli.main import app
from typer.main import get_command

ROOT = Path(__file__).parent.parent
COURSE = pytest.mark.skipif(not (ROOT / "exercises").is_dir(), reason="wants a clone of the course")


def paths(command, path=()):
    """The words of every command and group of the app."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from paths(inner, (*path, name))


HELPS = [f"{' '.join(path)} --help".strip() for path in paths(get_command(app))]
LISTS = ["--version", "exercises list", "exercises hint 03", "exercises solution 03", "assets list"]
WRONG = [
    "evla",
    "eval",
    "eval frozen-nano",
    "eval frozen-nano --task naming --colour red",
    "eval frozen-nano --task nameing",
    "eval frozn-nano --task naming",
    "eval frozen-nano --task naming --shots one",
    "eval frozen-nano --task naming --shots 100000",
    "eval frozen-nano --task naming --seed 99999999999999999999999",
    "eval frozen-nano --task naming --device tpu",
    "eval frozen-nano --task naming --conditions dark",
    "eval frozen-nano --task vqa --names real",
    "eval vision-nano --task retrieval --split train",
    "curve frozen-nano --task naming --out a.txt",
    "curve vision-nano --task retrieval",
    "ask frozen-nano",
    "chat frozn-nano",
    "chat frozen-nano --device tpu",
    "ask frozn-nano --prompt moon",
    "ask frozen-nano --prompt moon --choices dax",
    "ask frozen-nano --prompt moon --max-tokens 10000000000000000000000",
    "eval frozen-nano --task naming --json .",
    "curve frozen-nano --task naming --json .",
    "ask frozen-nano --prompt moon --device tpu",
    "show moon",
    "show attention",
    "show gates a b",
    "show failures",
    "show answers frozen-nano flamingo-nano",
    "show training",
    "show training frozn-nano",
    "show mask flamingo-nano",
    "show world flamingo-nano",
    "trace blip2",
    "trace frozen --run frozn-nano",
    "trace frozen --device tpu",
    "claims lst",
    "train frozen --steps x",
    "train frozen --variant melted",
    "train frozen --prefix-tokens 3",
    "train flamingo --mixing merged",
    "train blip2",
    "pretrain vision --kind eagle",
    "claims run gating --seeds many",
    "claims report --figure a.txt",
    "params frozn-nano",
    "quickstart --device tpu",
    "quickstart --resume --force",
    "quickstart --steps 0",
    "train frozen --lr nan",
    "train flamingo --latents 100000",
    "train blip2",
    "pretrain lm --smear 1000",
    "assets get moon",
    "convert",
    "exercises start 99",
    "exercises hint 03 4",
    "notebooks run 99",
]
CODE = """
import sys
from minilmm_cli.main import main
for line in sys.stdin.read().splitlines():
    main(line.split())
    heavy = sys.modules.keys() & {"torch", "numpy", "scipy", "matplotlib", "PIL", "safetensors", "transformers"}
    assert not heavy and len(sys.modules) < 700, (line, heavy, len(sys.modules))
print("nothing heavy")
"""


@pytest.mark.parametrize("lines", [HELPS, LISTS, WRONG], ids=["help", "lists", "wrong"])
def test_nothing_heavy_is_imported(lines):
    told = subprocess.run(
        [sys.executable, "-c", CODE], input="\n".join(lines), capture_output=True, text=True, cwd=ROOT
    )
    assert told.returncode == 0 and told.stdout.endswith("nothing heavy\n"), told.stderr
    if lines is WRONG:
        said = [line for line in told.stderr.splitlines() if line.startswith("error: ")]
        assert len(said) == len(WRONG) == len(told.stderr.splitlines()), told.stderr


def test_every_command_is_asked_for_its_help():
    assert len(HELPS) > 30 and "train blip2 --help" in HELPS


def test_doctor_says_what_it_can_where_torch_is_broken():
    code = "import sys; sys.modules['torch'] = None; from minilmm_cli.main import main; sys.exit(main(['doctor']))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    first, second, *_ = told.stdout.splitlines()
    assert told.returncode == 1 and not told.stderr
    assert "Python 3" in first and "torch" in second and first[0] != second[0]

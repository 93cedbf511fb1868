"""What CONTRIBUTING.md adds in one diff each, added to a copy of the package and used from the command line."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DIFFS = re.findall(r"```diff\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the package to which every diff was applied; runs a command there."""
    place = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "minilmm", place / "minilmm", ignore=shutil.ignore_patterns("zoo", "__pycache__"))
    (place / "minilmm" / "zoo").symlink_to(ROOT / "minilmm" / "zoo")
    (place / "minilmm_cli").symlink_to(ROOT / "cli")
    for diff in DIFFS:
        subprocess.run(["git", "apply", "-"], input=diff, text=True, cwd=place, check=True)

    def run(*command):
        environment = os.environ | {"PYTHONPATH": str(place)}
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=place, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_each_is_one_file_and_one_line():
    assert len(DIFFS) == 4
    for diff in DIFFS:
        changed = [part for part in diff.split("--- ")[1:] if not part.startswith("/dev/null")]
        assert len(changed) == 1 and "\n-" not in changed[0].split("\n", 2)[2], "one file, and nothing is taken away"


def test_a_task(copy):
    command = ["eval", "lm-nano", "--task", "how-many", "--shots", "0,1", "--episodes", "40", "--json", "-"]
    result = json.loads(copy("-m", "minilmm_cli", *command, "--device", "cpu"))
    assert result["task"] == "how-many" and 0.25 <= result["prior"] < 0.3 and len(result["rows"]) == 8
    assert all(0 <= row["low"] <= row["value"] <= row["high"] <= 1 for row in result["rows"])


def test_an_ablation_by_a_recipe(copy, tmp_path):
    command = ["train", "flamingo", "--preset", "glance", "--variant", "half-open", "--device", "cpu"]
    copy("-m", "minilmm_cli", *command, "--out", str(tmp_path / "run"))
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["config"]["variant"] == "half-open" and card["recipe"]["optimisation"]["steps"] == 2
    gates = [value for name, value in card["metrics"].items() if name.startswith("tanh")]
    assert gates and all(0.4 < gate < 0.6 for gate in gates)


def test_a_kind_of_question(copy):
    said = copy(
        "-c",
        """if True:
        import torch
        from minilmm.world.questions import KINDS, question, sample_question_scenes
        from minilmm.world.vocabulary import TEXTURES, tokenizer
        kind, generator = torch.full((200,), list(KINDS).index("striped")), torch.Generator().manual_seed(0)
        scenes = sample_question_scenes(kind, generator, "train")
        asked, answer = question(scenes, kind, generator)
        striped = scenes.texture[:, 0] == TEXTURES.index("striped")
        assert ((answer[:, 0] == tokenizer().encode("yes")[0]) == striped).all() and 40 < int(striped.sum()) < 160
        print(tokenizer().decode([i for i in asked[0].tolist() if i >= 0]))
    """,
    )
    assert said.startswith("is the ") and said.endswith("striped ?\n")

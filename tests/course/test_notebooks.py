"""Notebooks hold what their sources give, and the checks that say so would notice if they did not."""

import base64
import copy
import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from minilmm_cli.main import main

from minilmm.course import notebooks
from minilmm.course.notebook_files import IGNORE, SETUP, pair, problems
from minilmm.course.reader import source
from minilmm.evaluation.statistics import Interval, bootstrap_interval

HOME = Path(__file__).parents[2] / "notebooks"
COMMITTED = sorted({*HOME.glob("*.ipynb"), *map(pair, notebooks.sources(HOME.parent))})
SANITIZE = (HOME / "sanitize.cfg").read_text()
FIRST = "# 07 · Tiny\n\nA paragraph.\n\n**Goals**\n- none\n\n**Time** 1 minute\n\n**Before** nothing"
LAST = "## Break it yourself\n\n## Exercises\n[code](../code.py#L3), [web](https://a.b/c)\n\n## What to read next"
TINY = f"""# %% [markdown]
{chr(10).join(f"# {line}".rstrip() for line in FIRST.splitlines())}

# %% tags=["setup"]
{SETUP}

# %% [markdown]
# **Predict.** One or two?

# %%
import torch
from minilmm.plots import picture_grid, show
grey = torch.zeros(2, 3, 8, 8)
show(picture_grid(grey))
assert grey.shape[0] == 2

# %% tags=["raises-exception"]
torch.zeros(2) @ torch.zeros(3)

# %% [markdown]
{chr(10).join(f"# {line}".rstrip() for line in LAST.splitlines())}
"""


def course(place):
    """A folder with a clone's shape, in which the source of chapter 7 has no notebook yet; the source."""
    (place / "notebooks" / "src").mkdir(parents=True)
    (place / "notebooks" / "sanitize.cfg").write_text(SANITIZE)
    (place / "code.py").touch()
    path = place / "notebooks" / "src" / "07_tiny.py"
    path.write_text(TINY)
    return path


def test_the_committed_notebooks_have_no_problems():
    assert {path.name: found for path in COMMITTED if (found := problems(path))} == {}


@pytest.mark.slow
@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_a_committed_notebook_gives_the_outputs_that_it_shows(path):
    code, said = notebooks.verify(path)
    assert code == 0, said


def cell(text, *outputs, tags=(), count=None):
    kind = (
        {"cell_type": "code", "execution_count": count, "outputs": list(outputs)}
        if count
        else {"cell_type": "markdown"}
    )
    return kind | {"id": f"c{abs(hash(text))}", "metadata": {"tags": list(tags)} if tags else {}, "source": text}


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": [text]}


def png(width):
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + width.to_bytes(4) + (10).to_bytes(4)
    data = {"image/png": base64.b64encode(header).decode(), "text/plain": ["<Image>"]}
    return {"output_type": "display_data", "metadata": {}, "data": data}


ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": ["no"]}
GOOD = {
    "cells": [
        cell(FIRST),
        cell(SETUP, tags=["setup"], count=1),
        cell("**Predict.** One or two?"),
        cell("found = draw()\nassert found", png(700), stream("two lines"), count=2),
        cell("fail()", ERROR, tags=["raises-exception"], count=3),
        cell("print(4)  # <- change me", stream("4\n"), count=4),
        *(cell(f"x = {n}\nprint(x)\nassert x > 3", stream(f"{n}\n"), count=n) for n in range(5, 8)),
        cell("loss = 1\nassert loss < 2", stream("1.23"), tags=["nbval-ignore-output"], count=8),
        cell(LAST),
    ],
    "metadata": {"kernelspec": {}, "language_info": {}, "minilmm": {}},
    "nbformat": 4,
    "nbformat_minor": 5,
}  # fmt: skip


def text(n, old, new):
    """Damage to the words of cell n."""

    def change(book):
        assert old in book["cells"][n]["source"]
        book["cells"][n]["source"] = book["cells"][n]["source"].replace(old, new)

    return change


DAMAGES = {
    "an unrun cell": (lambda b: b["cells"][3].update(execution_count=None), "cell [2] did not run"),
    "another order": (lambda b: b["cells"][5].update(execution_count=9), "cell [4] did not run, or not in its turn"),
    "another source": (
        lambda b: b["metadata"]["minilmm"].update(source_sha256="0"),
        "built from another src/07_tiny.py",
    ),
    "no hash": (lambda b: b["metadata"]["minilmm"].clear(), "built from another"),
    "an error": (lambda b: b["cells"][4]["metadata"].clear(), "cell [3] raises an error"),
    "a warning": (lambda b: b["cells"][3]["outputs"].append(stream("hm", "stderr")), "cell [2] writes to stderr"),
    "too large": (lambda b: b["cells"][5]["outputs"].append(stream("x" * 1_500_000)), "more than 1.5 MB"),
    "much ignored": (
        lambda b: b["cells"][5].update(source="x = 5\nassert x > 3", metadata={"tags": [IGNORE]}),
        "2 of 8 code cells ignore",
    ),
    "no assert": (text(9, "assert loss", "print"), "cell [8] ignores its output and asserts nothing"),
    "no assert at a figure": (text(3, "assert", "print"), "cell [2] prints or draws, and asserts nothing"),
    "a constant": (text(3, "assert found", "assert 1 < 2"), "cell [2] holds an assert that cannot fail"),
    "a tuple": (text(3, "assert found", "assert (found, 2)"), "cell [2] holds an assert that cannot fail"),
    "itself": (text(3, "assert found", "assert found == found"), "cell [2] holds an assert that cannot fail"),
    "a long line": (text(3, "found =", f"found = {'1 + ' * 30}"), "more than 88"),
    "a wide figure": (
        lambda b: b["cells"][3]["outputs"].append(png(1401)),
        "a figure 1401 pixels wide: more than 1400",
    ),
    "another setup": (text(1, "--quiet", "-q"), "the agreed setup cell"),
    "untagged setup": (lambda b: b["cells"][1]["metadata"].clear(), "the agreed setup cell"),
    "no title": (text(0, "# 07 · ", "# 7: "), "must begin with a heading"),
    "no goals": (text(0, "**Goals**", "Goals"), "no **Goals**"),
    "no time": (text(0, "**Time**", "Time"), "no **Time**"),
    "no before": (text(0, "**Before**", "Before"), "no **Before**"),
    "no prediction": (text(2, "**Predict.**", "Predict."), "no cell that begins with **Predict.**"),
    "nothing to break": (text(-1, "## Break it yourself", "### Break it yourself"), "no heading ## Break it yourself"),
    "no exercises": (text(-1, "## Exercises", ""), "no heading ## Exercises"),
    "nothing to read": (text(-1, "## What to read next", ""), "no heading ## What to read next"),
    "a dead link": (text(-1, "../code.py", "../gone.py"), "links to ../gone.py"),
    "a mute picture": (lambda b: b["cells"][3]["outputs"].pop(), "cell [2] shows a picture and prints nothing"),
    "a skipped cell": (lambda b: b["cells"][5]["metadata"].update(tags=["nbval-skip"]), "cell [4] is marked for nbval"),
    "a comment for nbval": (text(5, "print", "# NBVAL_SKIP\nprint"), "cell [4] is marked for nbval"),
    "a local path": (
        lambda b: b["cells"][3]["outputs"].append(stream(f"{sys.prefix}/x")),
        "prints a path of this machine",
    ),
    "the same id": (lambda b: b["cells"][5].update(id=b["cells"][6]["id"]), "an id of their own"),
    "widget state": (lambda b: b["metadata"].update(widgets={}), "metadata that its build did not write"),
}


@pytest.mark.parametrize("name", ["none", *DAMAGES])
def test_every_damage_is_reported_and_nothing_else(tmp_path, name):
    path = pair(course(tmp_path))
    book = copy.deepcopy(GOOD)
    book["metadata"]["minilmm"]["source_sha256"] = hashlib.sha256(TINY.encode()).hexdigest()
    damage, expected = DAMAGES.get(name, (lambda b: None, None))
    damage(book)
    path.write_text(json.dumps(book))
    found = problems(path)
    assert found == [] if expected is None else len(found) == 1 and expected in found[0], found


def test_a_notebook_and_its_source_need_each_other(tmp_path):
    path = course(tmp_path)
    assert "cannot be read" in problems(pair(path))[0]
    pair(path).write_text(json.dumps(GOOD))
    path.unlink()
    assert problems(pair(path)) == ["has no source src/07_tiny.py"]


@pytest.mark.slow
def test_build_and_run_a_tiny_course(tmp_path, monkeypatch, capsys):
    path = course(tmp_path)
    book = pair(path)
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    assert main(["notebooks", "run"]) == 1 and "not built yet" in capsys.readouterr().err
    assert main(["notebooks", "build"]) == 0
    assert capsys.readouterr().out.startswith("07_tiny: ")
    built = book.read_text()
    assert str(tmp_path) not in built and "execution" not in json.loads(built)["cells"][1]["metadata"]
    assert "2 x picture 8 x 8" in built
    assert main(["notebooks", "build"]) == 0 and "as it is now" in capsys.readouterr().out  # nothing to do
    assert main(["notebooks", "run", "7"]) == 0
    assert "every output is the same" in capsys.readouterr().out
    book.write_text(built.replace("2 x picture", "3 x picture"))
    assert main(["notebooks", "run"]) == 1
    assert "3 x picture" in capsys.readouterr().out
    assert main(["notebooks", "build", "07"]) == 0
    assert book.read_text() == built  # byte for byte


@pytest.mark.slow
@pytest.mark.parametrize(
    "code, error",
    [
        ("x = 1\n1 / 0", "cell [4] (x = 1): ZeroDivisionError: division by zero"),
        ("import os\nos.system('echo a line >&2')", "cell [4] (import os): wrote to stderr: a line"),
    ],
)
def test_a_cell_that_fails_is_one_line_and_the_old_notebook_stays(tmp_path, monkeypatch, capsys, code, error):
    path = course(tmp_path)
    pair(path).write_text("old")
    path.write_text(f"{TINY}\n# %%\n{code}\n")
    monkeypatch.chdir(tmp_path)
    assert main(["notebooks", "build"]) == 1
    assert capsys.readouterr().out == f"07_tiny: not built: {error}\n"
    assert pair(path).read_text() == "old"
    assert sorted(file.name for file in path.parent.parent.iterdir()) == ["07_tiny.ipynb", "sanitize.cfg", "src"]


@pytest.mark.slow
def test_ctrl_c_stops_a_build_and_leaves_nothing(tmp_path, request):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    path = course(tmp_path)
    path.write_text(f"{TINY}\n# %%\nimport pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(60)\n")
    command = [sys.executable, "-m", "minilmm_cli.main", "notebooks", "build"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    begun, start = tmp_path / "notebooks" / "begun", time.monotonic()
    while not begun.exists() and time.monotonic() - start < 60:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == "stopped\n" and process.returncode == 130
    assert sorted(file.name for file in begun.parent.iterdir()) == ["begun", "sanitize.cfg", "src"]


def test_bad_calls_say_what_to_do(tmp_path, monkeypatch, capsys):
    course(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["notebooks", "build", "42"]) == 1
    assert capsys.readouterr().err == "error: no notebook 42: there are 07\n"
    monkeypatch.setattr(notebooks.importlib.util, "find_spec", lambda name: None)
    assert main(["notebooks", "build", "7"]) == 1
    assert "pip install -e '.[notebooks]'" in capsys.readouterr().err


def test_without_the_package_the_first_cell_installs_the_clone_or_asks_for_one(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(notebooks.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append((command, check)))
    monkeypatch.chdir(course(tmp_path).parent.parent)
    with pytest.raises(FileNotFoundError, match="clone the repository"):
        exec(SETUP, {})
    assert not calls
    (tmp_path / "pyproject.toml").touch()
    exec(SETUP, {})
    assert calls == [([sys.executable, "-m", "pip", "install", "--quiet", "--editable", ".."], True)]


def test_the_reader_shows_source_under_the_name_of_its_file(capsys):
    source(bootstrap_interval, Interval)
    shown = capsys.readouterr().out
    assert (
        shown.startswith("`minilmm/evaluation/statistics.py`\n\n```python\ndef bootstrap_interval(")
        and "class Interval" in shown
    )
    with pytest.raises(ValueError, match="no Python source"):
        source(3)

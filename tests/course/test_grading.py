"""The grader against hostile answers: each is graded rightly, within its time, and costs the other checks nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
from minilmm_cli.main import main

from minilmm.course import gradescope, grading, isolation, sandbox
from minilmm.course.checking import Check, Failed, Wrong, check, close, equal, learns, refuses
from minilmm.course.exercises import load_manifest
from minilmm.course.grading import Grader
from minilmm.course.messages import HEAD, decode, encode
from minilmm.course.submissions import printable

MANIFEST = """
[[exercise]]
id = "01"
name = "ex01_double"
title = "Doubling"
chapter = "00"
points = 3
difficulty = 1
importance = 1
minutes = 1
timeout = 3
needs = []

[[exercise]]
id = "02"
name = "ex02_again"
title = "Doubling twice"
chapter = "00"
points = 1
difficulty = 1
importance = 1
minutes = 1
timeout = 3
needs = ["ex01_double"]
"""
SOURCE = '''
import torch

def double(x):
    """Twice x."""
    # BEGIN SOLUTION
    return 2 * x
    # END SOLUTION

def name(x):
    # BEGIN SOLUTION
    if x < 0:
        raise ValueError("x is negative")
    return "even" if x % 2 == 0 else "odd"
    # END SOLUTION
'''
CHECKS = '''
import torch
from minilmm.course.checking import check, close, equal, refuses

@check(points=2, stage="values", hint="twice")
def doubled(ex):
    """Doubling."""
    close(ex.double(torch.tensor([1.0, 2.0])), torch.tensor([2.0, 4.0]), "double([1, 2])")

@check(points=1, stage="values", hint="parity")
def named(ex):
    """Naming."""
    equal(ex.name(3), "odd", "name(3)")
    refuses(lambda: ex.name(-1), "name(-1)")
'''
MUTANTS = """
from minilmm.course.exercises import Mutant
MUTANTS = [Mutant("squared", (("2 * x", "x * x"),), "x is squared", caught_by="doubled")]
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    root = tmp_path_factory.mktemp("course") / "exercises"
    again = ("from ex01_double import double\ndef again(x):\n    # BEGIN SOLUTION\n    return double(double(x))\n"
             "    # END SOLUTION\n")  # fmt: skip
    checks = ('from minilmm.course.checking import check, equal\n@check(points=1, stage="values", hint="h")\n'
              'def twice(ex):\n    """Twice."""\n    equal(ex.again(3), 12, "again(3)")\n')  # fmt: skip
    for folder, first, second in (
        ("source", SOURCE, again), ("checks", CHECKS, checks),
        ("mutants", MUTANTS, "MUTANTS = []"), ("hints", "", ""), ("student", "", ""),
    ):  # fmt: skip
        (root / folder).mkdir(parents=True)
        (root / folder / "ex01_double.py").write_text(first)
        (root / folder / "ex02_again.py").write_text(second)
    (root / "manifest.toml").write_text(MANIFEST)
    return load_manifest(root)


@pytest.fixture(scope="module")
def grader(course):
    with Grader(course) as grader:
        yield grader


RIGHT_NAME = 'def name(x):\n    if x < 0: raise ValueError("no")\n    return "odd"\n'


def points(grader, course, text):
    """Points per check, and the first message."""
    start = time.monotonic()
    grade = grader.grade(course[0], text)
    assert time.monotonic() - start < 60
    return [r.points for r in grade.results], grade.results[0].message


def test_solution_stub_and_known_mistake(grader, course):
    assert points(grader, course, course[0].solution)[0] == [2, 1]
    assert points(grader, course, course[0].stub) == ([0, 0], "not done yet")
    grade = grader.grade(course[0], "def double(x): return x ** 2\n" + RIGHT_NAME)
    assert [r.points for r in grade.results] == [0, 1]
    assert grade.results[0].misconception == "Your output equals the variant in which x is squared."
    assert "expected [2, 4], came [1, 4]" in grade.results[0].message
    assert grader.grade(course[0], "def double(x): return x + 1\n").results[0].misconception == ""
    assert grader.mutation_table(course[0]) == {"squared": ["doubled"]}


def test_what_comes_before_is_the_references_unless_chained(grader, course):
    mine = {"ex01_double": "def double(x): return 3 * x"}
    assert grader.grade(course[1], course[1].solution).points == 1
    assert grader.grade(course[1], course[1].solution, chain=mine).points == 0


HOSTILE = {  # what double does, and a word of the message; `name` is right and must get its point
    "a loop": ("while True: pass", "no answer within 3 s"),
    "a loop in C": ("import re; re.match('(a+)+$', 'a' * 40 + 'b')", "no answer within 3 s"),
    "os._exit": ("import os; os._exit(0)", "exited with code 0"),
    "sys.exit": ("import sys; sys.exit(0)", "SystemExit"),
    "memory": ("return bytearray(1 << 34)", "emory"),
    "recursion": ("return double(x)", "RecursionError"),
    "a crash": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "killed by itself": ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    "megabytes": ("print('x' * 20_000_000)", "expected"),
    "NaN": ("return x * float('nan')", "not finite"),
    "a wrong shape": ("return torch.zeros(3)", r"shape \(3,\)"),
    "no tensor": ("return 'twice'", "'twice'"),
    "an object": ("return object()", "a object instead of"),
    "no answer": ("pass", "None"),
    "random": ("return x + torch.rand(2)", "different answers"),
    "in place": ("x.mul_(2); return x", "in place"),
    "an error": ("return x.no_such_thing", r"\(line 3\)"),
    "a huge answer": ("return torch.zeros(100_000_000, dtype=torch.uint8)", "95 MB"),
    "patched torch": ("torch.allclose = lambda *a, **k: True; return x", r"came \[1, 2\]"),
    "the checker": ("import minilmm.course.checking as c; c.close = print; return x", "denied|minilmm cannot be"),
    "exec of the grader": (
        "import importlib; importlib.import_module('minilmm.course.grading')",
        "denied|cannot be imp",
    ),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_answers_get_nothing_and_cost_the_others_nothing(grader, course, attack):
    body, told = HOSTILE[attack]
    got, message = points(grader, course, f"import torch\ndef double(x):\n    {body}\n{RIGHT_NAME}")
    assert got == [0, 1], message
    assert re.search(told, message)


@pytest.mark.parametrize(
    ("text", "told"),
    [("def double(x:\n", "SyntaxError"), ("import os; os._exit(0)", "exited with code 0"),
     ("import sys; sys.exit(0)", "SystemExit"), ("", "no function double"), ("double = 3", "no function double"),
     ("while True: pass", "no answer"),
     ("raise KeyboardInterrupt", "KeyboardInterrupt"), ("import no_such_module", "ModuleNotFoundError")],
)  # fmt: skip
def test_a_file_that_does_not_load(grader, course, text, told):
    got, message = points(grader, course, text)
    assert got == [0, 0] and told in message


REFUSED = "denied|cannot be read here"


def test_the_reference_cannot_be_read_or_imported(grader, course):
    for folder in ("source", "checks", "mutants"):
        path = str(course[0].path(folder))
        text = f"import torch\ndef double(x):\n    exec(open({path!r}).read(), globals())\n    return 2 * x\n"
        assert re.search(REFUSED, points(grader, course, text)[1])
    text = f"import runpy\nglobals().update(runpy.run_path({str(course[0].path('source'))!r}))\n"
    got, message = points(grader, course, text)
    assert got == [0, 0] and re.search(REFUSED, message)


def test_forged_results_and_messages_earn_nothing(grader, course, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    forged = encode((True, torch.tensor([5.0])))
    write = ("import os\ndef double(x):\n    open('results.json', 'w').write('forged')\n"
             f"    for fd in range(3, 40):\n        try: os.write(fd, {forged!r})\n        except OSError: pass\n"
             "    return x\n")  # fmt: skip
    assert points(grader, course, write + RIGHT_NAME)[0] == [0, 1]
    assert not list(tmp_path.iterdir())
    junk = "import os\nfor fd in range(3, 40):\n    try: os.write(fd, b'\\xff' * 64)\n    except OSError: pass\n"
    assert points(grader, course, junk + "def double(x): return 2 * x\n")[0] == [0, 0]


def test_children_left_running_are_gone_afterwards(grader, course, tmp_path):
    mark = f"minilmm-test-{os.getpid()}"
    text = f"""import subprocess, os
for new in (False, True):
    subprocess.Popen(["sleep", "1000"], start_new_session=new, env={{"MARK": "{mark}"}})
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve("/bin/sleep", ["sleep", "1000"], {{"MARK": "{mark}"}})
    os._exit(0)
"""
    got, _ = points(grader, course, text + "def double(x): return 2 * x\n" + RIGHT_NAME)
    assert got == [2, 1]
    alive = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            alive += [path] if mark.encode() in path.read_bytes() else []
        except OSError:
            continue
    assert not alive


@pytest.mark.slow
def test_without_fork_an_interpreter_serves_each_check(course):
    with Grader(course, fork=False) as grader:
        assert points(grader, course, course[0].solution)[0] == [2, 1]
        assert points(grader, course, "import os; os._exit(3)")[0] == [0, 0]


def test_messages_keep_values_and_never_execute_anything():
    value = [None, True, 3, 0.5, float("inf"), "x", (1, [2]), {"k": torch.arange(6).view(2, 3)}, torch.zeros(0, 2)]
    data = encode(value)
    head, body = HEAD.unpack(data[: HEAD.size])
    again = decode(data[HEAD.size : HEAD.size + head], data[HEAD.size + head :])
    assert len(data) == HEAD.size + head + body
    assert again[:7] == value[:7] and torch.equal(again[7]["k"], value[7]["k"]) and again[8].shape == (0, 2)
    column = encode(torch.tensor([[1.0, 2.0]])[:, 1])  # of one number, two apart from the next, which is not there
    assert column == encode(torch.tensor([2.0]))
    for bad in (b'{"tensor": ["torch.float32", [9], 4]}', b'{"x": 1}', b"{", b'{"tensor": ["os.system", [1], 4]}'):
        with pytest.raises(ValueError, match="cannot be read"):
            decode(bad, b"\0\0\0\0")


def test_comparisons():
    close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.00001]), "x")
    equal([1, [True]], [1, [True]], "x")
    for wrong in (lambda: equal(1, True, "x"), lambda: equal(torch.tensor([1]), [1], "x"),
                  lambda: close(True, 1.0, "x"), lambda: close(torch.ones(2), torch.ones(1, 2), "x"),
                  lambda: close(1.1, 1.0, "x")):  # fmt: skip
        with pytest.raises(Wrong):
            wrong()

    def raises(error, message=""):
        def call():
            raise Failed(error, message)

        return call

    refuses(raises("ValueError", "because"), "x")
    for call in (raises("ValueError"), raises("TypeError", "because"), lambda: 3):
        with pytest.raises(Wrong):
            refuses(call, "x")
    with pytest.raises(ValueError, match="a stage is one of"):
        check(stage="speed", hint="")


def test_a_gradescope_autograder_grades_a_submission_and_leaves_nothing_to_read(course, tmp_path):
    hidden = tmp_path / "secret"
    hidden.mkdir()
    (hidden / "ex01_double.py").write_text(CHECKS.replace("doubled", "doubled_in_secret").split("@check(points=1")[0])
    gradescope.pack(tmp_path / "auto.zip", course, course[:1], hidden=hidden, variant=3)
    base = tmp_path / "autograder"
    with zipfile.ZipFile(tmp_path / "auto.zip") as archive:
        assert archive.getinfo("run_autograder").external_attr >> 16 & 0o111
        archive.extractall(base / "source")
    assert not any("http" in (base / "source" / name).read_text() for name in ("setup.sh", "run_autograder"))
    (base / "submission").mkdir()
    (base / "submission" / "ex01_double.py").write_text("def double(x): return x * x\n" + RIGHT_NAME)
    subprocess.run(["bash", "autograder/source/run_autograder", "autograder", sys.executable], check=True, cwd=tmp_path)
    tests = json.loads((base / "results" / "results.json").read_text())["tests"]
    assert [(t["score"], t["max_score"], t["visibility"]) for t in tests] == [
        (0, 2, "visible"), (1, 1, "visible"), (0, 2, "hidden")]  # fmt: skip
    assert "x is squared" in tests[0]["output"]
    assert not (base / "source" / "exercises").exists() and not (base / "source" / "hidden").exists()


HELPED = """
from minilmm.course.checking import check, equal
def ask(module, x):
    return module.name(x)
@check(points=1, stage="values", hint="h")
def helped(ex):
    'Helped.'
    equal(ex.run(ask, 3), "odd", "name(3)")
"""


def test_a_helper_beside_the_answer_runs_when_the_file_of_checks_is_gone(course, tmp_path):
    path = tmp_path / "ex01_double.py"
    path.write_text(HELPED)
    with Grader(course, hidden=tmp_path) as grader:
        path.unlink()
        grade = grader.grade(course[0], course[0].solution)
    assert [r.points for r in grade.results] == [2, 1, 1]


def test_a_missing_file_is_not_handed_in(grader, course, tmp_path):
    (grade,) = grader.grade_folder(course[:1], tmp_path)
    assert grade.points == 0 and grade.total == 3 and {r.message for r in grade.results} == {"not handed in"}


LOST = """
import os, signal
from minilmm.course.checking import check, equal
CALLS = []
@check(points=1, stage="values", hint="h")
def twice(ex):
    'Twice.'
    CALLS.append(1)
    if len(CALLS) <= FAILURES:
        os.kill(PROCESS(), NUMBER)
    equal(ex.name(3), "odd", "name(3)")
"""


def zygote_of(grader):
    """Its number: the child of the process that put it into a namespace, or that process itself."""
    first = grader.zygote._process.pid
    inner = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    first_inside = [int(n) for n in inner if re.search(r"NSpid:.*\t1\n", Path(f"/proc/{n}/status").read_text())]
    return first_inside[0] if first_inside else first


def test_a_lost_process_is_ours_and_the_check_runs_again(course, monkeypatch):
    monkeypatch.setattr(isolation, "ANSWERS", 1.0)
    with Grader(course) as grader:
        for failures, number in ((1, signal.SIGKILL), (1, signal.SIGSTOP), (9, signal.SIGKILL)):
            module = {"FAILURES": failures, "NUMBER": number, "PROCESS": lambda: zygote_of(grader)}
            exec(LOST, module)
            monkeypatch.setitem(grader.hidden_checks, course[0].name, (module["twice"],))
            grade = grader.grade(course[0], course[0].solution)
            if failures == 1:
                assert grade.graded and grade.points == grade.total == 4 and len(module["CALLS"]) == 2
            else:
                assert not grade.graded and grade.points == 3 and len(module["CALLS"]) == grading.TRIES
                assert grade.results[-1].message.startswith("not graded: ")
                with pytest.raises(isolation.Lost):
                    gradescope.results_json([grade])
            assert grade.results[0].passed


def test_not_graded_is_no_zero_and_no_success(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = load_manifest(Path(__file__).parents[2] / "exercises")[0].solution

    def nothing(*_):
        raise isolation.Lost("no process for it could be started")

    monkeypatch.setattr(isolation.Zygote, "start", nothing)
    for folder in ("my_work", "class/ada"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "ex01_prompt.py").write_text(text)
    assert main(["grade", "01", "--gradescope", "results.json"]) == 3
    assert "not graded" in " ".join(capsys.readouterr().out.split()) and not Path("results.json").exists()
    assert main(["grade", "01", "--class", "class", "--json", "-"]) == 3
    (ada,) = json.loads(capsys.readouterr().out)["learners"]
    assert not ada["graded"] and "not graded" in ada["reasons"]["01"]


def test_only_the_stubs_own_line_is_not_done_yet(grader, course):
    assert points(grader, course, "def double(x):\n    raise NotImplementedError\n")[1] == "not done yet"
    told = points(grader, course, "import torch\ndef double(x):\n    return torch.nn.Module()(x)\n")[1]
    assert told.startswith("NotImplementedError: Module") and "(line 3)" in told


def test_compiled_functions_run_at_once(grader, course):
    for wrapped in ("@torch.compile\ndef double(x): return 2 * x",
                    "@torch.compile(mode='x')\ndef double(x): return 2 * x",
                    "def twice(x): return 2 * x\ndouble = torch.compile(twice)",
                    "m = torch.nn.Identity(); m.compile()\ndef double(x): return 2 * m(x)",
                    "@torch.jit.script\ndef double(x): return 2 * x"):  # fmt: skip
        assert points(grader, course, f"import torch\n{wrapped}\n{RIGHT_NAME}")[0] == [2, 1]


def test_half_precision_is_fine_for_gradients_too(grader, course):
    def oracle(x):
        return (x.double() ** 3 / 3).float()

    def run(ex):
        """Cubes."""
        learns(ex, "double", oracle, torch.linspace(-1, 1, 7))

    one = Check("cubes", run, 1, "gradients", "h")
    for dtype in ("float32", "float16", "bfloat16"):
        text = f"import torch\ndef double(x): return (x.to(torch.{dtype}) ** 3 / 3)"
        assert grader.attempt(one, course[0], text)[0] is None, dtype
    for wrong in ("x ** 3 / 3 + 0.01", "x.detach() ** 3 / 3 + 0 * x", "(x ** 3 / 3).half() + x.detach() * 0.1"):
        assert isinstance(grader.attempt(one, course[0], f"def double(x): return {wrong}")[0], Wrong), wrong


def test_a_known_mistake_is_told_only_where_every_check_finds_it(grader, course):
    squared = "def double(x): return x * x\n"
    assert grader.grade(course[0], squared + RIGHT_NAME).results[0].mutant == "squared"
    for other in ("def name(x): return 'even'\n", "", RIGHT_NAME.replace("odd", "Odd")):
        assert not any(r.misconception for r in grader.grade(course[0], squared + other).results)


def test_messages_can_be_printed_anywhere(grader, course):
    text = "def double(x): raise ValueError('a\\x1b[31m\\n\\udc80\\u202eb')\ndef name(x): return '\\x07\\udfff'\n"
    told = [r.message for r in grader.grade(course[0], text).results]
    assert all(message.isprintable() for message in told) and "\\x1b[31m\\n\\udc80\\u202eb" in told[0]
    assert printable("é \x00\ud800✓") == "é \\x00\\ud800✓"


def test_where_numbers_differ_is_told_when_they_look_alike():
    with pytest.raises(Wrong, match=r"the largest difference: at \[1, 3\] 2, not 1"):
        close(torch.ones(2, 5) + torch.eye(10)[8].view(2, 5), torch.ones(2, 5), "x")
    with pytest.raises(Wrong, match=r"exactly 1\.00049, not 1"):
        close(1.00049, 1.0, "x")
    with pytest.raises(Wrong) as error:
        close(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0]), "x")
    assert "largest" not in str(error.value)


def test_what_python_needs_may_be_read_but_no_folder_that_is_kept(tmp_path, monkeypatch):
    for name in ("lib/torch", "lib/minilmm", "clone/exercises"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    found = [p for p in sandbox.paths_to_read([str(tmp_path / "lib/minilmm"), str(tmp_path / "clone/exercises")])
             if p.startswith(str(tmp_path))]  # fmt: skip
    assert found == [str(tmp_path / "lib/torch")]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these means")
def test_a_probe_finds_every_door_closed_that_landlock_closes():
    means, doors = isolation.probe()
    if "Landlock" in means:
        assert not {"read the course's files", "write outside its folder", "read the grader's memory"} & set(doors)
    if "process namespace" in means:
        assert "send signals" not in doors
    if "network namespace" in means:
        assert "use the network" not in doors

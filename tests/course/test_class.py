"""A class with every attack and accident: honest answers keep their points, hostile ones gain none."""

import csv
import hashlib
import json
from pathlib import Path

import pytest
from minilmm_cli.main import main

from minilmm.course import submissions
from minilmm.course.exercises import load_manifest

ROOT = Path(__file__).parents[2]
EXERCISE = load_manifest(ROOT / "exercises")[2]
SOLUTION = str(EXERCISE.path("source"))
NOTHING = "\ndef attention(q, k, v):\n    return None\n"
FILE = f"{EXERCISE.name}.py"

HONEST = {  # what is handed in as bytes: all earn every point
    "plain": EXERCISE.solution.encode(),
    "with a mark": b"\xef\xbb\xbf" + EXERCISE.solution.encode(),
    "utf-16": EXERCISE.solution.encode("utf-16"),
    "windows": b"# na\xefve\r\n" + EXERCISE.solution.replace("\n", "\r\n").encode(),
    "latin": b"# coding: latin-1\n# na\xefve\n" + EXERCISE.solution.encode(),
    "compiled": EXERCISE.solution.replace("def attention", "@torch.compile(dynamic=True)\ndef attention").encode(),
    "talkative": (EXERCISE.solution + "\nfor _ in range(100_000): print('x' * 100)\n").encode(),
}
HOSTILE = {  # beside an answer that earns nothing
    "exits": "import sys; sys.exit(0)",
    "leaves": "import os; os._exit(0)",
    "loops": "while True: pass",
    "stops itself": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "kills its parent": "import os\nfor n in (2, 9, 19, 15): os.kill(os.getppid(), n)",
    "stops everybody": """
import os
for process in range(1, 100_000):
    if process != os.getpid():
        for number in (19, 9):
            try: os.kill(process, number)
            except OSError: pass
""",
    "kills all": "import os; os.kill(-1, 9)",
    "forks": """
import os
while True:
    try: os.fork()
    except OSError: pass
""",
    "stays on": """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            for path in PATHS:
                try: open(path, "w").write("forged")
                except OSError: pass
            time.sleep(0.01)
    os._exit(0)
""",
    "hogs": "import os\nfor _ in range(3): os.fork()\nx = [bytearray(1 << 28) for _ in range(100)]",
    "asks for too much": "import torch\ndef attention(q, k, v): return torch.zeros(1 << 28)",
    "patches": """
import gc, sys
for module in list(sys.modules.values()):
    if hasattr(module, "Session"):
        module.Session.answer = lambda *_: module.encode((True, True))
        module.encode = lambda value: b""
    if hasattr(module, "alike") or hasattr(module, "close"):
        try: module.alike = module.close = lambda *_, **__: True
        except Exception: pass
""",
    "writes replies": """
import os, json, struct
head = json.dumps({"tuple": [True, True]}).encode()
for number in range(3, 256):
    for _ in range(20):
        try: os.write(number, struct.pack(">IQ", len(head), 0) + head)
        except OSError: break
""",
}
READERS = {  # ways to the solution, as expressions: whoever gets there has every point
    "opens": "open(SOLUTION).read()",
    "links": "os.link(SOLUTION, 'a.py') or open('a.py').read()",
    "links softly": "os.symlink(SOLUTION, 'b.py') or open('b.py').read()",
    "renames": "os.rename(SOLUTION, 'c.py') or open('c.py').read()",
    "opens beside": "os.read(os.open(NAME, 0, dir_fd=os.open(os.path.dirname(SOLUTION), 0)), 9999)",
    "maps": "bytes(torch.from_file(SOLUTION, size=os.stat(SOLUTION).st_size, dtype=torch.uint8).tolist())",
    "calls cat": "subprocess.run(['cat', SOLUTION], capture_output=True, check=True).stdout",
    "calls C": "(lambda f, b: (f > 0 or 1 / 0) and C.read(f, b, 9999) and b.value)"
               "(C.open(SOLUTION.encode(), 0), ctypes.create_string_buffer(9999))",
    "reads memory": "memory(os.getppid())",
    "reads the first memory": "memory(1)",
    "reads every memory": "next(m for p in range(2, 99999) if p != os.getpid() for m in [memory(p)] if m)",
    "looks into frames": "next(t for t in frames() if 'BEGIN SOLUTION' in t)",
    "reads a neighbour": "open(NEIGHBOUR).read()",
}  # fmt: skip
PREPARED = """
import ctypes, os, re, subprocess, sys, torch
C = ctypes.CDLL(None)
def memory(process):
    try:
        for line in open(f"/proc/{process}/maps"):
            low, high = (int(x, 16) for x in line.split()[0].split("-"))
            with open(f"/proc/{process}/mem", "rb") as file:
                file.seek(low)
                found = re.search(rb"def attention.*?END SOLUTION", file.read(high - low), re.DOTALL)
                if found: return found[0]
    except OSError:
        return b""
def frames():
    frame = sys._getframe()
    while frame:
        yield from (repr(value) for value in [*frame.f_locals.values(), *frame.f_globals.values()])
        frame = frame.f_back
"""
WRONGLY_NAMED = {  # a file's path and a word of the reason
    "copied": ("ex03_attention (1).py", "rename it to ex03_attention.py"),
    "other case": ("Ex03_Attention.py", "rename it to ex03_attention.py"),
    "renamed": ("attention.py", "rename it to ex03_attention.py"),
    "nested": ("homework/ex03_attention.py", "move it up"),
    "notebook": ("ex03_attention.ipynb", "is a notebook"),
    "elsewhere": ("ex04_rope.py", "not handed in"),
}


@pytest.fixture
def everyone(tmp_path):
    """The folders of the class, and what each is worth."""
    folder = tmp_path / "class"
    texts = dict(HONEST)
    names = f"SOLUTION = {SOLUTION!r}\nNAME = {FILE!r}\nNEIGHBOUR = {str(folder / 'plain' / FILE)!r}\n"
    paths = [str(tmp_path / "told.json"), str(tmp_path / "told.csv"), SOLUTION, str(folder / "plain" / FILE)]
    for name, attack in HOSTILE.items():
        answer = "" if "def attention" in attack else NOTHING
        texts[name] = f"PATHS = {paths!r}\n{attack}\n{answer}".encode()
    for name, way in READERS.items():
        texts[name] = f"{names}{PREPARED}\nexec(compile({way}, 'found', 'exec'))\n".encode()
    for name, data in texts.items():
        (folder / name).mkdir(parents=True)
        (folder / name / FILE).write_bytes(data)
    for name, (place, _) in WRONGLY_NAMED.items():
        (folder / name / place).parent.mkdir(parents=True)
        (folder / name / place).write_text(EXERCISE.solution)
    (folder / "shadows").mkdir()
    (folder / "shadows" / FILE).write_text(EXERCISE.solution)
    (folder / "shadows" / "torch.py").write_text("1 / 0")
    for name, target in (("linked", SOLUTION), ("linked to a neighbour", folder / "plain" / FILE)):
        (folder / name).mkdir()
        (folder / name / FILE).symlink_to(target)
    for name in (".git", "__MACOSX"):
        (folder / name).mkdir()
    (folder / "\x1b[31mred").mkdir()
    return folder


def course_hash():
    """Of all that lies in the exercises."""
    data = [path.read_bytes() for path in sorted((ROOT / "exercises").rglob("*.py"))]
    return hashlib.sha256(b"".join(data)).hexdigest()


@pytest.mark.slow
def test_a_class_with_every_attack_and_accident(everyone, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = course_hash()
    code = main(["grade", "03", "--class", str(everyone), "--json", "told.json", "--csv", "told.csv"])
    out = capsys.readouterr().out
    told = json.loads(Path("told.json").read_text())
    got = {one["name"]: one["points"] for one in told["learners"]}
    full = dict.fromkeys([*HONEST, "shadows"], EXERCISE.points)
    assert {name: points for name, points in got.items() if points} == full
    assert set(got) == full.keys() | HOSTILE.keys() | READERS.keys() | WRONGLY_NAMED.keys() | {
        "linked", "linked to a neighbour", "\x1b[31mred"}  # fmt: skip
    reasons = {one["name"]: one["reasons"]["03"] for one in told["learners"] if one["reasons"]}
    assert reasons.keys() == WRONGLY_NAMED.keys() | {"linked", "linked to a neighbour", "\x1b[31mred"}
    assert all(word in reasons[name] for name, (_, word) in WRONGLY_NAMED.items())
    assert "is a link" in reasons["linked"] and "is a link" in reasons["linked to a neighbour"]
    assert code == 0 and all(one["graded"] for one in told["learners"]) and course_hash() == before
    assert "\x1b" not in out and "move it up" in " ".join(out.split())
    table = Path("told.csv").read_text(encoding="utf-8").splitlines()
    rows = {row["learner"]: row for row in csv.DictReader(table)}
    assert rows["plain"]["03"] == str(EXERCISE.points) and rows["copied"]["03"] == "" and len(rows) == len(got)
    (group,) = told["equal"]
    assert {"plain", "with a mark", "windows", "the reference solution"} < set(group["names"])


@pytest.mark.parametrize("name", WRONGLY_NAMED)
def test_why_a_file_was_not_graded(tmp_path, name):
    place, word = WRONGLY_NAMED[name]
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("x")
    text, reason = submissions.read(tmp_path, EXERCISE.name)
    assert text is None and word in reason


@pytest.mark.parametrize("name", HONEST)
def test_texts_are_read_whatever_wrote_them(tmp_path, name):
    (tmp_path / FILE).write_bytes(HONEST[name])
    text, reason = submissions.read(tmp_path, EXERCISE.name)
    assert reason == "" and "def attention" in text and "\ufeff" not in text


def test_what_cannot_be_read_is_told(tmp_path):
    path = tmp_path / FILE
    for data, word in (
        (b"a\0b", "null bytes"),
        (b"# coding: nonsense\n", "unknown encoding"),
        (b"x" * (2 << 20), "1 MB"),
    ):
        path.write_bytes(data)
        assert word in submissions.read(tmp_path, EXERCISE.name)[1]
    path.unlink()
    path.mkdir()
    assert "is no file" in submissions.read(tmp_path, EXERCISE.name)[1]
    assert submissions.read(tmp_path / "nowhere", EXERCISE.name) == (None, "not handed in")

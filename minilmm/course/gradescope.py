"""Gradescope: an autograder as a zip, and results as its results.json (Gradescope's autograder specification)."""

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import minilmm
from minilmm.course.exercises import Exercise, load_manifest
from minilmm.course.grading import Grade, Grader
from minilmm.course.isolation import Lost

SETUP = """\
#!/usr/bin/env bash
# Once, when the autograder's image is built.
set -e
apt-get update && apt-get install -y python3 python3-pip python3-venv
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install torch numpy
"""
RUN = """\
#!/usr/bin/env bash
# For every submission. The base folder can be another one, to try it at home.
base="$(cd "${1:-/autograder}" && pwd)"
python="${2:-$base/venv/bin/python}"
python="$(cd "$(dirname "$python")" && pwd)/$(basename "$python")"
cd "$base/source" && exec "$python" -m minilmm.course.gradescope "$base"
"""
LEFT_OUT = ("notebooks", "notebook_files", "reader")
PARTS = sorted(path.name for path in Path(__file__).parent.glob("*.py") if path.stem not in LEFT_OUT)
PACKAGE = ("__init__.py", *(f"course/{name}" for name in PARTS))


def results_json(grades: Sequence[Grade]) -> dict[str, list]:
    """Grades in Gradescope's form; hidden checks are shown to no learner. Lost where a check could not be run."""
    tests = []
    for grade in grades:
        for r in grade.results:
            if not r.graded:
                raise Lost(f"{grade.exercise.id}: {r.message}")
            tests.append({
                "name": f"{grade.exercise.id} {grade.exercise.title}: {r.check.title}",
                "score": r.points,
                "max_score": r.check.points,
                "output": "\n".join(r.lines) or "passed",
                "visibility": "hidden" if r.hidden else "visible",
            })  # fmt: skip
    return {"tests": tests}


def pack(out: Path, exercises: Sequence[Exercise], picked: Sequence[Exercise], *, hidden: Path | None, variant: int
         ) -> None:  # fmt: skip
    """Write the zip: two scripts, the grader, and the exercises with their checks. It replaces OUT when it is whole."""
    files = {f"minilmm/{name}": Path(minilmm.__file__).parent / name for name in PACKAGE}
    files["exercises/manifest.toml"] = exercises[0].root / "manifest.toml"
    for folder in ("source", "checks", "mutants"):
        files |= {f"exercises/{folder}/{exercise.name}.py": exercise.path(folder) for exercise in exercises}
    if hidden is not None:
        own = {f"hidden/{exercise.name}.py": hidden / f"{exercise.name}.py" for exercise in picked}
        files |= {name: path for name, path in own.items() if path.exists()}
    part = out.with_name(out.name + ".part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in (("setup.sh", SETUP), ("run_autograder", RUN)):
                info = zipfile.ZipInfo(name)
                info.external_attr = 0o755 << 16
                archive.writestr(info, text)
            for name, path in files.items():
                archive.write(path, name)
            archive.writestr("assigned.json", json.dumps({"ids": [e.id for e in picked], "variant": variant}))
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)


def run(base: Path) -> None:
    """Grade base/submission with what lies in base/source, into base/results/results.json.

    Solutions, checks and known-wrong answers are read first and then removed from the disk, which Gradescope throws
    away after every submission: a learner's code has nothing left to read.
    """
    source = base / "source"
    assigned = json.loads((source / "assigned.json").read_text(encoding="utf-8"))
    exercises = load_manifest(source / "exercises")
    hidden = source / "hidden" if (source / "hidden").is_dir() else None
    picked = [e for e in exercises if e.id in assigned["ids"]]
    with Grader(exercises, variant=assigned["variant"], hidden=hidden, work=base / "submission") as grader:
        for folder in (source / "exercises", source / "hidden"):
            shutil.rmtree(folder, ignore_errors=True)
        grades = grader.grade_folder(picked, base / "submission")
    results = json.dumps(results_json(grades), indent=1)  # every process that a submission started is dead by now
    (base / "results").mkdir(exist_ok=True)
    (base / "results" / "results.json").write_text(results)


if __name__ == "__main__":
    run(Path(sys.argv[1]))

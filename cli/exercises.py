"""`minilmm exercises` and `minilmm grade`: tasks to take home, hints, and grades that say what went wrong."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import Json, check_json, new_table, out_console, writable_file, writable_folder

if TYPE_CHECKING:
    from minilmm.course.exercises import Exercise

WORK = Path("my_work")
Ids = Annotated[list[str] | None, typer.Argument(metavar="[NN]...", help="Exercises, such as 03.")]
One = Annotated[str, typer.Argument(metavar="NN", help="An exercise, such as 03.")]
Variant = Annotated[int, typer.Option("--variant", min=0, help="A seed: other seeds, other inputs.")]
Csv = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="With --class: a row per learner.")]
Hidden = Annotated[Path | None, typer.Option("--hidden", help="A folder with more checks, exNN_name.py.")]


def pick(ids: list[str] | None = None) -> tuple[list[Exercise], list[Exercise]]:
    """All exercises of the course; and those named by number or file name, in order, or all where none is named."""
    from minilmm.course import course_root
    from minilmm.course.exercises import load_manifest

    exercises = load_manifest(course_root("exercises") / "exercises")
    found = {key: e for e in exercises for key in (e.id, e.id.lstrip("0"), e.name)}
    for name in ids or []:
        if name not in found:
            raise typer.BadParameter(f"no exercise {name}: choose from {', '.join(e.id for e in exercises)}")
    named = [found[name] for name in ids or found]
    return exercises, [e for e in exercises if e in named]


def list_() -> None:
    """The exercises: what each takes, and whether it was started."""
    table = new_table("", "exercise", "chapter", "points", "minutes", "level", "started", left=2)
    for e in pick()[0]:
        started = "yes" if (WORK / f"{e.name}.py").exists() else ""
        table.add_row(e.id, e.title, e.chapter, str(e.points), str(e.minutes), "*" * e.difficulty, started)
    out_console().print(table)
    out_console().print("minilmm exercises start NN, then minilmm grade NN; stuck: exercises hint NN")


def start(ids: Annotated[list[str], typer.Argument(metavar="NN...", help="Exercises, such as 03.")]) -> None:
    """Copy exercises into my_work/, where they are yours; nothing there is ever overwritten."""
    for e in pick(ids)[1]:
        place, what = writable_folder(WORK) / f"{e.name}.py", "there already, left as it is"
        if not place.exists():
            place.write_text(e.stub, encoding="utf-8")
            what = f"{e.title}, about {e.minutes} minutes; then minilmm grade {e.id}"
        out_console().print(f"{place}: {what}", soft_wrap=True)


def hint(one: One, number: Annotated[int, typer.Argument(
        metavar="[1|2|3]", min=1, max=3, show_default=False)] = 1) -> None:  # fmt: skip
    """A hint: the first, unless another is asked for; the third nearly gives it away."""
    _, (e,) = pick([one])
    after = f"exercises hint {e.id} {number + 1}" if number < len(e.hints) else f"exercises solution {e.id}"
    out_console().print(f"{e.hints[number - 1]}\n\nmore: minilmm {after}", markup=False)


def solution(one: One) -> None:
    """The reference solution."""
    _, (e,) = pick([one])
    sys.stdout.write(e.solution)


def build() -> None:
    """Write the stubs of exercises/student/ anew from their sources."""
    exercises, _ = pick()
    for e in exercises:
        e.path("student").parent.mkdir(exist_ok=True)
        e.path("student").write_text(e.stub, encoding="utf-8")
    out_console().print(f"{len(exercises)} stubs written")


def mutants(ids: Ids = None) -> int:
    """Every known-wrong answer and the checks that fail on it; exit code 1 unless the one it names is among them."""
    from minilmm.course.grading import Grader

    (exercises, picked), missed = pick(ids), 0
    table = new_table("", "known-wrong answer", "check that must catch it", "caught by", left=4)
    with Grader(exercises) as grader:
        for e in picked:
            failing = grader.mutation_table(e)
            for mutant in e.mutants:
                others = ", ".join(name for name in failing[mutant.name] if name != mutant.caught_by)
                caught = f"it and {others}" if others else "it alone"
                if mutant.caught_by not in failing[mutant.name]:
                    missed, caught = missed + 1, f"[red]{others or 'none'}[/]"
                table.add_row(e.id, mutant.name, mutant.caught_by, caught)
    out_console().print(table)
    share = f"{table.row_count - missed} of {table.row_count}"
    out_console().print(f"{share} known-wrong answers are caught by the check that each names")
    return int(missed > 0)


def gradescope(out: Annotated[Path, typer.Argument(metavar="OUT.zip")], ids: Ids = None, hidden: Hidden = None,
               variant: Variant = 0) -> None:  # fmt: skip
    """An autograder for Gradescope: upload the zip as it is."""
    from minilmm.course.gradescope import pack

    exercises, picked = pick(ids)
    check_hidden(hidden)
    pack(writable_file(out), exercises, picked, hidden=hidden, variant=variant)
    out_console().print(f"{out}: {len(picked)} exercises", soft_wrap=True)


def check_hidden(hidden: Path | None) -> None:
    """ValueError where the folder of hidden checks is none."""
    if hidden is not None and not hidden.is_dir():
        raise ValueError(f"{hidden}: no such folder: --hidden names a folder with checks such as ex03_attention.py")


def grade(
    ids: Ids = None,
    solutions: Annotated[bool, typer.Option("--solutions", help="Grade the reference solutions.")] = False,
    work: Annotated[Path, typer.Option("--work", help="The folder with the learner's files.")] = WORK,
    everyone: Annotated[Path | None, typer.Option("--class", help="A folder with one folder per learner.")] = None,
    chain: Annotated[bool, typer.Option("--chain", help="Earlier exercises are the learner's own.")] = False,
    variant: Variant = 0,
    hidden: Hidden = None,
    json: Json = None,
    table: Csv = None,
    results: Annotated[Path | None, typer.Option("--gradescope", help="Write Gradescope's results.json.")] = None,
) -> int:
    """Grade exercises: those named, or all that were started. Exit code 1: points were lost; 3: not all was graded.

    With --class the exit code is 0 whatever the points.
    """
    from minilmm.course.grading import Grader

    from .grades import grade_class, report, report_class

    exercises, picked = pick(ids)
    check_json(json)
    check_hidden(hidden)
    for file in (results, table):
        if file is not None:
            writable_file(file)
    if table is not None and everyone is None:
        raise ValueError("--csv holds a row per learner: give --class as well, or take --json")
    if everyone is None and not solutions:
        missing = [e for e in picked if not os.path.lexists(work / f"{e.name}.py")]
        if ids and missing:
            raise ValueError(f"{work / missing[0].name}.py: not started: minilmm exercises start {missing[0].id}")
        picked = [e for e in picked if e not in missing]
        if not picked:
            raise ValueError(f"{work}: nothing was started yet: minilmm exercises start 01")
    with Grader(exercises, variant=variant, hidden=hidden, work=everyone or work) as grader:
        if everyone is not None:
            return report_class(grade_class(grader, everyone, picked, chain), picked, json, table)
        begin = time.perf_counter()
        grades = ([grader.grade(e, e.solution) for e in picked] if solutions
                  else grader.grade_folder(picked, work, chain=chain))  # fmt: skip
        return report(grades, variant, time.perf_counter() - begin, json, results)

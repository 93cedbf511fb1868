"""`minilmm exercises` and `minilmm grade`: tasks to take home, hints, and grades that say what went wrong."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import Json, check_json, new_table, out_console, writable_file, writable_folder, write_json

if TYPE_CHECKING:
    from minilmm.course.exercises import Exercise

WORK = Path("my_work")
Ids = Annotated[list[str] | None, typer.Argument(metavar="[NN]...", help="Exercises, such as 03.")]
One = Annotated[str, typer.Argument(metavar="NN", help="An exercise, such as 03.")]
Work = Annotated[Path, typer.Option("--work", help="The folder with the learner's files.")]
Variant = Annotated[int, typer.Option("--variant", min=0, help="A seed: other seeds, other inputs.")]
Hidden = Annotated[Path | None, typer.Option("--hidden", help="A folder with more checks, exNN_name.py.")]


def every() -> list[Exercise]:
    """All exercises of the course."""
    from minilmm.course import course_root
    from minilmm.course.exercises import load_manifest

    return load_manifest(course_root("exercises") / "exercises")


def chosen(ids: list[str] | None, exercises: list[Exercise]) -> list[Exercise]:
    """Those named by number or file name, in order; all without names. BadParameter for one that there is not."""
    found = {e.id: e for e in exercises} | {e.name: e for e in exercises}
    for name in ids or []:
        if name.zfill(2) not in found and name not in found:
            raise typer.BadParameter(f"no exercise {name}: choose from {', '.join(e.id for e in exercises)}")
    wanted = [found.get(name.zfill(2)) or found[name] for name in ids or []]
    return [e for e in exercises if not ids or e in wanted]


def list_() -> None:
    """The exercises: what each takes, and whether it was started."""
    table = new_table("", "exercise", "chapter", "points", "minutes", "level", "started", left=2)
    for e in every():
        started = "yes" if (WORK / f"{e.name}.py").exists() else ""
        table.add_row(e.id, e.title, e.chapter, str(e.points), str(e.minutes), "*" * e.difficulty, started)
    console = out_console()
    console.print(table)
    console.print("minilmm exercises start NN, then minilmm grade NN; stuck: exercises hint NN")


def start(ids: Annotated[list[str], typer.Argument(metavar="NN...", help="Exercises, such as 03.")]) -> None:
    """Copy exercises into my_work/, where they are yours; nothing there is ever overwritten."""
    console = out_console()
    for e in chosen(ids, every()):
        place = writable_folder(WORK) / f"{e.name}.py"
        if place.exists():
            console.print(f"{place}: there already, left as it is", soft_wrap=True)
        else:
            place.write_text(e.stub, encoding="utf-8")
            console.print(f"{place}: {e.title}, about {e.minutes} minutes; then minilmm grade {e.id}", soft_wrap=True)


def hint(one: One, number: Annotated[int | None, typer.Argument(metavar="[1|2|3]", min=1, max=3)] = None) -> None:
    """A hint: the first, unless another is asked for; the third nearly gives it away."""
    (e,) = chosen([one], every())
    number = number or 1
    console = out_console()
    console.print(e.hints[number - 1], markup=False)
    after = f"exercises hint {e.id} {number + 1}" if number < len(e.hints) else f"exercises solution {e.id}"
    console.print(f"\nmore: minilmm {after}", markup=False)


def solution(one: One) -> None:
    """The reference solution."""
    (e,) = chosen([one], every())
    sys.stdout.write(e.solution)


def build() -> None:
    """Write the stubs of exercises/student/ anew from their sources."""
    for e in every():
        e.path("student").parent.mkdir(exist_ok=True)
        e.path("student").write_text(e.stub, encoding="utf-8")
    out_console().print(f"{len(every())} stubs written")


def mutants(ids: Ids = None) -> int:
    """Every known-wrong answer and the checks that fail on it; exit code 1 unless the one it names is among them."""
    from minilmm.course.grading import Grader

    exercises, wrong, total = every(), 0, 0
    table = new_table("", "known-wrong answer", "check that must catch it", "caught by", left=4)
    with Grader(exercises) as grader:
        for e in chosen(ids, exercises):
            found = grader.mutation_table(e)
            for mutant in e.mutants:
                right = mutant.caught_by in found[mutant.name]
                wrong, total = wrong + (not right), total + 1
                others = ", ".join(name for name in found[mutant.name] if name != mutant.caught_by)
                caught = f"[red]{others or 'none'}[/]" if not right else f"it and {others}" if others else "it alone"
                table.add_row(e.id, mutant.name, mutant.caught_by, caught)
    console = out_console()
    console.print(table)
    console.print(f"{total - wrong} of {total} known-wrong answers are caught by the check that each names")
    return int(wrong > 0)


def gradescope(out: Annotated[Path, typer.Argument(metavar="OUT.zip")], ids: Ids = None, hidden: Hidden = None,
               variant: Variant = 0) -> None:  # fmt: skip
    """An autograder for Gradescope: upload the zip as it is."""
    from minilmm.course.gradescope import pack

    exercises = every()
    picked = chosen(ids, exercises)
    checked_hidden(hidden)
    pack(writable_file(out), exercises, picked, hidden=hidden, variant=variant)
    out_console().print(f"{out}: {len(picked)} exercises", soft_wrap=True)


def checked_hidden(hidden: Path | None) -> None:
    """ValueError where the folder of hidden checks is none."""
    if hidden is not None and not hidden.is_dir():
        raise ValueError(f"{hidden}: no such folder: --hidden names a folder with checks such as ex03_attention.py")


def started(picked: list[Exercise], work: Path, all_of_them: bool) -> list[Exercise]:
    """The exercises that have a file in `work`. ValueError: there is none, or one is missing of all that were named."""
    found = [e for e in picked if os.path.lexists(work / f"{e.name}.py")]
    for e in picked if all_of_them else ():
        if e not in found:
            raise ValueError(f"{work / e.name}.py: not started: minilmm exercises start {e.id}")
    if not found:
        raise ValueError(f"{work}: nothing was started yet: minilmm exercises start 01")
    return found


def grade(
    ids: Ids = None,
    solutions: Annotated[bool, typer.Option("--solutions", help="Grade the reference solutions.")] = False,
    work: Work = WORK,
    everyone: Annotated[Path | None, typer.Option("--class", help="A folder with one folder per learner.")] = None,
    chain: Annotated[bool, typer.Option("--chain", help="Earlier exercises are the learner's own.")] = False,
    variant: Variant = 0,
    hidden: Hidden = None,
    json: Json = None,
    table: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="With --class: a row per learner.")
    ] = None,
    results: Annotated[Path | None, typer.Option("--gradescope", help="Write Gradescope's results.json.")] = None,
) -> int:
    """Grade exercises: those named, or all that were started. Exit code 1: points were lost; 3: not all was graded.

    With --class the exit code is 0 whatever the points.
    """
    from minilmm.course.gradescope import results_json
    from minilmm.course.grading import Grader

    from .grades import NOT_GRADED, grade_class, report, report_class, write_csv

    exercises = every()
    picked = chosen(ids, exercises)
    check_json(json)
    checked_hidden(hidden)
    for file in (results, table):
        if file is not None:
            writable_file(file)
    if table is not None and everyone is None:
        raise ValueError("--csv holds a row per learner: give --class as well, or take --json")
    if everyone is not None:
        with Grader(exercises, variant=variant, hidden=hidden, work=everyone) as grader:
            told = grade_class(grader, everyone, picked, chain)
        write_json(json, told)
        if table is not None:
            write_csv(table, told, picked)
        if json != "-":
            report_class(told, picked)
        return 0 if all(one["graded"] for one in told["learners"]) else NOT_GRADED
    picked = picked if solutions else started(picked, work, all_of_them=bool(ids))
    start = time.perf_counter()
    with Grader(exercises, variant=variant, hidden=hidden, work=work) as grader:
        grades = [grader.grade(e, e.solution) for e in picked] if solutions else grader.grade_folder(
            picked, work, chain=chain)  # fmt: skip
    earned, total = sum(g.points for g in grades), sum(g.total for g in grades)
    told = {"points": earned, "of": total, "variant": variant}
    told |= {"exercises": [g.json() for g in grades], "seconds": round(time.perf_counter() - start, 1)}
    write_json(json, told)
    graded = all(g.graded for g in grades)
    if results is not None and graded:
        write_json(str(results), results_json(grades))
    if json != "-":
        report(grades, earned, total)
    return NOT_GRADED if not graded else int(earned < total)

"""`minilmm exercises` and `minilmm grade`: tasks to take home, hints, and grades that say what went wrong."""

from __future__ import annotations

import csv
import functools
import os
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from minilmm.course.submissions import group_equal, list_folders, printable, read

from .common import Json, check_json, writable_file, writable_folder, write_json
from .console import new_table, out_console, say

if TYPE_CHECKING:
    from minilmm.course.exercises import Exercise
    from minilmm.course.grading import Grade, Grader

NOT_GRADED = 3  # the exit code where a process of the grader's own failed
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
    say("minilmm exercises start NN, then minilmm grade NN; stuck: exercises hint NN")


def start(ids: Annotated[list[str], typer.Argument(metavar="NN...", help="Exercises, such as 03.")]) -> None:
    """Copy exercises into my_work/, where they are yours; nothing there is ever overwritten."""
    for e in pick(ids)[1]:
        place, what = writable_folder(WORK) / f"{e.name}.py", "there already, left as it is"
        if not place.exists():
            place.write_text(e.stub, encoding="utf-8")
            what = f"{e.title}, about {e.minutes} minutes; then minilmm grade {e.id}"
        say(f"{place}: {what}")


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
    say(f"{len(exercises)} stubs written")


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
    caught = f"{table.row_count - missed} of {table.row_count}"
    out_console().print(f"{caught} known-wrong answers are caught by the check that each names")
    return int(missed > 0)


def gradescope(out: Annotated[Path, typer.Argument(metavar="OUT.zip")], ids: Ids = None, hidden: Hidden = None,
               variant: Variant = 0) -> None:  # fmt: skip
    """An autograder for Gradescope: upload the zip as it is."""
    from minilmm.course.gradescope import pack

    exercises, picked = pick(ids)
    check_hidden(hidden)
    writable_file(out)
    pack(out, exercises, picked, hidden=hidden, variant=variant)
    say(f"{out}: {len(picked)} exercises")


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
    variant: Variant = 0, hidden: Hidden = None, json: Json = None, table: Csv = None,
    results: Annotated[Path | None, typer.Option("--gradescope", help="Write Gradescope's results.json.")] = None,
) -> int:  # fmt: skip
    """Grade exercises: those named, or all that were started. Exit code 1: points were lost; 3: not all was graded.

    With --class the exit code is 0 whatever the points.
    """
    from minilmm.course.grading import Grader

    exercises, picked = pick(ids)
    check_json(json)
    check_hidden(hidden)
    writable_file(results)
    writable_file(table)
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


def report(grades: list[Grade], variant: int, seconds: float, json: str | None, results: Path | None) -> int:
    """What each check found, also as JSON and for Gradescope: the exit code of `minilmm grade`."""
    from minilmm.course.gradescope import results_json

    earned, total, graded = sum(g.points for g in grades), sum(g.total for g in grades), all(g.graded for g in grades)
    write_json(json, {"points": earned, "of": total, "variant": variant, "exercises": [g.json() for g in grades],
                      "seconds": round(seconds, 1)})  # fmt: skip
    if results is not None and graded:
        write_json(str(results), results_json(grades))
    console = out_console(quiet=json == "-")
    fill = functools.partial(textwrap.fill, width=70, initial_indent=" " * 9, subsequent_indent=" " * 9)
    for g in grades:
        console.print(f"[bold]{g.exercise.id} {g.exercise.title}[/]  {g.points}/{g.total}")
        for r in g.results:
            mark = "[green]✓[/]" if r.passed else "[red]✗[/]" if r.graded else "[yellow]?[/]"
            console.print(f"  {mark} {r.points}/{r.check.points}  {escape(fill(r.check.title).strip())}")
            for text in r.lines[:1] if g.reason else r.lines:
                console.print(fill(text), markup=False)
    console.print(f"{earned} of {total} points")
    return NOT_GRADED if not graded else int(earned < total)


def grade_class(grader: Grader, everyone: Path, picked: list[Exercise], chain: bool) -> dict[str, Any]:
    """Grade every folder of a class: points, reasons, misconceptions and equal texts, as data for `--json`."""
    learners = list_folders(everyone)
    if not learners:
        raise ValueError(f"{everyone}: holds no folders: --class names a folder with one folder per learner")
    graded = {folder.name: grader.grade_folder(picked, folder, chain=chain) for folder in learners}
    every = [(g, r) for grades in graded.values() for g in grades for r in g.results]
    mistakes = Counter((g.exercise.id, r.mutant, r.misconception) for g, r in every if r.misconception)
    failed = Counter((g.exercise.id, r.check.title) for g, r in every if r.graded and not r.passed)
    equal = []
    for e in picked:
        texts = {folder.name: read(folder, e.name)[0] or e.stub for folder in learners}
        texts = {name: text for name, text in texts.items() if not group_equal({"": text, "the stub": e.stub})}
        groups = group_equal(texts | {"the reference solution": e.solution})
        equal += [{"exercise": e.id, "names": names} for names in groups]
    return {
        "of": sum(g.total for g in next(iter(graded.values()))),
        "learners": [{"name": name, "points": sum(g.points for g in grades),
                      "exercises": {g.exercise.id: g.points for g in grades},
                      "reasons": {g.exercise.id: g.why_not for g in grades if g.why_not},
                      "graded": all(g.graded for g in grades)} for name, grades in graded.items()],
        "misconceptions": [{"exercise": e, "mutant": m, "says": says, "learners": n}
                           for (e, m, says), n in mistakes.most_common()],
        "failed_checks": [{"exercise": e, "check": title, "learners": n} for (e, title), n in failed.most_common()],
        "equal": equal,
    }  # fmt: skip


def report_class(outcome: dict[str, Any], picked: list[Exercise], json: str | None, table: Path | None) -> int:
    """A table of points, why files were not graded, and which mistakes the class made; also as JSON and as CSV.

    Returns the exit code. A row of the CSV: a learner's points per exercise (empty where not graded), sum, reasons.
    """
    write_json(json, outcome)
    learners, rows = outcome["learners"], []
    for one in learners:
        points = [None if e.id in one["reasons"] else one["exercises"][e.id] for e in picked]
        reasons = "; ".join(f"{e}: {reason}" for e, reason in one["reasons"].items())
        rows.append([one["name"], *points, one["points"], outcome["of"], reasons])
    if table is not None:
        with table.open("w", newline="", encoding="utf-8") as file:
            head = ["learner", *(e.id for e in picked), "points", "of", "reasons"]
            csv.writer(file).writerows([head, *([_cell(cell) for cell in row] for row in rows)])
    console = out_console(quiet=json == "-")
    shown = new_table("learner", *(e.id for e in picked), "points")
    for name, *points, earned, total, _ in rows:
        cells = ["-" if number is None else str(number) for number in points]
        shown.add_row(escape(printable(name)), *cells, f"{earned}/{total}")
    console.print(shown)
    for one in learners:
        for e, reason in one["reasons"].items():
            console.print(f"{escape(printable(one['name']))} [bold]{e}[/]: {escape(reason)}", soft_wrap=True)
    for group in outcome["equal"]:
        names = ", ".join(escape(printable(name)) for name in group["names"])
        console.print(f"[bold]{group['exercise']}[/] the same text: {names}", soft_wrap=True)
    for one in outcome["misconceptions"]:
        says = one["says"].replace("Your output equals", "Output equal to")
        console.print(f"{one['learners']} x [bold]{one['exercise']}[/]  {escape(says)}")
    for one in outcome["failed_checks"][:10]:
        title = f"[bold]{one['exercise']}[/]: {escape(one['check'])}"
        console.print(f"{one['learners']} of {len(learners)} failed {title}")
    return 0 if all(one["graded"] for one in learners) else NOT_GRADED


def _cell(value: Any) -> Any:
    """A value of the CSV; of texts, one that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    return ("'" if value.startswith(("=", "+", "-", "@")) else "") + printable(value)

"""Grades as an instructor reads them: what each check found, and a class as a table, as JSON and as CSV."""

from __future__ import annotations

import csv
import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from minilmm.course.checking import printable

from .common import new_table, out_console

if TYPE_CHECKING:
    from minilmm.course.exercises import Exercise
    from minilmm.course.grading import Grade, Grader

NOT_GRADED = 3  # the exit code where a process of the grader's own failed


def report(grades: list[Grade], earned: int, total: int) -> None:
    """What each check found; for those that failed, what was expected, what came, and what it looks like."""
    console = out_console()
    for g in grades:
        console.print(f"[bold]{g.exercise.id} {g.exercise.title}[/]  {g.points}/{g.total}")
        for r in g.results:
            mark = "[green]✓[/]" if r.passed else "[red]✗[/]" if r.graded else "[yellow]?[/]"
            title = "\n".join(_indented(r.check.title)).strip()
            console.print(f"  {mark} {r.points}/{r.check.points}  {escape(title)}")
            hint = (
                "" if r.passed or not r.graded or g.reason or "not done yet" in r.message else f"Hint: {r.check.hint}"
            )
            for text in (r.message, r.misconception, hint):
                if text:
                    console.print(*_indented(text), sep="\n", markup=False)
    console.print(f"{earned} of {total} points")


def _indented(text: str, width: int = 70) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=" " * 9, subsequent_indent=" " * 9)


def grade_class(grader: Grader, everyone: Path, picked: list[Exercise], chain: bool) -> dict[str, Any]:
    """Grade every folder of a class: points, reasons, misconceptions and equal texts, as data for `--json`."""
    from minilmm.course.submissions import alike, folders, read

    learners = folders(everyone)
    if not learners:
        raise ValueError(f"{everyone}: holds no folders: --class names a folder with one folder per learner")
    graded = {folder.name: grader.grade_folder(picked, folder, chain=chain) for folder in learners}
    every = [(g, r) for grades in graded.values() for g in grades for r in g.results]
    seen = Counter((g.exercise.id, r.mutant, r.misconception) for g, r in every if r.misconception)
    failed = Counter((g.exercise.id, r.check.title) for g, r in every if r.graded and not r.passed)
    equal = []
    for e in picked:
        texts = {folder.name: read(folder, e.name)[0] or e.stub for folder in learners}
        texts = {name: text for name, text in texts.items() if alike({"": text, "the stub": e.stub}) == []}
        equal += [{"exercise": e.id, "names": names} for names in alike(texts | {"the reference solution": e.solution})]
    return {
        "of": sum(g.total for g in next(iter(graded.values()))),
        "learners": [
            {"name": name, "points": sum(g.points for g in grades),
             "exercises": {g.exercise.id: g.points for g in grades},
             "reasons": {g.exercise.id: reason for g in grades if (reason := _reason(g))},
             "graded": all(g.graded for g in grades)}
            for name, grades in graded.items()
        ],
        "misconceptions": [{"exercise": e, "mutant": m, "says": says, "learners": n}
                           for (e, m, says), n in seen.most_common()],
        "failed_checks": [{"exercise": e, "check": title, "learners": n} for (e, title), n in failed.most_common()],
        "equal": equal,
    }  # fmt: skip


def _reason(grade: Grade) -> str:
    """Why an exercise was not graded, or not in full; "" if it was."""
    return grade.reason or next((r.message for r in grade.results if not r.graded), "")


def report_class(told: dict[str, Any], picked: list[Exercise]) -> None:
    """A table of points, why files were not graded, and which mistakes the class made."""
    console = out_console()
    table = new_table("learner", *(e.id for e in picked), "points")
    for one in told["learners"]:
        cells = ["-" if e.id in one["reasons"] else str(one["exercises"][e.id]) for e in picked]
        table.add_row(escape(printable(one["name"])), *cells, f"{one['points']}/{told['of']}")
    console.print(table)
    for one in told["learners"]:
        for e, reason in one["reasons"].items():
            console.print(f"{escape(printable(one['name']))} [bold]{e}[/]: {escape(reason)}", soft_wrap=True)
    for group in told["equal"]:
        names = ", ".join(escape(printable(name)) for name in group["names"])
        console.print(f"[bold]{group['exercise']}[/] the same text: {names}", soft_wrap=True)
    for one in told["misconceptions"]:
        says = one["says"].replace("Your output equals", "Output equal to")
        console.print(f"{one['learners']} x [bold]{one['exercise']}[/]  {escape(says)}")
    for one in told["failed_checks"][:10]:
        title = f"[bold]{one['exercise']}[/]: {escape(one['check'])}"
        console.print(f"{one['learners']} of {len(told['learners'])} failed {title}")


def write_csv(path: Path, told: dict[str, Any], picked: list[Exercise]) -> None:
    """One row per learner: points per exercise (empty where not graded), their sum, and reasons."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["learner", *(e.id for e in picked), "points", "of", "reasons"])
        for one in told["learners"]:
            cells = ["" if e.id in one["reasons"] else one["exercises"][e.id] for e in picked]
            reasons = "; ".join(f"{e}: {reason}" for e, reason in one["reasons"].items())
            writer.writerow([_cell(one["name"]), *cells, one["points"], told["of"], _cell(reasons)])


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return ("'" if text.startswith(("=", "+", "-", "@")) else "") + printable(text)

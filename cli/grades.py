"""Grades as an instructor reads them: what each check found, and a class as a table, as JSON and as CSV."""

from __future__ import annotations

import csv
import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from minilmm.course.submissions import group_equal, list_folders, printable, read

from .common import new_table, out_console, write_json

if TYPE_CHECKING:
    from minilmm.course.exercises import Exercise
    from minilmm.course.grading import Grade, Grader

NOT_GRADED = 3  # the exit code where a process of the grader's own failed


def report(grades: list[Grade], variant: int, seconds: float, json: str | None, results: Path | None) -> int:
    """What each check found, also as JSON and for Gradescope: the exit code of `minilmm grade`."""
    from minilmm.course.gradescope import results_json

    earned, total, graded = sum(g.points for g in grades), sum(g.total for g in grades), all(g.graded for g in grades)
    write_json(json, {"points": earned, "of": total, "variant": variant, "exercises": [g.json() for g in grades],
                      "seconds": round(seconds, 1)})  # fmt: skip
    if results is not None and graded:
        write_json(str(results), results_json(grades))
    console = out_console(quiet=json == "-")
    for g in grades:
        console.print(f"[bold]{g.exercise.id} {g.exercise.title}[/]  {g.points}/{g.total}")
        for r in g.results:
            mark = "[green]✓[/]" if r.passed else "[red]✗[/]" if r.graded else "[yellow]?[/]"
            console.print(f"  {mark} {r.points}/{r.check.points}  {escape(_indent(r.check.title).strip())}")
            for text in r.lines[:1] if g.reason else r.lines:
                console.print(_indent(text), markup=False)
    console.print(f"{earned} of {total} points")
    return NOT_GRADED if not graded else int(earned < total)


def _indent(text: str) -> str:
    return textwrap.fill(text, 70, initial_indent=" " * 9, subsequent_indent=" " * 9)


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
        "learners": [
            {"name": name, "points": sum(g.points for g in grades),
             "exercises": {g.exercise.id: g.points for g in grades},
             "reasons": {g.exercise.id: g.why_not for g in grades if g.why_not},
             "graded": all(g.graded for g in grades)}
            for name, grades in graded.items()
        ],
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
        rows.append([_cell(one["name"]), *points, one["points"], outcome["of"], _cell(reasons)])
    if table is not None:
        with table.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["learner", *(e.id for e in picked), "points", "of", "reasons"], *rows])
    console = out_console(quiet=json == "-")
    shown = new_table("learner", *(e.id for e in picked), "points")
    for one, (_, *points, earned, total, _) in zip(learners, rows, strict=True):
        cells = ["-" if number is None else str(number) for number in points]
        shown.add_row(escape(printable(one["name"])), *cells, f"{earned}/{total}")
    console.print(shown)
    lines = [f"{escape(printable(one['name']))} [bold]{e}[/]: {escape(reason)}"
             for one in learners for e, reason in one["reasons"].items()]  # fmt: skip
    for group in outcome["equal"]:
        names = ", ".join(escape(printable(name)) for name in group["names"])
        lines.append(f"[bold]{group['exercise']}[/] the same text: {names}")
    for line in lines:
        console.print(line, soft_wrap=True)
    for one in outcome["misconceptions"]:
        says = one["says"].replace("Your output equals", "Output equal to")
        console.print(f"{one['learners']} x [bold]{one['exercise']}[/]  {escape(says)}")
    for one in outcome["failed_checks"][:10]:
        title = f"[bold]{one['exercise']}[/]: {escape(one['check'])}"
        console.print(f"{one['learners']} of {len(learners)} failed {title}")
    return 0 if all(one["graded"] for one in learners) else NOT_GRADED


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return ("'" if text.startswith(("=", "+", "-", "@")) else "") + printable(text)

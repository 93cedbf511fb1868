"""Grading: checks ask, the learner's process answers, and points are counted here alone.

A failing answer is compared with those of the known-wrong variants of the same exercise, so that a learner is told
which misconception theirs equals.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minilmm.course.checking import Check, Failed, Wrong, alike, recording
from minilmm.course.exercises import Exercise, checks_of, load_module
from minilmm.course.isolation import ENDED, START, Learner, Zygote, ending


@dataclass(frozen=True)
class Result:
    """What one check found. misconception: the sentence of the known-wrong variant that answers alike, or ""."""

    check: Check
    passed: bool
    message: str = ""
    misconception: str = ""
    mutant: str = ""
    hidden: bool = False

    @property
    def points(self) -> int:
        """Points earned."""
        return self.check.points if self.passed else 0


@dataclass(frozen=True)
class Grade:
    """An exercise's results, one per check."""

    exercise: Exercise
    results: tuple[Result, ...]

    @property
    def points(self) -> int:
        """Points earned."""
        return sum(r.points for r in self.results)

    @property
    def total(self) -> int:
        """Points to be had."""
        return sum(r.check.points for r in self.results)

    def json(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        checks = [
            {"name": r.check.name, "title": r.check.title, "stage": r.check.stage, "points": r.points,
             "of": r.check.points, "message": r.message, "misconception": r.misconception, "hidden": r.hidden}
            for r in self.results
        ]  # fmt: skip
        told = {"id": self.exercise.id, "title": self.exercise.title, "points": self.points, "of": self.total}
        return told | {"checks": checks}


class Grader:
    """Grades texts against exercises; one variant of the inputs, one zygote for all."""

    def __init__(self, exercises: Sequence[Exercise], *, variant: int = 0, hidden: Path | None = None,
                 fork: bool | None = None):  # fmt: skip
        self.exercises = {exercise.name: exercise for exercise in exercises}
        self.variant, self.hidden = variant, hidden
        self.zygote = Zygote() if fork is None else Zygote(fork)
        self.hidden_checks = {}
        for exercise in exercises:  # all is read now: what lies on the disk may be gone when a learner's code runs
            exercise.checks, exercise.mutants, exercise.source  # noqa: B018
            path = hidden / f"{exercise.name}.py" if hidden else None
            self.hidden_checks[exercise.name] = checks_of(load_module(path)) if path and path.exists() else ()
        self.mutant_answers = functools.cache(self._mutant_answers)

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *_: object) -> None:
        self.zygote.__exit__()

    def checks(self, exercise: Exercise) -> tuple[Check, ...]:
        """Its own checks, then the hidden ones."""
        return exercise.checks + self.hidden_checks[exercise.name]

    @contextlib.contextmanager
    def learner(self, exercise: Exercise, text: str, file: str, chain: dict[str, str] | None) -> Iterator[Learner]:
        """A fresh worker that has loaded a text. Failed where it cannot be loaded."""
        needs = {name: (chain or {}).get(name) or self.exercises[name].solution for name in exercise.needs}
        guarded = [str(exercise.root / folder) for folder in ("source", "checks", "mutants", "hints")]
        guarded += [str(self.hidden)] if self.hidden else []
        channel = self.zygote.start(exercise.timeout)
        ended: int | None = None
        try:
            channel.settimeout(START)
            learner = Learner(channel, time.monotonic() + exercise.timeout, exercise.timeout)
            learner._ask("load", file, text, needs, guarded)
            yield learner
        except Failed as failed:
            if failed.error != ENDED:
                raise
            ended = self.zygote.end(hung_up=True)
            raise Failed(ENDED, ending(ended)) from None
        finally:
            channel.close()
            if ended is None:
                self.zygote.end()

    def attempt(self, check: Check, exercise: Exercise, text: str, file: str = "", chain: dict[str, str] | None = None
                ) -> tuple[Exception | None, list[Any]]:  # fmt: skip
        """Run one check against a text: what it raised, and the answers that it compared."""
        with recording(self.variant) as answers:
            try:
                with self.learner(exercise, text, file or f"{exercise.name}.py", chain) as learner:
                    check.run(learner)
                    return None, answers
            except (Wrong, Failed) as error:
                return error, answers
            except Exception as error:  # a check that stumbles over an answer it did not expect
                return Failed("an answer of another kind than asked for", f"{type(error).__name__}: {error}"), answers

    def _mutant_answers(self, check: Check, exercise: Exercise, mutant: int) -> tuple[bool, list[Any]]:
        error, answers = self.attempt(check, exercise, exercise.mutant(exercise.mutants[mutant]))
        return isinstance(error, Wrong), answers

    def diagnose(self, check: Check, exercise: Exercise, answers: list[Any]) -> tuple[str, str]:
        """The name and sentence of the known-wrong variant whose failing answer is the same; empty texts if none."""
        for i, mutant in enumerate(exercise.mutants):
            if mutant.caught_by == check.name and answers:
                wrong, theirs = self.mutant_answers(check, exercise, i)
                if wrong and len(theirs) == len(answers) and alike(theirs[-1], answers[-1]):
                    return mutant.name, f"Your output equals the variant in which {mutant.says}."
        return "", ""

    def grade(self, exercise: Exercise, text: str, file: str = "", chain: dict[str, str] | None = None) -> Grade:
        """Every check of an exercise, each in a fresh process; one that fails costs its own points alone."""
        results = []
        for number, check in enumerate(self.checks(exercise)):
            error, answers = self.attempt(check, exercise, text, file, chain)
            mutant, told = self.diagnose(check, exercise, answers) if isinstance(error, Wrong) else ("", "")
            results.append(Result(check, error is None, str(error or ""), told, mutant, number >= len(exercise.checks)))
        return Grade(exercise, tuple(results))

    def mutation_table(self, exercise: Exercise) -> dict[str, list[str]]:
        """For every known-wrong variant the checks that fail on it, the one that it names among them."""
        table = {}
        for mutant in exercise.mutants:
            text = exercise.mutant(mutant)
            table[mutant.name] = [c.name for c in exercise.checks if self.attempt(c, exercise, text)[0] is not None]
        return table


def grade_folder(grader: Grader, exercises: Sequence[Exercise], work: Path, *, chain: bool = False) -> list[Grade]:
    """Grade a learner's files; an exercise whose file is missing gets 0 points."""
    texts = {}
    for exercise in exercises:
        path = work / f"{exercise.name}.py"
        texts[exercise.name] = path.read_text(errors="replace") if path.is_file() else None
    own = {name: text for name, text in texts.items() if text is not None} if chain else None
    grades = []
    for exercise in exercises:
        text = texts[exercise.name]
        if text is None:
            missing = [Result(check, False, "not handed in") for check in grader.checks(exercise)]
            grades.append(Grade(exercise, tuple(missing)))
        else:
            grades.append(grader.grade(exercise, text, str(work / f"{exercise.name}.py"), own))
    return grades

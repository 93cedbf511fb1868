"""Grading: checks ask, the learner's process answers, and points are counted here alone.

Failing answers are compared with those of the known-wrong variants of the same exercise, so that a learner is told
which misconception theirs equal. Where a process of our own fails, the check runs again; what cannot be run is not
graded, which is something else than 0 points.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minilmm.course.checking import Check, Failed, Wrong, alike, recording, shown
from minilmm.course.exercises import Exercise, checks_of, load_module
from minilmm.course.isolation import ENDED, Learner, Lost, Zygote, ending
from minilmm.course.submissions import read

TRIES = 3  # of a check whose process is lost
Attempt = tuple[Exception | None, list[Any]]  # what a check raised, and the answers that it compared


@dataclass(frozen=True)
class Result:
    """What one check found.

    misconception  the sentence of the known-wrong variant `mutant` that answers alike, or ""
    graded         False: a process of the grader's own failed, and `message` says how
    """

    check: Check
    passed: bool
    message: str = ""
    misconception: str = ""
    mutant: str = ""
    hidden: bool = False
    graded: bool = True

    @property
    def points(self) -> int:
        """Points earned."""
        return self.check.points if self.passed else 0


@dataclass(frozen=True)
class Grade:
    """An exercise's results, one per check."""

    exercise: Exercise
    results: tuple[Result, ...]
    reason: str = ""  # why there was no file to grade

    @property
    def graded(self) -> bool:
        """Did every check run?"""
        return all(r.graded for r in self.results)

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
        told = {"id": self.exercise.id, "title": self.exercise.title, "points": self.points, "of": self.total,
                "graded": self.graded}  # fmt: skip
        return told | {"checks": checks}


class Grader:
    """Grades texts against exercises; one variant of the inputs, one zygote for all."""

    def __init__(self, exercises: Sequence[Exercise], *, variant: int = 0, hidden: Path | None = None,
                 work: Path | None = None, fork: bool | None = None):  # fmt: skip
        self.exercises = {exercise.name: exercise for exercise in exercises}
        self.variant = variant
        self.kept = [str(folder.resolve()) for folder in (exercises[0].root, hidden, work) if folder]
        self.zygote = Zygote(kept=self.kept) if fork is None else Zygote(fork, self.kept)
        self.hidden_checks = {}
        for exercise in exercises:  # all is read now: what lies on the disk may be gone when a learner's code runs
            exercise.checks, exercise.mutants, exercise.source  # noqa: B018
            path = hidden / f"{exercise.name}.py" if hidden else None
            self.hidden_checks[exercise.name] = checks_of(load_module(path)) if path and path.exists() else ()
        self.mutant_attempt = functools.cache(self._mutant_attempt)

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *_: object) -> None:
        self.zygote.__exit__()

    def checks(self, exercise: Exercise) -> tuple[Check, ...]:
        """Its own checks, then the hidden ones."""
        return exercise.checks + self.hidden_checks[exercise.name]

    @contextlib.contextmanager
    def learner(self, exercise: Exercise, text: str, chain: dict[str, str] | None) -> Iterator[Learner]:
        """A fresh worker that has loaded a text. Failed where it cannot be loaded, Lost where there is no worker."""
        needs = {name: (chain or {}).get(name) or self.exercises[name].solution for name in exercise.needs}
        channel, fenced = self.zygote.start(exercise.timeout)
        ended: int | None = None
        learner = Learner(channel, time.monotonic() + exercise.timeout, exercise.timeout)
        loaded = False
        try:
            learner._ask("load", f"{exercise.name}.py", text, needs, [] if fenced else self.kept)
            loaded = True
            yield learner
        except Failed as failed:
            if failed.error == ENDED:
                ended = self.zygote.end(hung_up=True)
                failed = Failed(ENDED, ending(ended))
            failed.loading = not loaded
            raise failed from None
        finally:
            channel.close()
            if ended is None:
                self.zygote.end()

    def attempt(self, check: Check, exercise: Exercise, text: str, chain: dict[str, str] | None = None) -> Attempt:
        """Run one check against a text. A process that is lost is ours: the check runs again, a few times."""
        for _ in range(TRIES):
            with recording(self.variant) as answers:
                try:
                    with self.learner(exercise, text, chain) as learner:
                        check.run(learner)
                        return None, answers
                except Lost as lost:
                    error: Exception = Lost(f"not graded: {lost}, {TRIES} times: try again, then in a container")
                except (Wrong, Failed) as wrong:
                    return wrong, answers
                except Exception as stumbled:  # a check that stumbles over an answer it did not expect
                    told = f"{type(stumbled).__name__}: {stumbled}"
                    return Failed("an answer of another kind than asked for", told), answers
        return error, []

    def attempts(self, exercise: Exercise, text: str, chain: dict[str, str] | None = None) -> list[Attempt]:
        """Every check, each in a fresh process. A file that fails while it loads, or is lost, is not tried again."""
        made: list[Attempt] = []
        for check in self.checks(exercise):
            error = made[-1][0] if made else None
            again = isinstance(error, Lost) or (isinstance(error, Failed) and error.loading)
            made.append((error, []) if again else self.attempt(check, exercise, text, chain))
        return made

    def _mutant_attempt(self, check: Check, exercise: Exercise, mutant: int) -> Attempt:
        return self.attempt(check, exercise, exercise.mutant(exercise.mutants[mutant]))

    def diagnose(self, exercise: Exercise, made: list[Attempt]) -> tuple[str, str]:
        """The name and sentence of the known-wrong variant that every check finds the same; empty texts if none."""
        checks = self.checks(exercise)
        wrong_first = sorted(range(len(checks)), key=lambda i: made[i][0] is None)
        for number, mutant in enumerate(exercise.mutants):
            if all(_same(made[i], self.mutant_attempt(checks[i], exercise, number)) for i in wrong_first):
                return mutant.name, f"Your output equals the variant in which {mutant.says}."
        return "", ""

    def grade(self, exercise: Exercise, text: str, chain: dict[str, str] | None = None) -> Grade:
        """Every check of an exercise; one that fails costs its own points alone."""
        made = self.attempts(exercise, text, chain)
        mutant, told = self.diagnose(exercise, made) if any(isinstance(error, Wrong) for error, _ in made) else ("", "")
        results = []
        for number, (check, (error, _)) in enumerate(zip(self.checks(exercise), made, strict=True)):
            named, says = (mutant, told) if error is not None else ("", "")
            mutant, told = ("", "") if error is not None else (mutant, told)  # the first failing check tells it
            hidden = number >= len(exercise.checks)
            message, graded = shown(str(error or "")[:2000]), not isinstance(error, Lost)
            results.append(Result(check, error is None, message, says, named, hidden, graded))
        return Grade(exercise, tuple(results))

    def mutation_table(self, exercise: Exercise) -> dict[str, list[str]]:
        """For every known-wrong variant the checks that fail on it, in order. Lost: one could not be run."""
        table = {}
        for number, mutant in enumerate(exercise.mutants):
            made = {check.name: self.mutant_attempt(check, exercise, number)[0] for check in exercise.checks}
            for error in made.values():
                if isinstance(error, Lost):
                    raise error
            table[mutant.name] = [name for name, error in made.items() if error is not None]
        return table


def _same(mine: Attempt, theirs: Attempt) -> bool:
    """Did a check find the same in two texts? Passed or failed alike, and compared the same answers."""
    return type(mine[0]) is type(theirs[0]) and alike(mine[1], theirs[1])


def grade_folder(grader: Grader, exercises: Sequence[Exercise], work: Path, *, chain: bool = False) -> list[Grade]:
    """Grade a learner's files; an exercise without a file that can be read gets 0 points and the reason."""
    found = {exercise.name: read(work, exercise.name) for exercise in exercises}
    own = {name: text for name, (text, _) in found.items() if text is not None} if chain else None
    grades = []
    for exercise in exercises:
        text, reason = found[exercise.name]
        if text is None:
            reason = shown(reason)
            missing = tuple(Result(check, False, reason) for check in grader.checks(exercise))
            grades.append(Grade(exercise, missing, reason))
        else:
            grades.append(grader.grade(exercise, text, own))
    return grades

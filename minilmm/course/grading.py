"""Grading: checks ask, the learner's process answers, and points are counted here alone.

Failing answers are compared with those of the known-wrong variants of the same exercise, so that a learner is told
which misconception theirs equal. Where a process of our own fails, the check runs again; what cannot be run is not
graded, which is something else than 0 points.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minilmm.course.checking import Check, Failed, Wrong, alike, recording
from minilmm.course.exercises import Exercise, Mutant, load_checks
from minilmm.course.isolation import CAN_FORK, ENDED, Learner, Lost, Zygote, describe_exit
from minilmm.course.submissions import printable, read

TRIES = 3  # of a check whose process is lost
Attempt = tuple[Exception | None, list[object]]  # what a check raised, and the answers that it compared


@dataclass(frozen=True)
class Result:
    """What one check found."""

    check: Check
    passed: bool
    message: str = ""
    misconception: str = ""  # the sentence of the known-wrong variant `mutant` that answers alike
    mutant: str = ""
    hidden: bool = False
    graded: bool = True  # False: a process of the grader's own failed, and `message` says how

    @property
    def points(self) -> int:
        """Points earned."""
        return self.check.points if self.passed else 0

    @property
    def lines(self) -> list[str]:
        """What a learner is told where it failed: how, which known mistake it equals, and a hint."""
        hint = "" if self.passed or not self.graded or "not done yet" in self.message else f"Hint: {self.check.hint}"
        return [line for line in (self.message, self.misconception, hint) if line]


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

    @property
    def why_not(self) -> str:
        """Why it was not graded, or not in full; "" if it was."""
        return self.reason or next((r.message for r in self.results if not r.graded), "")

    def json(self) -> dict[str, object]:
        """Plain data for `--json`."""
        checks = [
            {"name": r.check.name, "title": r.check.title, "stage": r.check.stage, "points": r.points,
             "of": r.check.points, "message": r.message, "misconception": r.misconception, "hidden": r.hidden}
            for r in self.results
        ]  # fmt: skip
        return {"id": self.exercise.id, "title": self.exercise.title, "points": self.points, "of": self.total,
                "graded": self.graded, "checks": checks}  # fmt: skip


class Grader(contextlib.AbstractContextManager):
    """Grades texts against exercises; one variant of the inputs, one zygote for all.

    All files of the course are read now: they may be gone from the disk when a learner's code runs.
    """

    def __init__(self, exercises: Sequence[Exercise], *, variant: int = 0, hidden: Path | None = None,
                 work: Path | None = None, fork: bool = CAN_FORK):  # fmt: skip
        self.exercises = {exercise.name: exercise for exercise in exercises}
        self.variant = variant
        self.kept = [str(folder.resolve()) for folder in (exercises[0].root, hidden, work) if folder]
        self.zygote = Zygote(fork, self.kept)
        self.hidden_checks: dict[str, tuple[Check, ...]] = {}
        for exercise in exercises:
            exercise.checks, exercise.mutants, exercise.source  # noqa: B018
            path = hidden / f"{exercise.name}.py" if hidden else None
            self.hidden_checks[exercise.name] = load_checks(path) if path and path.exists() else ()
        self.attempt_mutant = functools.cache(self._attempt_mutant)

    def __exit__(self, *_: object) -> None:
        self.zygote.close()

    def checks(self, exercise: Exercise) -> tuple[Check, ...]:
        """Its own checks, then the hidden ones."""
        return exercise.checks + self.hidden_checks[exercise.name]

    @contextlib.contextmanager
    def learner(self, exercise: Exercise, text: str, chain: dict[str, str] | None) -> Iterator[Learner]:
        """A fresh worker that has loaded a text. Failed where it cannot be loaded, Lost where there is no worker."""
        needs = {name: (chain or {}).get(name) or self.exercises[name].solution for name in exercise.needs}
        channel, fenced = self.zygote.start(exercise.timeout)
        learner, ended, loaded = Learner(channel, exercise.timeout), False, False
        try:
            learner._ask("load", f"{exercise.name}.py", text, needs, [] if fenced else self.kept)
            loaded = True
            yield learner
        except Failed as failed:
            if failed.error == ENDED:
                ended = True
                failed = Failed(ENDED, describe_exit(self.zygote.end(hung_up=True)))
            failed.loading = not loaded
            raise failed from None
        finally:
            channel.close()
            if not ended:
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
                    error = Lost(f"not graded: {lost}, {TRIES} times: try again, then in a container")
                except (Wrong, Failed) as wrong:
                    return wrong, answers
                except Exception as other:  # the check did not expect an answer of this kind
                    message = f"{type(other).__name__}: {other}"
                    return Failed("an answer of the wrong type", message), answers
        return error, []

    def _attempt_mutant(self, check: Check, exercise: Exercise, mutant: Mutant) -> Attempt:
        return self.attempt(check, exercise, exercise.mutant(mutant))

    def diagnose(self, exercise: Exercise, made: list[Attempt]) -> Mutant | None:
        """The known-wrong variant in which every check passes or fails as here, with the same answers."""
        checks = self.checks(exercise)

        def equals(i: int, mutant: Mutant) -> bool:
            (error, answers), (other_error, others) = made[i], self.attempt_mutant(checks[i], exercise, mutant)
            return type(error) is type(other_error) and alike(answers, others)

        failing_first = sorted(range(len(checks)), key=lambda i: made[i][0] is None)
        return next((m for m in exercise.mutants if all(equals(i, m) for i in failing_first)), None)

    def grade(self, exercise: Exercise, text: str, chain: dict[str, str] | None = None) -> Grade:
        """Every check of an exercise, each in a fresh process; one that fails costs its own points alone.

        A file that fails while it loads, or is lost, is not tried again. The first failing check names the mistake.
        """
        made: list[Attempt] = []
        for check in self.checks(exercise):
            error = made[-1][0] if made else None
            again = isinstance(error, Lost) or (isinstance(error, Failed) and error.loading)
            made.append((error, []) if again else self.attempt(check, exercise, text, chain))
        mutant = self.diagnose(exercise, made) if any(isinstance(error, Wrong) for error, _ in made) else None
        results = []
        for number, (check, (error, _)) in enumerate(zip(self.checks(exercise), made, strict=True)):
            known, mutant = (None, mutant) if error is None else (mutant, None)
            misconception = f"Your output equals the variant in which {known.says}." if known else ""
            results.append(Result(
                check, error is None, printable(str(error or "")[:2000]), misconception, known.name if known else "",
                hidden=number >= len(exercise.checks), graded=not isinstance(error, Lost)))  # fmt: skip
        return Grade(exercise, tuple(results))

    def mutation_table(self, exercise: Exercise) -> dict[str, list[str]]:
        """For every known-wrong variant the checks that fail on it, in order. Lost: one could not be run."""
        table = {}
        for mutant in exercise.mutants:
            errors = {check.name: self.attempt_mutant(check, exercise, mutant)[0] for check in exercise.checks}
            for error in errors.values():
                if isinstance(error, Lost):
                    raise error
            table[mutant.name] = [name for name, error in errors.items() if error is not None]
        return table

    def grade_folder(self, exercises: Sequence[Exercise], work: Path, *, chain: bool = False) -> list[Grade]:
        """Grade a learner's files; an exercise without a file that can be read gets 0 points and the reason."""
        files = {exercise.name: read(work, exercise.name) for exercise in exercises}
        own = {name: text for name, (text, _) in files.items() if text is not None} if chain else None
        grades = []
        for exercise in exercises:
            text, reason = files[exercise.name]
            if text is not None:
                grades.append(self.grade(exercise, text, own))
            else:
                missing = tuple(Result(check, False, printable(reason)) for check in self.checks(exercise))
                grades.append(Grade(exercise, missing, printable(reason)))
        return grades

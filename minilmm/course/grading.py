"""Grading: checks ask, the learner's process answers, and points are counted here alone.

A failing answer is compared with those of the known-wrong variants of the same exercise, so that a learner is told
which misconception theirs equals.
"""

from __future__ import annotations

import array
import ast
import contextlib
import functools
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minilmm.course.checking import Check, Failed, Wrong, alike, recording
from minilmm.course.exercises import Exercise, checks_of, load_module
from minilmm.course.worker import decode, encode, receive

ENDED = "the program ended before it answered"
START = 60.0  # seconds that an interpreter and torch may take to start


class Zygote:
    """The process that workers are forked from; without fork every worker is an interpreter of its own."""

    def __init__(self, fork: bool = hasattr(os, "fork") and hasattr(socket, "send_fds")):
        self.fork = fork
        self._process: subprocess.Popen | None = None
        self._control: socket.socket | None = None
        self._spawned: subprocess.Popen | None = None
        self._scratch = tempfile.TemporaryDirectory(prefix="minilmm-", ignore_cleanup_errors=True)
        self._environment = os.environ | {"TMPDIR": self._scratch.name, "TEMP": self._scratch.name}

    def start(self, seconds: float) -> socket.socket:
        """A fresh worker whose processor time is limited: the socket it answers on."""
        if not self.fork:
            return self._spawn(seconds)
        if self._process is None or self._process.poll() is not None:
            self.close()
            ours, theirs = socket.socketpair()
            command = [sys.executable, "-m", "minilmm.course.worker", "zygote", str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=self._environment
            )
            theirs.close()
            ours.settimeout(START)
            self._control = ours
        assert self._control is not None
        here, there = socket.socketpair()
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [there.fileno()]))]
        self._control.sendmsg([struct.pack(">I", int(seconds) + 1)], ancillary)
        there.close()
        self._control.recv(4)  # the worker's number: it is running
        return here

    def end(self, hung_up: bool = False) -> int:
        """Kill the worker and all that it started: its exit code, negative for a signal."""
        if self._spawned is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._spawned.wait(0.5 if hung_up else 0)
            with contextlib.suppress(OSError, AttributeError):
                os.killpg(self._spawned.pid, signal.SIGKILL)
            self._spawned.kill()
            return self._spawned.wait()
        assert self._control is not None
        self._control.sendall(b"wait" if hung_up else b"kill")
        return int(struct.unpack(">i", self._control.recv(4))[0])

    def close(self) -> None:
        """End the zygote."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.wait()
        self._process = self._control = None

    def _spawn(self, seconds: float) -> socket.socket:
        token = secrets.token_bytes(16)
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(START)
            port = str(server.getsockname()[1])
            command = [sys.executable, "-m", "minilmm.course.worker", "once", port, token.hex(), str(int(seconds) + 1)]
            self._spawned = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, start_new_session=True, env=self._environment
            )
            while True:
                channel, _ = server.accept()
                channel.settimeout(START)
                if secrets.compare_digest(channel.recv(len(token), socket.MSG_WAITALL), token):
                    return channel
                channel.close()

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._scratch.cleanup()


class Learner:
    """The learner's module as a check sees it: `ex.function(...)`, and `ex.run(helper, ...)` for code beside it."""

    def __init__(self, channel: socket.socket, deadline: float, seconds: float):
        self._channel, self._deadline, self._seconds = channel, deadline, seconds

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self._ask("call", name, list(args), kwargs)

    def run(self, helper: Callable[..., Any], *args: Any) -> Any:
        """helper(module, *args), run from its source text beside the learner's code, where only torch is at hand."""
        return self._ask("run", _source_of(helper), helper.__name__, list(args))

    def _ask(self, *request: Any) -> Any:
        try:
            self._channel.settimeout(max(0.01, self._deadline - time.monotonic()))
            self._channel.sendall(encode(list(request)))
            fine, value = decode(*receive(self._channel))
        except TimeoutError:
            raise Failed(f"no answer within {self._seconds:g} s", "a loop that never ends, or far too slow?") from None
        except (EOFError, OSError):
            raise Failed(ENDED) from None
        except (ValueError, TypeError) as error:
            raise Failed("an answer that cannot be read", str(error)) from None
        if fine is True:
            return value
        if not (isinstance(value, list) and len(value) == 3):
            raise Failed("an answer that cannot be read")
        name, message, line = value
        if name == "NotImplementedError":
            raise Failed("not done yet")
        raise Failed(str(name), f"{message} (line {line})" if line else str(message))


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
            raise Failed(ENDED, _ending(ended)) from None
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
        """For every known-wrong variant the checks that fail on it: each must be caught by exactly the one it names."""
        table = {}
        for mutant in exercise.mutants:
            text = exercise.mutant(mutant)
            table[mutant.name] = [c.name for c in exercise.checks if self.attempt(c, exercise, text)[0] is not None]
        return table


def _source_of(helper: Callable[..., Any]) -> str:
    """A function's text, from the text of the module of checks that it stands in."""
    text = helper.__globals__["SOURCE"]
    (found,) = (node for node in ast.parse(text).body if getattr(node, "name", "") == helper.__name__)
    return ast.get_source_segment(text, found) or ""


def _ending(code: int) -> str:
    """An exit code as words."""
    if code >= 0:
        return f"it exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    told = {"SIGSEGV": "the stack overflowed or memory was misused", "SIGXCPU": "too much processor time"}
    return f"killed by {name}" + (f": {told[name]}" if name in told else "")


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

"""A worker whose replies are forged earns no more than what shapes alone are worth, in every exercise."""

from pathlib import Path

import pytest
import torch

from minilmm.course.checking import Failed, recording
from minilmm.course.exercises import load_manifest
from minilmm.course.grading import Grader
from minilmm.course.isolation import Learner

EXERCISES = load_manifest(Path(__file__).parents[2] / "exercises")


def zeros(value):
    """The same form with nothing in it: the right shapes, all numbers 0."""
    if isinstance(value, torch.Tensor):
        return torch.zeros_like(value)
    if isinstance(value, list | tuple):
        return type(value)(zeros(v) for v in value)
    if isinstance(value, dict):
        return {k: zeros(v) for k, v in value.items()}
    return type(value)() if isinstance(value, bool | int | float | str) else value


def refusal(*_):
    raise Failed("ValueError", "no")


FORGERIES = {  # an honest reply (an error counts as None) and the arguments to what a forger sends instead
    "True": lambda value, arguments: True,
    "None": lambda value, arguments: None,
    "zeros": lambda value, arguments: zeros(value),
    "its first argument": lambda value, arguments: arguments[0] if arguments else None,
    "a list of True": lambda value, arguments: [True] * (len(value) if isinstance(value, list | tuple) else 1),
    "a refusal": refusal,
}


class Forger(Learner):
    """Answers with what a forgery makes of the replies that an honest worker gave to the same check."""

    def __init__(self, replies, forge):
        self._replies, self._forge = list(replies), forge

    def _ask(self, kind, *request):
        value = self._replies.pop(0) if self._replies else None
        arguments = request[2] if kind != "call" else request[1]
        if kind == "gradients":
            value = value or (None, [])
            return self._forge(value[0], arguments), zeros(value[1])
        return self._forge(value, arguments)


@pytest.fixture(scope="module")
def honest():
    """For every check the replies of a worker with the solution."""
    heard, replies = {}, []
    ask = Learner._ask

    def listen(self, kind, *request):
        if kind == "load":
            return ask(self, kind, *request)
        replies.append(None)
        replies[-1] = ask(self, kind, *request)
        return replies[-1]

    with pytest.MonkeyPatch.context() as patch, Grader(EXERCISES) as grader:
        patch.setattr(Learner, "_ask", listen)
        for exercise in EXERCISES:
            for check in exercise.checks:
                replies = []
                error, _ = grader.attempt(check, exercise, exercise.solution)
                assert error is None
                heard[exercise.name, check.name] = replies
    return heard


def earns(check, replies, forge):
    """Does a check give its points for forged replies?"""
    with recording():
        try:
            check.run(Forger(replies, forge))
        except Exception:
            return False
    return True


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("exercise", EXERCISES, ids=[e.name for e in EXERCISES])
def test_forged_replies_earn_at_most_what_shapes_are_worth(exercise, forgery, honest):
    earned = [c for c in exercise.checks if earns(c, honest[exercise.name, c.name], FORGERIES[forgery])]
    shapes = sum(c.points for c in exercise.checks if c.stage == "shape")
    assert sum(c.points for c in earned) <= shapes, [c.name for c in earned]

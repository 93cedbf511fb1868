"""What a check is written with: `@check`, `equal`, `close`, `refuses`, and random inputs that follow the variant.

A check is a function of `ex`, the learner's module. It asks `ex` for answers and compares each with an oracle: numbers
worked out by hand, or a slow loop. Where an answer is wrong it raises `Wrong`, which knows what was expected and what
came, so that the grader can look for the same wrong answer among the known mistakes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

STAGES = ("shape", "values", "gradients", "mask")
_variant: ContextVar[int] = ContextVar("variant", default=0)
_answers: ContextVar[list[Any] | None] = ContextVar("answers", default=None)


class Wrong(AssertionError):
    """An answer that differs from what was expected."""

    def __init__(self, what: str, expected: str, came: str):
        super().__init__(f"{what}: expected {expected}, came {came}")
        self.what, self.expected, self.came = what, expected, came


class Failed(AssertionError):
    """No answer: the learner's code raised an error (its type and message), ran too long, or stopped."""

    def __init__(self, error: str, message: str = ""):
        super().__init__(f"{error}: {message}" if message else error)
        self.error, self.message = error, message


@dataclass(frozen=True)
class Check:
    """One check: what it is worth, what it looks at, and what a learner is told when it fails."""

    name: str
    run: Callable[[Any], None]
    points: int
    stage: str
    hint: str

    @property
    def title(self) -> str:
        """The first line of its docstring."""
        return (self.run.__doc__ or self.name).strip().splitlines()[0]


def check(*, points: int = 1, stage: str, hint: str) -> Callable[[Callable[[Any], None]], Check]:
    """Make a function of the learner's module a check. ValueError: an unknown stage, or no points."""
    if stage not in STAGES or points < 1:
        raise ValueError(
            f"stage {stage!r}, {points} points: a stage is one of {', '.join(STAGES)}, points are 1 or more"
        )
    return lambda run: Check(run.__name__, run, points, stage, hint)


def generator(salt: int = 0) -> torch.Generator:
    """Random inputs: the same for one variant, others for another."""
    return torch.Generator().manual_seed(1_000_003 * _variant.get() + salt)


def equal(actual: Any, expected: Any, what: str) -> None:
    """Whole numbers, truths, texts, and lists or tensors of these: the very same, shapes included."""
    _note(actual)
    same = _plain(actual) == _plain(expected) and _form(actual) == _form(expected)
    if not same:
        raise Wrong(what, _say(expected), _say(actual))


def close(actual: Any, expected: Tensor | float, what: str, tolerance: float = 1e-4) -> None:
    """Real numbers: the same shape, and each within the tolerance, relative to the largest expected one above 1."""
    _note(actual)
    wanted = torch.as_tensor(expected, dtype=torch.double)
    if isinstance(actual, bool) or not isinstance(actual, Tensor | int | float):
        raise Wrong(what, _say(expected), _say(actual))
    got = torch.as_tensor(actual, dtype=torch.double)
    if got.shape != wanted.shape:
        raise Wrong(what, f"shape {tuple(wanted.shape)}", f"shape {tuple(got.shape)}")
    if not bool(got.isfinite().all()) and bool(wanted.isfinite().all()):
        raise Wrong(what, _say(wanted), f"numbers that are not finite: {_say(got)}")
    if not torch.allclose(
        got,
        wanted,
        rtol=0,
        atol=tolerance * max(1.0, float(wanted.abs().max()) if len(wanted.flatten()) else 1.0),
        equal_nan=True,
    ):
        raise Wrong(what, _say(wanted), _say(got))


def shaped(actual: Any, shape: tuple[int, ...], what: str) -> None:
    """A tensor of this shape, whatever it holds."""
    came = tuple(actual.shape) if isinstance(actual, Tensor) else _say(actual)
    _note(came)
    if came != shape:
        raise Wrong(what, f"shape {shape}", f"shape {came}" if isinstance(actual, Tensor) else str(came))


def refuses(call: Callable[[], Any], what: str) -> None:
    """The call must raise a ValueError, the learner's own, with a message."""
    try:
        answer = call()
    except Failed as failed:
        _note(failed.error)
        if failed.error == "not done yet":
            raise
        if failed.error == "ValueError" and failed.message:
            return
        raise Wrong(what, "a ValueError that says what is wrong", str(failed)) from None
    _note(answer)
    raise Wrong(what, "a ValueError that says what is wrong", _say(answer))


@contextmanager
def recording(variant: int = 0):
    """Within it: the variant of random inputs; yields the list of answers that checks compared, in order."""
    answers: list[Any] = []
    tokens = (_variant.set(variant), _answers.set(answers))
    try:
        yield answers
    finally:
        _variant.reset(tokens[0])
        _answers.reset(tokens[1])


def alike(a: Any, b: Any, tolerance: float = 1e-4) -> bool:
    """Are two answers the same wrong answer? Equal in form, and in value up to rounding."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        same = a.shape == b.shape and torch.allclose(
            a.double(), b.double(), rtol=tolerance, atol=tolerance, equal_nan=True
        )
        return bool(same)
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= tolerance or (a != a and b != b)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(alike(x, y, tolerance) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and bool(a == b)


def _note(answer: Any) -> None:
    answers = _answers.get()
    if answers is not None:
        answers.append(answer)


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _form(value: Any) -> Any:
    """Tensor shapes and what is a truth: 1 is no True, tensor([1]) is no [1]."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype == torch.bool
    if isinstance(value, list | tuple):
        return [_form(v) for v in value]
    return isinstance(value, bool)


def _say(value: Any, limit: int = 160) -> str:
    """A value in a line: tensors with their shape and first numbers."""
    if isinstance(value, Tensor):
        flat = value.flatten()[:8].tolist()
        numbers = ", ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in flat)
        more = ", ..." if value.numel() > 8 else ""
        text = f"[{numbers}{more}]" + (f" of shape {tuple(value.shape)}" if value.dim() != 1 else "")
        return text if value.dim() else numbers
    text = f"{value:.4g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."

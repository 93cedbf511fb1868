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

from minilmm.course.messages import real_tensors

STAGES = ("shape", "values", "gradients", "mask")
_variant: ContextVar[int] = ContextVar("variant", default=0)
_answers: ContextVar[list[Any] | None] = ContextVar("answers", default=None)


def shown(text: str) -> str:
    """A stranger's text in one line that any terminal can take: what is not printable is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


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
        self.loading = False  # did the file itself fail, before anything was asked of it?


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
    """Whole numbers, truths, texts, and lists or tensors of these: the very same, shapes included.

    A tensor of 0 and 1 is a mask as good as one of truths.
    """
    _note(actual)
    if _form(actual) != _form(expected) or _plain(actual) != _plain(expected):
        raise Wrong(what, _say(expected), _say(actual))


def close(actual: Any, expected: Tensor | float, what: str, tolerance: float = 1e-4) -> None:
    """Real numbers: the same shape, and each within the tolerance, relative to the largest expected one above 1.

    Numbers that are not finite are wrong, unless the very same are expected. Half precision may be off by its rounding.
    """
    _note(actual)
    wanted = torch.as_tensor(expected, dtype=torch.double)
    if isinstance(actual, bool) or not isinstance(actual, Tensor | int | float):
        raise Wrong(what, _say(expected), _say(actual))
    got = torch.as_tensor(actual, dtype=torch.double)
    if got.shape != wanted.shape:
        raise Wrong(what, f"shape {tuple(wanted.shape)}", f"shape {tuple(got.shape)}")
    finite = wanted.isfinite()
    if not torch.equal(got[~finite], wanted[~finite]) or not bool(got[finite].isfinite().all()):
        raise Wrong(what, _say(wanted), f"numbers that are not finite: {_say(got)}")
    if isinstance(actual, Tensor) and actual.dtype in (torch.float16, torch.bfloat16):
        tolerance = max(tolerance, 4 * torch.finfo(actual.dtype).eps) if tolerance else 0.0
    largest = float(wanted[finite].abs().max()) if bool(finite.any()) else 0.0
    if not torch.allclose(got[finite], wanted[finite], rtol=0, atol=tolerance * max(1.0, largest)):
        raise Wrong(what, _say(wanted), _say(got) + _where(got, wanted))


def _where(got: Tensor, wanted: Tensor) -> str:
    """Where two tensors differ most, if the numbers that are printed look alike or the place cannot be seen."""
    if wanted.numel() <= 8 and _say(got) != _say(wanted):
        return ""
    gap = (got - wanted).abs().nan_to_num(0.0)
    place = [int(i) for i in torch.unravel_index(gap.argmax(), gap.shape)]
    told = f"at {place} {float(got[tuple(place)]):.7g}, not {float(wanted[tuple(place)]):.7g}"
    return f"; the largest difference: {told}" if place else f"; exactly {float(got):.7g}, not {float(wanted):.7g}"


def same(actual: Any, expected: Any, what: str, tolerance: float = 1e-4) -> None:
    """Whatever a function gives, part by part: real numbers as `close` compares them, all else as `equal` does."""
    if isinstance(expected, float) or (isinstance(expected, Tensor) and expected.is_floating_point()):
        return close(actual, expected, what, tolerance)
    if not isinstance(expected, list | tuple):
        return equal(actual, expected, what)
    if not isinstance(actual, list | tuple) or len(actual) != len(expected):
        _note(actual)
        raise Wrong(what, f"{len(expected)} parts", _say(actual))
    for number, (came, wanted) in enumerate(zip(actual, expected, strict=True), 1):
        same(came, wanted, f"{what}, part {number} of {len(expected)}", tolerance)


def follows(call: Callable[..., Any], oracle: Callable[..., Any], inputs: list[tuple], what: str) -> None:
    """The answer equals the oracle's for each of several inputs, and so depends on all that differs between them.

    ValueError, an error of the check: the oracle itself answers two of the inputs alike.
    """
    expected = [oracle(*args) for args in inputs]
    if any(alike(a, b) for i, a in enumerate(expected) for b in expected[:i]):
        raise ValueError(f"{what}: the oracle answers two inputs alike, so nothing shows what the answer depends on")
    for number, (args, wanted) in enumerate(zip(inputs, expected, strict=True), 1):
        same(call(*args), wanted, f"{what}, inputs {number} of {len(inputs)}")


def learns(ex: Any, name: str, oracle: Callable[..., Any], *args: Any, what: str = "", tolerance: float = 1e-4) -> None:
    """The learner's function gives what the oracle gives, and passes the same gradients to every real-valued input.

    The oracle is a differentiable function of torch that is written independently of the solution. The gradients are
    those of (output * random numbers).sum().
    """
    g, what = generator(7919), what or f"{name}(...)"
    theirs = _copied(args)
    leaves = [leaf.requires_grad_(True) for leaf in real_tensors(theirs)]
    wanted = oracle(*theirs)
    outputs = real_tensors(wanted)
    upstream = [torch.randn(o.shape, generator=g, dtype=torch.float64).to(o.dtype) for o in outputs]
    total = sum((o * u).sum() for o, u in zip(outputs, upstream, strict=True))
    slopes = torch.autograd.grad(total, leaves, allow_unused=True)  # type: ignore[arg-type]
    value, got = ex.gradients(name, upstream, *args)
    same(value, _detached(wanted), what, tolerance)
    halves = [o.dtype for o in real_tensors(value) if o.element_size() == 2]  # their gradients are rounded as well
    tolerance = max([tolerance, *(4 * torch.finfo(dtype).eps for dtype in halves)])
    if len(got) != len(slopes):
        raise Wrong(what, f"{len(outputs)} real-valued outputs", _say(value))
    for number, (leaf, came, slope) in enumerate(zip(leaves, got, slopes, strict=True), 1):
        told = f"the gradient of {what} by its real-valued input {number} of {len(leaves)}"
        slope = torch.zeros_like(leaf) if slope is None else slope
        if came is None and bool(slope.any()):
            _note(None)
            raise Wrong(told, _say(slope), "none: something detaches the output from this input")
        close(torch.zeros_like(leaf) if came is None else came, slope, told, tolerance)


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


def _copied(value: Any) -> Any:
    """The same with tensors of its own."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return type(value)(_copied(v) for v in value) if isinstance(value, list | tuple) else value


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    return type(value)(_detached(v) for v in value) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def _form(value: Any) -> Any:
    """Tensor shapes and what is a truth: 1 is no True, tensor([1]) is no [1]."""
    if isinstance(value, Tensor):
        return tuple(value.shape)
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

"""What a check is written with: `@check`, comparisons such as `equal` and `close`, inputs that follow the variant.

A check is a function of `ex`, the learner's module. It asks `ex` for answers and compares each with an oracle: numbers
worked out by hand, or a slow loop. Where an answer is wrong it raises `Wrong` with what was expected and what came, so
that the grader can look for the same wrong answer among the known mistakes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minilmm.course.messages import gradients, real_tensors

STAGES = ("shape", "values", "gradients", "mask")
_recording: ContextVar[tuple[int, list[object] | None]] = ContextVar("recording", default=(0, None))


class Wrong(AssertionError):
    """An answer that differs from what was expected."""

    def __init__(self, what: str, expected: str, came: str):
        super().__init__(f"{what}: expected {expected}, came {came}")


class Failed(AssertionError):
    """No answer: the learner's code raised an error (its type and message), ran too long, or stopped."""

    def __init__(self, error: str, message: str = "", loading: bool = False):
        super().__init__(f"{error}: {message}" if message else error)
        self.error, self.message = error, message
        self.loading = loading  # did the file itself fail, before anything was asked of it?


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
        stages = ", ".join(STAGES)
        raise ValueError(f"stage {stage!r}, {points} points: a stage is one of {stages}, points are 1 or more")
    return lambda run: Check(run.__name__, run, points, stage, hint)


@contextmanager
def recording(variant: int = 0) -> Iterator[list[object]]:
    """Within it: the variant of random inputs; yields the list of answers that checks compared, in order."""
    answers: list[object] = []
    token = _recording.set((variant, answers))
    try:
        yield answers
    finally:
        _recording.reset(token)


def record(answer: object) -> None:
    """Keep an answer that a check compares, for the grader to find it among the known mistakes."""
    answers = _recording.get()[1]
    if answers is not None:
        answers.append(answer)


def generator(salt: int = 0) -> torch.Generator:
    """Random inputs: the same for one variant, others for another."""
    return torch.Generator().manual_seed(1_000_003 * _recording.get()[0] + salt)


def equal(actual: object, expected: object, what: str) -> None:
    """Whole numbers, booleans, texts, and lists or tensors of these: the very same, shapes included.

    A tensor of 0 and 1 is as good as one of booleans; the number 1 is not True, and tensor([1]) is not [1].
    """

    def comparable(value: object) -> object:
        if isinstance(value, Tensor):
            return tuple(value.shape), value.tolist()
        return [comparable(v) for v in value] if isinstance(value, list | tuple) else (isinstance(value, bool), value)

    record(actual)
    if comparable(actual) != comparable(expected):
        raise Wrong(what, _in_a_line(expected), _in_a_line(actual))


def close(actual: object, expected: Tensor | float, what: str, tolerance: float = 1e-4) -> None:
    """Real numbers: the same shape, and each within the tolerance, relative to the largest expected one above 1.

    Numbers that are not finite are wrong, unless the very same are expected. Half precision may be off by its rounding.
    """
    record(actual)
    wanted = torch.as_tensor(expected, dtype=torch.double)
    if isinstance(actual, bool) or not isinstance(actual, Tensor | int | float):
        raise Wrong(what, _in_a_line(expected), _in_a_line(actual))
    got = torch.as_tensor(actual, dtype=torch.double)
    if got.shape != wanted.shape:
        raise Wrong(what, f"shape {tuple(wanted.shape)}", f"shape {tuple(got.shape)}")
    finite = wanted.isfinite()
    if not torch.equal(got[~finite], wanted[~finite]) or not bool(got[finite].isfinite().all()):
        raise Wrong(what, _in_a_line(wanted), f"numbers that are not finite: {_in_a_line(got)}")
    tolerance = _with_rounding(tolerance, actual) if tolerance else 0.0
    largest = float(wanted[finite].abs().max()) if bool(finite.any()) else 0.0
    if torch.allclose(got[finite], wanted[finite], rtol=0, atol=tolerance * max(1.0, largest)):
        return
    came = _in_a_line(got)
    if wanted.numel() > 8 or came == _in_a_line(wanted):  # the numbers that are printed do not show the difference
        place = torch.unravel_index((got - wanted).abs().nan_to_num(0.0).argmax(), got.shape)
        numbers = f"{float(got[place]):.7g}, not {float(wanted[place]):.7g}"
        came += f"; the largest difference: at {[int(i) for i in place]} {numbers}" if place else f"; exactly {numbers}"
    raise Wrong(what, _in_a_line(wanted), came)


def same(actual: object, expected: object, what: str, tolerance: float = 1e-4) -> None:
    """Whatever a function gives, part by part: real numbers as `close` compares them, all else as `equal` does."""
    if isinstance(expected, float) or (isinstance(expected, Tensor) and expected.is_floating_point()):
        return close(actual, expected, what, tolerance)
    if not isinstance(expected, list | tuple):
        return equal(actual, expected, what)
    if not isinstance(actual, list | tuple) or len(actual) != len(expected):
        record(actual)
        raise Wrong(what, f"{len(expected)} parts", _in_a_line(actual))
    for number, (came, wanted) in enumerate(zip(actual, expected, strict=True), 1):
        same(came, wanted, f"{what}, part {number} of {len(expected)}", tolerance)


def follows(call: Callable[..., object], oracle: Callable[..., object], inputs: list[tuple], what: str) -> None:
    """The answer equals the oracle's for each of several inputs, and so depends on all that differs between them.

    ValueError, an error of the check: the oracle itself answers two of the inputs alike.
    """
    expected = [oracle(*args) for args in inputs]
    if any(alike(a, b) for i, a in enumerate(expected) for b in expected[:i]):
        raise ValueError(f"{what}: the oracle answers two inputs alike, so nothing shows what the answer depends on")
    for number, (args, wanted) in enumerate(zip(inputs, expected, strict=True), 1):
        same(call(*args), wanted, f"{what}, inputs {number} of {len(inputs)}")


def learns(
    ex: Any, name: str, oracle: Callable[..., object], *args: object, what: str = "", tolerance: float = 1e-4
) -> None:
    """The learner's function gives what the oracle gives, and passes the same gradients to every real-valued input.

    The oracle is a differentiable function of torch that is written independently of the solution. The gradients are
    those of (output * random numbers).sum().
    """
    g, what = generator(7919), what or f"{name}(...)"
    inputs = copy_of(args)
    leaves = [leaf.requires_grad_(True) for leaf in real_tensors(inputs)]
    wanted = oracle(*inputs)
    outputs = real_tensors(wanted)
    upstream = [torch.randn(o.shape, generator=g, dtype=torch.float64).to(o.dtype) for o in outputs]
    slopes = gradients(wanted, upstream, leaves)
    value, got = ex.gradients(name, upstream, *args)
    same(value, copy_of(wanted), what, tolerance)
    tolerance = _with_rounding(tolerance, value)  # the gradients are rounded as the values are
    if len(got) != len(slopes):
        raise Wrong(what, f"{len(outputs)} real-valued outputs", _in_a_line(value))
    for number, (leaf, came, slope) in enumerate(zip(leaves, got, slopes, strict=True), 1):
        which = f"the gradient of {what} by its real-valued input {number} of {len(leaves)}"
        slope = torch.zeros_like(leaf) if slope is None else slope
        if came is None and bool(slope.any()):
            record(None)
            raise Wrong(which, _in_a_line(slope), "none: something detaches the output from this input")
        close(torch.zeros_like(leaf) if came is None else came, slope, which, tolerance)


def has_shape(actual: object, shape: tuple[int, ...], what: str) -> None:
    """A tensor of this shape, whatever it holds."""
    wanted = f"shape {tuple(shape)}"
    came = f"shape {tuple(actual.shape)}" if isinstance(actual, Tensor) else _in_a_line(actual)
    record(came)
    if came != wanted:
        raise Wrong(what, wanted, came)


def refuses(call: Callable[[], object], what: str) -> None:
    """The call must raise a ValueError, the learner's own, with a message."""
    wanted = "a ValueError that says what is wrong"
    try:
        answer = call()
    except Failed as failed:
        record(failed.error)
        if failed.error == "not done yet":
            raise
        if failed.error != "ValueError" or not failed.message:
            raise Wrong(what, wanted, str(failed)) from None
    else:
        record(answer)
        raise Wrong(what, wanted, _in_a_line(answer))


def alike(a: object, b: object, tolerance: float = 1e-4) -> bool:
    """Are two answers the same wrong answer? Equal in form, and in value up to rounding."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        same_shape = a.shape == b.shape
        return same_shape and torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance, equal_nan=True)
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= tolerance or (a != a and b != b)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(alike(x, y, tolerance) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and bool(a == b)


class _Own(torch.autograd.Function):
    """A call of the learner's function: its real-valued outputs, and its own gradients on the way back."""

    @staticmethod
    def forward(ctx: Any, ex: Any, name: str, args: tuple, *leaves: Tensor) -> tuple[Tensor, ...]:
        ctx.ex, ctx.name, ctx.args = ex, name, args
        outputs = tuple(real_tensors(getattr(ex, name)(*args)))
        if any(o.numel() > 1 and bool((o == o.flatten()[0]).all()) for o in outputs):
            record((name, outputs[0]))
            raise Wrong(f"what {name} gives", "numbers that follow its inputs", "the same number everywhere")
        return outputs

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        _, slopes = ctx.ex.gradients(ctx.name, list(upstream), *ctx.args)
        alive = sum(slope is not None and bool(slope.any()) for slope in slopes)
        if any(bool(part.any()) for part in upstream) and 3 * alive <= len(slopes):
            record((ctx.name, alive))
            came = f"{alive} of {len(slopes)}: it is constant, or detached from them"
            raise Wrong(f"by how many of its inputs {ctx.name} has a gradient", "all that it uses", came)
        return None, None, None, *slopes


def own(ex: Any, name: str) -> Callable[..., tuple[Tensor, ...]]:
    """The learner's function as a part of an oracle that passes gradients on: its real-valued outputs, in order.

    Wrong: one of them is constant or, on the way back, it has no gradient by two thirds of its inputs. Without this,
    two parts that both ignore what they are asked would agree.
    """
    return lambda *args: _Own.apply(ex, name, args, *real_tensors(list(args)))


class Composed:
    """A function of the learner's parts in the place of one of the learner's, for `learns(Composed(f), "", ...)`."""

    def __init__(self, call: Callable[..., Tensor]):
        self.call = call

    def gradients(self, name: str, upstream: list[Tensor], *args: object) -> tuple[Tensor, list[Tensor | None]]:
        """What the function gives and its gradients, as a learner's process answers."""
        inputs = copy_of(args)
        leaves = [leaf.requires_grad_(True) for leaf in real_tensors(inputs)]
        value = self.call(*inputs)
        return value.detach(), gradients(value, upstream, leaves)


def copy_of(value: Any) -> Any:
    """The same with detached tensors of its own."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {k: copy_of(v) for k, v in value.items()}
    return type(value)(copy_of(v) for v in value) if isinstance(value, list | tuple) else value


def _with_rounding(tolerance: float, value: object) -> float:
    """The tolerance, or four rounding steps of the half precision that a tensor of the value has."""
    halves = [tensor.dtype for tensor in real_tensors(value) if tensor.element_size() == 2]
    return max([tolerance, *(4 * torch.finfo(dtype).eps for dtype in halves)])


def _in_a_line(value: object, limit: int = 160) -> str:
    """A value in a line: tensors with their shape and first numbers."""
    if isinstance(value, Tensor):
        numbers = ", ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in value.flatten()[:8].tolist())
        text = f"[{numbers}{', ...' if value.numel() > 8 else ''}]" if value.dim() else numbers
        return text + (f" of shape {tuple(value.shape)}" if value.dim() > 1 else "")
    text = f"{value:.4g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."

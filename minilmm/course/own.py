"""The learner's own parts inside an oracle: what is built of them is compared, and an error in a part costs once."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minilmm.course.checking import Wrong, copy_of, record
from minilmm.course.messages import gradients, real_tensors


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

"""Data-parallel training: processes that torchrun started train together what one process would train alone.

Every process draws the whole batch of a step, which is a function of seed and step, keeps its shard of the rows, and
weighs its loss so that the mean over processes, which DistributedDataParallel takes of the gradients, is the whole
batch's. With one process nothing here does anything.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode

Rows = slice | Tensor


def processes() -> int:
    """How many train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_main_process() -> bool:
    """Is this the process that writes, prints and measures?"""
    return processes() == 1 or dist.get_rank() == 0


def join(device: str) -> None:
    """Join the processes of this torchrun, if there are several, and take a GPU ("cuda" is then this process's own).

    ValueError where there are fewer GPUs than processes.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or not dist.is_torchelastic_launched() or dist.is_initialized():
        return
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    if device == "cuda" and local > torch.cuda.device_count():
        raise ValueError(f"{local} processes for {torch.cuda.device_count()} GPUs: start as many as there are GPUs")
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo")


def leave() -> None:
    """Part from the others, when all is done."""
    if processes() > 1:
        dist.destroy_process_group()


def first_to_fail() -> bool:
    """Is this the first process of torchrun's that fails, and so the one to say why? The others' failures may be its
    doing. Works before `join` as well.
    """
    store, *_ = next(dist.rendezvous("env://"))
    return store.add("failed", 1) == 1


def require_single_process(what: str) -> None:
    """ValueError, where several processes train, for what cannot be split."""
    if processes() > 1:
        raise ValueError(f"{what}, and cannot be split over {processes()} processes: train it without torchrun")


def shard(counted: Tensor) -> tuple[Rows, float | Tensor]:
    """This process's rows of a batch, and the weight of its mean loss. counted (B, K): what a loss averages over, bool,
    or the weights of a weighted mean.

    The mean over processes of weight times loss is the whole batch's loss, however unlike the shards are. A process
    without rows, or with none that count, reads a row that does and gives it no weight: every process has gradients.
    """
    if processes() == 1:
        return slice(None), 1.0
    number = counted.sum(1)  # (B,)
    rows = torch.arange(len(number), device=number.device).tensor_split(processes())[dist.get_rank()]
    weight = processes() * number[rows].sum() / number.sum()
    return (rows if bool(weight > 0) else number.argmax()[None]), weight


class _Noise(TorchFunctionMode):
    def __init__(self, rows: Rows, batch: int):
        super().__init__()
        self.rows, self.batch = rows, batch

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.randn_like:
            like = args[0]
            return torch.randn(self.batch, *like.shape[1:], dtype=like.dtype, device=like.device)[self.rows]
        return function(*args, **(kwargs or {}))


def same_noise(rows: Rows, batch: int) -> contextlib.AbstractContextManager:
    """While it lasts, torch.randn_like (noise inside a model) draws for all rows of the batch and keeps these."""
    return contextlib.nullcontext() if processes() == 1 else _Noise(rows, batch)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        dist.all_reduce(x := x.clone())
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradients[0].contiguous())


def gathered(x: Tensor, rows: Rows, batch: int) -> Tensor:
    """Every process's rows x (b, ...) of a batch as one (batch, ...), for a loss that compares all of them.

    Gradients go back to the process that a row came from. All processes compute the same loss: its weight is 1.
    """
    if processes() == 1:
        return x
    return _Sum.apply(x.new_zeros(batch, *x.shape[1:]).index_put((torch.as_tensor(rows),), x))


class _Loss(nn.Module):
    def __init__(self, model: nn.Module, compute: Callable[[Any], Tensor]):
        super().__init__()
        self.model, self.compute = model, compute

    def forward(self, drawn: Any) -> Tensor:
        return self.compute(drawn)


def averaged(model: nn.Module, compute_loss: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    """The loss as given; of several processes, which begin with the first's weights, the gradients are averaged.

    The whole loss is what is wrapped: a model may run several times in it, or in parts. Parameters that a step leaves
    out (an ablation's, an objective's) must be found, or every process would wait for their gradients.
    """
    if processes() == 1:
        return compute_loss
    return DistributedDataParallel(_Loss(model, compute_loss), broadcast_buffers=False, find_unused_parameters=True)


def whole(loss: Tensor) -> Tensor:
    """The whole batch's loss: the mean over processes."""
    if processes() > 1:
        dist.all_reduce(loss := loss / processes())
    return loss


def anyone(flag: bool) -> bool:
    """Is it so for any process? All get one answer, at the same place; on the CPU, so that no GPU is waited for."""
    if processes() == 1:
        return flag
    dist.all_reduce(found := torch.tensor(float(flag)), dist.ReduceOp.MAX)
    return bool(found)

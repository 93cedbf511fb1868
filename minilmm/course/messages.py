"""The messages between the grader and a learner's process: numbers, texts and tensors. Nothing in them is executed."""

import json
import socket
import struct
import time
from typing import Any

import torch
from torch import Tensor

LIMIT, PLAIN_LIMIT = 64 << 20, 4 << 20  # bytes of a message, and of its JSON, which takes far more once it is read
HEAD = struct.Struct(">IQ")  # the lengths of a message's JSON and of its tensors' bytes
DTYPES = {str(d): d for d in (torch.float32, torch.float64, torch.int64, torch.int32, torch.bool, torch.float16,
                              torch.bfloat16, torch.uint8)}  # fmt: skip


def encode(value: object) -> bytes:
    """None, booleans, numbers, texts, tensors, and lists, tuples and dicts of them. TypeError for anything else."""
    blobs: list[bytes] = []

    def plain(x: object) -> object:
        if x is None or isinstance(x, bool | int | float | str):
            return x
        if isinstance(x, Tensor):
            if str(x.dtype) not in DTYPES:
                raise TypeError(f"a tensor of {x.dtype} instead of integers, booleans or real numbers")
            if x.numel() * x.element_size() > LIMIT:
                raise TypeError(f"a tensor of {x.numel() * x.element_size() >> 20} MB: {LIMIT >> 20} are the most")
            flat = x.detach().cpu().flatten().clone(memory_format=torch.contiguous_format)
            blobs.append(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
            return {"tensor": [str(x.dtype), list(x.shape), len(blobs[-1])]}
        if isinstance(x, list):
            return [plain(v) for v in x]
        if isinstance(x, tuple):
            return {"tuple": [plain(v) for v in x]}
        if isinstance(x, dict):
            return {"dict": [[plain(k), plain(v)] for k, v in x.items()]}
        raise TypeError(f"a {type(x).__name__} instead of tensors, numbers, texts, lists, tuples or dicts of them")

    head, body = json.dumps(plain(value)).encode(), b"".join(blobs)
    return HEAD.pack(len(head), len(body)) + head + body


def decode(head: bytes, body: bytes) -> Any:
    """What `encode` wrote. ValueError for anything else."""
    place = 0

    def rich(x: Any) -> Any:
        nonlocal place
        if isinstance(x, list):
            return [rich(v) for v in x]
        if not isinstance(x, dict):
            return x
        ((kind, inner),) = x.items()
        if kind == "tensor":
            dtype, shape, size = inner
            raw, place = body[place : place + size], place + size
            flat = torch.frombuffer(bytearray(raw), dtype=torch.uint8) if raw else torch.empty(0, dtype=torch.uint8)
            return ((flat != 0) if dtype == "torch.bool" else flat.view(DTYPES[dtype])).reshape(shape)
        return tuple(rich(v) for v in inner) if kind == "tuple" else {rich(k): rich(v) for k, v in inner}

    try:
        return rich(json.loads(head))
    except Exception as error:
        raise ValueError(f"a message that cannot be read ({type(error).__name__})") from None


def receive(channel: socket.socket, deadline: float | None = None) -> tuple[bytes, bytes]:
    """One message's two parts. EOFError at the end, ValueError for one that is too large, TimeoutError when late."""

    def exactly(size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            if deadline is not None:
                channel.settimeout(max(1e-3, deadline - time.monotonic()))
            parts += (part := channel.recv(min(size - len(parts), 1 << 20)))
            if not part:
                raise EOFError
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError
        return bytes(parts)

    head, body = HEAD.unpack(exactly(HEAD.size))
    if head > PLAIN_LIMIT or head + body > LIMIT:
        raise ValueError(f"an answer of {(head + body) >> 20} MB")
    return exactly(head), exactly(body)


def real_tensors(value: object) -> list[Tensor]:
    """The real-valued tensors within lists, tuples and dicts, in order."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for item in inner for tensor in real_tensors(item)]


def gradients(value: object, upstream: list[Tensor], leaves: list[Tensor]) -> list[Tensor | None]:
    """The gradients of (output * upstream).sum() by the leaves, None where none arrives.

    upstream has a tensor of the same shape for every real-valued tensor of the value; with other shapes the list is
    empty.
    """
    outputs = real_tensors(value)
    if [o.shape for o in outputs] != [u.shape for u in upstream]:
        return []
    total = sum((o * u).sum() for o, u in zip(outputs, upstream, strict=True))
    if not isinstance(total, Tensor) or not total.requires_grad:
        return [None] * len(leaves)
    return list(torch.autograd.grad(total, leaves, allow_unused=True))

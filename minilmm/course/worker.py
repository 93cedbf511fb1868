"""Where a learner's code runs: a process of its own, which answers calls and is killed when its time is up.

One *zygote* has torch loaded and nothing else: no check, no expected value, no solution. For every check it forks a
worker (.03 s; a fresh interpreter costs 4 s). A worker loads the learner's text and answers calls over a socket in a
plain format of numbers, texts and tensors. Nothing that comes back is ever executed.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

LIMIT = 64 << 20  # bytes of a message
MEMORY = 2 << 30  # bytes that a worker may take on top of what it starts with
HEAD = struct.Struct(">IQ")  # the lengths of a message's JSON and of its tensors' bytes
DTYPES = {str(d): d for d in (torch.float32, torch.float64, torch.int64, torch.int32, torch.bool, torch.float16,
                              torch.bfloat16, torch.uint8)}  # fmt: skip


def encode(value: Any) -> bytes:
    """None, truths, numbers, texts, tensors, and lists, tuples and dicts of them. TypeError for anything else."""
    blobs: list[bytes] = []

    def plain(x: Any) -> Any:
        if x is None or isinstance(x, bool | int | float | str):
            return x
        if isinstance(x, Tensor):
            if str(x.dtype) not in DTYPES:
                raise TypeError(f"a tensor of {x.dtype} instead of whole numbers, truths or real numbers")
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
            empty = torch.empty(0, dtype=DTYPES[dtype])
            return (torch.frombuffer(bytearray(raw), dtype=DTYPES[dtype]) if raw else empty).reshape(shape)
        return tuple(rich(v) for v in inner) if kind == "tuple" else {rich(k): rich(v) for k, v in inner}

    try:
        return rich(json.loads(head))
    except Exception as error:
        raise ValueError(f"a message that cannot be read ({type(error).__name__})") from None


def receive(channel: socket.socket) -> tuple[bytes, bytes]:
    """One message's two parts. EOFError at the end, ValueError for one that is too large."""

    def exactly(size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = channel.recv(min(size - len(parts), 1 << 20))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    head, body = HEAD.unpack(exactly(HEAD.size))
    if head + body > LIMIT:
        raise ValueError(f"an answer of {(head + body) >> 20} MB")
    return exactly(head), exactly(body)


def real_tensors(value: Any) -> list[Tensor]:
    """The real-valued tensors within lists, tuples and dicts, in order."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for item in inner for tensor in real_tensors(item)]


def guard(folders: list[str]) -> None:
    """From now on nothing under `folders` can be opened here, and nothing of minilmm imported."""
    kept = tuple(os.path.realpath(folder) + os.sep for folder in folders)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            if os.path.realpath(os.fsdecode(arguments[0])).startswith(kept):
                raise PermissionError("the course's own files cannot be read here: write your own answer")
        elif event == "import" and str(arguments[0]).split(".")[0] == "minilmm":
            raise ImportError("minilmm cannot be imported here: write your own answer")

    sys.addaudithook(hook)


class Session:
    """The learner's module, and the answers to requests about it."""

    def __init__(self) -> None:
        self.module = types.ModuleType("answer")
        self.file = ""

    def load(self, file: str, text: str, needs: dict[str, str], guarded: list[str]) -> None:
        """Run the learner's text as a module; `needs` are earlier exercises that it may import, as texts."""
        guard(guarded)
        self.file = file
        for name, code in needs.items():
            sys.modules[name] = types.ModuleType(name)
            exec(compile(code, f"{name}.py", "exec"), sys.modules[name].__dict__)
        self.module = types.ModuleType(os.path.splitext(os.path.basename(file))[0])
        sys.modules[self.module.__name__] = self.module
        exec(compile(text, file, "exec"), self.module.__dict__)

    def call(self, name: str, arguments: Callable[[], tuple[list, dict]]) -> Any:
        """The learner's function on fresh arguments, twice: it must answer alike and leave its inputs alone."""
        function = getattr(self.module, name, None)
        if not callable(function):
            raise AttributeError(f"there is no function {name}: keep the names of the stub")
        answers = []
        for _ in range(2):
            args, kwargs = arguments()
            answers.append(function(*args, **kwargs))
            if encode([args, kwargs]) != encode(list(arguments())):
                raise RuntimeError(f"{name} changes its inputs in place: make new tensors instead")
        if encode(answers[0]) != encode(answers[1]):
            raise RuntimeError(f"two calls of {name} with the same inputs gave different answers")
        return answers[0]

    def gradients(self, name: str, upstream: list[Tensor], args: list, kwargs: dict) -> tuple[Any, list]:
        """What a function gives, and the gradients of (output * upstream).sum() by its real-valued inputs.

        upstream has a tensor for every real-valued tensor of the output, in order; the gradients come in the order of
        the inputs, None where none arrives.
        """
        leaves = [leaf.requires_grad_(True) for leaf in real_tensors([args, kwargs])]
        value = getattr(self.module, name)(*args, **kwargs)
        outputs = real_tensors(value)
        if [o.shape for o in outputs] != [u.shape for u in upstream]:
            return value, []
        total = sum((o * u).sum() for o, u in zip(outputs, upstream, strict=True))
        if not isinstance(total, Tensor) or not total.requires_grad:
            return value, [None] * len(leaves)
        return value, list(torch.autograd.grad(total, leaves, allow_unused=True))

    def answer(self, head: bytes, body: bytes) -> bytes:
        """One request to one reply, (True, value) or (False, [type, message, line])."""
        try:
            kind, *rest = decode(head, body)
            if kind == "load":
                self.load(*rest)
                return encode((True, None))
            if kind == "call":
                return encode((True, self.call(rest[0], lambda: tuple(decode(head, body)[2:]))))  # type: ignore[arg-type]
            if kind == "gradients":
                return encode((True, self.gradients(*rest)))
            source, name, args = rest
            space: dict[str, Any] = {"torch": torch}
            exec(compile(source, "check.py", "exec"), space)
            return encode((True, space[name](self.module, *args)))
        except MemoryError:
            return encode((False, ["MemoryError", f"more than {MEMORY >> 30} GB of memory", 0]))
        except BaseException as error:
            lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == self.file]
            if isinstance(error, SyntaxError) and error.filename == self.file:
                lines.append(error.lineno)
            with contextlib.suppress(Exception):
                return encode((False, [type(error).__name__, str(error)[:500], lines[-1] if lines else 0]))
            return encode((False, [type(error).__name__, "", 0]))


def confine(seconds: int) -> None:
    """A session of its own, limits on time and memory, no input, no output, an empty folder, one thread."""
    if hasattr(os, "setsid"):
        with contextlib.suppress(OSError):
            os.setsid()
    torch.set_num_threads(1)
    os.chdir(tempfile.mkdtemp(prefix="minilmm-"))
    sink = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(sink, number)
    sys.stdout = sys.stderr = os.fdopen(os.dup(sink), "w")
    sys.path.insert(0, "")
    with contextlib.suppress(ImportError):
        import resource

        soft = {resource.RLIMIT_CPU: seconds + 1, resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 64 << 20}
        with contextlib.suppress(OSError, IndexError, ValueError), open("/proc/self/statm") as file:
            soft[resource.RLIMIT_AS] = int(file.read().split()[0]) * resource.getpagesize() + MEMORY
        for limit, value in soft.items():
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(limit, (value, value))


def work(channel: socket.socket, seconds: int) -> None:
    """Answer requests until the grader has had enough."""
    confine(seconds)
    session = Session()
    with contextlib.suppress(EOFError, ValueError, OSError):
        while True:
            channel.sendall(session.answer(*receive(channel)))


def children() -> list[int]:
    """The processes whose parent is this one."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{name}/stat") as file:
            if int(file.read().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(name))
    return found


def zygote(control: socket.socket) -> None:
    """Fork a worker for every socket that arrives; on request kill it with all that it started."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans of a worker become ours
    torch.ones(4, 4) @ torch.ones(4, 4)
    worker = 0
    while True:
        data, ancillary, *_ = control.recvmsg(16, socket.CMSG_LEN(array.array("i", [0]).itemsize))
        if not data:
            return
        if ancillary:
            (number,) = array.array("i", ancillary[0][2][:4])
            worker = os.fork()
            if worker == 0:
                control.close()
                with contextlib.suppress(BaseException):
                    work(socket.socket(fileno=number), struct.unpack(">I", data)[0])
                os._exit(0)
            os.close(number)
            control.sendall(struct.pack(">i", worker))
        else:
            ended = status = 0
            patience = time.monotonic() + (0.5 if data == b"wait" else 0)  # it hung up by itself: let it end by itself
            while not ended and time.monotonic() < patience:
                ended, status = os.waitpid(worker, os.WNOHANG)
                time.sleep(0.002)
            if not ended:
                os.kill(worker, signal.SIGKILL)
                _, status = os.waitpid(worker, 0)
            while left := children():
                for process in left:
                    with contextlib.suppress(OSError):
                        os.kill(process, signal.SIGKILL)
                        os.waitpid(process, 0)
            control.sendall(struct.pack(">i", os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "zygote":
        zygote(socket.socket(fileno=int(sys.argv[2])))
    else:  # no fork here: a worker for one check, which calls back
        back = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
        back.sendall(bytes.fromhex(sys.argv[3]))
        work(back, int(sys.argv[4]))

"""A learner's process: it loads the learner's text and answers calls. Nothing that it answers is trusted.

There is no check, expected value or solution in its memory, and where the system has the means (`sandbox`) none on the
disk that it can read.
"""

import contextlib
import itertools
import linecache
import os
import socket
import sys
import tempfile
import traceback
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from minilmm.course.messages import decode, encode, gradients, real_tensors, receive
from minilmm.course.sandbox import Sandbox

MEMORY = 2 << 30  # bytes that a worker may take on top of what it starts with
PROCESSES = 32  # that a user made for the purpose may have


def guard(folders: list[str]) -> None:
    """From now on minilmm cannot be imported, nor a file under `folders` opened. Determined code gets around this."""
    kept = tuple(os.path.realpath(folder) + os.sep for folder in folders)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "import" and str(arguments[0]).split(".")[0] == "minilmm":
            raise ImportError("minilmm cannot be imported here: write your own answer")
        for path in arguments if kept and event.startswith(("open", "os.")) else ():
            if isinstance(path, str | bytes | os.PathLike) and os.path.realpath(os.fsdecode(path)).startswith(kept):
                raise PermissionError("the course's own files cannot be read here: write your own answer")

    sys.addaudithook(hook)


def run_at_once(function: Any = None, **_: object) -> Any:
    """In the place of torch.compile, which would take longer than a check has: the function as it is."""
    return function if function is not None else run_at_once


class Session:
    """The learner's module, and the answers to requests about it."""

    module = types.ModuleType("answer")
    file = ""

    def load(self, file: str, text: str, needs: dict[str, str], guarded: list[str]) -> None:
        """Run the learner's text as a module; `needs` are earlier exercises that it may import, as texts."""
        guard(guarded)
        vars(torch)["compile"] = run_at_once
        setattr(torch.nn.Module, "compile", lambda *_, **__: None)  # noqa: B010
        self.file = file
        linecache.cache[file] = (len(text), None, text.splitlines(True), file)  # for tracebacks and inspect
        for name, code in (needs | {os.path.splitext(file)[0]: text}).items():  # its own is the last
            self.module = sys.modules[name] = types.ModuleType(name)
            exec(compile(code, f"{name}.py", "exec"), self.module.__dict__)

    def call(self, name: str, arguments: Callable[[], list]) -> object:
        """The learner's function on fresh arguments, twice: it must answer alike and leave its inputs alone."""
        function = getattr(self.module, name, None)
        if not callable(function):
            raise AttributeError(f"there is no function {name}: keep the names of the stub")
        answers = []
        for _ in range(2):
            args, kwargs = arguments()
            answers.append(function(*args, **kwargs))
            if encode([args, kwargs]) != encode(arguments()):
                raise RuntimeError(f"{name} changes its inputs in place: make new tensors instead")
        if encode(answers[0]) != encode(answers[1]):
            raise RuntimeError(f"two calls of {name} with the same inputs gave different answers")
        return answers[0]

    def gradients(self, name: str, upstream: list[Tensor], args: list, kwargs: dict) -> tuple[object, list]:
        """What a function gives, and its gradients by its real-valued inputs as `messages.gradients` defines them."""
        leaves = [leaf.requires_grad_(True) for leaf in real_tensors([args, kwargs])]
        value = getattr(self.module, name)(*args, **kwargs)
        return value, gradients(value, upstream, leaves)

    def run(self, source: str, name: str, args: list) -> object:
        """name(module, *args), where `source` defines the function."""
        space: dict[str, Any] = {"torch": torch}
        exec(compile(source, "check.py", "exec"), space)
        return space[name](self.module, *args)

    def answer(self, head: bytes, body: bytes) -> bytes:
        """One request to one reply, (True, value) or (False, [type, message, line])."""
        try:
            kind, *rest = decode(head, body)
            if kind == "call":
                return encode((True, self.call(rest[0], lambda: decode(head, body)[2:])))
            answers: dict[str, Callable] = {"load": self.load, "gradients": self.gradients, "run": self.run}
            return encode((True, answers[kind](*rest)))
        except MemoryError:
            return encode((False, ["MemoryError", f"more than {MEMORY >> 30} GB of memory", 0]))
        except BaseException as error:
            with contextlib.suppress(Exception):
                return encode((False, self.describe(error)))
            return encode((False, [type(error).__name__, "", 0]))

    def describe(self, error: BaseException) -> list:
        """An error's type, message and line in the learner's file; "not done yet" where the stub's line raised it."""
        frames = traceback.extract_tb(error.__traceback__)
        last, lines = frames[-1], [frame.lineno for frame in frames if frame.filename == self.file]
        if isinstance(error, SyntaxError) and error.filename == self.file:
            lines.append(error.lineno)
        own = last.filename == self.file and (last.line or "").startswith("raise NotImplementedError")
        if isinstance(error, NotImplementedError) and own:
            return ["not done yet", "", 0]
        return [type(error).__name__, str(error)[:500], lines[-1] if lines else 0]


def confine(seconds: int, box: Sandbox | None, scratch: str, keep: int) -> None:
    """A session of its own, limits, no input, no output, an empty folder, one thread; then the sandbox.

    keep: the number of the one socket that stays open.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.setsid()
    torch.set_num_threads(1)
    os.chdir(scratch)
    os.environ["TMPDIR"] = tempfile.tempdir = scratch
    sink = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(sink, number)
    sys.stdout = sys.stderr = os.fdopen(1, "w", closefd=False)
    sys.path.insert(0, "")
    if box is not None:
        for low, high in itertools.pairwise(sorted({2, keep, box.ruleset, 256} - {-1})):
            os.closerange(low + 1, high)
    with contextlib.suppress(ImportError):
        import resource

        limits = {resource.RLIMIT_CPU: seconds + 1, resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 64 << 20,
                  resource.RLIMIT_NOFILE: 256}  # fmt: skip
        if box is not None and (box.user or box.separate):
            limits[resource.RLIMIT_NPROC] = PROCESSES
        with contextlib.suppress(OSError, IndexError, ValueError), open("/proc/self/statm") as file:
            limits[resource.RLIMIT_AS] = int(file.read().split()[0]) * resource.getpagesize() + MEMORY
        for limit, value in limits.items():
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(limit, (value, value))
    if box is not None:
        box.enter()


def work(channel: socket.socket, seconds: int, box: Sandbox | None = None, scratch: str | None = None) -> None:
    """Say that it runs, and whether the system fences the files; then answer requests until the grader hangs up."""
    confine(seconds, box, scratch or tempfile.mkdtemp(prefix="minilmm-"), channel.fileno())
    session = Session()
    channel.sendall(encode(box is not None and box.ruleset >= 0))
    with contextlib.suppress(EOFError, ValueError, OSError):
        while True:
            channel.sendall(session.answer(*receive(channel)))


if __name__ == "__main__":  # no fork here: a worker for one check, which calls back
    back = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    back.sendall(bytes.fromhex(sys.argv[2]))
    work(back, int(sys.argv[3]))

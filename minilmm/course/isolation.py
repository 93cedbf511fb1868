"""The grader's side of a learner's process: starting it, asking it, ending it with all that it started."""

from __future__ import annotations

import array
import ast
import contextlib
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from torch import Tensor

from minilmm.course.checking import Failed
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

    def gradients(self, name: str, upstream: list[Tensor], *args: Any, **kwargs: Any) -> tuple[Any, list]:
        """What `name` gives, and the gradients of (output * upstream).sum() by its real-valued inputs, in order."""
        value, found = self._ask("gradients", name, upstream, list(args), kwargs)
        return value, found

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


def _source_of(helper: Callable[..., Any]) -> str:
    """A function's text, from the text of the module of checks that it stands in."""
    text = helper.__globals__["SOURCE"]
    (found,) = (node for node in ast.parse(text).body if getattr(node, "name", "") == helper.__name__)
    return ast.get_source_segment(text, found) or ""


def ending(code: int) -> str:
    """An exit code as words."""
    if code >= 0:
        return f"it exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    told = {"SIGSEGV": "the stack overflowed or memory was misused", "SIGXCPU": "too much processor time"}
    return f"killed by {name}" + (f": {told[name]}" if name in told else "")

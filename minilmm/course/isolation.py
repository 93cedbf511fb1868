"""The grader's side of a learner's process: starting it, asking it, ending it with all that it started."""

import array
import contextlib
import inspect
import json
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from minilmm.course import sandbox
from minilmm.course.checking import Failed
from minilmm.course.messages import decode, encode, receive

ENDED = "the program ended before it answered"
START, ANSWERS = 60.0, 30.0  # seconds that an interpreter with torch may take to start, and the zygote to end a worker
PACKAGE = Path(__file__).parents[1]
PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "SYSTEMROOT", "OMP_NUM_THREADS")
CAN_FORK = hasattr(os, "fork") and hasattr(socket, "send_fds")


class Lost(RuntimeError):
    """A process of the grader's own ended or fell silent: no fault of the learner's whose turn it was."""


def start_python(module: str, *arguments: str, scratch: str, pass_fds: Sequence[int] = ()) -> subprocess.Popen:
    """A Python of our own, which looks for modules neither in the working folder nor in most of the environment."""
    code = f"import runpy, sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); import minilmm.course; sys.path.pop(0); "
    code += f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    kept |= dict.fromkeys(("TMPDIR", "TEMP", "TMP", "HOME"), scratch) | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-P", "-W", "ignore", "-c", code, *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=kept, start_new_session=True, pass_fds=pass_fds)


def start_sandboxed(job: str, scratch: str, kept: Sequence[str]) -> tuple[subprocess.Popen, socket.socket]:
    """The zygote or a probe, and the socket that it obeys; its children cannot read the folders `kept`."""
    ours, theirs = socket.socketpair()
    files = json.dumps(sandbox.paths_to_read([str(PACKAGE), *kept]))
    with theirs:
        arguments = [job, str(theirs.fileno()), scratch, files]
        process = start_python("minilmm.course.zygote", *arguments, scratch=scratch, pass_fds=[theirs.fileno()])
    ours.settimeout(START)
    return process, ours


def probe() -> tuple[list[str], list[str]]:
    """The means that contain a learner's code on this system, and what it can do to the grader all the same."""
    if not hasattr(os, "fork"):
        return [], ["do what you can"]
    with tempfile.TemporaryDirectory(prefix="minilmm-") as scratch, socket.create_server(("127.0.0.1", 0)) as server:
        os.chmod(scratch, 0o711)
        process, channel = start_sandboxed("probe", scratch, [])
        with process, channel:
            channel.sendall(struct.pack(">II", os.getpid(), server.getsockname()[1]))
            means, doors = json.loads(channel.recv(4096))
    return means, doors


class Zygote:
    """The process that workers are forked from; without fork every worker is an interpreter of its own.

    Every wait has an end. Where one of our own processes is gone or silent, all are killed and `Lost` is raised; the
    next `start` begins anew. kept: folders that a learner's code must not read.
    """

    def __init__(self, fork: bool, kept: Sequence[str]):
        self._fork, self._kept = fork, kept
        self._process: subprocess.Popen | None = None
        self._control: socket.socket | None = None
        self._scratch = tempfile.mkdtemp(prefix="minilmm-")
        os.chmod(self._scratch, 0o711)
        self._protected = sandbox.control(sandbox.DUMPABLE, 0)  # no process of the same user may read our memory

    def start(self, seconds: float) -> tuple[socket.socket, bool]:
        """A fresh worker whose processor time is limited: the socket it answers on, and whether its files are fenced.

        Lost where none comes.
        """
        try:
            channel = (self._start_forked if self._fork else self._start_alone)(int(seconds) + 1)
            channel.settimeout(START)
            return channel, decode(*receive(channel, time.monotonic() + START)) is True
        except (OSError, EOFError, ValueError) as error:
            self.kill()
            raise Lost(f"no process for it could be started ({type(error).__name__}: {error})") from None

    def _start_forked(self, seconds: int) -> socket.socket:
        if self._process is None or self._process.poll() is not None or self._control is None:
            self.kill()
            self._process, self._control = start_sandboxed("zygote", self._scratch, self._kept)
        here, there = socket.socketpair()
        with there:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [there.fileno()]))]
            self._control.sendmsg([struct.pack(">I", seconds)], ancillary)
        return here

    def _start_alone(self, seconds: int) -> socket.socket:
        token = secrets.token_bytes(16)
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(START)
            arguments = [str(server.getsockname()[1]), token.hex(), str(seconds)]
            self._process = start_python("minilmm.course.worker", *arguments, scratch=self._scratch)
            while True:
                channel, _ = server.accept()
                channel.settimeout(START)
                if secrets.compare_digest(channel.recv(len(token), socket.MSG_WAITALL), token):
                    return channel
                channel.close()

    def end(self, hung_up: bool = False) -> int:
        """Kill the worker and all that it started: its exit code, negative for a signal. Lost where that fails."""
        process, control = self._process, self._control
        try:
            if control is not None:
                control.settimeout(ANSWERS)
                control.sendall(b"wait" if hung_up else b"kill")
                return int(struct.unpack(">i", control.recv(4, socket.MSG_WAITALL))[0])
            assert process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5 if hung_up else 0)
            self.kill()
            return process.returncode
        except (OSError, struct.error):
            self.kill()
            raise Lost("the process that started it was ended") from None

    def kill(self) -> None:
        """End the zygote and, where it is process 1, everything below it."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            if self._fork:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(0.5)  # it ends by itself when its socket closes, unless something holds it up
            with contextlib.suppress(OSError, AttributeError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        self._process = self._control = None

    def close(self) -> None:
        """When this returns, everything that was started is dead and the scratch folder gone."""
        self.kill()
        if self._protected:
            sandbox.control(sandbox.DUMPABLE, 1)
        with contextlib.suppress(Exception):
            shutil.rmtree(self._scratch, ignore_errors=True)


class Learner:
    """The learner's module as a check sees it: `ex.function(...)`, and `ex.run(helper, ...)` for code beside it."""

    def __init__(self, channel: socket.socket, seconds: float):
        self._channel, self._deadline, self._seconds = channel, time.monotonic() + seconds, seconds

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self._ask("call", name, list(args), kwargs)

    def gradients(self, name: str, upstream: list[Tensor], *args: Any, **kwargs: Any) -> tuple[Any, list]:
        """What `name` gives, and the gradients of (output * upstream).sum() by its real-valued inputs, in order."""
        value, slopes = self._ask("gradients", name, upstream, list(args), kwargs)
        return value, slopes

    def run(self, helper: Callable[..., Any], *args: Any) -> Any:
        """helper(module, *args), run from its source text beside the learner's code, where only torch is at hand."""
        return self._ask("run", inspect.getsource(helper), helper.__name__, list(args))

    def _ask(self, *request: Any) -> Any:
        try:
            self._channel.settimeout(max(1e-3, self._deadline - time.monotonic()))
            self._channel.sendall(encode(list(request)))
            fine, value = decode(*receive(self._channel, self._deadline))
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
        raise Failed(str(name), f"{message} (line {line})" if line else str(message))


def describe_exit(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"it exited with code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    reasons = {"SIGSEGV": "the stack overflowed or memory was misused", "SIGXCPU": "too much processor time"}
    return f"killed by {name}" + (f": {reasons[name]}" if name in reasons else "")

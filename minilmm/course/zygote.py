"""The process that learners' processes are forked from: torch is loaded, and no check, expected value or solution.

A fork takes hundredths of a second, a fresh interpreter with torch seconds. Where the system allows it the zygote is
process 1 of a namespace: what it ends there is all that a learner started, and its own end is the end of them all.
"""

import array
import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path

from minilmm.course import sandbox


def children() -> list[int]:
    """The processes whose parent is this one."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{name}/stat") as file:
            if int(file.read().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(name))
    return found


def end_all(user: int) -> None:
    """Kill whatever a worker left: all of this namespace, all of that user, or else all descendants."""

    def kill_as_them() -> None:
        os.setresuid(user, user, user)
        os.kill(-1, signal.SIGKILL)

    with contextlib.suppress(ChildProcessError):  # raised by waitpid when no child is left
        while True:
            if user and os.getpid() != 1:
                sandbox.succeeds(kill_as_them)
            else:
                for process in [-1] if os.getpid() == 1 else children():
                    with contextlib.suppress(OSError):
                        os.kill(process, signal.SIGKILL)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            time.sleep(1e-3)


def end(worker: int, patience: float, box: sandbox.Sandbox) -> int:
    """A worker's exit code, negative for a signal; it has `patience` seconds to end by itself. All else is killed."""
    ended = status = 0
    until = time.monotonic() + patience
    while not ended and time.monotonic() < until:
        ended, status = os.waitpid(worker, os.WNOHANG)
        time.sleep(2e-3)
    if not ended:
        with contextlib.suppress(OSError):
            os.killpg(worker, signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
        _, status = os.waitpid(worker, 0)
    end_all(box.user)
    return os.waitstatus_to_exitcode(status)


def serve(control: socket.socket, box: sandbox.Sandbox, scratch: str) -> None:
    """Fork a worker for every socket that arrives; on request end it with all that it started."""
    import torch

    from minilmm.course.worker import work

    torch.set_num_threads(1)
    torch.ones(4, 4) @ torch.ones(4, 4)
    worker, folder = 0, ""
    while True:
        data, ancillary, *_ = control.recvmsg(16, socket.CMSG_LEN(array.array("i", [0]).itemsize))
        if not data:
            return end_all(box.user)
        if not ancillary:
            control.sendall(struct.pack(">i", end(worker, 0.5 if data == b"wait" else 0, box)))
            with contextlib.suppress(Exception):  # nothing that a learner leaves behind may stop us
                shutil.rmtree(folder, ignore_errors=True)
            continue
        (number,) = array.array("i", ancillary[0][2][:4])
        folder = tempfile.mkdtemp(dir=scratch)
        if box.user:
            os.chown(folder, box.user, box.user)
        worker = os.fork()
        if worker == 0:
            with contextlib.suppress(BaseException):
                work(socket.socket(fileno=number), struct.unpack(">I", data)[0], box, folder)
            os._exit(0)
        os.close(number)


def main(job: str, number: str, scratch: str, readable: str) -> int:
    """Set up the sandbox; then serve (job "zygote"), or report what holds and what is still open (job "probe")."""
    control = socket.socket(fileno=int(number))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # short of memory, the system ends this and not the grader
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # process 1 of a namespace gets no signal from inside but handled ones
    separate = sandbox.separate()
    if "process" in separate and (first := os.fork()):
        control.close()
        return os.waitpid(first, 0)[1] and 1
    sandbox.control(sandbox.DEATH_SIGNAL, signal.SIGKILL)
    sandbox.control(sandbox.SUBREAPER, 1)
    sandbox.control(sandbox.DUMPABLE, 0)
    box = sandbox.Sandbox.best(scratch, json.loads(readable), separate)
    if job == "zygote":
        serve(control, box, scratch)
    elif os.fork() == 0:
        box.enter()
        grader, port = struct.unpack(">II", control.recv(8))
        control.sendall(json.dumps([box.means, sandbox.open_doors(grader, port, __file__)]).encode())
        os._exit(0)
    else:
        os.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

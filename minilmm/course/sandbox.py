"""What the operating system offers against code that one does not trust: each means is used where it exists.

Nothing here imports torch. Linux has all of it (namespaces and another user for root, Landlock for everybody); other
systems have next to nothing, and whoever grades strangers' files there needs a container.
"""

import contextlib
import ctypes
import errno
import os
import secrets
import signal
import socket
import stat
import struct
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

DEATH_SIGNAL, DUMPABLE, KEEP_CAPABILITIES, SUBREAPER, NO_NEW_PRIVILEGES = 1, 4, 8, 36, 38  # linux/prctl.h
NEW_USER, NEW = 0x10000000, {"process": 0x20000000, "network": 0x40000000, "IPC": 0x08000000}  # sched.h
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # landlock's calls, alike on every processor
EXECUTE, WRITE, READ, LIST, TRUNCATE, DEVICE = (1 << n for n in (0, 1, 2, 3, 14, 15))  # linux/landlock.h
READ_PAST_PERMISSIONS = 1 << 2  # the capability to read and search everything, which Landlock then narrows down
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/etc/passwd",
          "/etc/group", "/etc/nsswitch.conf", "/etc/ssl", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom",
          "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu")  # fmt: skip
FIRST_USER, USERS = 60514, 670  # no system gives these to anybody (systemd's "Users, Groups, UIDs and GIDs")


def system(name: str, *arguments: Any) -> int:
    """What a function of the C library returns. OSError where it refuses, or is not there."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None) if os.name == "posix" else None
    if function is None:
        raise OSError(errno.ENOSYS, f"{name}: this system does not have it")
    result = function(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return int(result)


def control(what: int, value: int) -> bool:
    """Linux's prctl; False where it is refused or not there."""
    with contextlib.suppress(OSError):
        return sys.platform == "linux" and system("prctl", what, value, 0, 0, 0) == 0
    return False


def separate() -> list[str]:
    """Put this process into namespaces of its own and return their names. Its next child is process 1 of the new one.

    Without root's rights it first becomes root of a user namespace, where the system allows that to everybody.
    """
    if sys.platform != "linux":
        return []
    user, group = os.geteuid(), os.getegid()
    if user:
        with contextlib.suppress(OSError):
            system("unshare", NEW_USER)
            for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
                Path(f"/proc/self/{name}").write_text(text)
    own = []
    for name, flag in NEW.items():
        with contextlib.suppress(OSError):
            system("unshare", flag)
            own.append(name)
    return own


def paths_to_read(kept: Iterable[str]) -> list[str]:
    """The paths that an interpreter with torch has to read, without the folders `kept`, wherever these lie."""
    closed = {Path(folder).resolve() for folder in kept}
    around = {parent for folder in closed for parent in folder.parents}

    def open_parts(path: Path) -> list[str]:
        if path in closed:
            return []
        if path not in around:
            return [str(path)]
        return [part for child in path.iterdir() if not child.is_symlink() for part in open_parts(child)]

    library = [sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), *(p for p in sys.path if "-packages" in p)]
    found = {Path(folder).resolve() for folder in (*library, *SYSTEM) if os.path.exists(folder)}
    return [part for path in sorted(found) if not found & set(path.parents) for part in open_parts(path)]


def landlock_rules(readable: Iterable[str], scratch: str) -> int:
    """A Landlock ruleset: read what is named, write in `scratch` alone. OSError where there is no Landlock."""
    version = system("syscall", CREATE_RULESET, None, 0, 1)
    every = (1 << (13, 14, 15, 15, 16)[min(version, 5) - 1]) - 1
    fields = struct.pack("QQQ", every, 3, 3)  # files; TCP from version 4; signals and abstract sockets from version 6
    ruleset = system("syscall", CREATE_RULESET, fields, 8 if version < 4 else 16 if version < 6 else 24, 0)
    for path in (*readable, scratch):
        rights = every if path == scratch else EXECUTE | READ | LIST
        rights |= WRITE if path.startswith("/dev/") else 0
        with contextlib.suppress(OSError):
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rights &= every if stat.S_ISDIR(os.fstat(opened).st_mode) else EXECUTE | WRITE | READ
            system("syscall", ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, opened), 0)
            os.close(opened)
    return ruleset


def succeeds(act: Callable[[], Any]) -> bool:
    """Can a process do this? A child tries."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            act()
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


@dataclass
class Sandbox:
    """What `enter` does to a process."""

    separate: list[str]  # the namespaces that it is in already
    user: int = 0  # another user; 0: it stays who it is
    ruleset: int = -1  # of Landlock; -1: none
    closed: bool = False  # other users cannot reach Python's files: keep the right to read, which Landlock narrows down

    @classmethod
    def best(cls, scratch: str, readable: list[str], separate: list[str]) -> Self:
        """The best that this system allows, each part tried in a child."""
        box = cls(separate)
        with contextlib.suppress(OSError):
            box.ruleset = landlock_rules(readable, scratch)
            if not succeeds(box.enter):
                box.ruleset = -1
        parents = {parent for path in readable for parent in Path(path).parents}
        box.closed = any(not parent.stat().st_mode & stat.S_IXOTH for parent in parents)
        user = FIRST_USER + secrets.randbelow(USERS)
        may = os.geteuid() == 0 and (box.ruleset >= 0 or not box.closed)
        if may and succeeds(replace(box, user=user).enter):
            box.user = user
        return box

    def enter(self) -> None:
        """Give up all rights that code under test does not need, for good. OSError where that fails."""
        if self.user:
            control(KEEP_CAPABILITIES, int(self.closed))
            os.setgroups([])
            os.setresgid(self.user, self.user, self.user)
            os.setresuid(self.user, self.user, self.user)
        control(DEATH_SIGNAL, signal.SIGKILL)
        if sys.platform == "linux":
            control(NO_NEW_PRIVILEGES, 1)
            left = READ_PAST_PERMISSIONS if self.user and self.closed else 0
            with contextlib.suppress(OSError):
                system("capset", struct.pack("Ii", 0x20080522, 0), struct.pack("6I", left, left, *[0] * 4))
        if self.ruleset >= 0:
            system("syscall", RESTRICT_SELF, self.ruleset, 0)

    @property
    def means(self) -> list[str]:
        """The parts in use, in words."""
        parts = [f"{name} namespace" for name in self.separate] + ["another user"] * bool(self.user)
        return parts + ["Landlock"] * (self.ruleset >= 0)


def open_doors(grader: int, port: int, file: str) -> list[str]:
    """What a process can still do to its grader, by trying: read a file, its memory, signal it, reach a port."""
    attempts: dict[str, Callable[[], object]] = {
        "read the course's files": lambda: open(file).close(),
        "read the grader's memory": lambda: open(f"/proc/{grader}/mem", "rb").close(),
        "send signals": lambda: os.kill(grader, 0),
        "use the network": lambda: socket.create_connection(("127.0.0.1", port), 1).close(),
        "write outside its folder": lambda: tempfile.TemporaryFile(dir=Path(os.environ["TMPDIR"]).parent).close(),
    }
    found = []
    for what, attempt in attempts.items():
        with contextlib.suppress(OSError, AttributeError):
            attempt()
            found.append(what)
    return found

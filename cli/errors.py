"""Errors as one line each: what went wrong, what to do, and the exit code."""

from __future__ import annotations

import errno

from .common import Stopped

REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space, or write to another disk"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "choose a place that you may write to, or change its permissions"),
    errno.EROFS: "the disk is read-only: choose another place",
    errno.ENOTDIR: "a part of the path is a file: choose another place",
    errno.EEXIST: "a file of that name is in the way: choose another place",
}


def describe(error: BaseException) -> tuple[str, int]:
    """The line that a failure ends with, and the exit code: 1 a failure, 2 a wrong call, 130 stopped by Ctrl-C."""
    if isinstance(error, Stopped):
        return str(error), 130
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":  # Typer's word for Ctrl-C
        return "stopped", 130
    if hasattr(error, "format_message"):  # a wrong call, in the words of Typer
        path = getattr(getattr(error, "ctx", None), "command_path", None) or "minilmm"
        return f"error: {error.format_message()} ({path} --help lists what there is)", 2
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    return f"error: {explain(error)}{notes}", 1


def explain(error: BaseException) -> str:
    """What an error is about, and what to do."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}: {REMEDIES.get(error.errno or 0, 'check the path')}"
    if isinstance(error, KeyError):
        return f"{error.args[0] if error.args else error}: not known here"
    if isinstance(error, UnicodeError) and hasattr(error, "reason"):
        return f"text that is not UTF-8 ({error.reason}): save the file as UTF-8"
    if type(error).__name__ == "DistBackendError" or (isinstance(error, RuntimeError) and "gloo" in str(error)):
        return "another process was lost: killed, or out of memory"
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return "out of memory: fewer --shots, --ways or a smaller --batch need less"
    if isinstance(error, ValueError | ArithmeticError | ModuleNotFoundError):  # UnicodeError is a ValueError
        return str(error)
    return f"{type(error).__name__}: {error} (MINILMM_DEBUG=1 shows where)"

"""Errors as one line each: what went wrong, and what to do."""

from __future__ import annotations

import errno

REMEDIES = {
    errno.ENOSPC: "free some space, or write to another disk",
    errno.EDQUOT: "free some space, or write to another disk",
    errno.EACCES: "choose a place that you may write to, or change its permissions",
    errno.EPERM: "choose a place that you may write to, or change its permissions",
    errno.EROFS: "the disk is read-only: choose another place",
    errno.ENOTDIR: "a part of the path is a file: choose another place",
    errno.EEXIST: "a file of that name is in the way: choose another place",
}


def explain(error: BaseException) -> str:
    """An error as one line: what it is about, and what to do."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}: {REMEDIES.get(error.errno or 0, 'check the path')}"
    if isinstance(error, KeyError):
        return f"{error.args[0] if error.args else error}: not known here"
    if isinstance(error, UnicodeError):
        return (
            f"text that is not UTF-8 ({error.reason}): save the file as UTF-8"
            if hasattr(error, "reason")
            else str(error)
        )
    if type(error).__name__ == "DistBackendError" or (isinstance(error, RuntimeError) and "gloo" in str(error)):
        return "another process was lost: killed, or out of memory"
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return "out of memory: fewer --shots, --ways or a smaller --batch need less"
    if isinstance(error, ValueError | ArithmeticError | ModuleNotFoundError):
        return str(error)
    return f"{type(error).__name__}: {error} (MINILMM_DEBUG=1 shows where)"

"""Files written whole or not at all, and by one process at a time; earlier ones out of the way; hashes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import minilmm

if TYPE_CHECKING:
    from torch import Tensor

try:
    import fcntl
except ImportError:  # Windows has other locks: there nothing is held
    fcntl = None  # type: ignore[assignment]

ZOO = Path(minilmm.__file__).parent / "zoo"
CARD, CHECKPOINT = "card.json", "checkpoint.safetensors"  # of a finished run, and of one that goes on


def shipped() -> list[str]:
    """Names of the checkpoints that come with the package."""
    return sorted(p.parent.name for p in ZOO.glob(f"*/{CARD}"))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place only when it is whole, with the permissions of a new file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode & 0o777
        yield temporary
        temporary.chmod(mode)  # safetensors writes files that nobody else may read
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """A safetensors file, whole or not at all. OSError where it cannot be written.

    Equal tensors make equal bytes where `metadata` has one entry: safetensors puts several in any order.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file  # which wants torch: hashes do not

    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)
    except SafetensorError as error:
        number = errno.ENOSPC if "No space left" in str(error) else errno.EIO
        raise OSError(number, os.strerror(number), str(path)) from None


def keep_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Store what took long to make, so that it is quick the next time; on a full or read-only disk, do nothing."""
    with contextlib.suppress(OSError):
        write_tensors(path, tensors, metadata)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """A folder or file that no other process writes to meanwhile. ValueError where one does.

    The system gives a lock back when its process ends, however it ends: what a dead process leaves blocks nobody.
    """
    lock = path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")
    with open(lock, "a+") as file:
        try:
            if fcntl is not None:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                who = file.read().strip() or "unknown"
                raise ValueError(f"{path}: process {who} writes there: wait, or choose another --out") from None
            # else the disk has no locks
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                lock.unlink()


def erase(folder: Path, names: Sequence[str]) -> None:
    """Delete what the folder has of these names, files or folders."""
    for name in names:
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def set_aside(folder: Path, names: Sequence[str], proof: Sequence[str]) -> Iterator[None]:
    """What the folder has of these names makes room for new files, and is deleted at the end.

    It comes back where none of the files `proof` is there by then: what was to replace it failed at its beginning.
    """
    aside = folder / f".aside.{os.getpid()}"
    aside.mkdir()
    for name in names:
        if os.path.lexists(folder / name):
            os.replace(folder / name, aside / name)
    try:
        yield
    finally:
        if not any((folder / name).exists() for name in proof):
            erase(folder, [path.name for path in aside.iterdir()])
            for path in aside.iterdir():
                os.replace(path, folder / path.name)
        shutil.rmtree(aside)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

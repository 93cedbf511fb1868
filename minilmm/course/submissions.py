"""What learners hand in, read as text whatever their editor made of it; and why a file is not there."""

import codecs
import io
import itertools
import os
import re
import stat
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

LARGEST = 1 << 20  # bytes of a file
MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip


def list_folders(everyone: Path) -> list[Path]:
    """One folder per learner: hidden ones, what macOS adds to archives, and links are none."""
    found = everyone.iterdir() if everyone.is_dir() else ()
    return sorted(p for p in found if p.is_dir() and not p.is_symlink() and not p.name.startswith((".", "__")))


def read(folder: Path, name: str) -> tuple[str | None, str]:
    """The text of a learner's `name`.py; or None, and why there is nothing to grade."""
    path = folder / f"{name}.py"
    try:
        if not os.path.lexists(path):
            return None, _elsewhere(folder, name)
        if not path.resolve().is_relative_to(folder.resolve()):
            return None, f"{path.name} is a link out of its folder: hand in the file itself"
        if not stat.S_ISREG(path.stat().st_mode):
            return None, f"{path.name} is no file: hand in the file itself"
        if path.stat().st_size > LARGEST:
            return None, f"{path.name} is larger than 1 MB: hand in the code alone"
        return _decoded(path.read_bytes()), ""
    except (UnicodeError, LookupError, SyntaxError) as error:
        return None, f"{path.name} is no text in UTF-8 ({error}): save it as UTF-8"
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error
        return None, f"{path.name} cannot be read ({why}): make it readable, or hand it in again"


def _decoded(data: bytes) -> str:
    """Text by its byte-order mark, or its coding line (PEP 263), or as UTF-8, or as Windows writes it."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    if b"\0" in data:
        raise UnicodeError("it holds null bytes")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    except SyntaxError as error:
        if "unknown encoding" in str(error):
            raise
        encoding = "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _elsewhere(folder: Path, name: str) -> str:
    """Why `name`.py is not in the folder: what lies there that may have been meant."""
    number, title = name.split("_", 1)
    meant = re.compile(rf"({number}(?!\d)|{re.escape(title)})", re.IGNORECASE)
    for path in itertools.islice(_files(folder), 1000):
        place = path.relative_to(folder)
        if not meant.search(path.stem) or path.suffix.lower() not in (".py", ".ipynb", ".txt"):
            continue
        if path.suffix.lower() == ".ipynb":
            return f"not handed in: {place} is a notebook: hand in {name}.py"
        if path.name == f"{name}.py":
            return f"not handed in: found in {place}: move it up into the learner's folder"
        return f"not handed in: found {place}: rename it to {name}.py"
    return "not handed in"


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder, near ones first; no hidden ones, and not through links."""
    for here, inner, files in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith((".", "__")))
        yield from (Path(here, name) for name in sorted(files))


def group_equal(texts: Mapping[str, str]) -> list[list[str]]:
    """Groups of names whose texts are the same up to white space and comments."""
    groups: dict[str, list[str]] = {}
    for name, text in texts.items():
        groups.setdefault(re.sub(r"#.*|\s+", "", text), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def printable(text: str) -> str:
    """A stranger's text in one line that any terminal can take: what is not printable is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)

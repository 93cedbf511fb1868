"""A folder of pictures with captions, in the ImageFolder convention of Hugging Face `datasets`.

Beside the pictures lies `metadata.jsonl`, one line per picture: {"file_name": "cat.png", "text": "a black cat"}
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

from minilmm.data.pictures import fingerprint, hash_share, load_picture
from minilmm.interface.document import Document, Image, Text
from minilmm.interface.tokenizer import EOC, SPECIALS, Tokenizer

Pairs = list[tuple[Path, str]]
_EXAMPLE = '{"file_name": "cat.png", "text": "a black cat"}'


class BadFolder(ValueError):
    """A folder that does not follow the convention; the message is one line with the file and line, and what to do."""


def read_folder(path: str | Path) -> Pairs:
    """Picture paths and their texts, in the order of `metadata.jsonl`. Further keys of a line are passed over.

    Blank lines, CRLF and a byte order mark are tolerated. Subfolders are allowed in `file_name`, a way out of the
    folder is not; a link that stands in the folder is followed. No picture is opened here.
    BadFolder: no such folder, nothing in it, no metadata, or a line that does not fit.
    """
    folder, metadata = Path(path), Path(path) / "metadata.jsonl"
    if not folder.is_dir():
        raise BadFolder(f"{folder}: no such folder: check the path")
    if not any(folder.iterdir()):
        raise BadFolder(f"{folder}: the folder is empty: put pictures and a metadata.jsonl into it")
    if not metadata.is_file():
        raise BadFolder(f"{folder}: no metadata.jsonl: write one line per picture, {_EXAMPLE}")
    entries: dict[Path, tuple[int, str]] = {}
    for number, raw in enumerate(metadata.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if raw.strip():
            file, text = _entry(folder, raw, f"{metadata}, line {number}")
            if file in entries:
                raise BadFolder(f"{metadata}, line {number}: {file.name} stands already in line {entries[file][0]}")
            entries[file] = number, text
    if not entries:
        raise BadFolder(f"{metadata}: no entries: write one line per picture, {_EXAMPLE}")
    return [(file, text) for file, (_, text) in entries.items()]


def _entry(folder: Path, raw: bytes, where: str) -> tuple[Path, str]:
    """One line of metadata, checked."""
    try:
        entry = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise BadFolder(f"{where}: not UTF-8: save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError
        raise BadFolder(f"{where}: not JSON that can be read ({error}): write {_EXAMPLE}") from None
    if not isinstance(entry, dict):
        raise BadFolder(f"{where}: not an object: write {_EXAMPLE}")
    for key in ("file_name", "text"):
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            given = repr(entry[key]) if key in entry else "missing"
            raise BadFolder(f'{where}: "{key}" must be a string that is not empty, and is {given}: write {_EXAMPLE}')
    name, text = entry["file_name"], entry["text"].strip()
    if any(p.drive or p.root or ".." in p.parts for p in (PurePosixPath(name), PureWindowsPath(name))):
        raise BadFolder(f"{where}: {name!r} leads out of the folder: name pictures relative to it")
    if special := [token for token in SPECIALS if token in text]:
        raise BadFolder(f"{where}: the text holds {special[0]}: leave special tokens out, they are added")
    file = folder / name
    if "\0" in name or not file.is_file():
        raise BadFolder(f"{where}: no picture {name!r} in the folder: check the name, or take the line out")
    return file, text


def split_folder(path: str | Path, test: float = 0.2, pairs: Pairs | None = None) -> tuple[Pairs, Pairs]:
    """Training and test pairs, the same ones on every machine and in every order of the lines.

    A picture's side follows from a hash of its file name, so that later additions move none that is there. Files with
    identical pixels (also under other names, tags or compression) go together, by the first of their names: no test
    picture is ever trained on. pairs: where the pictures of the folder were listed in another way.
    BadFolder: a side would be empty. BadPicture: a file that cannot be read.
    """
    pairs = read_folder(path) if pairs is None else pairs
    prints = {file: fingerprint(file) for file, _ in pairs}
    first: dict[str, str] = {}
    for file, key in prints.items():
        name = file.relative_to(path).as_posix()
        first[key] = min(first.get(key, name), name)
    sides: tuple[Pairs, Pairs] = [], []
    for file, text in pairs:
        sides[hash_share(first[prints[file]]) < test].append((file, text))
    if not all(sides):
        empty = f"leave the {'test' if sides[0] else 'training'} split empty: add pictures or change the share"
        raise BadFolder(f"{Path(path)}: {len(first)} different pictures at test={test} {empty}")
    return sides


def folder_documents(
    path: str | Path, tokenizer: Tokenizer, resolution: int, *, part: Literal["all", "train", "test"] = "all"
) -> list[Document]:
    """One document per picture, [Image (3, R, R), Text("a black cat <EOC>")], of the whole folder or one split of it.

    UnknownWords lists every word of the whole folder that the tokenizer lacks, before any picture is read; BadFolder
    and BadPicture are those of `read_folder` and `load_picture`.
    """
    everything = read_folder(path)
    tokenizer.encode(" ".join(text for _, text in everything))
    pairs = everything if part == "all" else split_folder(path)[part == "test"]
    return [[Image(load_picture(file, resolution)), Text(f"{text} {EOC}")] for file, text in pairs]

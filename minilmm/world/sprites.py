"""Sprites: the outlines of shapes, glyphs and letters as signed distances, which scale and turn smoothly.

A template is a (size, size) grid of distances to an outline, negative inside, in units of the sprite's radius; the
grid spans [-SPAN, SPAN], y downwards, so that the outline, of radius about 1, keeps a margin on every side.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

SPAN = 1.25
ATLAS = 48  # enough for an object as wide as the picture: a texel is then about a pixel
GLYPH_SIZE = 32
POINTS, PIECES = 5, 5  # a glyph's points on its 3 x 3 grid; straight pieces per arc
JITTER = 0.05  # standard deviation, in radii, by which an instance of a glyph moves its points
FAR = 9.0  # a distance that no outline has

# Seven base-32 digits per letter, one row of five pixels each: "h" is 10001. Capitals, since they fill the cell.
FONT = """
ehhvhhh uhhuhhu ehggghe sihhhis vgguggv vgguggg ehgnhhf hhhvhhh e44444e 72222ic hikokih ggggggv hrllhhh
hhpljhh ehhhhhe uhhuggg ehhhlid uhhukih fgge11u v444444 hhhhhhe hhhhha4 hhhllla hha4ahh hha4444 v1248gv
ehjlphe 4c4444e eh1248v eh161he 26aiv22 vgu11he 68guhhe v124888 ehhehhe ehhf12c
"""  # a-z, then 0-9


def grid(size: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """x and y of a template's cells, each (size, size)."""
    line = ((torch.arange(size, device=device) + 0.5) / size * 2 - 1) * SPAN
    return line.expand(size, size), line[:, None].expand(size, size)


def segment_distance(x: Tensor, y: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Distance from (S, S) points to each of the segments (..., 2): (..., S, S)."""
    ax, ay = start[..., 0, None, None], start[..., 1, None, None]
    dx, dy = end[..., 0, None, None] - ax, end[..., 1, None, None] - ay
    px, py = x - ax, y - ay  # (..., S, S)
    along = ((px * dx + py * dy) / (dx * dx + dy * dy).clamp(min=1e-8)).clamp(0, 1)
    return torch.hypot(px - along * dx, py - along * dy)


def polygon(x: Tensor, y: Tensor, corners: list[tuple[float, float]]) -> Tensor:
    """Signed distance to a closed polygon, (S, S)."""
    start = torch.tensor(corners, device=x.device)
    end = start.roll(-1, 0)
    (ax, ay), (bx, by) = start.T[:, :, None, None], end.T[:, :, None, None]  # (V, 1, 1)
    crosses = ((ay <= y) != (by <= y)) & (x < ax + (y - ay) * (bx - ax) / (by - ay + 1e-9))
    inside = crosses.sum(0) % 2 == 1
    distance = segment_distance(x, y, start, end).amin(0)
    return torch.where(inside, -distance, distance)


def _around(radii: list[float], turn: float = -0.25) -> list[tuple[float, float]]:
    """Corners at equal angles around the centre; `turn` is where the first stands, -0.25 being the top."""
    angles = [2 * math.pi * (turn + i / len(radii)) for i in range(len(radii))]
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def _heart() -> list[tuple[float, float]]:
    turns = [2 * math.pi * i / 48 for i in range(48)]
    wave = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in turns]
    return [(math.sin(t) ** 3 * 1.08, -(w + 2.5) / 14.5) for t, w in zip(turns, wave, strict=True)]


@functools.cache
def shape_atlas(device: torch.device | str = "cpu") -> Tensor:
    """Signed distances of ALL_SHAPES, in the vocabulary's order: (16, ATLAS, ATLAS). Made once per device."""
    x, y = grid(ATLAS, device)
    box = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    a, b = 0.33, 1.0  # a cross's arm: half its width, its reach
    cross = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)]
    arrow = [(-1.05, -0.3), (0, -0.3), (0, -0.95), (1.1, 0), (0, 0.95), (0, 0.3), (-1.05, 0.3)]
    shapes = [
        torch.hypot(x, y) - 1,
        polygon(x, y, [(0.84 * u, 0.84 * v) for u, v in box]),
        polygon(x, y, [(0, -1.05), (1.08, 0.85), (-1.08, 0.85)]),
        polygon(x, y, _around([1.13, 0.5] * 5)),
        polygon(x, y, _heart()),
        polygon(x, y, cross),
        (torch.hypot(x, y) - 0.75).abs() - 0.28,
        polygon(x, y, [(1.08 * u, 0.5 * v) for u, v in box]),
        torch.maximum(torch.hypot(x - 0.22, y) - 1.05, 0.88 - torch.hypot(x - 0.79, y + 0.1)),
        polygon(x, y, _around([1.08] * 6, turn=0)),
        polygon(x, y, arrow),
        polygon(x, y, [(0.72 * u, 1.12 * v) for u, v in [(0, -1), (1, 0), (0, 1), (-1, 0)]]),
        polygon(x, y, _around([1.08] * 5)),
        torch.maximum(torch.hypot(x, y - 0.5) - 1.1, y - 0.5),
        polygon(x, y, [(-0.5, -0.72), (0.5, -0.72), (1.1, 0.72), (-1.1, 0.72)]),
        torch.stack([torch.hypot(x - 0.58 * u, y - 0.58 * v) for u, v in _around([1.0] * 3)]).amin(0) - 0.5,
    ]
    return torch.stack(shapes)


@functools.cache
def letter_atlas(device: torch.device | str = "cpu") -> Tensor:
    """Signed distances of a-z and 0-9, (36, ATLAS, ATLAS): 5 x 7 boxes of side 2/7, a letter is 2 high."""
    rows = torch.tensor([[int(digit, 32) for digit in letter] for letter in FONT.split()], device=device)  # (36, 7)
    lit = (rows[..., None] >> torch.arange(4, -1, -1, device=device)) & 1  # (36, 7, 5)
    lit = torch.nn.functional.pad(lit, (1, 1, 1, 1)).flatten(1).bool()  # (36, 63), a dark frame around
    x, y = grid(ATLAS, device)
    row, column = torch.meshgrid(torch.arange(9, device=device), torch.arange(7, device=device), indexing="ij")
    beside = (x - (column.flatten() - 3)[:, None, None] * 2 / 7).abs() - 1 / 7  # (63, ATLAS, ATLAS)
    above = (y - (row.flatten() - 4)[:, None, None] * 2 / 7).abs() - 1 / 7
    away = torch.hypot(beside.clamp(min=0), above.clamp(min=0))
    return torch.stack([away[on].amin(0) - away[~on].amin(0) for on in lit])


def hash_classes(classes: Tensor, n: int) -> Tensor:
    """n numbers in [0, 1) that depend on the class alone: (B,) long -> (B, n)."""
    mask, h = 0xFFFFFFFF, classes[:, None] * 0x9E3779B1 + torch.arange(1, n + 1, device=classes.device) * 0x85EBCA6B
    for _ in range(3):  # an integer hash in 32 bits; products stay below 2**63
        h = h & mask
        h = ((h ^ (h >> 16)) * 0x45D9F3B) & mask
    return (h ^ (h >> 16)).float() / 2**32


def glyphs(classes: Tensor, generator: torch.Generator) -> Tensor:
    """One handwritten instance of each glyph class: (B,) long, any integers >= 0 -> signed distances (B, S, S).

    The class decides everything but the hand: five points of a 3 x 3 grid, the order in which a pen visits them,
    which of its four strokes are bent and whether one is skipped. ValueError if a class is negative.
    """
    batch, device = len(classes), classes.device
    if batch and int(classes.min()) < 0:
        raise ValueError(f"glyph classes are integers >= 0, got {int(classes.min())}")
    noise = torch.randn(batch, POINTS, 3, generator=generator, device=device) * JITTER
    chance = hash_classes(classes, 9 + POINTS)
    cell = chance[:, :9].argsort(1)[:, :POINTS]  # (B, 5), different points
    points = torch.stack([cell % 3 - 1, cell // 3 - 1], -1) * 0.78 + noise[..., :2]  # (B, 5, 2)
    bend = (chance[:, 9 : 8 + POINTS] * 3).floor() - 1  # (B, 4): -1 left, 0 straight, 1 right
    bend = bend * 0.45 + noise[:, 1:, 2]
    start, end = points[:, :-1], points[:, 1:]
    side = torch.stack([start[..., 1] - end[..., 1], end[..., 0] - start[..., 0]], -1)  # at right angles
    middle = ((start + end) / 2 + side * bend[..., None]).clamp(-1.2, 1.2)  # (B, 4, 2), a Bezier's control point
    t = torch.linspace(0, 1, PIECES + 1, device=device)[:, None]
    path = (1 - t) ** 2 * start[:, :, None] + 2 * t * (1 - t) * middle[:, :, None] + t**2 * end[:, :, None]
    skipped = (chance[:, -1] * 4).long()  # the second or third stroke, or none: the pen leaves the paper
    x, y = grid(GLYPH_SIZE, device)
    nearest = torch.full((batch, GLYPH_SIZE, GLYPH_SIZE), FAR, device=device)
    for stroke in range(POINTS - 1):
        distance = segment_distance(x, y, path[:, stroke, :-1], path[:, stroke, 1:]).amin(1)  # (B, S, S)
        lifted = (skipped == stroke) & (stroke in (1, 2))
        nearest = torch.minimum(nearest, distance.masked_fill(lifted[:, None, None], FAR))
    return nearest - (0.1 + noise[:, :1, 2:] * 0.15)  # less half the width of the pen

"""Rendering: scenes, glyphs and words to pictures, thousands per second, on the generator's device.

48 pixels: the smallest object is then 12 pixels wide, so that stripes of 4.5 pixels survive on it, and an encoder does
1.8 times less work than at 64. Texture is measured in shares of the picture: other resolutions show the same picture.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from minilmm.world.random import uniform
from minilmm.world.scenes import Scenes
from minilmm.world.sprites import SPAN, glyphs, letter_atlas, shape_atlas
from minilmm.world.vocabulary import RGB

RESOLUTION = 48
PERIOD = 4.5 / 48  # of stripes and dots, as a share of the picture's side
RIM = 0.75 / 48  # a textured object's outline keeps its colour, or small stars and crosses would fall apart
SPECKLE = 0.02  # the largest pixel noise


def sample_look(scenes: Scenes, generator: torch.Generator, resolution: int = RESOLUTION) -> tuple[Tensor, ...]:
    """How B scenes look beyond what a caption says: colours near the named ones (B, O, 3), the accents of their
    textures (B, O, 3), and pixel noise (B, R, R).
    """
    batch, O = scenes.colour.shape
    named = torch.tensor(RGB, device=generator.device)[scenes.colour]  # (B, O, 3)
    fill = (named + uniform(-0.035, 0.035, (batch, O, 3), generator)).clamp(0, 1)
    light = named.mean(-1, keepdim=True) > 0.6  # yellow: a lighter accent would not show
    accent = torch.where(light, fill * 0.45, fill + (1 - fill) * 0.75)
    return fill, accent, uniform(-SPECKLE, SPECKLE, (batch, resolution, resolution), generator)


def local(x: Tensor, y: Tensor, scale: Tensor, angle: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """Each pixel as N sprites see it: moved by x, y, turned by angle, in units of scale; all (N,) -> two (N, R, R)."""
    line = (torch.arange(resolution, device=x.device) + 0.5) / resolution
    dx, dy = (line - x[:, None]) / scale[:, None], (line - y[:, None]) / scale[:, None]  # (N, R)
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    u = (dx * cos)[:, None, :] + (dy * sin)[:, :, None]
    v = (dy * cos)[:, :, None] - (dx * sin)[:, None, :]
    return u, v


def depth(templates: Tensor, x: Tensor, y: Tensor, radius: Tensor, angle: Tensor, resolution: int) -> Tensor:
    """How deep each pixel lies inside a sprite, in pixels: distances (N, S, S), places (N,) -> (N, R, R)."""
    where = torch.stack(local(x, y, radius * SPAN, angle, resolution), -1)  # (N, R, R, 2)
    distance = F.grid_sample(templates[:, None], where, padding_mode="border", align_corners=False)[:, 0]
    pixels = (radius * resolution).clamp(min=2.5)  # below, a template's margin would be no wider than a soft edge
    return distance.mul_(-pixels[:, None, None])


def cover(deep: Tensor) -> Tensor:
    """The share of each pixel that lies inside, from depths in pixels: a soft edge one pixel wide."""
    return (deep + 0.5).clamp_(0, 1)


def texture(kind: Tensor, x: Tensor, y: Tensor, angle: Tensor, resolution: int) -> Tensor:
    """Where the accent shows, (N, R, R) in [0, 1]: nowhere if plain (0), stripes (1) or dots (2).

    Dots are a lattice of discs; stripes are the same lattice with one of its two directions left out.
    """
    u, v = local(x, y, torch.full_like(x, PERIOD), angle + math.pi / 4, resolution)
    u, v = u - u.round(), v - v.round()
    distance = (u * u + v * v * (kind == 2)[:, None, None]).sqrt_()  # in periods, from the nearest dot or stripe
    size = torch.tensor([-9.0, 0.25, 0.33], device=x.device)[kind]
    return ((size[:, None, None] - distance) * (PERIOD * resolution) + 0.5).clamp_(0, 1)


def draw_scenes(scenes: Scenes, fill: Tensor, accent: Tensor, noise: Tensor) -> Tensor:
    """Scenes with a given look (`sample_look`): (B, 3, R, R) in [0, 1]. Earlier objects lie on later ones.

    A picture is a weighted sum of a few colours, so the weights of a pixel are found first and mixed in one product.
    """
    batch, R = len(scenes), noise.shape[-1]
    O = max(int(scenes.count.max()), 1) if batch else 1
    here = scenes.present[:, :O]
    shape, kind, x, y, radius, angle = (
        value[:, :O][here] for value in (scenes.shape, scenes.texture, scenes.x, scenes.y, scenes.radius, scenes.angle)
    )  # each (N,): only what is there is drawn
    solid, textured = noise.new_zeros(2, batch, O, R, R)
    deep = depth(shape_atlas(x.device)[shape], x, y, radius, angle, R)  # (N, R, R)
    solid[here] = cover(deep)
    textured[here] = texture(kind, x, y, angle, R) * cover(deep - RIM * R)
    free = torch.ones_like(noise)  # (B, R, R), the share of a pixel that is not painted yet
    for o in range(O):
        solid[:, o] *= free
        free = free - solid[:, o]
        textured[:, o] = torch.minimum(textured[:, o], solid[:, o])
    weights = torch.cat([free[:, None], solid, textured, noise[:, None]], 1)
    fill, change = fill[:, :O], accent[:, :O] - fill[:, :O]
    colours = torch.cat([scenes.background[:, None], fill, change, torch.ones_like(fill[:, :1])], 1)
    return (colours.mT @ weights.flatten(2)).clamp_(0, 1).view(batch, 3, R, R)


def render(scenes: Scenes, generator: torch.Generator, resolution: int = RESOLUTION) -> Tensor:
    """Pictures of scenes: (B, 3, R, R) float32 in [0, 1], the same for the same seed."""
    return draw_scenes(scenes, *sample_look(scenes, generator, resolution))


def print_ink(ink: Tensor, generator: torch.Generator) -> Tensor:
    """Dark ink (B, R, R) on pale paper: (B, 3, R, R) in [0, 1]."""
    batch = len(ink)
    paper = uniform(0.78, 1.0, (batch, 3, 1, 1), generator)
    dark = uniform(0.0, 0.2, (batch, 3, 1, 1), generator)
    speckle = uniform(-SPECKLE, SPECKLE, (batch, 1, *ink.shape[1:]), generator)
    return (paper + (dark - paper) * ink[:, None] + speckle).clamp_(0, 1)


def render_glyphs(classes: Tensor, generator: torch.Generator, resolution: int = RESOLUTION) -> Tensor:
    """One instance of each glyph class, somewhere, somewhat turned: (B,) long >= 0 -> (B, 3, R, R) in [0, 1]."""
    n = (len(classes),)
    radius = uniform(0.34, 0.42, n, generator)
    x, y = (0.5 + uniform(-1, 1, n, generator) * (0.48 - radius) for _ in range(2))
    angle = uniform(-0.14, 0.14, n, generator)
    return print_ink(cover(depth(glyphs(classes, generator), x, y, radius, angle, resolution)), generator)


def render_words(indices: Tensor, generator: torch.Generator, resolution: int = RESOLUTION) -> Tensor:
    """Short words or numbers: (B, L) long, indices into a-z, 0-9, -1 after the end -> (B, 3, R, R) in [0, 1].

    Up to six letters stay legible at 48 pixels. The letters are capitals, as on a sign.
    """
    batch, L = indices.shape
    here, device = indices >= 0, indices.device
    count = here.sum(1).clamp(min=1)
    pitch = 12 / 7  # six of a letter's boxes, in radii
    length = pitch * count - 2 / 7  # of the word, in radii
    radius = (0.94 / length).clamp(max=0.34) * uniform(0.88, 1.0, (batch,), generator)  # 0.94 fills the picture
    half = radius * length / 2
    angle = uniform(-0.1, 0.1, (batch,), generator) / count.sqrt()
    x = 0.5 + uniform(-1, 1, (batch,), generator) * (0.48 - half).clamp(min=0)
    y = 0.5 + uniform(-1, 1, (batch,), generator) * (0.44 - radius - half * angle.sin().abs()).clamp(min=0)
    offset = (torch.arange(L, device=device) - (count[:, None] - 1) / 2) * pitch * radius[:, None]  # (B, L)
    across, down = x[:, None] + offset * angle.cos()[:, None], y[:, None] + offset * angle.sin()[:, None]
    ink = torch.zeros(batch, L, resolution, resolution, device=device)
    placed = (across, down, radius[:, None], angle[:, None])
    x, y, radius, angle = (value.expand(batch, L)[here] for value in placed)
    ink[here] = cover(depth(letter_atlas(device)[indices[here]], x, y, radius, angle, resolution))
    return print_ink(ink.amax(1), generator)


def render_grids(indices: Tensor, generator: torch.Generator, resolution: int = RESOLUTION) -> Tensor:
    """Signs and tables: (B, R, C) long, indices into a-z, 0-9, -1 where there is none -> (B, 3, R, R) in [0, 1]."""
    here, batch = indices >= 0, len(indices)
    down, across = (here.any(axis).sum(1) for axis in (2, 1))  # rows and columns that have symbols
    pitch = 0.94 / torch.maximum(down, across).clamp(min=2) * uniform(0.88, 1.0, (batch,), generator)
    centres = []
    for count in (down, across):
        room = (0.48 - pitch * count / 2).clamp(min=0)
        centres.append(0.5 + uniform(-1, 1, (batch,), generator) * room - (count - 1) / 2 * pitch)
    row, column = (torch.arange(size, device=indices.device) for size in indices.shape[1:])
    y, x = (first[:, None] + place * pitch[:, None] for first, place in zip(centres, (row, column), strict=True))
    y, x, radius = (value.expand(indices.shape)[here] for value in (y[:, :, None], x[:, None], pitch[:, None, None]))
    ink = torch.zeros(*indices.shape, resolution, resolution, device=indices.device)
    templates = letter_atlas(indices.device)[indices[here]]
    ink[here] = cover(depth(templates, x, y, radius * 0.42, torch.zeros_like(x), resolution))
    return print_ink(ink.flatten(1, 2).amax(1), generator)


def degrade(images: Tensor, generator: torch.Generator, *, blur: float = 0.035, crop: float = 0.35) -> Tensor:
    """Bad photographs: a part of each picture, enlarged and out of focus. (B, ..., R, R) -> the same shape.

    blur: largest standard deviation, as a share of the side. crop: largest share of the side that is cut off. Each
    picture suffers between half of these and all. Both are linear in rows and in columns, hence two products.
    """
    batch, R = len(images), images.shape[-1]
    side = 1 - crop * uniform(0.5, 1.0, (batch,), generator)
    spread = (blur * R * uniform(0.5, 1.0, (batch,), generator)).clamp(min=0.3)  # in pixels; 0.3 is sharp
    y, x = (uniform(0, 1, (batch,), generator) * (1 - side) for _ in range(2))
    return degraded(images, x, y, side, spread)


def degraded(images: Tensor, x: Tensor, y: Tensor, side: Tensor, spread: Tensor) -> Tensor:
    """The square from x, y on, of a side, enlarged and blurred by `spread` pixels, all (B,): (B, ..., R, R) images."""
    batch, R = len(images), images.shape[-1]
    pixel = torch.arange(R, device=images.device)

    def lens(start: Tensor) -> Tensor:
        centre = (start[:, None] + side[:, None] * (pixel + 0.5) / R) * R - 0.5  # (B, R), what each new pixel looks at
        looks = (-(((centre[..., None] - pixel) / spread[:, None, None]) ** 2) / 2).softmax(-1)  # (B, R, R)
        return looks.view(batch, *[1] * (images.dim() - 3), R, R)

    return (lens(y) @ images @ lens(x).mT).clamp_(0, 1)


def print_symbols(images: Tensor, indices: Tensor, radius: float) -> Tensor:
    """A line of symbols (B, L), indices into a-z, 0-9, on the right of the lower edge of images (B, 3, R, R)."""
    batch, L = indices.shape
    pitch = 12 / 7 * radius
    x = (1 - pitch * (L - 0.5 - torch.arange(L, device=images.device))).expand(batch, L)
    flat = torch.full_like(x, radius).flatten()
    deep = depth(letter_atlas(images.device)[indices.flatten()], x.flatten(), 1 - 1.1 * flat, flat, 0 * flat,
                 images.shape[-1])  # fmt: skip
    ink = cover(deep).unflatten(0, (batch, L)).amax(1)
    return images * (1 - ink[:, None])


def blank(images: Tensor) -> Tensor:
    """Mid-grey pictures of the same shape: the control that shows nothing."""
    return torch.full_like(images, 0.5)

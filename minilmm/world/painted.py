"""What examples show, painted: scenes, glyphs, print, bad photographs, boxed pictures, and stories as videos."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from minilmm.world.asked import Photographs
from minilmm.world.printed import Boxed, Printed
from minilmm.world.render import degraded, draw_scenes, print_symbols, render, render_glyphs, render_grids, sample_look
from minilmm.world.scenes import Scenes
from minilmm.world.stories import Stories
from minilmm.world.videos import render_story


@dataclass(frozen=True)
class Glyphs:
    """Pictures of procedural glyphs, one class per picture: (M,)."""

    classes: Tensor


Painted = Scenes | Glyphs | Printed | Photographs | Boxed | Stories


def paint(pictures: Painted, generator: torch.Generator, resolution: int) -> Tensor:
    """M pictures or videos, (M, T, 3, R, R) in [0, 1]; T is 1 but for stories."""
    if isinstance(pictures, Stories):
        return render_story(pictures, generator, resolution)
    if isinstance(pictures, Scenes):
        images = render(pictures, generator, resolution)
    elif isinstance(pictures, Glyphs):
        images = render_glyphs(pictures.classes, generator, resolution)
    elif isinstance(pictures, Printed):
        images = render_grids(pictures.symbols, generator, resolution)
    elif isinstance(pictures, Photographs):
        images = photograph(pictures, generator, resolution)
    else:
        images = frame(pictures, generator, resolution)
    return images[:, None]


def photograph(pictures: Photographs, generator: torch.Generator, resolution: int) -> Tensor:
    """Photographs, some bad: blurred ones hide the texture, dark ones the colour, cropped ones the shape."""
    scenes, flaw = pictures.scenes, pictures.flaw
    images = render(scenes, generator, resolution)
    x, y, radius = (value[:, 0] for value in (scenes.x, scenes.y, scenes.radius))
    cropped, whole = flaw == 3, torch.ones_like(x)
    side = torch.where(cropped, radius * 0.9, whole)
    left, top = (torch.where(cropped, centre - side / 2, 0 * centre) for centre in (x, y))
    seen = degraded(images, left, top, side, torch.where(flaw == 1, 0.032 * resolution, 0.3 * whole))
    grey = 0.35 * images.mean(1, keepdim=True).expand_as(images)
    return torch.where((flaw == 2)[:, None, None, None], grey, seen)


INNER = 0.8  # of a boxed picture's side; the rest is margin, in which its size is printed


def frame(pictures: Boxed, generator: torch.Generator, resolution: int) -> Tensor:
    """Pictures with a margin on the right and below, where their width and their height are printed."""
    scenes = pictures.scenes
    inner = replace(scenes, x=scenes.x * INNER, y=scenes.y * INNER, radius=scenes.radius * INNER)
    images = draw_scenes(inner, *sample_look(scenes, generator, resolution))
    place = (torch.arange(resolution, device=images.device) + 0.5) / resolution
    margin = (place > INNER) | (place[:, None] > INNER)  # (R, R)
    return print_symbols(images.masked_fill(margin, 0.95), pictures.digits, 0.09)

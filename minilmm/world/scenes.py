"""Scenes: one to four objects with a colour, a shape, a texture, a size and a place, sampled by the thousand."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from minilmm.world.random import choices, integers, uniform
from minilmm.world.vocabulary import ALL_SHAPES, COLOURS, SHAPES, SIZES, TEXTURES, held_out

MAX_OBJECTS = 4
TRIES = 24  # at scenes whose objects differ in colour and shape
LARGE = 0.1875  # an object's radius from which it is called large, as a share of the picture's side


@dataclass(frozen=True)
class Scenes:
    """B scenes of up to O objects; colours, shapes, textures and sizes are indices into the vocabulary's lists."""

    present: Tensor  # (B, O) bool: is there an o-th object? Present ones come first
    colour: Tensor  # (B, O) long, as the next three; 0 where absent
    shape: Tensor
    texture: Tensor
    size: Tensor
    x: Tensor  # (B, O) float, centres in [0, 1]
    y: Tensor  # downwards
    radius: Tensor  # (B, O) share of the picture's side; at least LARGE where size is 1
    angle: Tensor  # (B, O) radians, small: shapes stay recognisable
    background: Tensor  # (B, 3) RGB in [0, 1]

    def __len__(self) -> int:
        return len(self.present)

    def __getitem__(self, rows: slice | Tensor) -> Scenes:
        return Scenes(*(getattr(self, f.name)[rows] for f in fields(self)))

    @property
    def count(self) -> Tensor:
        """Objects per scene, (B,)."""
        return self.present.sum(1)

    def listed(self, order: Tensor) -> Scenes:
        """The same pictures with their objects in another order, (B, O)."""
        moved = {f.name: getattr(self, f.name).gather(1, order) for f in fields(self) if f.name != "background"}
        return replace(self, **moved)

    def has_held_out(self) -> Tensor:
        """True where any object is a held-out colour-shape pair, (B,)."""
        return (held_out(self.colour, self.shape) & self.present).any(1)


def sample_pairs(shape: tuple[int, ...], generator: torch.Generator, split: str) -> tuple[Tensor, Tensor]:
    """Colour-shape pairs of a split: two tensors of the shape given.

    "train" and "held-out" are the halves of what is shown; "novel" has the shapes that are only read of, "all" has all.
    """
    device = generator.device
    number = [torch.arange(len(names), device=device) for names in (COLOURS, ALL_SHAPES)]
    pairs = torch.cartesian_prod(*number)
    out, novel = held_out(*pairs.T), pairs[:, 1] >= len(SHAPES)
    halves = {"train": ~out & ~novel, "held-out": out & ~novel, "novel": novel, "all": torch.ones_like(out)}
    pairs = pairs[halves[split]]  # (P, 2)
    drawn = pairs[integers(len(pairs), shape, generator)]
    return drawn[..., 0], drawn[..., 1]


def sample_colours(shape: Tensor, generator: torch.Generator, split: str) -> Tensor:
    """A colour for every shape such that the pair belongs to the split, the same size as `shape`."""
    out = held_out(torch.arange(len(COLOURS), device=shape.device), shape[..., None])  # (..., colours)
    ok = torch.ones_like(out) if split == "all" else out == (split == "held-out")
    return (uniform(0, 1, tuple(ok.shape), generator) * ok).argmax(-1)


def sample_scenes(
    batch: int, generator: torch.Generator, *, objects: Tensor | int = 1, split: str = "train", distinct: bool = False
) -> Scenes:
    """Random scenes on the generator's device.

    objects: how many, an int or (B,). Several objects stand in different quadrants.
    split: which colour-shape pairs may occur. distinct: colours differ within a scene, and so do shapes.
    """
    device, O = generator.device, MAX_OBJECTS
    present = torch.arange(O, device=device) < torch.as_tensor(objects, device=device).expand(batch)[:, None]  # (B, O)
    colour, shape = sample_pairs((batch, O), generator, split)
    if distinct:  # keep, per scene, the first try without a clash
        colours, shapes = sample_pairs((batch, TRIES, O), generator, split)
        same = (colours[..., :, None] == colours[..., None, :]) | (shapes[..., :, None] == shapes[..., None, :])
        both = (present[:, :, None] & present[:, None, :]).triu(1)  # (B, O, O), each pair of objects once
        best = (same & both[:, None]).flatten(2).any(-1).int().argmin(1)
        rows = torch.arange(batch, device=device)
        colour, shape = colours[rows, best], shapes[rows, best]
    texture = integers(len(TEXTURES), (batch, O), generator) * present
    size = integers(len(SIZES), (batch, O), generator) * present
    zero, background = torch.zeros(batch, O, device=device), torch.zeros(batch, 3, device=device)
    scenes = Scenes(present, colour * present, shape * present, texture, size, zero, zero, zero, zero, background)
    return place(scenes, generator)


def place(scenes: Scenes, generator: torch.Generator) -> Scenes:
    """The same objects at new places, with new radii, angles and backgrounds: another picture of the same thing."""
    size = batch, O = scenes.present.shape
    alone = (scenes.count == 1)[:, None]
    small = torch.where(alone, uniform(0.14, 0.18, size, generator), uniform(0.125, 0.165, size, generator))
    large = torch.where(alone, uniform(0.25, 0.34, size, generator), uniform(0.195, 0.23, size, generator))
    radius = torch.where(scenes.size == 1, large, small)
    quadrant = choices(4, O, (batch,), generator)  # (B, O), different within a scene
    jitter = uniform(-1, 1, (batch, O, 2), generator)
    room = torch.where(alone, 0.5 - radius, 0.25 - radius).clamp(min=0)  # alone, an object may stand anywhere
    corner = torch.stack([quadrant % 2, quadrant // 2], -1)  # (B, O, 2)
    middle = torch.where(alone[..., None], 0.5, 0.25 + 0.5 * corner)
    x, y = (middle + jitter * room[..., None]).unbind(-1)
    angle, background = uniform(-0.26, 0.26, size, generator), uniform(0.72, 1.0, (batch, 3), generator)
    return replace(scenes, x=x, y=y, radius=radius, angle=angle, background=background)


def with_concepts(scenes: Scenes, colours: Tensor, shapes: Tensor) -> Scenes:
    """Other colours and shapes for the first k objects: each (B, k)."""
    colour, shape = (F.pad(value, (0, MAX_OBJECTS - value.shape[1])) * scenes.present for value in (colours, shapes))
    return replace(scenes, colour=colour, shape=shape)


def same_concept(colour: Tensor, shape: Tensor, texture: Tensor, generator: torch.Generator) -> Scenes:
    """One-object scenes of the concepts given, each (B,): sizes, places and backgrounds are drawn anew."""
    scenes = with_concepts(sample_scenes(len(colour), generator), colour[:, None], shape[:, None])
    return place(replace(scenes, texture=F.pad(texture[:, None], (0, MAX_OBJECTS - 1))), generator)


def shuffle_objects(scenes: Scenes, generator: torch.Generator) -> Scenes:
    """The same pictures with their objects listed in another order (present ones still first)."""
    noise = uniform(0, 1, scenes.present.shape, generator)
    return scenes.listed((noise + ~scenes.present).argsort(1))


def in_reading_order(scenes: Scenes) -> Scenes:
    """The same pictures with their objects listed row by row, as one reads."""
    place = 2 * (scenes.y >= 0.5) + (scenes.x >= 0.5)
    return scenes.listed(place.masked_fill(~scenes.present, 4).argsort(dim=1, stable=True))


def turned(scenes: Scenes) -> Scenes:
    """The same scenes with their first two objects listed the other way round, where there are two."""
    order = torch.arange(MAX_OBJECTS, device=scenes.shape.device).expand(len(scenes), -1).clone()
    two = scenes.count > 1
    order[two, 0], order[two, 1] = 1, 0
    return scenes.listed(order)


def join_scenes(parts: list[Scenes]) -> Scenes:
    """Scenes one after another."""
    return Scenes(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Scenes)))

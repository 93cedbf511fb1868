"""Scenes: one to four objects with a colour, a shape, a texture, a size and a place, sampled by the thousand."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from minilmm.world.vocabulary import COLOURS, SHAPES, TEXTURES, held_out

MAX_OBJECTS = 4
LARGE = 0.1875  # an object's radius from which it is called large, as a share of the picture's side


@dataclass(frozen=True)
class Scenes:
    """B scenes of up to O objects, as tensors.

    present  (B, O) bool        is there an o-th object? Present ones come first
    colour, shape, texture, size   (B, O) long, indices into the vocabulary's lists; 0 where absent
    x, y     (B, O) float       centres in [0, 1], y downwards
    radius   (B, O) float       share of the picture's side; at least LARGE where size is 1
    angle    (B, O) float       radians, small: shapes stay recognisable
    background (B, 3) float     RGB in [0, 1]
    """

    present: Tensor
    colour: Tensor
    shape: Tensor
    texture: Tensor
    size: Tensor
    x: Tensor
    y: Tensor
    radius: Tensor
    angle: Tensor
    background: Tensor

    def __len__(self) -> int:
        return len(self.present)

    def __getitem__(self, rows: slice | Tensor) -> Scenes:
        return Scenes(*(getattr(self, f.name)[rows] for f in fields(self)))

    @property
    def count(self) -> Tensor:
        """Objects per scene, (B,)."""
        return self.present.sum(1)

    def has_held_out(self) -> Tensor:
        """True where any object is a held-out colour-shape pair, (B,)."""
        return (held_out(self.colour, self.shape) & self.present).any(1)


def draw(weights: Tensor, generator: torch.Generator) -> Tensor:
    """One index per row, in proportion to the row's weights: (..., K) -> (...)."""
    noise = -torch.empty_like(weights, dtype=torch.float).exponential_(generator=generator).log()
    return (weights.float().log() + noise).argmax(-1)


def choices(n: int, k: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """k different integers below n per row, in random order: (*shape, k)."""
    return torch.rand(*shape, n, generator=generator, device=generator.device).argsort(-1)[..., :k]


def uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform floats in [low, high)."""
    return low + (high - low) * torch.rand(*shape, generator=generator, device=generator.device)


def integers(n: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform integers below n."""
    return torch.randint(n, shape, generator=generator, device=generator.device)


def sample_pairs(shape: tuple[int, ...], generator: torch.Generator, split: str) -> tuple[Tensor, Tensor]:
    """Colour-shape pairs of a split ("train", "held-out", "all"): two tensors of the shape given."""
    device = generator.device
    colours, shapes = torch.meshgrid(
        torch.arange(len(COLOURS), device=device), torch.arange(len(SHAPES), device=device), indexing="ij"
    )
    out = held_out(colours, shapes)
    keep = {"train": ~out, "held-out": out, "all": torch.ones_like(out)}[split]
    table = torch.stack([colours[keep], shapes[keep]], -1)  # (P, 2)
    picked = table[integers(len(table), shape, generator)]
    return picked[..., 0], picked[..., 1]


def sample_scenes(
    batch: int,
    generator: torch.Generator,
    *,
    objects: Tensor | int = 1,
    split: str = "train",
    distinct: bool = False,
) -> Scenes:
    """Random scenes on the generator's device.

    objects: how many, an int or (B,). Several objects stand in different quadrants.
    split: which colour-shape pairs may occur. distinct: colours differ within a scene, and so do shapes.
    """
    device, O = generator.device, MAX_OBJECTS
    count = torch.as_tensor(objects, device=device).expand(batch)
    present = torch.arange(O, device=device) < count[:, None]  # (B, O)
    colour, shape = sample_pairs((batch, O), generator, split)
    if distinct:  # try several times and keep, per scene, the first try without a clash
        tries = 24
        colours, shapes = sample_pairs((batch, tries, O), generator, split)
        here = present[:, None]  # (B, 1, O)
        pair = here[..., :, None] & here[..., None, :] & ~torch.eye(O, dtype=torch.bool, device=device)
        same = (colours[..., :, None] == colours[..., None, :]) | (shapes[..., :, None] == shapes[..., None, :])
        clash = (same & pair).any(-1).any(-1)  # (B, tries)
        best = clash.int().argmin(1)
        rows = torch.arange(batch, device=device)
        colour, shape = colours[rows, best], shapes[rows, best]
    scenes = Scenes(
        present=present,
        colour=colour * present,
        shape=shape * present,
        texture=integers(len(TEXTURES), (batch, O), generator) * present,
        size=integers(2, (batch, O), generator) * present,
        x=torch.zeros(batch, O, device=device),
        y=torch.zeros(batch, O, device=device),
        radius=torch.zeros(batch, O, device=device),
        angle=torch.zeros(batch, O, device=device),
        background=torch.zeros(batch, 3, device=device),
    )
    return place(scenes, generator)


def place(scenes: Scenes, generator: torch.Generator) -> Scenes:
    """The same objects at new places, with new radii, angles and backgrounds: another picture of the same thing."""
    batch, O = scenes.present.shape
    alone = (scenes.count == 1)[:, None]
    small = torch.where(alone, uniform(0.14, 0.18, (batch, O), generator), uniform(0.125, 0.165, (batch, O), generator))
    large = torch.where(alone, uniform(0.25, 0.34, (batch, O), generator), uniform(0.195, 0.23, (batch, O), generator))
    radius = torch.where(scenes.size == 1, large, small)
    quadrant = choices(4, O, (batch,), generator)  # (B, O), different within a scene
    jitter = uniform(-1, 1, (batch, O, 2), generator)
    room = (0.5 - radius).clamp(min=0)  # alone, an object may stand anywhere in the picture
    slack = (0.25 - radius).clamp(min=0.0)
    x = torch.where(alone, 0.5 + jitter[..., 0] * room, 0.25 + 0.5 * (quadrant % 2) + jitter[..., 0] * slack)
    y = torch.where(alone, 0.5 + jitter[..., 1] * room, 0.25 + 0.5 * (quadrant // 2) + jitter[..., 1] * slack)
    return replace(
        scenes,
        x=x,
        y=y,
        radius=radius,
        angle=uniform(-0.26, 0.26, (batch, O), generator),
        background=uniform(0.72, 1.0, (batch, 3), generator),
    )


def same_concept(colour: Tensor, shape: Tensor, texture: Tensor, generator: torch.Generator) -> Scenes:
    """One-object scenes of the concepts given, each (B,): sizes, places and backgrounds are drawn anew."""
    batch = len(colour)
    scenes = sample_scenes(batch, generator)
    pad = (0, MAX_OBJECTS - 1)
    wide = [torch.nn.functional.pad(value[:, None], pad) for value in (colour, shape, texture)]
    return place(replace(scenes, colour=wide[0], shape=wide[1], texture=wide[2]), generator)


def shuffled(scenes: Scenes, generator: torch.Generator) -> Scenes:
    """The same pictures with their objects listed in another order (present ones still first)."""
    noise = torch.rand(scenes.present.shape, generator=generator, device=generator.device)
    order = (noise + ~scenes.present).argsort(1)  # (B, O)
    moved = {f.name: getattr(scenes, f.name).gather(1, order) for f in fields(scenes) if f.name != "background"}
    return replace(scenes, **moved)


def join_scenes(parts: list[Scenes]) -> Scenes:
    """Scenes one after another."""
    return Scenes(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Scenes)))


def with_concepts(scenes: Scenes, colours: Tensor, shapes: Tensor) -> Scenes:
    """Other colours and shapes for the first k objects: each (B, k)."""
    pad = (0, MAX_OBJECTS - shapes.shape[1])
    return replace(
        scenes,
        colour=torch.nn.functional.pad(colours, pad) * scenes.present,
        shape=torch.nn.functional.pad(shapes, pad) * scenes.present,
    )

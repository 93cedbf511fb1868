"""Ambiguous naming: does the word name the colour, the shape or the texture? Only more examples tell.

Two colours, two shapes, two textures; one attribute, unknown, decides between two names and the others vary freely.
`noisy-naming` is the same with a fifth of the demonstrations' names swapped. Both have an exact ideal observer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minilmm.evaluation.tasks.episodes import Episodes, Settings, pairs_of
from minilmm.evaluation.tasks.naming import arrange, assemble, nonsense
from minilmm.world.grammar import describe
from minilmm.world.random import choices, integers
from minilmm.world.scenes import same_concept
from minilmm.world.vocabulary import COLOURS, CYCLE, SHAPES, TEXTURES, held_out

FLIPS = 0.2


def sample(batch: int, generator: torch.Generator, settings: Settings, flips: float = 0.0) -> Episodes:
    """Two-way episodes; ValueError for other ways or real names, which one attribute does not have."""
    if settings.ways != 2 or settings.names != "nonsense":
        raise ValueError("ambiguous and noisy naming have 2 ways and nonsense names")
    values = _values(batch, generator, pairs_of(settings.split))  # 3 of (B, 2)
    order, owner = arrange(batch, settings, generator)
    rule = integers(3, (batch,), generator)
    bits = integers(2, (batch, owner.shape[1], 3), generator)
    decides = torch.nn.functional.one_hot(rule, 3)[:, None].bool()  # (B, 1, 3)
    bits = torch.where(decides, owner[..., None], bits)  # an exemplar's class shows in the attribute that decides
    colour, shape, texture = (value.gather(1, bits[..., i]) for i, value in enumerate(values))
    scenes = same_concept(colour.flatten(), shape.flatten(), texture.flatten(), generator)
    flipped = torch.rand(owner.shape, generator=generator, device=owner.device) < flips
    label = torch.where(flipped, 1 - owner, owner)
    label[:, -1] = owner[:, -1]
    descriptions = describe(scenes, full=False).view(batch, owner.shape[1], -1)
    words = nonsense(batch, settings, generator)
    return assemble(scenes, descriptions, order, label, words, settings, generator)


def sample_noisy(batch: int, generator: torch.Generator, settings: Settings) -> Episodes:
    """The same with a fifth of the demonstrations' names swapped."""
    return sample(batch, generator, settings, FLIPS)


def _values(batch: int, generator: torch.Generator, split: str) -> list[Tensor]:
    """Two values of each attribute such that all four colour-shape pairs belong to the split, 3 of (B, 2).

    Held-out pairs have colour + 2 shape divisible by CYCLE, so two colours and two shapes that are congruent modulo
    CYCLE are all held out or all trained on.
    """
    device = generator.device
    colours = torch.combinations(torch.arange(len(COLOURS), device=device))
    shapes = torch.combinations(torch.arange(len(SHAPES), device=device))
    colours = colours[(colours[:, 0] - colours[:, 1]) % CYCLE == 0]
    shapes = shapes[(shapes[:, 0] - shapes[:, 1]) % CYCLE == 0]
    both = torch.cartesian_prod(torch.arange(len(colours), device=device), torch.arange(len(shapes), device=device))
    out = held_out(colours[both[:, 0], 0], shapes[both[:, 1], 0])
    both = both[out if split == "held-out" else ~out]
    picked = both[integers(len(both), (batch,), generator)]
    return [colours[picked[:, 0]], shapes[picked[:, 1]], choices(len(TEXTURES), 2, (batch,), generator)]

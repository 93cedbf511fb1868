"""Ambiguous naming: does the word name the colour, the shape or the texture? Only more examples tell.

Two colours, two shapes, two textures; one attribute, unknown, decides between two names and the others vary freely.
`noisy-naming` is the same with a fifth of the demonstrations' names swapped. Both have an exact ideal observer.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from minilmm.evaluation.tasks import Settings
from minilmm.evaluation.tasks.episodes import Episodes, pairs_of
from minilmm.evaluation.tasks.naming import assemble, nonsense
from minilmm.world.exemplars import arrange
from minilmm.world.random import choices, integers
from minilmm.world.scenes import Scenes, same_concept
from minilmm.world.vocabulary import COLOURS, CYCLE, SHAPES, TEXTURES, held_out


def sample(batch: int, generator: torch.Generator, settings: Settings, flips: float = 0.0) -> Episodes:
    """Two-way episodes, with a share of the demonstrations' names swapped (`flips`).

    ValueError for other ways, or real names, which one attribute does not have.
    """
    if settings.ways != 2 or settings.names != "nonsense":
        raise ValueError("ambiguous and noisy naming have 2 ways and nonsense names")
    values = _values(batch, generator, pairs_of(settings.split))  # 3 of (B, 2)
    order, owner = arrange(batch, 2, settings.shots, generator, settings.repeats)
    rule = integers(3, (batch,), generator)
    bits = integers(2, (batch, owner.shape[1], 3), generator)
    decides = torch.nn.functional.one_hot(rule, 3)[:, None].bool()  # (B, 1, 3)
    bits = torch.where(decides, owner[..., None], bits)  # an exemplar's class shows in the attribute that decides
    colour, shape, texture = (value.gather(1, bits[..., i]).flatten() for i, value in enumerate(values))
    scenes = same_concept(colour, shape, texture, generator)
    flipped = torch.rand(owner.shape, generator=generator, device=owner.device) < flips
    label = torch.where(flipped, 1 - owner, owner)
    label[:, -1] = owner[:, -1]
    return assemble(scenes, order, label, nonsense(batch, settings, generator), settings, generator)


def _values(batch: int, generator: torch.Generator, split: str) -> list[Tensor]:
    """Two values of each attribute such that all four colour-shape pairs belong to the split, 3 of (B, 2).

    Held-out pairs have colour + 2 shape divisible by CYCLE, so two colours and two shapes that are congruent modulo
    CYCLE are all held out or all trained on.
    """
    number = [torch.arange(len(names), device=generator.device) for names in (COLOURS, SHAPES)]
    colours, shapes = (two[(two[:, 0] - two[:, 1]) % CYCLE == 0] for two in map(torch.combinations, number))
    both = torch.cartesian_prod(*(torch.arange(len(two), device=generator.device) for two in (colours, shapes)))
    out = held_out(colours[both[:, 0], 0], shapes[both[:, 1], 0])
    both = both[out if split == "held-out" else ~out]
    picked = both[integers(len(both), (batch,), generator)]
    return [colours[picked[:, 0]], shapes[picked[:, 1]], choices(len(TEXTURES), 2, (batch,), generator)]


def posterior(bits: Tensor, labels: Tensor, query: Tensor, flips: float) -> Tensor:
    """Probability that the query is called 1, by exact Bayes: (B,).

    bits (B, n, 3): which of its two values each attribute of a demonstration has; labels (B, n) in {0, 1};
    query (B, 3). Six hypotheses: one of three attributes decides, and its values go with the names one way or the
    other; each demonstration's name is swapped with probability `flips`.
    """
    hypotheses = torch.cat([bits, 1 - bits], -1)  # (B, n, 6), the name each hypothesis expects
    right = hypotheses == labels[..., None]
    likelihood = torch.where(right, 1 - flips, flips).double().prod(1)  # (B, 6)
    share = likelihood / likelihood.sum(1, keepdim=True)
    return (share * torch.cat([query, 1 - query], -1)).sum(1)


@functools.cache
def ideal(shots: int, flips: float = 0.0, episodes: int = 20_000) -> float:
    """Expected accuracy of the ideal observer at `shots` examples per class, over simulated episodes."""
    drawn = sample(episodes, torch.Generator().manual_seed(0), Settings(shots=shots, split="train"), flips)
    assert isinstance(drawn.pictures, Scenes)
    attributes = torch.stack([getattr(drawn.pictures, a)[:, 0] for a in ("colour", "shape", "texture")], -1)
    seen = attributes[drawn.source]  # (B, n + 1, 3)
    bits = (seen != seen[:, :1]).long()  # relative to the first picture
    labels = (drawn.texts[:, :-1, 0] == drawn.candidates[:, 1, :1]).long()
    one = posterior(bits[:, :-1], labels, bits[:, -1], flips)
    guess = torch.where(one == 0.5, 0.5, (one > 0.5).double())
    truth = drawn.target.double()
    return float((guess * truth + (1 - guess) * (1 - truth)).mean())

"""Captioning: a picture, and what is in it. Five captions of each query, one per register, are its references."""

from __future__ import annotations

import torch

from minilmm.evaluation.tasks import Settings
from minilmm.evaluation.tasks.episodes import Episodes, pairs_of, same_width
from minilmm.world.grammar import ABSENT, REGISTERS, caption, compact, describe
from minilmm.world.random import integers
from minilmm.world.scenes import sample_scenes


def sample(batch: int, generator: torch.Generator, settings: Settings) -> Episodes:
    """Demonstrations are pictures with a caption each; `candidates` (B, 5, A) are the query's references.

    Two pictures in three show one object, the others two.
    """
    m = settings.shots + 1
    count = 1 + (integers(3, (batch * m,), generator) == 0).long()
    scenes = sample_scenes(batch * m, generator, objects=count, split=pairs_of(settings.split))
    texts = compact(caption(scenes, generator)).view(batch, m, -1)
    texts[:, -1] = ABSENT
    query = scenes[torch.arange(batch, device=generator.device) * m + settings.shots]
    references = [caption(query, generator, register=r) for r in range(REGISTERS)]
    descriptions = describe(scenes).view(batch, m, -1)
    return Episodes.of(scenes, texts, torch.stack(same_width(*references), 1), descriptions=descriptions)

"""Captioning: a picture, and what is in it. Five captions of each query, one per register, are its references."""

from __future__ import annotations

import torch

from minilmm.evaluation.tasks.episodes import Episodes, Settings, pairs_of
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
    query = scenes[torch.arange(batch, device=generator.device) * m + settings.shots]
    said = [caption(query, generator, register=r) for r in range(REGISTERS)]
    width = max(phrase.shape[1] for phrase in said)
    pad = [torch.nn.functional.pad(phrase, (0, width - phrase.shape[1]), value=ABSENT) for phrase in said]
    references = torch.stack(pad, 1)  # (B, 5, A)
    texts[:, -1] = ABSENT
    zero = torch.zeros(batch, dtype=torch.long, device=generator.device)
    return Episodes(
        pictures=scenes,
        source=torch.arange(batch * m, device=generator.device).view(batch, m),
        texts=texts,
        descriptions=describe(scenes).view(batch, m, -1),
        first=torch.full((batch, 0), ABSENT, device=generator.device),
        answers=references[:, 0],
        candidates=references,
        target=zero,
        group=zero,
    )

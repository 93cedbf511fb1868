"""Open-ended naming (Frozen, section 4.2): pictures get nonsense names in the prompt, and the query asks for one.

`naming` names colour-shape-texture concepts, `glyph-naming` procedural glyphs that no training run has seen.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minilmm.evaluation.tasks.episodes import Episodes, Glyphs, Settings, names_of, pairs_of
from minilmm.interface.tokenizer import EOC
from minilmm.world.grammar import ABSENT, describe, join, word
from minilmm.world.random import choices, integers
from minilmm.world.scenes import same_concept
from minilmm.world.vocabulary import COLOURS, GLYPHS_TEST, GLYPHS_TRAIN, PAIRS, SHAPES, TEXTURES, held_out, ids, unpair


def sample(batch: int, generator: torch.Generator, settings: Settings) -> Episodes:
    """Episodes of `ways` concepts; ValueError where a split has fewer concepts or names than ways."""
    device, W = generator.device, settings.ways
    pair = torch.arange(PAIRS, device=device)
    out = held_out(*unpair(pair))
    pair = pair[out if pairs_of(settings.split) == "held-out" else ~out]
    if len(pair) < W:
        raise ValueError(f"{W} ways: the {settings.split} split has only {len(pair)} colour-shape pairs")
    concept = pair[choices(len(pair), W, (batch,), generator)]  # (B, W)
    texture = integers(len(TEXTURES), (batch, W), generator)
    order, owner = arrange(batch, settings, generator)
    scenes = same_concept(*unpair(concept.gather(1, owner).flatten()), texture.gather(1, owner).flatten(), generator)
    if settings.names == "real":
        colour, shape = unpair(concept)
        words = torch.stack([word(COLOURS, colour), word(SHAPES, shape)], -1)
    else:
        words = nonsense(batch, settings, generator)
    size = owner.shape[1]
    descriptions = describe(scenes, full=False).view(batch, size, -1)
    return assemble(scenes, descriptions, order, owner, words, settings, generator)


def sample_glyphs(batch: int, generator: torch.Generator, settings: Settings) -> Episodes:
    """The same over glyph classes of the split's range, disjoint from the other's."""
    classes = GLYPHS_TRAIN if settings.split == "train" else GLYPHS_TEST
    pairs_of(settings.split)
    order, owner = arrange(batch, settings, generator)
    drawn = classes.start + integers(len(classes), (batch, settings.ways), generator)
    descriptions = torch.full((batch, owner.shape[1], 1), ABSENT, device=generator.device)
    words = nonsense(batch, settings, generator)
    return assemble(Glyphs(drawn.gather(1, owner).flatten()), descriptions, order, owner, words, settings, generator)


def nonsense(batch: int, settings: Settings, generator: torch.Generator) -> Tensor:
    """Different nonsense names per episode, (B, W, 1)."""
    names = names_of(settings.split, generator.device)
    if settings.ways > len(names):
        raise ValueError(f"{settings.ways} ways: the {settings.split} split has only {len(names)} names")
    return names[choices(len(names), settings.ways, (batch,), generator)][..., None]


def arrange(batch: int, settings: Settings, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The order of demonstrations, (B, n) indices of exemplars, and the class of every exemplar, (B, W K + 1).

    Every class has K exemplars, every exemplar 1 + repeats exact copies; the last exemplar is the query's.
    """
    device, W, K = generator.device, settings.ways, settings.shots
    owner = torch.arange(W, device=device).repeat_interleave(K).expand(batch, -1)
    query = integers(W, (batch, 1), generator)
    copies = torch.arange(W * K, device=device).repeat(1 + settings.repeats)
    order = copies[choices(len(copies), len(copies), (batch,), generator)] if len(copies) else owner
    return order, torch.cat([owner, query], 1)


def assemble(
    pictures: Tensor | Glyphs | object,
    descriptions: Tensor,
    order: Tensor,
    label: Tensor,
    words: Tensor,
    settings: Settings,
    generator: torch.Generator,
    target: Tensor | None = None,
) -> Episodes:
    """Naming episodes from exemplars: label (B, M) names each one, M = n exemplars and the query; words (B, W, A)."""
    batch, M = label.shape
    device, W, A = label.device, words.shape[1], words.shape[2]
    index = torch.cat([order, torch.full((batch, 1), M - 1, device=device)], 1)  # (B, n + 1)
    said = words.gather(1, label.gather(1, index)[..., None].expand(-1, -1, A))  # (B, n + 1, A)
    end = ids(".", EOC).to(device)
    texts = torch.cat([said, end.expand(batch, index.shape[1], -1)], -1)
    texts[:, -1] = ABSENT
    candidates = torch.cat([words, end.expand(batch, W, -1)], -1)
    target = label[:, -1] if target is None else target
    first = torch.full((batch, 0), ABSENT, device=device)
    if settings.induction:  # "answer with dax or blicket .", the names in random order
        shown = words.gather(1, choices(W, W, (batch,), generator)[..., None].expand(-1, -1, A))
        parts: list[Tensor | str] = ["answer with"]
        for w in range(W):
            parts += ["or", shown[:, w]] if w else [shown[:, w]]
        first = join(*parts, ".")
    return Episodes(
        pictures=pictures,  # type: ignore[arg-type]
        source=index + (torch.arange(batch, device=device) * M)[:, None],
        texts=texts,
        descriptions=descriptions.gather(1, index[..., None].expand(-1, -1, descriptions.shape[-1])),
        first=first,
        answers=candidates.gather(1, target[:, None, None].expand(-1, -1, A + 2))[:, 0],
        candidates=candidates,
        target=target,
        group=torch.zeros(batch, dtype=torch.long, device=device),
    )

"""Open-ended naming (Frozen, section 4.2): pictures get nonsense names in the prompt, and the query asks for one.

`naming` names colour-shape-texture concepts, `glyph-naming` procedural glyphs that no training run has seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from minilmm.evaluation.tasks import Settings
from minilmm.evaluation.tasks.episodes import Episodes, Pictures, concatenate, names_of, pairs_of
from minilmm.interface.tokenizer import EOC, Tokenizer
from minilmm.world.exemplars import arrange
from minilmm.world.grammar import ABSENT, describe, join, word
from minilmm.world.painted import Glyphs
from minilmm.world.random import choices, integers
from minilmm.world.scenes import Scenes, same_concept
from minilmm.world.vocabulary import (
    COLOURS,
    GLYPHS_TEST,
    GLYPHS_TRAIN,
    PAIRS,
    SHAPES,
    TEXTURES,
    held_out,
    tokenizer,
    unpair,
)

# What stands in text before and after a picture, and behind its name; then in front of, between and behind all names:
# "answer with dax or blicket . <image> dax . <EOC> <image>".
FORM = ("", "", f". {EOC}", "answer with", "or", ".")


def sample(batch: int, generator: torch.Generator, settings: Settings) -> Episodes:
    """Episodes of `ways` concepts; ValueError where a split has fewer concepts or names than ways."""
    device, W = generator.device, settings.ways
    pair = torch.arange(PAIRS, device=device)
    out = held_out(*unpair(pair))
    pair = pair[out if pairs_of(settings.split) == "held-out" else ~out]
    if len(pair) < W:
        raise ValueError(f"{W} ways: the {settings.split} split has only {len(pair)} colour-shape pairs: choose fewer")
    concept = pair[choices(len(pair), W, (batch,), generator)]  # (B, W)
    texture = integers(len(TEXTURES), (batch, W), generator)
    order, owner = arrange(batch, W, settings.shots, generator, settings.repeats)
    colour, shape = unpair(concept)
    own = [value.gather(1, owner).flatten() for value in (colour, shape, texture)]  # of each exemplar
    scenes = same_concept(own[0], own[1], own[2], generator)
    if settings.names == "real":
        names = torch.stack([word(COLOURS, colour), word(SHAPES, shape)], -1)
    else:
        names = nonsense(batch, settings, generator)
    return assemble(scenes, order, owner, names, settings, generator)


def sample_glyphs(batch: int, generator: torch.Generator, settings: Settings) -> Episodes:
    """The same over glyph classes of the split's range, disjoint from the other's."""
    classes = GLYPHS_TRAIN if pairs_of(settings.split) == "train" else GLYPHS_TEST
    order, owner = arrange(batch, settings.ways, settings.shots, generator, settings.repeats)
    drawn = classes.start + integers(len(classes), (batch, settings.ways), generator)
    names = nonsense(batch, settings, generator)
    return assemble(Glyphs(drawn.gather(1, owner).flatten()), order, owner, names, settings, generator)


def nonsense(batch: int, settings: Settings, generator: torch.Generator) -> Tensor:
    """Different nonsense names per episode, (B, W, 1)."""
    names = names_of(settings.split, generator.device)
    if settings.ways > len(names):
        raise ValueError(f"{settings.ways} ways: the {settings.split} split has only {len(names)} names: choose fewer")
    return names[choices(len(names), settings.ways, (batch,), generator)][..., None]


def assemble(
    pictures: Scenes | Glyphs, order: Tensor, label: Tensor, names: Tensor, settings: Settings,
    generator: torch.Generator,
) -> Episodes:  # fmt: skip
    """Naming episodes of the mini-world, with its form and descriptions; the arguments are those of `lay_out`."""
    nothing, listed = torch.full_like(label[..., None], ABSENT), None
    descriptions = describe(pictures, full=False).view(*label.shape, -1) if isinstance(pictures, Scenes) else nothing
    if settings.induction:  # the names in random order
        turn = choices(names.shape[1], names.shape[1], (len(names),), generator)
        listed = names.gather(1, turn[..., None].expand_as(names))
    return lay_out(pictures, descriptions, order, label, names, FORM, tokenizer(), listed)


def lay_out(
    pictures: Pictures, descriptions: Tensor, order: Tensor, label: Tensor, names: Tensor, form: Sequence[str],
    tokenizer: Tokenizer, listed: Tensor | None = None,
) -> Episodes:  # fmt: skip
    """Naming episodes from M exemplars each, of which the last is the query's.

    descriptions (B, M, D); order (B, n) the exemplars shown; label (B, M) which of the names (B, W, A) each exemplar
    has; form: six texts as in FORM; listed (B, W, A): the names as a first sentence lists them.
    """
    parts = (torch.tensor(tokenizer.encode(part), dtype=torch.long, device=label.device) for part in form)
    before, after, end, opening, between, stop = parts
    batch, M = label.shape
    index = torch.cat([order, torch.full((batch, 1), M - 1, device=label.device)], 1)  # (B, n + 1)

    def of_each(rows: Tensor, place: Tensor) -> Tensor:  # (B, X, K), (B, n + 1) -> (B, n + 1, K)
        return rows.gather(1, place[..., None].expand(-1, -1, rows.shape[-1]))

    texts = concatenate(after, of_each(names, label.gather(1, index)), end, before)
    texts[:, -1] = ABSENT
    texts[:, -1, : len(after)] = after
    first = before.expand(batch, -1)
    if listed is not None:
        said = [part for w in range(listed.shape[1]) for part in (between, listed[:, w])][1:]
        first = join(opening, *said, stop, before)
    source = index + (torch.arange(batch, device=label.device) * M)[:, None]
    return Episodes.of(pictures, texts, concatenate(names, end), target=label[:, -1], source=source, first=first,
                       descriptions=of_each(descriptions, index))  # fmt: skip

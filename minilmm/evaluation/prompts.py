"""Episodes as prompts, and the conditions under which they are asked: the controls beside every score."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from minilmm.evaluation.tasks import Episodes
from minilmm.interface.document import Batch
from minilmm.interface.tokenizer import BOS, IMAGE, Tokenizer
from minilmm.world.grammar import ABSENT, compact, join
from minilmm.world.render import blank
from minilmm.world.vocabulary import tokenizer

CONDITIONS = ("real", "blank_images", "shuffled_images", "text_only")


def shuffle_across(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Every picture (or description) replaced by one of another episode: (B, n, ...) -> (B, n, ...)."""
    B, n = pictures.shape[:2]
    if B < 2:
        raise ValueError("shuffled_images needs at least 2 episodes")
    shift = torch.randint(1, B, (n,), generator=generator, device=generator.device)
    rows = (torch.arange(B, device=pictures.device)[:, None] + shift) % B  # (B, n)
    return pictures[rows, torch.arange(n, device=pictures.device)]


def prompts(
    episodes: Episodes,
    media: Tensor | None,
    condition: str,
    generator: torch.Generator,
    texts_only: bool = False,
    words: Tokenizer | None = None,
) -> Batch:
    """Episodes as a batch of prompts, under a condition. media (B, n + 1, T, C, H, W), or None for a text LM.

    texts_only: the demonstrations lose their pictures whatever the condition, as in Flamingo's prompt for zero shots.
    words: whose ids the episodes are in; None: the mini-world's.
    """
    if condition not in CONDITIONS:
        raise ValueError(f"unknown condition {condition!r}: choose from {', '.join(CONDITIONS)}")
    (B, m), words = episodes.source.shape, words or tokenizer()
    tag, bos = (torch.tensor([words.convert_tokens_to_ids(t)], device=episodes.texts.device) for t in (IMAGE, BOS))
    if media is None:
        stands = episodes.descriptions
        if condition == "shuffled_images":
            stands = shuffle_across(stands, generator)
        elif condition == "blank_images":
            stands = torch.full_like(stands, ABSENT)
    else:
        stands = tag.expand(B, m, 1)
        if condition == "shuffled_images":
            media = shuffle_across(media, generator)
        elif condition == "blank_images":
            media = blank(media)
    if condition == "text_only" or texts_only:  # demonstrations lose their pictures and tags, the query keeps its own
        stands = torch.cat([torch.full_like(stands[:, :-1], ABSENT), stands[:, -1:]], 1)
        media = media[:, -1:] if media is not None else None
    said = torch.cat([stands, episodes.texts], -1).flatten(1)
    pad = words.pad_token_id
    return Batch.of(compact(join(bos, episodes.first, said), fill=pad), media, pad=pad, image=int(tag))


def again(generator: torch.Generator) -> torch.Generator:
    """Another generator that goes on from where this one is, which stays there."""
    same = torch.Generator(generator.device)
    same.set_state(generator.get_state())
    return same


def reordered(episodes: Episodes, media: Tensor | None, generator: torch.Generator) -> tuple[Episodes, Tensor | None]:
    """The same episodes with their demonstrations in another order."""
    B, m = episodes.source.shape
    order = torch.rand(B, m, generator=generator, device=generator.device)
    order[:, -1] = 2.0  # the query stays last
    order = order.argsort(1)
    rows = torch.arange(B, device=order.device)[:, None]
    parts = {name: getattr(episodes, name)[rows, order] for name in ("source", "texts", "descriptions")}
    return replace(episodes, **parts), None if media is None else media[rows, order]

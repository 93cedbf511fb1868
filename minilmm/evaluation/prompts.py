"""Episodes as prompts, and the conditions under which they are asked: the controls beside every score."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from minilmm.evaluation.tasks import CONDITIONS
from minilmm.evaluation.tasks.episodes import Episodes
from minilmm.interface.document import Batch
from minilmm.interface.tokenizer import BOS, IMAGE, Tokenizer
from minilmm.world.grammar import ABSENT, compact, join
from minilmm.world.render import blank
from minilmm.world.vocabulary import tokenizer as world_tokenizer


def shuffle_across(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Every picture (or description) replaced by one of another episode: (B, n, ...) -> (B, n, ...)."""
    B, n = pictures.shape[:2]
    if B < 2:
        raise ValueError("shuffled_images needs at least 2 episodes")
    shift = torch.randint(1, B, (n,), generator=generator, device=generator.device)
    rows = (torch.arange(B, device=pictures.device)[:, None] + shift) % B  # (B, n)
    return pictures[rows, torch.arange(n, device=pictures.device)]


def prompts(
    episodes: Episodes, media: Tensor | None, condition: str, generator: torch.Generator, texts_only: bool = False,
    tokenizer: Tokenizer | None = None,
) -> Batch:  # fmt: skip
    """Episodes as a batch of prompts, under a condition. media (B, n + 1, T, C, H, W), or None for a text LM.

    texts_only: the demonstrations lose their pictures whatever the condition, as in Flamingo's prompt for zero shots.
    tokenizer: whose ids the episodes are in; None: the mini-world's.
    """
    if condition not in CONDITIONS:
        raise ValueError(f"unknown condition {condition!r}: choose from {', '.join(CONDITIONS)}")
    tokenizer, device = tokenizer or world_tokenizer(), episodes.texts.device
    tag, bos = (torch.tensor([tokenizer.convert_tokens_to_ids(token)], device=device) for token in (IMAGE, BOS))
    pictures = episodes.descriptions if media is None else media
    if condition == "shuffled_images":
        pictures = shuffle_across(pictures, generator)
    elif condition == "blank_images":
        pictures = torch.full_like(pictures, ABSENT) if media is None else blank(pictures)
    tags = pictures if media is None else tag.expand(*episodes.source.shape, 1)  # what stands in the text
    if condition == "text_only" or texts_only:  # demonstrations lose their pictures and tags, the query keeps its own
        tags = torch.cat([torch.full_like(tags[:, :-1], ABSENT), tags[:, -1:]], 1)
        pictures = pictures[:, -1:]
    text = torch.cat([tags, episodes.texts], -1).flatten(1)
    ids = compact(join(bos, episodes.first, text), fill=tokenizer.pad_token_id)
    return Batch.of(ids, None if media is None else pictures, pad=tokenizer.pad_token_id, image=int(tag))


def fork(generator: torch.Generator) -> torch.Generator:
    """Another generator that goes on from where this one is, which stays there."""
    other = torch.Generator(generator.device)
    other.set_state(generator.get_state())
    return other


def reorder(episodes: Episodes, media: Tensor | None, generator: torch.Generator) -> tuple[Episodes, Tensor | None]:
    """The same episodes with their demonstrations in another order."""
    B, m = episodes.source.shape
    order = torch.rand(B, m, generator=generator, device=generator.device)
    order[:, -1] = 2.0  # the query stays last
    order = order.argsort(1)
    rows = torch.arange(B, device=order.device)[:, None]
    parts = {name: getattr(episodes, name)[rows, order] for name in ("source", "texts", "descriptions")}
    return replace(episodes, **parts), None if media is None else media[rows, order]

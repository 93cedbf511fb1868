"""Scoring and decoding for anything that can read a prompt once and be stepped from there."""

from __future__ import annotations

import torch
from torch import Tensor

from minilmm.interface.document import Batch, left_padded
from minilmm.interface.model import Steppable, Stop


def finite(scores: Tensor) -> Tensor:
    """The same scores; ValueError where one is not finite, which would otherwise pass for a guess."""
    if not scores.isfinite().all():
        raise ValueError("the model's scores are not finite: its weights are damaged, or too large for this precision")
    return scores


@torch.no_grad()
def score(model: Steppable, batch: Batch, continuations: Tensor, mask: Tensor) -> Tensor:
    """Summed log-probability of whole continuations, end token included: (B, C).

    continuations: (B, C, K) ids, padded on the right where `mask` (B, C, K) is False; all count, none is normalised
    by length. The prompt is read once per document, whatever C. Peak memory grows with B times C: batch with care.
    """
    B, C, K = continuations.shape
    first, cache = model.prefill(left_padded(batch))
    logits = first.log_softmax(-1)
    total = logits.gather(1, continuations[:, :, 0]) * mask[:, :, 0]  # (B, C)
    if K > 1:
        ids, real = continuations.flatten(0, 1), mask.flatten(0, 1)  # (B C, K)
        again = torch.arange(B, device=ids.device).repeat_interleave(C)
        later = model.step(ids[:, :-1], cache.select(again), real[:, :-1]).log_softmax(-1)  # (B C, K - 1, V)
        gain = later.gather(2, ids[:, 1:, None])[..., 0] * real[:, 1:]
        total = total + gain.sum(1).view(B, C)
    return total


@torch.no_grad()
def generate(model: Steppable, batch: Batch, max_tokens: int, stop: Stop, beams: int = 1) -> Tensor:
    """Continuation up to and including `stop`, then padding (0): (B, max_tokens).

    beams: how many continuations are kept at every step, by their summed log-probability, not divided by their length;
    1 is greedy search, and Flamingo's evaluations use 3. A row that never says `stop` is returned without it, and
    counts as wrong wherever answers must end. ValueError for no beam, or more than there are words.
    """
    logits, cache = model.prefill(left_padded(batch))
    B, V = logits.shape
    if not 1 <= beams <= V:
        raise ValueError(f"beams is {beams}: expected 1 to the {V} words of the vocabulary")
    ends = torch.tensor([stop] if isinstance(stop, int) else list(stop), dtype=torch.long, device=logits.device)
    first = torch.arange(B, device=logits.device)
    out = torch.zeros(B, 1, 0, dtype=torch.long, device=logits.device)  # (B, beams, tokens)
    total, going = logits.new_zeros(B, 1), torch.ones(B, 1, dtype=torch.bool, device=logits.device)
    for t in range(max_tokens):
        gain = logits.float().log_softmax(-1).view(B, -1, V)
        ended = torch.full_like(gain, float("-inf"))
        ended[..., 0] = 0.0  # a beam that has ended goes on with padding, at no cost
        total, place = (total[..., None] + torch.where(going[..., None], gain, ended)).flatten(1).topk(beams)
        beam, token = place // V, place % V  # (B, beams)
        going = going.gather(1, beam)
        out = torch.cat([out.gather(1, beam[..., None].expand(-1, -1, t)), (token * going)[..., None]], -1)
        cache = cache.select((first[:, None] * gain.shape[1] + beam).flatten()) if gain.shape[1] + beams > 2 else cache
        going = going & ~torch.isin(token, ends)
        if t + 1 == max_tokens or not bool(going.any()):
            break
        logits = model.step((token * going).view(-1, 1), cache)[:, -1]
    finite(total.amax(1))
    best = out[first, total.argmax(1)]
    return torch.nn.functional.pad(best, (0, max_tokens - best.shape[1]))


class Decodes:
    """Scores and continuations, for any model that can be read once and stepped from there."""

    def score(self: Steppable, batch: Batch, continuations: Tensor, mask: Tensor) -> Tensor:
        """Summed log-probability of each continuation: see `minilmm.nn.decoding.score`."""
        return score(self, batch, continuations, mask)

    def generate(self: Steppable, batch: Batch, max_tokens: int, stop: Stop, beams: int = 1) -> Tensor:
        """Continuation by greedy or beam search: see `minilmm.nn.decoding.generate`."""
        return generate(self, batch, max_tokens, stop, beams)

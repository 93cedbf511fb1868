"""Scoring whole answers behind one shared prompt (Flamingo, section 3: closed-ended tasks by log-likelihood)."""

import torch
from torch import Tensor


def score(first: Tensor, later: Tensor, candidates: Tensor, mask: Tensor) -> Tensor:
    """The log-probability of each candidate answer as a whole, its end token included: (B, C).

    The prompt was read once. `first` (B, V) are the logits right after it, the same for all candidates: they predict
    each candidate's token 0. `later` (B, C, K, V) are the logits after each token of each candidate: those after token
    k predict token k + 1, and those after the last predict nothing that is asked here.
    candidates: (B, C, K) token ids; mask: (B, C, K) bool, False on padding, which counts for nothing.

    Sum the log-probabilities; do not divide by the length: a longer name is a less probable one.
    """
    # BEGIN SOLUTION
    logits = torch.cat([first[:, None, None].expand(-1, later.shape[1], 1, -1), later[:, :, :-1]], 2)  # (B, C, K, V)
    each = logits.log_softmax(-1).gather(-1, candidates[..., None])[..., 0]  # (B, C, K)
    return each.masked_fill(~mask, 0).sum(-1)
    # END SOLUTION


def choose(scores: Tensor, mask: Tensor) -> Tensor:
    """The best candidate of each row: scores (B, C) -> whole numbers (B,).

    mask: (B, C) bool, False where a row has no such candidate; each row has one at least. Scores may be as low as you
    like.
    """
    # BEGIN SOLUTION
    return scores.masked_fill(~mask, float("-inf")).argmax(-1)
    # END SOLUTION

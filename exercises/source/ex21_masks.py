"""The Q-Former's three masks: who sees whom in self-attention (Li et al. 2023, section 3.2, figure 2).

Queries and words run through one transformer, side by side: Q queries, then L words. Nothing but the mask tells the
three objectives of the first stage apart:

    ITC  contrast    a picture and a text are read apart and compared: neither may know of the other
    ITM  matching    do these two belong together? all may know all
    ITG  generation  the words are to be told from the queries: no word may know of a later one, by no way round

Each mask is (B, Q + L, Q + L) bool: row i, column j is True where i may look at j. `real` (B, L) bool is False on
padding, on whichever side it stands; every text has a token that is none. No query and no word looks at padding; a row
*of* padding must look at something, no matter what, because softmax over a row of nothing is NaN.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def unimodal(queries: int, real: Tensor) -> Tensor:
    """ITC: queries see queries, words see words, and neither sees the other: (B, L) -> (B, Q + L, Q + L)."""
    # BEGIN SOLUTION
    B, L = real.shape
    mask = torch.zeros(B, queries + L, queries + L, dtype=torch.bool)
    mask[:, :queries, :queries] = True
    mask[:, queries:, queries:] = real[:, None]
    return mask
    # END SOLUTION


def bidirectional(queries: int, real: Tensor) -> Tensor:
    """ITM: all see all: (B, L) -> (B, Q + L, Q + L)."""
    # BEGIN SOLUTION
    seen = F.pad(real, (queries, 0), value=True)  # (B, Q + L): what is there to be seen
    return seen[:, None].expand(-1, seen.shape[1], -1)
    # END SOLUTION


def causal(queries: int, real: Tensor) -> Tensor:
    """ITG: queries see queries; a word sees the queries, itself and the words before it: -> (B, Q + L, Q + L)."""
    # BEGIN SOLUTION
    B, L = real.shape
    mask = torch.zeros(B, queries + L, queries + L, dtype=torch.bool)
    mask[:, :, :queries] = True  # all see the queries, which see nothing else
    mask[:, queries:, queries:] = real[:, None] & torch.ones(L, L, dtype=torch.bool).tril()
    return mask
    # END SOLUTION

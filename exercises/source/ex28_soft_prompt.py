"""What the queries found, in front of a frozen decoder: a soft visual prompt (section 3.3, figure 3, top).

In the second stage no text enters the Q-Former. Its queries' outputs are mapped to where the language model's words
live and prepended to the text; the language model reads on behind them, and its loss trains what lies before it.

A batch's texts differ in length: `real` (B, L) bool is False on padding, on whichever side it stands. The language
model wants all padding in front, so that every row ends with its last word, and none between queries and their text.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = -100  # a label that no loss counts, as in torch


def project(z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One linear map: queries' outputs z (B, Q, D_q), weight (D, D_q), bias (D,) -> soft prompts (B, Q, D)."""
    # BEGIN SOLUTION
    return z @ weight.T + bias
    # END SOLUTION


def arrange(real: Tensor, queries: int) -> Tensor:
    """Which token stands where: (B, L) bool -> (B, Q + L) long.

    Tokens are numbered as in [queries, text]: queries 0 to Q - 1, text Q to Q + L - 1, padding included. In each row
    padding comes first (in any order), then the queries, then the words, both in their order.
    """
    # BEGIN SOLUTION
    there = F.pad(real, (queries, 0), value=True)  # (B, Q + L): what is no padding
    return there.long().argsort(dim=1, stable=True)  # False in front of True; what is equal keeps its order
    # END SOLUTION


def prepend(soft: Tensor, words: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """What the language model reads: soft prompts (B, Q, D), word embeddings (B, L, D) -> (B, Q + L, D), (B, Q + L).

    Both arranged as above. The second is the attention mask, bool: False on padding alone.
    """
    # BEGIN SOLUTION
    order = arrange(real, soft.shape[1])
    x = torch.cat([soft, words], 1)
    mask = F.pad(real, (soft.shape[1], 0), value=True)
    return x.gather(1, order[..., None].expand_as(x)), mask.gather(1, order)
    # END SOLUTION


def labels(ids: Tensor, counts: Tensor, real: Tensor, queries: int) -> Tensor:
    """What each place of that sequence is to say: the next token, if it is a word that counts: (B, L) -> (B, Q + L).

    counts (B, L) bool: which words are to be said; a prompt's are not, padding is not. All other labels are IGNORE: no
    place is asked for a query. The last query is asked for the first word, if that counts.
    """
    # BEGIN SOLUTION
    asked = F.pad(ids.masked_fill(~counts, IGNORE), (queries, 0), value=IGNORE)
    arranged = asked.gather(1, arrange(real, queries))
    return F.pad(arranged[:, 1:], (0, 1), value=IGNORE)
    # END SOLUTION


def trains(name: str) -> bool:
    """Does the second stage train this parameter? By its name in a model of four parts:

        encoder.*                        the eyes, frozen
        qformer.query_tokens             the queries
        qformer.norm.*                   the norm of whatever enters the Q-Former
        qformer.words.*, .positions.*    embeddings of text
        qformer.blocks.N.attention.*     self-attention, shared
        qformer.blocks.N.cross.*         the queries' look at the picture
        qformer.blocks.N.ffw_query.*, .ffw_text.*
        to_lm.*                          the linear map
        lm.*                             the language model, frozen

    What text alone would pass through is never used here: it is left as it is.
    """
    # BEGIN SOLUTION
    frozen = name.startswith(("encoder.", "lm."))
    text_half = ".ffw_text." in name or name.startswith(("qformer.words.", "qformer.positions."))
    return not (frozen or text_half)
    # END SOLUTION

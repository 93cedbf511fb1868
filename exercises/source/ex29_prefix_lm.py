"""The soft prompt in an encoder-decoder: the encoder reads, the decoder goes on (section 3.3, figure 3, bottom).

A decoder predicts all of its text. For FlanT5 the text is cut in two instead: queries and *prefix* go into the encoder,
where all see all, and the decoder is asked for the *suffix*. Ids are padded with PAD, on either side.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

PAD = 0
IGNORE = -100  # a label that no loss counts, as in torch


def halves(ids: Tensor, cut: list[int]) -> tuple[Tensor, Tensor]:
    """Texts (B, L), and how many of its words (not of its pads) are each one's prefix -> prefix (B, P), labels (B, K).

    Both start at the left; behind shorter ones stands PAD in prefixes, IGNORE in labels. P and K are those of the
    longest. A prefix may be empty: then the picture is all there is. ValueError where a suffix is.
    """
    # BEGIN SOLUTION
    texts = [row[row != PAD] for row in ids]
    for text, length in zip(texts, cut, strict=True):
        if length >= len(text):
            raise ValueError(f"a text of {len(text)} words is cut behind {length}: nothing is left to be said")
    prefixes = [text[:length] for text, length in zip(texts, cut, strict=True)]
    suffixes = [text[length:] for text, length in zip(texts, cut, strict=True)]
    prefix = pad_sequence(prefixes, batch_first=True, padding_value=PAD)
    return prefix, pad_sequence(suffixes, batch_first=True, padding_value=IGNORE)
    # END SOLUTION


def encoder_input(soft: Tensor, words: Tensor, prefix: Tensor) -> tuple[Tensor, Tensor]:
    """What the encoder reads: soft prompts (B, Q, D), then the prefixes' embeddings, words (B, P, D), of prefix (B, P).

    -> (B, Q + P, D), and its mask (B, Q + P) bool, False on padding alone.
    """
    # BEGIN SOLUTION
    mask = F.pad(prefix != PAD, (soft.shape[1], 0), value=True)
    return torch.cat([soft, words], 1), mask
    # END SOLUTION


def decoder_input(labels: Tensor, start: int) -> Tensor:
    """What the decoder reads while it is asked for labels (B, K): a start token, then all but the last: -> (B, K).

    PAD stands in the place of IGNORE, which is no token.
    """
    # BEGIN SOLUTION
    said = labels.masked_fill(labels == IGNORE, PAD)
    return F.pad(said[:, :-1], (1, 0), value=start)
    # END SOLUTION


def prefix_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats over all words of the suffixes: the decoder's logits (B, K, V), (B, K) -> a number.

    Mind the shift: what the decoder reads has been moved already.
    """
    # BEGIN SOLUTION
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
    # END SOLUTION

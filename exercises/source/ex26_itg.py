"""Image-grounded text generation (ITG): the caption, word by word, from the queries (section 3.2).

Under the causal mask of exercise 21 the queries' rows run in front and the words' rows behind, and a word's output must
say the next word. Captions are [CLS], words, padding; `real` is False on padding.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = -100  # a label that no loss counts, as in torch


def decoder_ids(ids: Tensor, dec: int) -> Tensor:
    """What ITG reads: captions (B, L) in which [DEC] takes the place of [CLS], the first token: -> (B, L).

    The two tell the same transformer two tasks: [CLS] sums up, [DEC] begins to tell.
    """
    # BEGIN SOLUTION
    first = torch.full_like(ids[:, :1], dec)
    return torch.cat([first, ids[:, 1:]], 1)
    # END SOLUTION


def next_words(ids: Tensor, real: Tensor) -> Tensor:
    """What each position is to say: the word behind it, IGNORE where padding or nothing follows: (B, L) -> (B, L).

    ValueError where no caption has a word behind its first token: the mean of no words is NaN.
    """
    # BEGIN SOLUTION
    if not bool(real[:, 1:].any()):
        raise ValueError("every caption is empty: there is no word to say; leave such batches out")
    return F.pad(ids.masked_fill(~real, IGNORE)[:, 1:], (0, 1), value=IGNORE)
    # END SOLUTION


def word_logits(outputs: Tensor, queries: int, words: Tensor, bias: Tensor) -> Tensor:
    """Logits of the next word: the Q-Former's outputs (B, Q + L, D), queries first -> (B, L, V), of the words' rows.

    The embeddings that words came in with, (V, D), are what goes out is compared with: output @ words.T + bias.
    """
    # BEGIN SOLUTION
    return outputs[:, queries:] @ words.T + bias
    # END SOLUTION


def itg_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats over all words of the batch: (B, L, V) and `next_words`' labels (B, L) -> a number."""
    # BEGIN SOLUTION
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
    # END SOLUTION

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
    raise NotImplementedError("your code here")


def next_words(ids: Tensor, real: Tensor) -> Tensor:
    """What each position is to say: the word behind it, IGNORE where padding or nothing follows: (B, L) -> (B, L).

    ValueError where no caption has a word behind its first token: the mean of no words is NaN.
    """
    raise NotImplementedError("your code here")


def word_logits(outputs: Tensor, queries: int, words: Tensor, bias: Tensor) -> Tensor:
    """Logits of the next word: the Q-Former's outputs (B, Q + L, D), queries first -> (B, L, V), of the words' rows.

    The embeddings that words came in with, (V, D), are what goes out is compared with: output @ words.T + bias.
    """
    raise NotImplementedError("your code here")


def itg_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats over all words of the batch: (B, L, V) and `next_words`' labels (B, L) -> a number."""
    raise NotImplementedError("your code here")

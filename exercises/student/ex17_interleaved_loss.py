"""The loss of interleaved pages: what counts, the shift by one, and a batch of nothing (Flamingo, section 2.4).

Exercise 02 marked captions. Here pages may also look ahead, padding has no id of its own, and the loss is one of
several that are added up (exercise 18): a batch in which nothing counts must add nothing; exercise 02 could refuse it.
"""

import torch
from ex15_media_mask import last_image  # the reference's, unless graded with --chain
from torch import Tensor
from torch.nn import functional as F

BOS, EOS, IMAGE, EOC = 1, 2, 3, 4
IGNORE = -100  # a label that no loss counts, as in torch


def counted(ids: Tensor, real: Tensor, ahead: Tensor) -> Tensor:
    """Which tokens are to be predicted: ids (B, L), real (B, L) bool, ahead (B,) bool -> (B, L) bool.

    A token counts if it looks at a picture (`last_image` of exercise 15) and no <EOC> stands between the latest tag, or
    the beginning if there is none, and it; <EOC> itself counts. Never counted: tags, <bos>, and padding. `real` is
    False on padding, which may be on either side and has the id of <eos> (as with GPT-2, which has no other): the id
    tells nothing.

    ahead: pages whose text stands in front of its picture, such as <bos> a b <EOC> <image> c <EOC> <image>.
    """
    raise NotImplementedError("your code here")


def labels(ids: Tensor, counts: Tensor) -> Tensor:
    """What the logits at each position are to predict: the next token where it counts, else IGNORE: -> (B, L).

    The logits at position i have read tokens 0 to i and speak of token i + 1. Behind the last one there is nothing.
    """
    raise NotImplementedError("your code here")


def page_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats over all tokens of the batch that count: (B, L, V) and (B, L) -> a number.

    logits and labels stand side by side: `labels` has shifted them. Where nothing counts the loss is 0, and so is its
    gradient: neither NaN nor cut off from the logits.
    """
    raise NotImplementedError("your code here")

"""Which tokens a multimodal language model is asked to predict (Flamingo, section 2.4 and appendix)."""

import torch
from torch import Tensor
from torch.nn import functional as F

PAD, IMAGE, EOC = 0, 3, 4


def loss_mask(ids: Tensor) -> Tensor:
    """True on every token that is to be predicted: (B, L) -> (B, L) bool.

    A page of the web holds text that no picture explains. What counts is what is said of a picture: the tokens after
    an <image> up to and including the next <EOC>, each row by itself. So these do not count: padding, the tags
    themselves, all that stands before the first picture, and all between an <EOC> and the next <image>.
    """
    # BEGIN SOLUTION
    place = torch.arange(ids.shape[1]).expand_as(ids)
    last_image = place.masked_fill(ids != IMAGE, -1).cummax(1).values  # (B, L), -1: none so far
    closed = place.masked_fill(ids != EOC, -1).cummax(1).values
    closed = F.pad(closed[:, :-1], (1, 0), value=-1)  # an <EOC> closes what comes after it, and itself counts
    return (last_image > closed) & (ids != IMAGE) & (ids != PAD)
    # END SOLUTION


def masked_loss(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Mean cross-entropy in nats of the marked tokens, each predicted from the position before it.

    logits: (B, L, V), ids and mask (bool): (B, L) -> a number. A row's first token has no position before it and is
    left out, marked or not. ValueError where no token remains.
    """
    # BEGIN SOLUTION
    wanted = mask[:, 1:]
    if not bool(wanted.any()):
        raise ValueError("every token is masked: nothing to learn from")
    return F.cross_entropy(logits[:, :-1][wanted], ids[:, 1:][wanted])
    # END SOLUTION

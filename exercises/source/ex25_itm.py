"""Image-text matching (ITM): do these two belong together? One right pair, two wrong ones (section 3.2)."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def pairs(wrong_text: Tensor, wrong_image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which picture goes with which text: wrong partners (B,) and (B,) -> pictures, texts, labels, each (3 B,) long.

    First the B right pairs; then each picture with its wrong text; then each text with its wrong picture. Labels: 1 for
    a right pair, 0 for a wrong one.
    """
    # BEGIN SOLUTION
    rows = torch.arange(len(wrong_text))
    pictures = torch.cat([rows, rows, wrong_image])
    texts = torch.cat([rows, wrong_text, rows])
    return pictures, texts, (torch.arange(len(texts)) < len(rows)).long()
    # END SOLUTION


def match_logits(states: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Queries that have seen picture and text, (N, Q, D) -> two logits per pair (N, 2): no match, match.

    Each query gets two logits, state @ weight.T + bias with weight (2, D) and bias (2,). The pair's are their mean over
    the queries.
    """
    # BEGIN SOLUTION
    each = states @ weight.T + bias  # (N, Q, 2)
    return each.mean(1)
    # END SOLUTION


def itm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats: logits (N, 2) as they come from `match_logits`, labels (N,) long -> a number."""
    # BEGIN SOLUTION
    return F.cross_entropy(logits, labels)
    # END SOLUTION


def match_score(logits: Tensor) -> Tensor:
    """The probability that a pair matches, by which candidates are ranked: (N, 2) -> (N,)."""
    # BEGIN SOLUTION
    return logits.softmax(-1)[:, 1]
    # END SOLUTION


def trivial_loss(labels: Tensor) -> float:
    """The loss of the best guess that looks at nothing, and so gives every pair the same probability: (N,) -> nats.

    A loss that stays here has learned the share of right pairs and no more. N labels, some 1 and some 0.
    """
    # BEGIN SOLUTION
    share = labels.double().mean().item()
    return -(share * math.log(share) + (1 - share) * math.log(1 - share))
    # END SOLUTION

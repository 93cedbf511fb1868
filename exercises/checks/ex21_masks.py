"""Checks of exercise 21. Oracles: masks written out by hand, block by block."""

import torch
from torch.nn import functional as F

from minilmm.course.checking import check, equal

o, x = False, True


def whole(B, L):
    return torch.ones(B, L, dtype=torch.bool)


@check(points=2, stage="mask", hint="Two squares on the diagonal, and nothing beside them.")
def itc_keeps_apart(ex):
    """ITC: two queries see two queries, three words see three words."""
    expected = [[x, x, o, o, o], [x, x, o, o, o], [o, o, x, x, x], [o, o, x, x, x], [o, o, x, x, x]]
    equal(ex.unimodal(2, whole(1, 3)), torch.tensor([expected]), "unimodal of 2 queries and 3 words")


@check(points=1, stage="mask", hint="Whether a picture and a text belong together is told best if all see all.")
def itm_hides_nothing(ex):
    """ITM: everybody sees everybody, queries words and words later words too."""
    equal(ex.bidirectional(2, whole(2, 3)), torch.ones(2, 5, 5, dtype=torch.bool), "bidirectional, nothing padded")


@check(points=2, stage="mask", hint="What a query reads, every word can read from it: let it read no word.")
def itg_queries(ex):
    """ITG: queries see all queries and no word."""
    expected = torch.tensor([[x, x, x, o, o], [x, x, x, o, o], [x, x, x, o, o]])
    equal(ex.causal(3, whole(1, 2))[0, :3], expected, "the queries' rows of causal, 3 queries and 2 words")


@check(points=2, stage="mask", hint="A word's row: True for every query, then a triangle with its diagonal.")
def itg_words(ex):
    """ITG: a word sees all queries, itself and the words before it."""
    expected = torch.tensor([[x, x, x, o, o], [x, x, x, x, o], [x, x, x, x, x]])
    equal(ex.causal(2, whole(1, 3))[0, 2:], expected, "the words' rows of causal, 2 queries and 3 words")


def padded():
    """Padding on the right, on the left, and none."""
    return torch.tensor([[x, x, o, o], [o, x, x, x], [x, x, x, x]])


@check(
    points=2,
    stage="mask",
    hint="Padding is a column to be hidden: `real[:, None]` has its columns where you want them.",
)
def padding(ex):
    """Under no mask does a query or a word look at padding, right or left."""
    real = padded()
    there = F.pad(real, (3, 0), value=True)  # (B, Q + L)
    looks = there[:, :, None] & ~there[:, None]  # what is there looks at what is not
    told = [int((mask(3, real) & looks).sum()) for mask in (ex.unimodal, ex.bidirectional, ex.causal)]
    equal(told, [0, 0, 0], "how many looks at padding ITC, ITM and ITG allow")


@check(points=1, stage="mask", hint="A row of padding may look anywhere, but not nowhere.")
def no_row_of_nothing(ex):
    """Every row sees something, rows of padding too."""
    told = [int((~mask(3, padded()).any(-1)).sum()) for mask in (ex.unimodal, ex.bidirectional, ex.causal)]
    equal(told, [0, 0, 0], "how many rows of ITC, ITM and ITG see nothing")

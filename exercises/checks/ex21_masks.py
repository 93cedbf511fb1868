"""Checks of exercise 21. Oracles: masks cell by cell; the learner's own mask, its padding's columns hidden."""

import torch

from minilmm.course.checking import check, equal, follows, generator

SIZES = (2, 1, 3), (3, 2, 2), (5, 3, 4), (1, 2, 6)  # queries, texts, words
MASKS = "unimodal", "bidirectional", "causal"


def whole(B, L):
    return torch.ones(B, L, dtype=torch.bool)


def cell(name, queries, i, j):
    """May i look at j where nothing is padded?"""
    if name == "bidirectional":
        return True
    if name == "unimodal":
        return (i < queries) == (j < queries)
    return j < queries or queries <= j <= i


def by_hand(name, queries, B, L):
    """A mask without padding."""
    both = range(queries + L)
    return torch.tensor([[cell(name, queries, i, j) for j in both] for i in both]).expand(B, -1, -1)


def compare(ex, name, rows):
    """The learner's mask, or some of its rows, on texts of several sizes of which nothing is padded."""
    follows(
        lambda queries, B, L: rows(getattr(ex, name)(queries, whole(B, L)), queries),
        lambda queries, B, L: rows(by_hand(name, queries, B, L), queries),
        [*SIZES],
        f"{name} of queries and words, nothing padded",
    )


@check(points=2, stage="mask", hint="Two squares on the diagonal, and nothing beside them.")
def itc_keeps_apart(ex):
    """ITC: queries see queries, words see words."""
    compare(ex, "unimodal", lambda mask, queries: mask)


@check(points=1, stage="mask", hint="Whether a picture and a text belong together is told best if all see all.")
def itm_hides_nothing(ex):
    """ITM: everybody sees everybody, queries words and later words too, unless they are padding."""
    compare(ex, "bidirectional", lambda mask, queries: mask)
    real = torch.tensor([[True] * 4, [True] * 3 + [False], [False] + [True] * 3])
    seen = ex.bidirectional(5, real).sum((1, 2)).tolist()
    told = "how many looks bidirectional allows with no pad and with one, is it fewer with one?"
    equal([count < seen[0] for count in seen], [False, True, True], told)


@check(points=2, stage="mask", hint="What a query reads, every word can read from it: let it read no word.")
def itg_queries(ex):
    """ITG: queries see all queries and no word."""
    compare(ex, "causal", lambda mask, queries: mask[:, :queries])


@check(points=2, stage="mask", hint="A word's row: True for every query, then a triangle with its diagonal.")
def itg_words(ex):
    """ITG: a word sees all queries, itself and the words before it."""
    compare(ex, "causal", lambda mask, queries: mask[:, queries:])


def padded(salt, B=5, L=6):
    """Padding on the right, on the left, on both sides and none, of random lengths: (B, L)."""
    g = generator(salt)
    ends = [(0, L), (0, 3), (3, L)] + [sorted(torch.randperm(L, generator=g)[:2].tolist()) for _ in range(B - 3)]
    rows = torch.tensor([[first <= i < last for i in range(L)] for first, last in ends])
    return rows[torch.randperm(B, generator=g)]


def shown(mask):
    """The mask as truths: it may hold 0 and 1."""
    return mask != 0


@check(
    points=2,
    stage="mask",
    hint="Padding is a column to be hidden, and nothing else is: `real[:, None]` has its columns where you want them.",
)
def padding(ex):
    """Padding hides itself, right or left, from queries and words, and nothing else: by your own masks without it."""
    for queries, salt in ((2, 1), (4, 2)):
        real = padded(salt)
        there = torch.cat([whole(len(real), queries), real], 1)  # (B, Q + L)
        for name in MASKS:
            free = shown(getattr(ex, name)(queries, whole(*real.shape)))
            equal(int(free.any(-1).sum()), there.numel(), f"how many rows of {name} see something, nothing padded")
            expected = (free & there[:, None])[there]  # the rows of what is there
            told = f"what queries and words see under {name}, texts padded, from your own mask without padding"
            equal(shown(getattr(ex, name)(queries, real))[there], expected, told)


@check(points=1, stage="mask", hint="A row of padding may look anywhere, but not nowhere.")
def no_row_of_nothing(ex):
    """Every row sees something, rows of padding too, and under ITC and ITG no query sees everything."""
    real = padded(3)
    masks = [shown(getattr(ex, name)(3, real)) for name in MASKS]
    told = [int((~mask.any(-1)).sum()) for mask in masks]
    equal(told, [0, 0, 0], "how many rows of ITC, ITM and ITG see nothing")
    told = [int(mask[~real.all(1), :3].all(-1).sum()) for mask in masks[::2]]
    equal(told, [0, 0], "how many queries see all words and padding under ITC and ITG")

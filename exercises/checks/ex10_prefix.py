"""Checks of exercise 10. Oracles: one vector at a time; one token at a time. Token 3 is <image>."""

import torch

from minilmm.course.checking import check, generator, has_shape, learns, refuses


def slow_prefix(pooled, weight, n):
    """One picture and one vector at a time: vector i comes from the rows i D to (i + 1) D."""
    D = len(weight) // n
    return torch.stack([torch.stack([weight[i * D : i * D + D] @ p for i in range(n)]) for p in pooled])


def slow_splice(words, ids, prefixes):
    """One token at a time."""
    rows, seen = [], 0
    for word, token in zip(words, ids.tolist(), strict=True):
        rows += list(prefixes[seen]) if token == 3 else [word]
        seen += token == 3
    return torch.stack(rows)


def document(salt, *ids, n=2, D=5):
    """Embeddings, ids and one prefix for each tag; every other token is some word."""
    g = generator(salt)
    ids = torch.tensor(ids)
    words = torch.randint(10, 90, ids.shape, generator=g)
    pictures = int((ids == 3).sum())
    return (
        torch.randn(len(ids), D, generator=g),
        torch.where(ids == 9, words, ids),
        torch.randn(pictures, n, D, generator=g),
    )


@check(points=1, stage="shape", hint="(M, n D) has to become (M, n, D).")
def prefix_shape(ex):
    """n vectors of width D per picture."""
    g = generator()
    has_shape(
        ex.prefix(torch.randn(5, 7, generator=g), torch.randn(6, 7, generator=g), 2), (5, 2, 3), "prefix, n = 2, D = 3"
    )


@check(
    points=2, stage="values", hint="The first D outputs are the first vector: `unflatten` or `view` with n before D."
)
def prefix_values(ex):
    """The first D outputs of the map are the first vector."""
    g = generator(1)
    for M, n, D in ((4, 2, 3), (1, 3, 2), (3, 4, 4)):
        pooled, weight = torch.randn(M, 5, generator=g), torch.randn(n * D, 5, generator=g)
        learns(ex, "prefix", slow_prefix, pooled, weight, n, what=f"prefix of {M} pictures, n = {n}")


@check(points=2, stage="values", hint="The prefix stands exactly where the tag stood, and the tag goes.")
def one_picture(ex):
    """One picture's prefix replaces its tag; the words around stay in order."""
    for salt, n in ((2, 3), (3, 1)):
        learns(ex, "splice", slow_splice, *document(salt, 1, 9, 3, 9, 9, n=n), what="splice of <bos> a <image> b c")


@check(
    points=1,
    stage="values",
    hint="Each tag gets its own picture; the first prefix moves all that follows, the second tag too.",
)
def two_pictures(ex):
    """Two pictures, each at its own tag."""
    what = "splice of <bos> <image> a <image> b c"
    learns(ex, "splice", slow_splice, *document(4, 1, 3, 9, 3, 9, 9, n=3), what=what)


@check(
    points=1, stage="values", hint="Tags may stand side by side, begin or end the document, or be missing altogether."
)
def every_document(ex):
    """Any number of pictures, none too, at any place: side by side, first and last."""
    documents = {
        "<image> a <image> <image> <image> b": (3, 9, 3, 3, 3, 9),
        "<bos> a b <image>": (1, 9, 9, 3),
        "<bos> a b, without a picture": (1, 9, 9),
        "<image> <image>": (3, 3),
        "<bos> <image> a <EOC> <image> b <EOC> <pad> <pad>": (1, 3, 9, 4, 3, 9, 4, 0, 0),
    }
    for salt, (told, ids) in enumerate(documents.items(), 5):
        learns(ex, "splice", slow_splice, *document(salt, *ids), what=f"splice of {told}")


@check(points=1, stage="shape", hint="Count the tags and compare with the pictures before you begin.")
def as_many_as_tags(ex):
    """Tags and pictures that differ in number are refused, too many and too few; others are spliced."""
    words, ids, prefixes = document(9, 1, 3, 9, 3, 9, 9)
    has_shape(ex.splice(words, ids, prefixes), (8, 5), "splice of six tokens, two of them tags, with n = 2")
    for count, some in ((1, prefixes[:1]), (3, prefixes[[0, 1, 0]]), (0, prefixes[:0])):
        refuses(lambda p=some: ex.splice(words, ids, p), f"two tags and {count} pictures")

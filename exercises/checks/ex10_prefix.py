"""Checks of exercise 10. Oracles: small numbers by hand."""

import torch

from minilmm.course.checking import check, close, generator, refuses, shaped


@check(points=1, stage="shape", hint="(M, n D) has to become (M, n, D).")
def prefix_shape(ex):
    """n vectors of width D per picture."""
    g = generator()
    shaped(
        ex.prefix(torch.randn(5, 7, generator=g), torch.randn(6, 7, generator=g), 2), (5, 2, 3), "prefix, n = 2, D = 3"
    )


@check(
    points=2, stage="values", hint="The first D outputs are the first vector: `unflatten` or `view` with n before D."
)
def prefix_values(ex):
    """The first D outputs of the map are the first vector."""
    weight = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, 4.0]])  # n = 2, D = 2
    got = ex.prefix(torch.tensor([[1.0, 10.0], [2.0, 20.0]]), weight, 2)
    expected = torch.tensor([[[1.0, 2.0], [30.0, 40.0]], [[2.0, 4.0], [60.0, 80.0]]])
    close(got, expected, "prefix of two pictures")


def document():
    words = torch.arange(1.0, 7.0)[:, None].expand(6, 2)  # token i has the embedding (i + 1, i + 1)
    return words, torch.tensor([1, 3, 50, 3, 51, 52])  # <bos> <image> a <image> b c


@check(points=2, stage="values", hint="The prefix stands exactly where the tag stood, and the tag goes.")
def one_picture(ex):
    """One picture's prefix replaces its tag; the words around stay in order."""
    words, ids = document()
    got = ex.splice(words[:3], ids[:3], torch.tensor([[[10.0, 11.0], [20.0, 21.0]]]))
    close(got, torch.tensor([[1.0, 1.0], [10.0, 11.0], [20.0, 21.0], [3.0, 3.0]]), "splice of <bos> <image> a")


@check(
    points=2,
    stage="values",
    hint="Each tag gets its own picture; the first prefix moves all that follows, the second tag too.",
)
def two_pictures(ex):
    """Two pictures, each at its own tag: the document equals its two halves, spliced one by one."""
    words, ids = document()
    prefixes = torch.tensor([[[10.0, 11.0], [20.0, 21.0]], [[30.0, 31.0], [40.0, 41.0]]])
    halves = ex.splice(words[:3], ids[:3], prefixes[:1]), ex.splice(words[3:], ids[3:], prefixes[1:])
    close(ex.splice(words, ids, prefixes), torch.cat(halves), "splice of <bos> <image> a <image> b c")


@check(points=1, stage="shape", hint="Count the tags and compare with the pictures before you begin.")
def as_many_as_tags(ex):
    """Tags and pictures that differ in number are refused."""
    words, ids = document()
    refuses(lambda: ex.splice(words, ids, torch.zeros(1, 2, 2)), "two tags and one picture")

"""Checks of exercise 09. Oracles: a matrix by hand, a slow loop."""

import torch

from minilmm.course.checking import check, close, equal, generator, refuses


@check(points=2, stage="values", hint="Rows are pictures: looking along a row is looking for a text.")
def the_two_directions(ex):
    """Pictures look along rows for texts, texts look along columns for pictures."""
    s = torch.tensor([[0.9, 0.2, 0.7, 0.3], [0.4, 0.8, 0.6, 0.2], [0.3, 0.2, 0.5, 0.4], [0.5, 0.6, 0.8, 0.1]])
    # own ones come first or last: rows 0, 0, 0, 3 strangers before -> 3/4; columns 0, 0, 3, 3 -> 1/2
    close(torch.tensor(ex.recall_at(s, 2)), torch.tensor([3 / 4, 1 / 2]), "TR@2 and IR@2, own ones first or last")


@check(points=2, stage="values", hint="Among the k most similar: at most k - 1 strangers may stand before.")
def larger_k(ex):
    """Recall at 2 lets one stranger stand before."""
    s = torch.tensor([[0.5, 0.9, 0.8], [0.9, 0.5, 0.1], [0.7, 0.6, 0.5]])
    # rows: 2, 1, 2 strangers before -> 1/3; columns: 2, 2, 1 -> 1/3
    close(torch.tensor(ex.recall_at(s, 2)), torch.tensor([1 / 3, 1 / 3]), "TR@2 and IR@2")


@check(points=1, stage="values", hint="Count strangers with >=, and do not count the own one.")
def ties(ex):
    """A model to which everything is alike finds nothing."""
    close(torch.tensor(ex.recall_at(torch.ones(4, 4), 1)), torch.zeros(2), "TR@1 and IR@1 of a constant matrix")


@check(
    points=2,
    stage="values",
    hint="Sort upwards and take the end: the most similar is last by itself. Cosines, not products.",
)
def nearest_last(ex):
    """The nearest by cosine, the most similar last."""
    query = torch.randn(6, generator=generator())
    other = torch.randn(5, 6, generator=generator(1))
    other -= (other @ query / (query @ query))[:, None] * query  # at right angles to the query
    other = other / other.norm(dim=1, keepdim=True) * query.norm()
    shares = torch.tensor([0.3, 0.9, -0.5, 0.6, 0.1])
    support = shares[:, None] * query + (1 - shares[:, None] ** 2).sqrt() * other
    support = support * torch.tensor([9.0, 0.2, 5.0, 1.0, 30.0])[:, None]  # lengths must not matter
    equal(ex.demonstrations_for(query, support, 3), [0, 3, 1], "the three nearest, of cosines .3, .9, -.5, .6, .1")


@check(points=1, stage="shape", hint="What should happen when there are not enough pictures? Say so.")
def too_few(ex):
    """More shots than pictures are refused."""
    refuses(lambda: ex.demonstrations_for(torch.ones(3), torch.ones(2, 3), 4), "4 shots from 2 pictures")

"""Checks of exercise 19. Oracles: pictures whose cosines are known, tables by hand."""

import torch

from minilmm.course.checking import check, close, equal, generator, refuses


@check(points=2, stage="values", hint="Cosines: both sides at length 1. `topk` gives the most similar first.")
def nearest_last(ex):
    """The nearest by cosine, the most similar last, whatever the features' lengths."""
    query = torch.randn(6, generator=generator())
    other = torch.randn(5, 6, generator=generator(1))
    other -= (other @ query / (query @ query))[:, None] * query  # at right angles to the query
    other = other / other.norm(dim=1, keepdim=True) * query.norm()
    shares = torch.tensor([0.3, 0.9, -0.5, 0.1, 0.6])
    support = shares[:, None] * query + (1 - shares[:, None] ** 2).sqrt() * other
    support = support * torch.tensor([9.0, 0.2, 5.0, 1.0, 30.0])[:, None]  # lengths must not matter
    got = ex.nearest(query[None], support, 3, torch.tensor([-1]))
    equal(got, torch.tensor([[0, 4, 1]]), "the three nearest, of cosines .3, .9, -.5, .1, .6")


@check(points=1, stage="values", hint="Every row has a query, an own place and neighbours of its own.")
def each_query(ex):
    """Many queries at once get what each gets alone."""
    support = torch.randn(8, 4, generator=generator(2))
    own = torch.tensor([0, 5, 3])
    alone = [ex.nearest(support[i : i + 1], support, 6, torch.tensor([i])) for i in own.tolist()]
    equal(ex.nearest(support[own], support, 6, own), torch.cat(alone), "three queries at once, from yours one by one")


@check(points=2, stage="mask", hint="Strike the query out before you choose, by its place and not by its features.")
def not_itself(ex):
    """A query is not its own example, but its twin may be, and k examples come all the same."""
    support = torch.randn(5, 4, generator=generator(3))
    support[4] = support[2]
    row = ex.nearest(support[2:3], support, 4, torch.tensor([2]))[0].tolist()
    equal([len(row), 2 in row, 4 in row], [4, False, True], "how many examples, is the query among them, is its twin")


@check(points=1, stage="shape", hint="A query that is in the support has one picture less to choose from.")
def too_few(ex):
    """As many shots as pictures, the query's own included, are refused."""
    support = torch.eye(3)
    refuses(lambda: ex.nearest(support[:1], support, 3, torch.tensor([0])), "3 shots from 3 pictures, one the query's")


@check(points=1, stage="values", hint="An order lists, place by place, which example stands there.")
def in_these_orders(ex):
    """Examples come in the orders given."""
    got = ex.arranged(torch.tensor([7, 8, 9]), torch.tensor([[2, 0, 1], [0, 1, 2], [1, 0, 2]]))
    equal(got, torch.tensor([[9, 7, 8], [7, 8, 9], [8, 7, 9]]), "7 8 9 in the orders 201, 012, 102")


def table():
    """Two queries, three orders, two candidates: one order in three thinks the first candidate impossible."""
    return torch.tensor([[[-1.0, -2.0], [-1.0, -2.0], [-10.0, -2.0]], [[-3.0, -1.5], [-2.0, -2.5], [-1.0, -5.0]]])


@check(points=2, stage="values", hint="Average the logarithms, not the probabilities, and over the orders.")
def mean_log_likelihood(ex):
    """The mean over orders of each candidate's log-likelihood."""
    close(ex.ensembled(table())[0], torch.tensor([[-4.0, -2.0], [-2.0, -3.0]]), "the means for two queries")


@check(points=1, stage="values", hint="Choose once, from the means.")
def the_answer(ex):
    """The answer is the candidate with the highest mean."""
    means, answer = ex.ensembled(table())
    equal(answer, means.argmax(-1), "the answers to two queries, from your own means")

"""Checks of exercise 19. Oracles: pictures whose cosines are known, a loop over pictures, tables by hand."""

import torch

from minilmm.course.checking import Wrong, check, close, equal, generator, has_shape, refuses, same


def looped(query, support, k, own):
    """The k nearest others of one query, the most similar last."""

    def cosine(i):
        return float(query @ support[i]) / float(query @ query) ** 0.5 / float(support[i] @ support[i]) ** 0.5

    return sorted((i for i in range(len(support)) if i != own), key=cosine)[-k:]


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
    g = generator(5)
    for N, D, k in ((9, 4, 1), (7, 3, 5), (4, 5, 4)):
        query = torch.randn(D, generator=g)
        support = torch.randn(N, D, generator=g) * torch.rand(N, 1, generator=g).add(0.1)
        got = ex.nearest(query[None], support, k, torch.tensor([-1]))
        equal(got, torch.tensor([looped(query, support, k, -1)]), f"the {k} nearest of {N}")


@check(points=1, stage="values", hint="Every row has a query, an own place and neighbours of its own.")
def each_query(ex):
    """Many queries at once get what each gets alone, be they in the support or not."""
    support = torch.randn(8, 4, generator=generator(2))
    queries = torch.cat([support[[0, 5, 3]], torch.randn(2, 4, generator=generator(6))])
    for own in (torch.tensor([0, 5, 3, -1, -1]), torch.tensor([0, 5, 3, 3, 7])):
        alone = torch.cat([ex.nearest(q[None], support, 6, o[None]) for q, o in zip(queries, own, strict=True)])
        has_shape(alone, (5, 6), "the examples of five queries, one by one")
        if any(torch.equal(alone[i], alone[j]) for i in range(3) for j in range(i)):
            raise Wrong("the examples of three queries, one by one", "others for each", "the same for two of them")
        for rows in ([0, 1, 2], [4, 2, 0, 3, 1]):
            got = ex.nearest(queries[rows], support, 6, own[rows])
            equal(got, alone[rows], f"queries at {own[rows].tolist()} (-1: elsewhere) at once, from yours one by one")


@check(points=2, stage="mask", hint="Strike the query out before you choose, by its place and not by its features.")
def not_itself(ex):
    """A query is not its own example, but its twin may be, and k examples come all the same."""
    support = torch.randn(6, 4, generator=generator(3))
    support = support / support.norm(dim=1, keepdim=True)
    support[4] = support[2]
    support[1] = torch.nn.functional.normalize(0.2 * support[1] - support[2], dim=0)  # as unlike picture 2 as can be
    for i in (2, 0, 5, 4):
        row = ex.nearest(support[i : i + 1], support, 5, torch.tensor([i]))[0].tolist()
        equal(sorted(row), [j for j in range(6) if j != i], f"all 5 examples for picture {i} of 6")
    got = [ex.nearest(support[i : i + 1], support, 1, torch.tensor([i])) for i in (2, 4)]
    equal(torch.cat(got), torch.tensor([[4], [2]]), "the one example for each of two pictures that are twins")


@check(points=1, stage="shape", hint="A query that is in the support has one picture less to choose from.")
def too_few(ex):
    """More shots than other pictures are refused, as many are not: a query from elsewhere has one more."""
    support = torch.randn(3, 5, generator=generator(7))
    foreign, mixed = torch.randn(1, 5, generator=generator(8)), torch.tensor([-1, 2])
    refuses(lambda: ex.nearest(support[:1], support, 3, torch.tensor([0])), "3 shots from 3 pictures, one the query's")
    refuses(lambda: ex.nearest(foreign, support, 4, torch.tensor([-1])), "4 shots from 3 pictures")
    both = torch.cat([foreign, support[2:]])
    refuses(lambda: ex.nearest(both, support, 3, mixed), "3 shots from 3 pictures, one the second query's")
    alone = ex.nearest(foreign, support, 3, torch.tensor([-1]))
    equal(alone.sort(1).values, torch.tensor([[0, 1, 2]]), "3 shots from 3 pictures for a query from elsewhere")
    equal(ex.nearest(both, support, 2, mixed)[1].sort().values, torch.tensor([0, 1]), "2 shots for picture 2 of 3")


@check(points=1, stage="values", hint="An order lists, place by place, which example stands there.")
def in_these_orders(ex):
    """Examples come in the orders given."""
    got = ex.arranged(torch.tensor([7, 8, 9]), torch.tensor([[2, 0, 1], [0, 1, 2], [1, 0, 2]]))
    equal(got, torch.tensor([[9, 7, 8], [7, 8, 9], [8, 7, 9]]), "7 8 9 in the orders 201, 012, 102")
    g = generator(9)
    for P, k in ((6, 4), (1, 5)):
        chosen = torch.randperm(20, generator=g)[:k]
        orders = [torch.randperm(k, generator=g).tolist() for _ in range(P)]
        expected = torch.tensor([[int(chosen[i]) for i in order] for order in orders])
        equal(ex.arranged(chosen, torch.tensor(orders)), expected, f"{chosen.tolist()} in the orders {orders}")


def table():
    """Two queries, three orders, two candidates: one order in three thinks the first candidate impossible."""
    return torch.tensor([[[-1.0, -2.0], [-1.0, -2.0], [-10.0, -2.0]], [[-3.0, -1.5], [-2.0, -2.5], [-1.0, -5.0]]])


def random_tables():
    """Log-likelihoods of 6 queries, 4 orders, 5 candidates, and of others."""
    return [-4 * torch.rand(*shape, generator=generator(10)) for shape in ((6, 4, 5), (5, 3, 2), (4, 1, 3))]


@check(points=2, stage="values", hint="Average the logarithms, not the probabilities, and over the orders.")
def mean_log_likelihood(ex):
    """The mean over orders of each candidate's log-likelihood."""
    close(ex.ensembled(table())[0], torch.tensor([[-4.0, -2.0], [-2.0, -3.0]]), "the means for two queries")
    for logs in random_tables():
        expected = [[sum(each) / len(each) for each in zip(*query, strict=True)] for query in logs.tolist()]
        same(ex.ensembled(logs)[0], torch.tensor(expected), f"the means of logs {tuple(logs.shape)}")


@check(points=1, stage="values", hint="Choose once, from the means.")
def the_answer(ex):
    """The answer is the candidate with the highest mean."""
    for logs in (table(), *random_tables()[:1], *(-random_tables()[0].roll(i, 2) for i in range(3))):
        means, answer = ex.ensembled(logs)
        if not bool((means != means[:, :1]).any()):
            raise Wrong("the means", "others for each candidate", "the same for all")
        equal(answer, means.argmax(-1), f"the answers to {len(logs)} queries, from your own means")

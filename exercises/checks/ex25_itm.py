"""Checks of exercise 25. Oracles: pairs and numbers by hand, slow loops over queries and pairs."""

import math

import torch

from minilmm.course.checking import check, close, equal, follows, generator, has_shape, learns


def listed(wrong_text, wrong_image):
    """The pairs one by one."""
    rows, texts, pictures = range(len(wrong_text)), wrong_text.tolist(), wrong_image.tolist()
    pairs = [(n, n, 1) for n in rows] + [(n, texts[n], 0) for n in rows] + [(pictures[n], n, 0) for n in rows]
    return [torch.tensor(column) for column in zip(*pairs, strict=True)]


@check(points=2, stage="values", hint="Three times 0 to B - 1, in which wrong partners replace texts, then pictures.")
def one_to_two(ex):
    """Each picture and each text once with its own, and once with its wrong partner."""
    g = generator()
    draws = [(torch.randint(B, (B,), generator=g), torch.randint(B, (B,), generator=g)) for B in (6, 3)]
    inputs = [(torch.tensor([2, 0, 1, 0]), torch.tensor([3, 2, 0, 1])), *draws]
    for texts, pictures in inputs:
        told = f"pairs of wrong texts {texts.tolist()} and wrong pictures {pictures.tolist()}"
        equal(list(ex.pairs(texts, pictures)), listed(texts, pictures), told)


@check(points=2, stage="values", hint="All queries have a say: the mean of their logits, before any softmax.")
def the_mean_over_queries(ex):
    """The pair's logits are the mean of the queries', and every query learns."""
    g = generator(1)

    def slow(states, weight, bias):
        each = [[torch.stack([state @ weight[c] + bias[c] for c in (0, 1)]) for state in pair] for pair in states]
        return torch.stack([sum(logits) / len(logits) for logits in each])

    for n, queries, width in ((3, 4, 6), (4, 5, 3)):
        args = [torch.randn(*shape, generator=g) for shape in ((n, queries, width), (2, width), (2,))]
        learns(ex, "match_logits", slow, *args, what=f"match_logits of {n} pairs with {queries} queries each")


@check(points=1, stage="shape", hint="Say which dimension the mean takes away; squeeze nothing.")
def a_batch_of_one(ex):
    """One pair with one query: still (1, 2), and (1,)."""
    for n in (3, 1):
        told = f"match_logits of {n} pairs with one query each"
        has_shape(ex.match_logits(torch.ones(n, 1, 4), torch.ones(2, 4), torch.zeros(2)), (n, 2), told)
    has_shape(ex.match_score(torch.zeros(1, 2)), (1,), "match_score of one pair")


@check(points=1, stage="values", hint="F.cross_entropy takes the softmax itself.")
def the_loss(ex):
    """Cross-entropy of logits with labels, softmax taken once."""
    three = math.log(3)
    logits, labels = torch.tensor([[0.0, three], [three, 0.0], [0.0, 0.0], [0.0, three]]), torch.tensor([1, 0, 0, 0])
    # the right answers' probabilities: 3/4, 3/4, 1/2, 1/4
    expected = -(2 * math.log(0.75) + math.log(0.5) + math.log(0.25)) / 4
    close(ex.itm_loss(logits, labels), expected, "itm_loss of probabilities 3/4, 3/4, 1/2, 1/4")

    def slow(logits, labels):
        total = sum(pair.logsumexp(0) - pair[label] for pair, label in zip(logits, labels.tolist(), strict=True))
        return total / len(labels)

    logits, labels = 5 * torch.randn(7, 2, generator=generator(2)), torch.tensor([1, 0, 0, 1, 0, 0, 0])
    learns(ex, "itm_loss", slow, logits, labels, what="itm_loss of 7 pairs")


@check(points=1, stage="values", hint="Softmax over the two logits; the second of them says: match.")
def the_score(ex):
    """The probability of a match."""
    logits = torch.tensor([[0.0, math.log(3)], [math.log(4), 0.0], [2.0, 2.0], [1.0, 1 + math.log(9)]])
    close(ex.match_score(logits), torch.tensor([0.75, 0.2, 0.5, 0.9]), "match_score of odds 3, 1/4, 1 and 9")
    logits = 5 * torch.randn(6, 2, generator=generator(3))
    expected = [1 / (1 + math.exp(no - yes)) for no, yes in logits.tolist()]
    close(ex.match_score(logits), torch.tensor(expected), "match_score of 6 pairs")


def by_counting(labels):
    """The cost of a constant guess, pair by pair."""
    ones = labels.tolist().count(1)
    shares = [(ones if label else len(labels) - ones) / len(labels) for label in labels.tolist()]
    return sum(-math.log(share) for share in shares) / len(shares)


@check(points=1, stage="values", hint="Say p = the share of ones to every pair: what does that cost on average?")
def looking_at_nothing(ex):
    """Who knows only the share of right pairs: .6365 for one right in three, ln 2 for one in two."""
    labels = [[1, 0, 0] * 5, [0, 1], [0, 0, 0, 1], [1, 1, 0, 1, 1], [0] * 9 + [1] * 2]
    inputs = [(torch.tensor(some),) for some in labels]
    told = "trivial_loss of labels of which 1/3, 1/2, 1/4, 4/5 and 2/11 are 1"
    follows(lambda some: float(ex.trivial_loss(some)), by_counting, inputs, told)

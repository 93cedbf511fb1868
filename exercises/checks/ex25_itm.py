"""Checks of exercise 25. Oracles: pairs and numbers by hand, a slow loop over queries."""

import math

import torch

from minilmm.course.checking import check, close, equal, generator, shaped


@check(points=2, stage="values", hint="Three times 0 to B - 1, in which wrong partners replace texts, then pictures.")
def one_to_two(ex):
    """Each picture and each text once with its own, and once with its wrong partner."""
    got = ex.pairs(torch.tensor([2, 0, 1, 0]), torch.tensor([3, 2, 0, 1]))
    pictures = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 3, 2, 0, 1])
    texts = torch.tensor([0, 1, 2, 3, 2, 0, 1, 0, 0, 1, 2, 3])
    expected = [pictures, texts, torch.tensor([1] * 4 + [0] * 8)]
    equal(list(got), expected, "pairs of wrong texts 2 0 1 0 and wrong pictures 3 2 0 1")


@check(points=2, stage="values", hint="All queries have a say: the mean of their logits, before any softmax.")
def the_mean_over_queries(ex):
    """The pair's logits are the mean of the queries'."""
    g = generator()
    states, weight, bias = (torch.randn(*shape, generator=g) for shape in ((3, 4, 5), (2, 5), (2,)))
    expected = torch.zeros(3, 2)
    for n in range(3):
        for state in states[n]:
            expected[n] += torch.tensor([float(state @ weight[c]) + float(bias[c]) for c in (0, 1)]) / 4
    close(ex.match_logits(states, weight, bias), expected, "match_logits of 3 pairs with four queries each")


@check(points=1, stage="shape", hint="Say which dimension the mean takes away; squeeze nothing.")
def a_batch_of_one(ex):
    """One pair with one query: still (1, 2), and (1,)."""
    shaped(ex.match_logits(torch.ones(1, 1, 3), torch.ones(2, 3), torch.zeros(2)), (1, 2), "match_logits of one pair")
    shaped(ex.match_score(torch.zeros(1, 2)), (1,), "match_score of one pair")


@check(points=1, stage="values", hint="F.cross_entropy takes the softmax itself.")
def the_loss(ex):
    """Cross-entropy of logits with labels, softmax taken once."""
    three = math.log(3)
    logits = torch.tensor([[0.0, three], [three, 0.0], [0.0, 0.0], [0.0, three]])
    # the right answers' probabilities: 3/4, 3/4, 1/2, 1/4
    expected = -(2 * math.log(0.75) + math.log(0.5) + math.log(0.25)) / 4
    close(ex.itm_loss(logits, torch.tensor([1, 0, 0, 0])), expected, "itm_loss of probabilities 3/4, 3/4, 1/2, 1/4")


@check(points=1, stage="values", hint="Softmax over the two logits; the second of them says: match.")
def the_score(ex):
    """The probability of a match."""
    logits = torch.tensor([[0.0, math.log(3)], [math.log(4), 0.0], [2.0, 2.0], [1.0, 1 + math.log(9)]])
    close(ex.match_score(logits), torch.tensor([0.75, 0.2, 0.5, 0.9]), "match_score of odds 3, 1/4, 1 and 9")


@check(points=1, stage="values", hint="Say p = the share of ones to every pair: what does that cost on average?")
def looking_at_nothing(ex):
    """Who knows only the share of right pairs: .6365 for one right in three, ln 2 for one in two."""
    got = [float(ex.trivial_loss(torch.tensor(labels))) for labels in ([1, 0, 0] * 5, [0, 1], [0, 0, 0, 1])]
    expected = torch.tensor([0.636514, math.log(2), 0.25 * math.log(4) + 0.75 * math.log(4 / 3)])
    close(torch.tensor(got), expected, "trivial_loss of one right in three, in two, in four")

"""Checks of exercise 24. Oracles: shares by hand, counts of many draws, draws with one possible outcome."""

import math

import torch

from minilmm.course.checking import check, close, equal, generator, refuses


@check(points=2, stage="values", hint="Softmax: exp of the similarities, over the sum of the wrong ones.")
def alike_is_likely(ex):
    """Among the wrong ones the odds stand as exp(similarity)."""
    similar = torch.tensor([[0.3, math.log(4), math.log(3), math.log(5)], [-math.log(2), 0.5, math.log(0.75), 0.0]])
    fits = torch.tensor([[True, False, False, False], [False, True, False, False]])
    wrong = ex.odds(similar, fits)[~fits].view(2, 3)
    expected = torch.tensor([[4 / 12, 3 / 12, 5 / 12], [2 / 9, 3 / 9, 4 / 9]])
    close(wrong / wrong.sum(1, keepdim=True), expected, "shares of the wrong ones, exp: (4, 3, 5) and (1/2, 3/4, 1)")


@check(points=2, stage="mask", hint="Put -inf where a column fits, before the softmax.")
def never_a_right_one(ex):
    """What fits is never drawn: not the own partner, nor one that says the same, however alike; rows sum to 1."""
    similar = torch.tensor([[120.0, 0, 1, 115], [2, 3, 1, 0], [0, 1, 2, 0]])
    fits = torch.tensor([[True, False, False, True], [False, True, False, False], [True, False, True, False]])
    got = ex.odds(similar, fits)
    told = "the odds of the five right ones, then the sums of the rows"
    close(torch.cat([got[fits], got.sum(1)]), torch.tensor([0.0] * 5 + [1.0] * 3), told, 1e-5)


@check(points=1, stage="values", hint="exp(100) is no 32-bit number: softmax takes off the maximum first.")
def far_apart(ex):
    """Similarities of 100, as a cosine of 1 has over a temperature of .01, give odds all the same."""
    got = ex.odds(torch.tensor([[0.0, 100.0, 100.0]]), torch.tensor([[True, False, False]]))
    close(got[:, 1:], torch.tensor([[0.5, 0.5]]), "odds of two wrong ones, both of similarity 100")


@check(points=1, stage="shape", hint="Look for a row that is True throughout.")
def nothing_wrong(ex):
    """A batch in which everything fits some row is refused."""
    fits = torch.tensor([[True, False], [True, True]])
    refuses(lambda: ex.odds(torch.zeros(2, 2), fits), "odds where the second row has no wrong column")


def drawn(ex, similar, fits, seed):
    import torch

    return ex.draw(similar, fits, torch.Generator().manual_seed(seed))


@check(points=2, stage="values", hint="torch.multinomial(odds, 1) draws one column per row.")
def drawn_by_the_odds(ex):
    """4000 rows alike: each column is drawn as often as your own odds say."""
    similar = torch.tensor([0.3, math.log(2), 0.0, math.log(5)]).expand(4000, -1)
    fits = torch.tensor([True, False, False, False]).expand(4000, -1)
    expected = ex.odds(similar, fits).sum(0)
    many = ex.run(drawn, similar, fits, generator().initial_seed())
    equal(list(many.shape), [4000], "the shape of draws for 4000 rows")
    shares = torch.bincount(many, minlength=4) / 4000
    close(shares, expected / expected.sum(), "how often each column is drawn, in 4000 draws", 0.04)


def twice(ex, similar, fits):
    import torch

    draws = []
    for outside in (1, 2):
        torch.manual_seed(outside)
        draws.append(ex.draw(similar, fits, torch.Generator().manual_seed(5)))
    return bool((draws[0] == draws[1]).all())


@check(points=1, stage="values", hint="Hand the generator on to torch.multinomial.")
def the_given_generator(ex):
    """The same generator draws the same, whatever else was drawn before."""
    told = "are 50 draws with the same generator the same?"
    equal(ex.run(twice, torch.zeros(50, 4), torch.eye(50, 4, dtype=torch.bool)), True, told)


def both(ex, similar, fits, seed):
    import torch

    return list(ex.partners(similar, fits, torch.Generator().manual_seed(seed)))


@check(points=1, stage="values", hint="For texts turn both tables round: similar.T and fits.T.")
def both_ways(ex):
    """Pictures get wrong texts, texts get wrong pictures (here each has one only)."""
    wrong = torch.tensor([[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]).bool()  # picture 0: text 2, ...
    got = ex.run(both, 50.0 * wrong, ~wrong, 0)
    equal(
        got,
        [torch.tensor([2, 0, 3, 1]), torch.tensor([1, 3, 0, 2])],
        "wrong texts of pictures, wrong pictures of texts",
    )

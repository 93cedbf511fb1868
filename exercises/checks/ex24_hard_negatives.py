"""Checks of exercise 24. Oracles: shares by slow loops, counts of many draws, draws with one possible outcome."""

import math

import torch

from minilmm.course.checking import Wrong, check, close, equal, generator, refuses


def tables(salt, B, C):
    """Random similarities, and what fits: each row's own column, others now and then, two that do not at least."""
    g = generator(salt)
    similar, fits = 0.3 * torch.randn(B, C, generator=g), torch.rand(B, C, generator=g) < 0.3
    for row in fits:
        own, *wrong = torch.randperm(C, generator=g)[:3].tolist()
        row[own], row[wrong] = True, False
    return similar, fits


def shares(similar, fits):
    """Row by row: exp over the sum of the wrong ones' exp."""
    rows = []
    for row, right in zip(similar.tolist(), fits.tolist(), strict=True):
        most = max(s for s, f in zip(row, right, strict=True) if not f)
        each = [0.0 if f else math.exp(s - most) for s, f in zip(row, right, strict=True)]
        rows.append([e / sum(each) for e in each])
    return torch.tensor(rows)


@check(points=2, stage="values", hint="Softmax: exp of the similarities, over the sum of the wrong ones.")
def alike_is_likely(ex):
    """Among the wrong ones the odds stand as exp(similarity)."""
    for salt, B, C in ((0, 3, 5), (1, 6, 4)):
        similar, fits = tables(salt, B, C)
        wrong = ex.odds(similar, fits) * ~fits
        told = f"shares of the wrong ones in {B} rows of {C} columns, the right ones left out"
        close(wrong / wrong.sum(1, keepdim=True), shares(similar, fits), told)


@check(points=2, stage="mask", hint="Put -inf where a column fits, before the softmax.")
def never_a_right_one(ex):
    """What fits is never drawn: not the own partner, nor one that says the same, however alike; rows sum to 1."""
    similar, fits = tables(2, 6, 5)
    similar = similar + 120 * fits * (torch.arange(6) % 2)[:, None]  # in every other row what fits is far more alike
    got = ex.odds(similar, fits)
    close(got.sum(1), torch.ones(6), "the sums of the rows of odds", 1e-5)
    close(got[fits], torch.zeros(int(fits.sum())), "the odds of those that fit", 0)


@check(points=1, stage="values", hint="exp(100) is no 32-bit number: softmax takes off the maximum first.")
def far_apart(ex):
    """Similarities of 100, as a cosine of 1 has over a temperature of .01, give odds all the same."""
    similar = torch.tensor([[0.0, 100.0, 100.0 + math.log(3), 99.0], [100.0, 3.0, -100.0, 100.0 - math.log(4)]])
    fits = torch.tensor([[True, False, False, True], [False, True, False, False]])
    expected = torch.tensor([[0, 0.25, 0.75, 0], [0.8, 0, 0, 0.2]])
    got = ex.odds(similar, fits)
    close(got[~fits], expected[~fits], "odds of wrong ones of similarity 100 and 100 + ln 3, 100, -100 and 100 - ln 4")


@check(points=1, stage="shape", hint="Look for a row that is True throughout.")
def nothing_wrong(ex):
    """A batch in which everything fits some row is refused, and no other."""
    o, x = False, True
    fits = torch.tensor([[o, x], [x, o]])  # one wrong column in each row
    equal(list(ex.odds(torch.zeros(2, 2), fits).shape), [2, 2], "the shape of odds where one column is wrong")
    for fits in ([[x, o], [x, x]], [[x, x, x], [x, o, o]], [[x]]):
        told = torch.tensor(fits)
        refuses(lambda told=told: ex.odds(0.0 * told, told), f"odds where everything fits a row of {len(fits[0])}")


def drawn(ex, similar, fits, seeds):
    import torch

    draws = []
    for seed in seeds:
        torch.manual_seed(len(draws))
        generator = torch.Generator().manual_seed(seed)
        draws.append([ex.draw(similar, fits, generator), ex.draw(similar, fits, generator)])
    return draws


@check(points=2, stage="values", hint="torch.multinomial(odds, 1) draws one column per row, each row by itself.")
def drawn_by_the_odds(ex):
    """4000 pairs of rows: each column is drawn as often as your own odds say, whatever the row beside it draws."""
    g = generator(3)
    columns, odds = torch.randperm(6, generator=g), torch.tensor([0.0, 0, 0, 0.6, 0.3, 0.1, 0.2, 0.7, 0.1, 0, 0, 0])
    pair = odds.view(2, 6)[:, columns]  # two kinds of rows, in turn: what is wrong for one is right for the other
    similar, fits = pair.clamp(min=0.5 * (pair == 0)).log().repeat(4000, 1), (pair == 0).repeat(4000, 1)
    first, second = ex.odds(similar[:2], fits[:2])
    expected = first[:, None] * second / (first.sum() * second.sum())
    many = ex.run(drawn, similar, fits, [g.initial_seed()])[0][0]
    equal(list(many.shape), [8000], "the shape of draws for 8000 rows")
    both = torch.bincount(6 * many[::2] + many[1::2], minlength=36).view(6, 6) / 4000
    close(both, expected, "how often two neighbours draw each pair of columns, in 4000 pairs", 0.04)


@check(points=1, stage="values", hint="Hand the generator on to torch.multinomial, as it comes.")
def the_given_generator(ex):
    """The same generator draws the same, whatever else was drawn before, and goes on: a second draw is another."""
    similar, fits = torch.zeros(60, 5), torch.eye(60, 5, dtype=torch.bool)
    (one, two), (again, _), (other, _) = ex.run(drawn, similar, fits, [5, 5, 6])
    equal(again, one, "60 draws with a generator of the same seed")
    told = "how many of 60 draws among four or five are those before, with the generator moved on and with another seed"
    alike = [int((one == draws).sum()) for draws in (two, other)]
    if max(alike) > 40:
        raise Wrong(told, "some 15", f"{alike[0]} and {alike[1]}")


def both(ex, similar, fits, seeds):
    import torch

    return [list(ex.partners(similar, fits, torch.Generator().manual_seed(seed))) for seed in seeds]


@check(points=1, stage="values", hint="For texts turn both tables round: similar.T and fits.T.")
def both_ways(ex):
    """Pictures get wrong texts, texts wrong pictures: where each has one only, and where your own odds leave more."""
    g = generator(4)
    order = torch.randperm(6, generator=g)
    wrong = torch.zeros(6, 6, dtype=torch.bool)
    wrong[order, order.roll(1)] = True  # a ring
    expected = [wrong.int().argmax(1), wrong.int().argmax(0)]
    (got,) = ex.run(both, 50.0 * wrong, ~wrong, [0])
    equal(got, expected, "wrong texts of pictures, wrong pictures of texts, where each has only one")
    kind = torch.arange(90) % 3
    similar = torch.tensor([0.0, 1.0, 2.0])[kind] + torch.tensor([1.5, 0.0, 0.5])[kind][:, None]
    fits = torch.eye(90, dtype=torch.bool)
    draws = ex.run(both, similar, fits, list(range(g.initial_seed(), g.initial_seed() + 40)))
    for side, (table, what) in enumerate(((similar, "texts"), (similar.T, "pictures"))):
        odds = ex.odds(table, fits)
        wanted = torch.stack([odds[:, kind == k].sum() for k in range(3)]) / odds.sum()
        counts = torch.bincount(kind[torch.cat([pair[side] for pair in draws])], minlength=3)
        close(counts / 3600, wanted, f"how often wrong {what} of three kinds are drawn, in 3600 draws", 0.05)

"""Checks of exercise 12. Oracles: resamples whose means are known by hand; sorted means, interpolated in a loop."""

import torch

from minilmm.course.checking import check, close, equal, generator, same


def by_hand(values, picks):
    """The mean, and the 2.5 % and 97.5 % quantiles of the means of resamples: plain numbers, sorted."""
    values, picks = values.tolist(), picks.tolist()
    means = sorted(sum(values[i] for i in row) / len(row) for row in picks)
    ends = []
    for place in (0.025 * (len(means) - 1), 0.975 * (len(means) - 1)):
        below = int(place)
        ends.append(means[below] + (place - below) * (means[min(below + 1, len(means) - 1)] - means[below]))
    return [sum(values) / len(values), *ends]


def truths(n, g):
    return torch.randint(2, (n,), generator=g)


@check(points=1, stage="values", hint="The accuracy is that of the episodes themselves, not of the resamples.")
def the_accuracy(ex):
    """The accuracy is the mean over the episodes themselves."""
    g = generator(1)
    got = ex.interval(torch.tensor([1, 0, 1, 1]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]))
    close(got[0], 0.75, "the accuracy of three right in four")
    correct = torch.arange(11) < torch.arange(1, 11)[torch.randperm(10, generator=g)[:3], None]
    for row in correct.long():
        got = ex.interval(row, torch.randint(11, (6, 11), generator=g))
        close(got[0], sum(row.tolist()) / 11, f"the accuracy of {int(row.sum())} right in 11")


@check(points=3, stage="values", hint="One mean per resample, then the 2.5 % and 97.5 % quantiles of these means.")
def the_ends(ex):
    """The ends are quantiles of the resampled means, interpolated."""
    g = generator()
    order = torch.randperm(50, generator=g)
    correct = torch.zeros(50, dtype=torch.long).index_fill(0, order[:30], 1)
    right = torch.arange(50) < torch.arange(5, 46)[torch.randperm(41, generator=g), None]  # 5, 6, ... 45 right answers
    picks = torch.where(right, order[0], order[-1])[:, torch.randperm(50, generator=g)]
    # 41 different means .10, .12, ... .90: a fortieth of the way in from either end is the second
    same(list(ex.interval(correct, picks)[1:]), [0.12, 0.88], "low and high")
    for n, samples in ((13, 27), (30, 90)):
        correct, picks = truths(n, g), torch.randint(n, (samples, n), generator=g)
        expected = by_hand(correct, picks)[1:]
        same(list(ex.interval(correct, picks)[1:]), expected, f"low and high of {samples} resamples of {n} episodes")


@check(
    points=2,
    stage="values",
    hint="Resample episodes, and take both models' answers to each: the difference is one number per episode.",
)
def the_gap(ex):
    """Two models on the same episodes: the gap is the interval of the differences, episode by episode."""
    g = generator(2)
    for first, second in (("1110011", "0000111"), ("0000111", "1110011"), ("1011010", "0010000")):
        first, second = (torch.tensor([int(x) for x in answers]) for answers in (first, second))
        episodes = torch.randperm(7, generator=g)
        first, second = first[episodes], second[episodes]
        # two different resamples, many times each: any quantiles near the ends are their two means
        picks = torch.randint(7, (2, 7), generator=g).repeat(60, 1)[torch.randperm(120, generator=g)]
        same(list(ex.gap(first, second, picks)), by_hand(first - second, picks), "gap(first, second, picks)")
    first, second = torch.tensor([1, 1, 0, 1, 0, 0]), torch.tensor([1, 0, 0, 0, 1, 0])
    rows = [[[0, 1, 1, 3, 3, 3], [2, 4, 4, 4, 2, 5]], [[0, 0, 0, 1, 3, 2], [2, 2, 2, 5, 5, 5]]]
    for two, low, high in zip(rows, (-0.5, 0.0), (5 / 6, 1 / 3), strict=True):
        picks = torch.tensor(two).repeat(50, 1)
        same(list(ex.gap(first, second, picks)), [1 / 6, low, high], "gap of 110100 over 100010 in two resamples")


@check(points=1, stage="values", hint="It must hold the chance: below is as suspicious as above.")
def controls(ex):
    """A control is in order where its interval holds the chance, and neither above nor below it."""
    got = [ex.in_order(0.42, 0.55, 0.5), ex.in_order(0.55, 0.7, 0.5), ex.in_order(0.3, 0.45, 0.5)]
    equal(got, [True, False, False], "in_order of .42-.55, .55-.7 and .3-.45 at chance .5")
    for ends in [[0.05, 0.95], *torch.rand(8, 2, generator=generator(3)).sort(1).values.tolist()]:
        low, high = ends
        for chance in (low / 2, low, (low + high) / 2, high, high + 0.01):
            holds = low <= chance <= high
            equal(ex.in_order(low, high, chance), holds, f"in_order({low:.3f}, {high:.3f}, {chance:.3f})")

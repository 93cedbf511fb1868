"""Checks of exercise 12. Oracles: resamples whose means are known by hand; the interval of differences."""

import torch

from minilmm.course.checking import check, close, equal, generator


@check(points=1, stage="values", hint="The accuracy is that of the episodes themselves, not of the resamples.")
def the_accuracy(ex):
    """The accuracy is the mean over the episodes themselves."""
    got = ex.interval(torch.tensor([1, 0, 1, 1]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]))
    close(got[0], 0.75, "the accuracy of three right in four")


@check(points=3, stage="values", hint="One mean per resample, then the 2.5 % and 97.5 % quantiles of these means.")
def the_ends(ex):
    """The ends are quantiles of the resampled means."""
    g = generator()
    order = torch.randperm(50, generator=g)
    correct = torch.zeros(50, dtype=torch.long).index_fill(0, order[:30], 1)
    right = torch.arange(50) < torch.arange(5, 46)[torch.randperm(41, generator=g), None]  # 5, 6, ... 45 right answers
    picks = torch.where(right, order[0], order[-1])[:, torch.randperm(50, generator=g)]
    # 41 different means .10, .12, ... .90: a fortieth of the way in from either end is the second
    close(torch.tensor(ex.interval(correct, picks)[1:]), torch.tensor([0.12, 0.88]), "low and high")


@check(
    points=2,
    stage="values",
    hint="Resample episodes, and take both models' answers to each: the difference is one number per episode.",
)
def the_gap(ex):
    """Two models on the same episodes: the gap is the interval of the differences, episode by episode."""
    first, second = torch.tensor([1, 1, 0, 1, 0]), torch.tensor([0, 1, 0, 0, 0])
    picks = torch.tensor([[0, 0, 3, 3, 3], [1, 1, 1, 1, 1], [2, 2, 2, 4, 4]])
    expected = ex.interval(torch.tensor([1, 0, 0, 1, 0]), picks)
    close(torch.tensor(ex.gap(first, second, picks)), torch.tensor(expected), "gap(first, second, picks)")


@check(points=1, stage="values", hint="It must hold the chance: below is as suspicious as above.")
def controls(ex):
    """A control is in order where its interval holds the chance, and neither above nor below it."""
    got = [ex.in_order(0.42, 0.55, 0.5), ex.in_order(0.55, 0.7, 0.5), ex.in_order(0.3, 0.45, 0.5)]
    equal(got, [True, False, False], "in_order of .42-.55, .55-.7 and .3-.45 at chance .5")

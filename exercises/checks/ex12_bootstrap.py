"""Checks of exercise 12. Oracles: sorted means and interpolation by hand."""

import torch

from minilmm.course.checking import check, close, equal, generator


def quantile(values, share):
    """Linear interpolation between sorted values."""
    values, place = sorted(values), share * (len(values) - 1)
    below = int(place)
    return values[below] + (place - below) * (values[min(below + 1, len(values) - 1)] - values[below])


@check(points=1, stage="values", hint="The accuracy is that of the episodes themselves, not of the resamples.")
def the_accuracy(ex):
    """The accuracy is the mean over the episodes themselves."""
    got = ex.interval(torch.tensor([1, 0, 1, 1]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]))
    close(got[0], 0.75, "the accuracy of three right in four")


@check(points=3, stage="values", hint="One mean per resample, then the 2.5 % and 97.5 % quantiles of these means.")
def the_ends(ex):
    """The ends are quantiles of the resampled means."""
    g = generator()
    correct, picks = (torch.rand(12, generator=g) < 0.6).long(), torch.randint(12, (41, 12), generator=g)
    means = [sum(int(correct[i]) for i in row) / 12 for row in picks.tolist()]
    got = ex.interval(correct, picks)
    close(torch.tensor(got[1:]), torch.tensor([quantile(means, 0.025), quantile(means, 0.975)]), "low and high")


@check(
    points=2,
    stage="values",
    hint="Resample episodes, and take both models' answers to each: the difference is one number per episode.",
)
def the_gap(ex):
    """Two models on the same episodes: pairs stay together."""
    first, second = torch.tensor([1, 1, 0, 1]), torch.tensor([0, 1, 0, 0])  # differences 1, 0, 0, 1
    picks = torch.tensor([[0, 0, 1, 1], [3, 3, 2, 2]])  # each model's mean changes, the difference is always .5
    close(torch.tensor(ex.gap(first, second, picks)), torch.tensor([0.5, 0.5, 0.5]), "gap(first, second, picks)")


@check(points=1, stage="values", hint="It must hold the chance: below is as suspicious as above.")
def controls(ex):
    """A control is in order where its interval holds the chance, and neither above nor below it."""
    got = [ex.in_order(0.42, 0.55, 0.5), ex.in_order(0.55, 0.7, 0.5), ex.in_order(0.3, 0.45, 0.5)]
    equal(got, [True, False, False], "in_order of .42-.55, .55-.7 and .3-.45 at chance .5")

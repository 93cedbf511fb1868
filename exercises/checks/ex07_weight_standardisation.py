"""Checks of exercise 07. Oracles: sums over one filter at a time; a filter worked out by hand."""

import math

import torch

from minilmm.course.checking import check, close, generator


def slow(weight, gain):
    out = torch.zeros_like(weight)
    for o, filter in enumerate(weight):
        values = filter.flatten().tolist()
        mean = sum(values) / len(values)
        square = sum((v - mean) ** 2 for v in values)  # N times the variance
        out[o] = (filter - mean) / math.sqrt(square) * float(gain[o])
    return out


@check(points=1, stage="values", hint="Means first: over everything but the output channel.")
def mean_zero(ex):
    """Every filter has mean 0."""
    weight = torch.randn(3, 2, 3, 3, generator=generator()) + torch.tensor([1.0, -2.0, 0.5]).view(3, 1, 1, 1)
    close(ex.standardise(weight, torch.ones(3)).mean((1, 2, 3)), torch.zeros(3), "the filters' means")


@check(
    points=3, stage="values", hint="Each filter by itself: fan-in times variance is the sum of its squared deviations."
)
def filters(ex):
    """Centred filters are scaled to squares that sum to 1, each by itself."""
    weight = torch.randn(4, 2, 3, 3, generator=generator(1)) * torch.tensor([1.0, 2.0, 4.0, 9.0]).view(4, 1, 1, 1)
    weight = weight - weight.mean((1, 2, 3), keepdim=True)
    close(ex.standardise(weight, torch.ones(4)), slow(weight, torch.ones(4)), "standardise(weight, ones)")


@check(points=1, stage="values", hint="One gain per output channel: it must line up with dimension 0.")
def gains(ex):
    """Gains multiply their own filters."""
    weight = torch.randn(3, 3, 3, 3, generator=generator(2))
    weight = weight - weight.mean((1, 2, 3), keepdim=True)
    gain = torch.tensor([0.5, 2.0, -1.0])
    ratio = (ex.standardise(weight, gain) / ex.standardise(weight, torch.ones(3))).mean((1, 2, 3))
    close(ratio, gain, "standardise with gains .5, 2, -1 over standardise with ones", tolerance=1e-3)


@check(
    points=2,
    stage="values",
    hint="eps is a floor under N times the variance: it is neither added nor put after the root.",
)
def the_floor(ex):
    """With a large eps it shows where eps stands: under N times the variance, inside the root."""
    weight = torch.tensor([1.0, -1.0, 1.0, -1.0]).view(1, 1, 2, 2)  # N var = 4
    got = torch.stack([ex.standardise(weight, torch.ones(1), eps)[0, 0, 0, 0] for eps in (16.0, 64.0)])
    close(got, torch.tensor([1 / 4, 1 / 8]), "the first weight of (1, -1, 1, -1) with eps 16, then 64")

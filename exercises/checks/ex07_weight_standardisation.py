"""Checks of exercise 07. Oracle: sums over one filter at a time."""

from types import SimpleNamespace

import torch

from minilmm.course.checking import check, close, generator, learns


def slow(weight, eps=1e-4):
    """Filter by filter, before the gain."""
    out = []
    for filter in weight:
        deviation = filter - filter.sum() / filter.numel()
        square = (deviation * deviation).sum()  # N times the variance
        out.append(deviation / (square if float(square.detach()) > eps else torch.tensor(eps)) ** 0.5)
    return torch.stack(out)


def centred(weight):
    return weight - weight.mean((1, 2, 3), keepdim=True)


def drawn(salt, *size):
    g = generator(salt)
    return torch.randn(*size, generator=g), torch.randn(size[0], generator=g) + 3 * torch.ones(size[0])


def of_centred(ex):
    """`standardise` of centred weights with gains of 1: what becomes of means and gains is other checks'."""

    def gradients(name, upstream, weight, *eps):
        value, (slope, _) = ex.gradients(name, upstream, centred(weight), torch.ones(len(weight)), *eps)
        return value, [slope if slope is None else centred(slope)]

    return SimpleNamespace(gradients=gradients)


@check(points=1, stage="values", hint="Means first: over everything but the output channel.")
def mean_zero(ex):
    """Every filter points where its weights point after their mean is taken off."""
    weight, ones = drawn(0, 4, 2, 3, 3)[0], torch.ones(4)
    weight = weight + torch.randn(4, 1, 1, 1, generator=generator(1))

    def direction(out):
        return out / (out * out).sum((1, 2, 3), keepdim=True).sqrt()

    def gradients(name, upstream, weight):  # of the direction alone: lengths are another check's
        out = ex.standardise(weight, ones).requires_grad_(True)
        (back,) = torch.autograd.grad((direction(out) * upstream[0]).sum(), out)
        return direction(out).detach(), ex.gradients(name, [back], weight, ones)[1][:1]

    what = "standardise(weight, ones), each filter divided by its length"
    learns(SimpleNamespace(gradients=gradients), "standardise", lambda w: direction(slow(w)), weight, what=what)


@check(
    points=2, stage="values", hint="Each filter by itself: fan-in times variance is the sum of its squared deviations."
)
def filters(ex):
    """Centred filters are scaled to squares that sum to 1, each by itself."""
    weight = drawn(2, 5, 3, 2, 2)[0] * torch.tensor([1.0, 2.0, 4.0, 9.0, 0.5]).view(5, 1, 1, 1)
    learns(of_centred(ex), "standardise", slow, weight, what="standardise(weight, ones)")


@check(points=1, stage="values", hint="One gain per output channel: it must line up with dimension 0.")
def gains(ex):
    """Gains multiply their own filters, also where kernels are as wide as there are filters."""
    weight, gain = drawn(3, 3, 3, 3, 3)
    gain = gain * torch.tensor([1.0, -1.0, 0.3])
    plain = ex.standardise(centred(weight), torch.ones(3))
    unit = plain / (plain * plain).sum((1, 2, 3), keepdim=True)
    value, slopes = ex.gradients("standardise", [unit], centred(weight), gain)
    close((value * unit).sum((1, 2, 3)), gain, "standardise with gains over standardise with ones")
    close(value, plain * gain.view(3, 1, 1, 1), "standardise with gains")
    close(slopes[1], torch.ones(3), "the gradient of that share by the gains")


@check(
    points=1,
    stage="values",
    hint="eps is a floor under N times the variance: it is neither added nor put after the root.",
)
def the_floor(ex):
    """With a large eps it shows where eps stands: under N times the variance, inside the root."""
    weight, _ = drawn(4, 4, 2, 2, 2)
    square = centred(weight).square().sum((1, 2, 3)).max().item()
    for eps in (2 * square, 8 * square):
        learns(of_centred(ex), "standardise", slow, weight, eps, what=f"standardise(weight, ones, {eps:.3g})")


@check(points=2, stage="values", hint="Mean, variance, floor and gain: each filter has its own.")
def every_weight(ex):
    """Whole tensors: filters with means, some under the floor and some above it, and their gains."""
    for size in ((5, 2, 3, 3), (2, 7, 1, 1)):
        weight, gain = drawn(5 + size[0], *size)
        weight = weight * torch.linspace(1, 3, size[0]).view(-1, 1, 1, 1) + gain.flip(0).view(-1, 1, 1, 1) / 3
        squares = centred(weight).square().sum((1, 2, 3)).sort().values
        eps = float(squares[0] + squares[1]) / 2  # between the two smallest
        oracle = lambda weight, gain, eps: slow(weight, eps) * gain.view(-1, 1, 1, 1)  # noqa: E731
        learns(ex, "standardise", oracle, weight, gain, eps, what=f"standardise(weight, gain, {eps:.3g})")

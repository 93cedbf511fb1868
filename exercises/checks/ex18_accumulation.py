"""Checks of exercise 18. Oracles: numbers by hand, gradients in a loop over examples."""

import torch

from minilmm.course.checking import check, close, equal, generator


def data():
    """Three data sets of 4, 1 and 2 examples, their weights, and a w."""
    g = generator()
    sets = [(torch.randn(n, 3, generator=g), torch.randn(n, generator=g)) for n in (4, 1, 2)]
    return torch.randn(3, generator=g), sets, [1.0, 0.2, 0.5]


def by_hand(w, sets, weights):
    """The gradient of the weighted sum, one example at a time."""
    total = torch.zeros_like(w)
    for (x, y), weight in zip(sets, weights, strict=True):
        for inputs, target in zip(x, y, strict=True):
            total += weight * 2 * (inputs @ w - target) * inputs / len(y)
    return total


def gradient_of_loss(ex, w, sets, weights):
    w = w.clone().requires_grad_(True)
    ex.weighted_loss(w, sets, weights).backward()
    return w.grad


@check(points=1, stage="gradients", hint="One mean per data set, each times its own weight, and their sum.")
def the_sum(ex):
    """The weighted sum of losses has the gradient that it should have."""
    w, sets, weights = data()
    close(ex.run(gradient_of_loss, w, sets, weights), by_hand(w, sets, weights), "the gradient of weighted_loss")


@check(points=2, stage="gradients", hint="Add weight times gradient; never begin at zero again between data sets.")
def the_same_gradient(ex):
    """Accumulated data set by data set, the gradient is that of the sum."""
    one, two = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 3.0]])
    sets = [(one, torch.tensor([-3.0])), (two, torch.tensor([-1.0, -3.0]))]
    # at w = (0, 0): 2 * 3 along the first axis; (2 * 1 * 1 + 2 * 3 * 3) / 2 along the second
    got = ex.accumulated(torch.zeros(2), sets, [1.0, 0.2])
    close(got, torch.tensor([6.0, 2.0]), "gradients (6, 0) and (0, 10), accumulated with weights 1 and .2")


def clip(gradient, limit):
    length = float(gradient.square().sum()) ** 0.5
    return gradient * (limit / length if length > limit else 1)


@check(points=2, stage="values", hint="Clip what was accumulated, once, by the length of the whole vector.")
def clipped_once(ex):
    """A long gradient is shortened to the limit, after it was accumulated and in its own direction."""
    w, sets, weights = data()
    sets = [(10 * x, y) for x, y in sets]
    expected = w - 0.5 * clip(ex.accumulated(w, sets, weights), 1.0)
    close(ex.update(w, sets, weights, 0.5, 1.0), expected, "the new w, from your own accumulated gradient")


@check(points=1, stage="values", hint="A gradient within the limit stays as it is: shorten, never lengthen.")
def short_ones_stay(ex):
    """A gradient shorter than the limit is left alone."""
    w, sets, weights = data()
    sets = [(x, x @ w + 0.01) for x, _ in sets]
    expected = w - 0.5 * ex.accumulated(w, sets, weights)
    close(ex.update(w, sets, weights, 0.5, 1.0), expected, "the new w, from your own accumulated gradient", 1e-5)


@check(points=1, stage="values", hint="The second data set's gradient is taken where the first one's step has led.")
def in_turn(ex):
    """Round robin steps after every data set, from where the last step led."""
    w, sets, weights = data()
    expected = w
    for one, weight in zip(sets, weights, strict=True):
        expected = expected - 0.1 * ex.accumulated(expected, [one], [weight])
    close(ex.round_robin(w, sets, weights, 0.1), expected, "w after a round, from your own gradients")


def grouped(ex):
    import torch
    from torch import nn

    model = nn.Module()
    model.lm, model.resampler, model.xattn = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    model.resampler.register_parameter("latents", nn.Parameter(torch.ones(4, 2)))
    model.xattn.norm = nn.LayerNorm(2)
    model.xattn.register_parameter("alpha", nn.Parameter(torch.zeros(1)))
    model.lm.requires_grad_(False)
    names, told = {id(p): name for name, p in model.named_parameters()}, {}
    for group in ex.decay_groups(model, 0.1):
        for p in group["params"]:
            told.setdefault(names[id(p)], []).append(group["weight_decay"])
    return [[name, told.get(name, [])] for name in names.values()]


@check(points=1, stage="values", hint="Everything under model.resampler, matrices too: look at the names.")
def resampler_spared(ex):
    """Matrices decay, those of the resampler do not."""
    told = [pair for pair in ex.run(grouped) if pair[0] in ("resampler.weight", "resampler.latents", "xattn.weight")]
    expected = [["resampler.weight", [0.0]], ["resampler.latents", [0.0]], ["xattn.weight", [0.1]]]
    equal(sorted(told), sorted(expected), "matrices and their decay in each group")


@check(points=1, stage="values", hint="Biases, norms and gates have one dimension: p.dim() < 2.")
def vectors_spared(ex):
    """Biases, gains of norms and gates do not decay."""
    names = ["xattn.alpha", "xattn.bias", "xattn.norm.bias", "xattn.norm.weight"]
    told = sorted(pair for pair in ex.run(grouped) if pair[0] in names)
    equal(told, [[name, [0.0]] for name in names], "vectors and their decay in each group")


@check(points=1, stage="gradients", hint="Leave out whatever does not ask for a gradient.")
def frozen_left_out(ex):
    """Frozen parameters stand in no group."""
    told = [pair for pair in ex.run(grouped) if pair[0].startswith("lm.")]
    equal(told, [["lm.weight", []], ["lm.bias", []]], "frozen parameters and their decay in each group")

"""Checks of exercise 18. Oracles: numbers by hand, gradients in a loop over examples."""

import torch

from minilmm.course.checking import Wrong, check, close, equal, generator, learns


def data(salt=0):
    """Three data sets of 4, 1 and 2 examples, their weights, and a w."""
    g = generator(salt)
    sets = [(torch.randn(n, 3, generator=g), torch.randn(n, generator=g)) for n in (4, 1, 2)]
    return torch.randn(3, generator=g), sets, [1.0, 0.2, 0.5]


def looped(w, sets, weights):
    """The weighted sum of mean squared errors, one example at a time."""
    return sum(
        weight * (sum(xi * wi for xi, wi in zip(inputs, w, strict=True)) - target) ** 2 / len(y)
        for (x, y), weight in zip(sets, weights, strict=True)
        for inputs, target in zip(x, y, strict=True)
    )


def by_hand(w, sets, weights):
    """The gradient of the weighted sum, one example at a time."""
    total = torch.zeros_like(w)
    for (x, y), weight in zip(sets, weights, strict=True):
        for inputs, target in zip(x, y, strict=True):
            total += weight * 2 * (inputs @ w - target) * inputs / len(y)
    return total


@check(points=1, stage="gradients", hint="One mean per data set, each times its own weight, and their sum.")
def the_sum(ex):
    """The weighted sum of losses has the value and the gradient that it should have."""
    learns(ex, "weighted_loss", looped, *data(), what="weighted_loss of three data sets")
    w, sets, _ = data(1)
    learns(ex, "weighted_loss", looped, w, sets[:2], [0.3, 3.0], what="weighted_loss of two data sets")


@check(points=2, stage="gradients", hint="Add weight times gradient; never begin at zero again between data sets.")
def the_same_gradient(ex):
    """Accumulated data set by data set, the gradient is that of the sum, wherever w is."""
    one, two = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 3.0]])
    sets = [(one, torch.tensor([-3.0])), (two, torch.tensor([-1.0, -3.0]))]
    # at w = (0, 0): 2 * 3 along the first axis; (2 * 1 * 1 + 2 * 3 * 3) / 2 along the second
    got = ex.accumulated(torch.zeros(2), sets, [1.0, 0.2])
    close(got, torch.tensor([6.0, 2.0]), "gradients (6, 0) and (0, 10), accumulated with weights 1 and .2")
    for salt in (2, 3):
        given = data(salt)
        close(ex.accumulated(*given), by_hand(*given), "the accumulated gradient of three data sets")


def clip(gradient, limit):
    length = float(gradient.square().sum()) ** 0.5
    return gradient * (limit / length if length > limit else 1)


def own(ex, *given, longer=0.0):
    """The learner's accumulated gradient. Wrong where it is no longer than this."""
    gradient = ex.accumulated(*given)
    if not float(gradient.norm()) > longer:
        raise Wrong("the length of your accumulated gradient", f"more than {longer:g}", str(float(gradient.norm())))
    return gradient


@check(points=2, stage="values", hint="Clip what was accumulated, once, by the length of the whole vector.")
def clipped_once(ex):
    """A long gradient is shortened to the limit, after it was accumulated and in its own direction."""
    for salt, rate, limit in ((0, 0.5, 1.0), (4, 0.2, 2.5)):
        w, sets, weights = data(salt)
        sets = [(10 * x, y) for x, y in sets]
        expected = w - rate * clip(own(ex, w, sets, weights, longer=limit), limit)
        told = f"the new w, from your own accumulated gradient, rate {rate}, limit {limit}"
        close(ex.update(w, sets, weights, rate, limit), expected, told)
        one = [sets[1]], [1.0]
        expected = w - rate * clip(by_hand(w, *one), limit)
        close(ex.update(w, *one, rate, limit), expected, f"the new w from one example, rate {rate}, limit {limit}")


@check(points=1, stage="values", hint="A gradient within the limit stays as it is: shorten, never lengthen.")
def short_ones_stay(ex):
    """A gradient shorter than the limit is left alone, one of length 0 too."""
    for salt, rate, limit in ((0, 0.5, 1.0), (5, 0.2, 2.5)):
        w, sets, weights = data(salt)
        sets = [(x, x @ w + 0.01) for x, _ in sets]
        expected = w - rate * own(ex, w, sets, weights)
        told = f"the new w, from your own accumulated gradient, rate {rate}, limit {limit}"
        close(ex.update(w, sets, weights, rate, limit), expected, told, 1e-5)
    at_the_goal = [(torch.eye(3), w)]
    close(ex.update(w, at_the_goal, [1.0], rate, limit), w, "the new w where the gradient is 0", 1e-5)


@check(points=1, stage="values", hint="The second data set's gradient is taken where the first one's step has led.")
def in_turn(ex):
    """Round robin steps after every data set, from where the last step led."""
    for salt, rate in ((0, 0.1), (6, 0.03)):
        w, sets, weights = data(salt)
        expected = w
        for one, weight in zip(sets, weights, strict=True):
            expected = expected - rate * own(ex, expected, [one], [weight])
        told = f"w after a round at rate {rate}, from your own gradients"
        close(ex.round_robin(w, sets, weights, rate), expected, told)


def grouped(ex, decay):
    """The groups: the names of their parameters, and their decay."""
    import torch
    from torch import nn

    model = nn.Module()
    model.lm, model.resampler, model.xattn = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    model.resampler.register_parameter("latents", nn.Parameter(torch.ones(4, 2)))
    model.resampler.layer = nn.Linear(2, 2)
    model.xattn.norm = nn.LayerNorm(2)
    model.xattn.register_parameter("alpha", nn.Parameter(torch.zeros(1)))
    model.xattn.register_parameter("tied", model.xattn.weight)
    model.xattn.resampler = nn.Linear(2, 2, bias=False)  # these two are not model.resampler
    model.xattn.register_parameter("kernel", nn.Parameter(torch.ones(2, 2, 2)))
    model.resampler_map = nn.Linear(2, 2, bias=False)
    model.lm.requires_grad_(False)
    model.lm.adapter = nn.Linear(2, 2, bias=False)
    model.resampler.layer.bias.requires_grad_(False)
    names = {id(p): name for name, p in model.named_parameters()}
    return [[[names[id(p)] for p in group["params"]], group["weight_decay"]] for group in ex.decay_groups(model, decay)]


FROZEN = ["lm.bias", "lm.weight", "resampler.layer.bias"]
SPARED = ["resampler.latents", "resampler.layer.weight", "resampler.weight"]
VECTORS = ["resampler.bias", "xattn.alpha", "xattn.bias", "xattn.norm.bias", "xattn.norm.weight"]
DECAYING = ["lm.adapter.weight", "resampler_map.weight", "xattn.kernel", "xattn.resampler.weight", "xattn.weight"]


def decays(ex, names, salt):
    """For each of these parameters the decay of each group that it stands in, and what is asked for."""
    decay = 0.05 + float(torch.rand(1, generator=generator(salt)))
    groups = ex.run(grouped, decay)
    return [[name, [d for group, d in groups for member in group if member == name]] for name in names], decay


@check(points=1, stage="values", hint="Everything under model.resampler, matrices too: look at the names.")
def resampler_spared(ex):
    """Matrices decay, those of the resampler do not."""
    told, decay = decays(ex, SPARED + DECAYING, 1)
    expected = [[name, [0.0 if name in SPARED else decay]] for name in SPARED + DECAYING]
    equal(told, expected, "matrices and their decay in each group")


@check(points=1, stage="values", hint="Biases, norms and gates have one dimension: p.dim() < 2.")
def vectors_spared(ex):
    """Biases, gains of norms and gates do not decay, some matrices do."""
    told, decay = decays(ex, VECTORS, 2)
    equal(told, [[name, [0.0]] for name in VECTORS], "vectors and their decay in each group")
    told, decay = decays(ex, DECAYING, 2)
    if not any(decay in found for _, found in told):
        raise Wrong("matrices and their decay in each group", f"one that decays by {decay:.4g}", str(told))


@check(points=1, stage="gradients", hint="Leave out whatever does not ask for a gradient.")
def frozen_left_out(ex):
    """Frozen parameters stand in no group, each of the others once."""
    names = FROZEN + SPARED + VECTORS + DECAYING
    told = [[name, len(found)] for name, found in decays(ex, names, 3)[0]]
    equal(told, [[name, int(name not in FROZEN)] for name in names], "how often each parameter stands in a group")

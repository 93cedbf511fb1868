"""Checks of exercise 11. The model is made beside the learner's code of numbers drawn here; what became of it is sent
back and compared with gradients worked out here."""

import torch

from minilmm.course.checking import Wrong, check, close, equal, generator, same

LM = ("lm.0.weight", "lm.0.bias", "lm.1.0.gain", "lm.2.weight", "lm.2.bias")


def drawn(salt):
    """Weights and biases of the eyes (3 -> 4) and of the language model's two layers (4 -> 5 -> 6), and pictures."""
    shapes = ((4, 3), (4,), (5, 4), (5,), (6, 5), (6,), (7, 3))
    *parts, pictures = (torch.randn(*shape, generator=generator(salt + i)) for i, shape in enumerate(shapes))
    return parts, pictures


def after_freezing(ex, parts, gain, pictures, upstream, shared, lm_first):
    """Gradients of the pictures and of all parameters, and the names of what `freeze` gave back."""
    from torch import nn

    class Gain(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(gain)

        def forward(self, x):
            return x * self.gain

    def linear(weight, bias):
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
        return layer

    eyes, inner = linear(*parts[:2]), nn.Sequential(Gain())
    lm = nn.Sequential(linear(*parts[2:4]), inner, linear(*parts[4:]))
    if shared:
        eyes.register_parameter("shared", lm[0].weight)
    model = nn.Module()
    for name in ("lm", "eyes") if lm_first else ("eyes", "lm"):
        setattr(model, name, {"lm": lm, "eyes": eyes}[name])
    eyes.bias.requires_grad_(False)
    lm[0].requires_grad_(shared)
    names = {id(p): f"{part}.{n}" for part in ("eyes", "lm") for n, p in getattr(model, part).named_parameters()}
    back = [names.get(id(p), "a stranger") for p in ex.freeze(model)]
    pictures.requires_grad_(True)
    (model.lm(model.eyes(pictures)) * upstream).sum().backward()
    return [pictures.grad, *(p.grad for p in (eyes.weight, eyes.bias, *lm.parameters())), back]


def frozen(ex, salt, shared=False, lm_first=False):
    """What came of `after_freezing`, and the gradients that pictures, the eyes' weight and bias should get."""
    parts, pictures = drawn(salt)
    upstream, gain = (torch.randn(*s, generator=generator(salt + 50)) for s in ((7, 6), (5,)))
    at_eyes = (upstream @ parts[4] * gain) @ parts[2]
    came = ex.run(after_freezing, parts, gain, pictures, upstream, shared, lm_first)
    return came, [at_eyes @ parts[0], at_eyes.T @ pictures, at_eyes.sum(0)]


@check(points=2, stage="gradients", hint="requires_grad_ on a module reaches all of its parameters.")
def the_lm_is_frozen(ex):
    """No parameter of the language model gets a gradient; the eyes get theirs through it."""
    (at_pictures, weight, _, *lm, _), expected = frozen(ex, 0)
    got = [name for name, gradient in zip(LM, lm, strict=True) if gradient is not None]
    equal(got, [], "parameters of lm that got a gradient")
    same([at_pictures, weight], expected[:2], "gradients of the pictures and of the eyes' weight")


@check(points=1, stage="gradients", hint="Something may have been frozen before: the eyes train as a whole.")
def the_eyes_train(ex):
    """All parameters of the eyes get gradients and come back to be trained, and no frozen one."""
    (_, weight, bias, *lm, back), expected = frozen(ex, 100)
    wrongly = [name for name, gradient in zip(LM, lm, strict=True) if gradient is not None]  # of the check before
    equal(sorted(name for name in back if name not in wrongly), ["eyes.bias", "eyes.weight"], "what freeze gives back")
    same([weight, bias], expected[1:], "gradients of the eyes' weight and bias")


@check(
    points=1, stage="gradients", hint="Freeze last: what the language model holds stays frozen whoever else holds it."
)
def a_shared_matrix(ex):
    """A matrix that both parts share stays frozen, is not given back, and the rest of the eyes trains."""
    for lm_first in (False, True):
        (_, weight, _, shared, *_, back), expected = frozen(ex, 200, shared=True, lm_first=lm_first)
        equal([shared, "lm.0.weight" in back, "eyes.shared" in back], [None, False, False],
              "the shared matrix's gradient, and is it given back?")  # fmt: skip
        close(weight, expected[1], "the gradient of the eyes' own weight")


def stepped(ex, parts, pictures, answers, rates, bias_frozen):
    """The loss of each of some steps, and the six parts after them."""
    from torch import nn

    layers = []
    for weight, bias in zip(parts[::2], parts[1::2], strict=True):
        layers.append(nn.Linear(weight.shape[1], weight.shape[0]))
        layers[-1].load_state_dict({"weight": weight, "bias": bias})
    kept = [p for layer in layers for p in (layer.weight, layer.bias)]
    model = nn.Module()
    model.eyes, model.lm = layers[0], nn.Sequential(*layers[1:])
    model.lm.requires_grad_(False)
    model.eyes.bias.requires_grad_(not bias_frozen)
    losses = [ex.training_step(model, *given) for given in zip(pictures, answers, rates, strict=True)]
    return [losses, [p.detach() for p in kept]]


def steps(ex, salt, count, bias_frozen=False):
    """What came of `stepped`, and the losses and parts that should have come."""
    g = generator(salt + 60)
    parts, _ = drawn(salt)
    eyes, bias, first, a, second, b = parts = [part / 2 for part in parts]
    pictures = [torch.randn(n, 3, generator=g) for n in (8, 3)[:count]]
    answers = [torch.randint(6, (len(p),), generator=g) for p in pictures]
    rates = (0.2 + torch.rand(count, generator=g)).tolist()
    losses = []
    for x, told, rate in zip(pictures, answers, rates, strict=True):
        p = (((x @ eyes.T + bias) @ first.T + a) @ second.T + b).softmax(-1)
        losses.append(float(-p[torch.arange(len(x)), told].log().mean()))
        p[torch.arange(len(x)), told] -= 1  # the derivative of cross-entropy
        at_eyes = p @ second @ first / len(x)
        eyes = eyes - rate * at_eyes.T @ x
        bias = bias if bias_frozen else bias - rate * at_eyes.sum(0)
    return ex.run(stepped, parts, pictures, answers, rates, bias_frozen), losses, [eyes, bias, *parts[2:]], parts


@check(
    points=2,
    stage="gradients",
    hint="The gradient must pass through the language model to the eyes: no no_grad, no detach; and none of an earlier "
    "step.",
)
def a_step(ex):
    """Each step moves the eyes down its own gradient."""
    for count in (1, 2):
        (_, after), _, expected, _ = steps(ex, 300, count)
        same(after[:2], expected[:2], f"the eyes' weight and bias after {count} of 2 steps")


@check(points=1, stage="gradients", hint="Change what is trained and nothing else: no decay, no step, no rounding.")
def every_byte(ex):
    """The eyes' weight moves, and every byte of what is frozen stays as it was: here the eyes' bias too."""
    (_, after), _, _, before = steps(ex, 400, 2, bias_frozen=True)
    same(after[1:], before[1:], "the eyes' frozen bias and the language model's weights", tolerance=0)
    if torch.equal(after[0], before[0]):
        raise Wrong("the eyes' weight", "one that moves", "one that stays as it was")


@check(points=1, stage="values", hint="Keep the loss of the forward pass that the gradients came from: a number.")
def the_loss(ex):
    """The loss that comes back is that before the step."""
    (losses, _), expected, _, _ = steps(ex, 500, 1)
    close(losses[0], expected[0], "training_step's loss")


def first_logits(ex, pictures, weights, factors):
    """What the language model gave first, within one step."""
    import torch
    from torch import nn

    class Mode(nn.Module):
        def __init__(self, weight, training, evaluation):
            super().__init__()
            self.weight, self.training_factor, self.factor = nn.Parameter(weight), training, evaluation

        def forward(self, x):
            return x @ self.weight.T * (self.training_factor if self.training else self.factor)

    model, seen = nn.Module(), []
    model.eyes, model.lm = (nn.Sequential(Mode(w, *f)) for w, f in zip(weights, factors, strict=True))
    model.eyes.eval()
    model.lm.train().requires_grad_(False)
    model.lm.register_forward_hook(lambda module, given, logits: seen.append(logits.detach().clone()))
    ex.training_step(model, pictures, torch.zeros(len(pictures), dtype=torch.long), 0.1)
    return seen[0]


@check(points=1, stage="values", hint="A frozen model in training mode still drops out: put it into evaluation mode.")
def the_modes(ex):
    """During the step the eyes are in training mode, the language model in evaluation mode, down to their parts."""
    parts, pictures = drawn(600)
    factors = (1 + torch.rand(2, 2, generator=generator(601))).tolist()
    expected = pictures @ parts[0].T * factors[0][0] @ parts[2].T * factors[1][1]
    came = ex.run(first_logits, pictures, [parts[0], parts[2]], factors)
    close(came, expected, "logits of parts that multiply by one number in training, by another in evaluation")

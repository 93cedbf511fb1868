"""Checks of exercise 11. The model is built beside the learner's code, and what happened to it is sent back."""

import math

import torch

from minilmm.course.checking import check, close, equal, generator


def frozen_and_trained(ex, seed):
    import torch
    from torch import nn

    torch.manual_seed(seed)
    model = nn.Module()
    model.eyes, model.lm = nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6))
    model.lm[0].requires_grad_(False)
    model.eyes.bias.requires_grad_(False)
    got = ex.freeze(model)
    names = {id(p): name for name, p in model.named_parameters()}
    return [[n for n, p in model.named_parameters() if n.startswith("lm.") and p.requires_grad],
            sorted(names.get(id(p), "a stranger") for p in got)]  # fmt: skip


@check(points=2, stage="gradients", hint="requires_grad_ on a module reaches all of its parameters.")
def the_lm_is_frozen(ex):
    """No parameter of the language model asks for a gradient."""
    equal(ex.run(frozen_and_trained, 0)[0], [], "parameters of lm that ask for a gradient")


@check(points=1, stage="gradients", hint="Something may have been frozen before: the eyes train as a whole.")
def the_eyes_train(ex):
    """All parameters of the eyes come back to be trained, and no frozen one."""
    wrongly, got = ex.run(frozen_and_trained, 1)  # what the check before is about is left out here
    equal([name for name in got if name not in wrongly], ["eyes.bias", "eyes.weight"], "what freeze gives back")


def tied(ex, seed):
    import torch
    from torch import nn

    torch.manual_seed(seed)
    model = nn.Module()
    model.eyes, model.lm = nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 3))
    model.lm[0].weight = nn.Parameter(torch.randn(3, 4))
    model.eyes.weight = nn.Parameter(torch.randn(4, 3))
    model.eyes.register_parameter("shared", model.lm[0].weight)
    ex.freeze(model)
    return model.lm[0].weight.requires_grad


@check(
    points=1, stage="gradients", hint="Freeze last: what the language model holds stays frozen whoever else holds it."
)
def a_shared_matrix(ex):
    """A matrix that both parts share stays frozen."""
    equal(ex.run(tied, 0), False, "is the shared matrix trained?")


def step(ex, seed):
    import torch
    from torch import nn

    torch.manual_seed(seed)
    model = nn.Module()
    model.eyes, model.lm = nn.Linear(3, 4, bias=False), nn.Linear(4, 6, bias=False)
    model.lm.requires_grad_(False)
    before = [model.eyes.weight.detach().clone(), model.lm.weight.detach().clone()]
    pictures, answers = torch.randn(5, 3), torch.randint(6, (5,))
    loss = ex.training_step(model, pictures, answers, 0.5)
    return [pictures, answers, *before, model.eyes.weight, model.lm.weight, loss]


@check(
    points=2,
    stage="gradients",
    hint="The gradient must pass through the language model to the eyes: no no_grad, no detach.",
)
def a_step(ex):
    """One step moves the eyes down the gradient."""
    pictures, answers, eyes, lm, eyes_after, *_ = ex.run(step, generator(3).initial_seed())
    p = (pictures @ eyes.T @ lm.T).softmax(-1)
    p[torch.arange(5), answers] -= 1  # the derivative of cross-entropy
    close(eyes_after, eyes - 0.5 * (p @ lm).T @ pictures / 5, "the eyes' weights after a step")


@check(points=1, stage="gradients", hint="Change what is trained and nothing else: no decay, no step, no rounding.")
def every_byte(ex):
    """The step leaves every byte of the language model as it was."""
    *_, lm, _, lm_after, _ = ex.run(step, generator(4).initial_seed())
    close(lm_after - lm, torch.zeros(6, 4), "how far the language model's weights moved", tolerance=0)


@check(points=1, stage="values", hint="Keep the loss of the forward pass that the gradients came from: a number.")
def the_loss(ex):
    """The loss that comes back is that before the step."""
    pictures, answers, eyes, lm, *_, loss = ex.run(step, generator(5).initial_seed())
    told = [math.exp(float(x)) for x in (pictures @ eyes.T @ lm.T)[torch.arange(5), answers]]
    sums = [sum(math.exp(float(x)) for x in row) for row in pictures @ eyes.T @ lm.T]
    close(loss, sum(math.log(s / t) for s, t in zip(sums, told, strict=True)) / 5, "training_step's loss")


def modes(ex):
    import torch
    from torch import nn

    model, seen = nn.Module(), {}
    model.eyes, model.lm = nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5))
    model.lm.requires_grad_(False)
    model.eyes.eval()
    model.eyes.register_forward_hook(lambda module, *_: seen.update(eyes=module.training))
    model.lm[1].register_forward_hook(lambda module, *_: seen.update(lm=module.training))
    ex.training_step(model, torch.ones(2, 3), torch.tensor([0, 1]), 0.1)
    return [seen["eyes"], seen["lm"]]


@check(points=1, stage="values", hint="A frozen model in training mode still drops out: put it into evaluation mode.")
def the_modes(ex):
    """During the step the eyes are in training mode, the language model in evaluation mode."""
    equal(ex.run(modes), [True, False], "training mode of the eyes, and of the language model's dropout")

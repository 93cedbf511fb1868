"""Checks of exercise 11. The model is built beside the learner's code, and what happened to it is sent back."""

import torch

from minilmm.course.checking import check, close, equal


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
    return [[n for n, p in model.lm.named_parameters() if p.requires_grad],
            sorted(names.get(id(p), "a stranger") for p in got)]  # fmt: skip


@check(points=2, stage="gradients", hint="requires_grad_ on a module reaches all of its parameters.")
def the_lm_is_frozen(ex):
    """No parameter of the language model asks for a gradient."""
    equal(ex.run(frozen_and_trained, 0)[0], [], "parameters of lm that ask for a gradient")


@check(points=1, stage="gradients", hint="Something may have been frozen before: the eyes train as a whole.")
def the_eyes_train(ex):
    """All parameters of the eyes come back to be trained."""
    got = ex.run(frozen_and_trained, 1)[1]
    equal([name for name in got if not name.startswith("lm.")], ["eyes.bias", "eyes.weight"], "parameters of the eyes")


def tied(ex, seed):
    import torch
    from torch import nn

    torch.manual_seed(seed)
    model = nn.Module()
    model.eyes, model.lm = nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 3))
    model.lm[0].weight = nn.Parameter(torch.randn(3, 4))
    model.eyes.weight = nn.Parameter(torch.randn(4, 3))
    model.eyes.register_parameter("shared", model.lm[0].weight)
    got = ex.freeze(model)
    return any(p is model.lm[0].weight for p in got) or model.lm[0].weight.requires_grad


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
    """One step moves the eyes down the gradient, and no byte of the language model."""
    pictures, answers, eyes, lm, eyes_after, lm_after, _ = ex.run(step, 3)
    p = (pictures @ eyes.T @ lm.T).softmax(-1)
    p[torch.arange(5), answers] -= 1  # the derivative of cross-entropy
    expected = eyes - 0.5 * (p @ lm).T @ pictures / 5
    close(torch.cat([eyes_after.flatten(), lm_after.flatten()]), torch.cat([expected.flatten(), lm.flatten()]),
          "the eyes' weights, then the language model's, after a step")  # fmt: skip


def modes(ex, seed):
    import torch
    from torch import nn

    model = nn.Module()
    model.eyes, model.lm = nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5))
    model.lm.requires_grad_(False)
    model.lm.train()
    ex.training_step(model, torch.ones(2, 3), torch.tensor([0, 1]), 0.1)
    return model.lm[1].training


@check(points=1, stage="values", hint="A frozen model in training mode still drops out: put it into evaluation mode.")
def no_dropout(ex):
    """The language model is in evaluation mode during the step."""
    equal(ex.run(modes, 0), False, "is the language model's dropout on?")

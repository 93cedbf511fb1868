"""Checks of exercise 23. Oracles: slow loops, numbers by hand, ln B."""

import math

import torch

from minilmm.course.checking import check, close, equal, generator


@check(points=1, stage="values", hint="Cosines: queries and texts are divided by their own lengths.")
def cosines(ex):
    """With one query it is the cosine; rows are pictures, columns are texts."""
    g = generator()
    image, text = torch.rand(3, 1, 5, generator=g) * 7, torch.rand(4, 5, generator=g) / 3
    slow = [[float(i[0] @ t) / math.sqrt(float(i[0] @ i[0]) * float(t @ t)) for t in text] for i in image]
    close(ex.similarity(image, text), torch.tensor(slow), "similarity of 3 pictures with one query each and 4 texts")


@check(points=2, stage="values", hint="Cosines (N, M, Q) first, then the highest along Q.")
def the_best_query(ex):
    """Among a picture's queries the best one counts, for one text this one, for another that."""
    image = torch.tensor([[[1.0, 0], [0, 1], [-1, 0]], [[0, -1], [0.8, 0.6], [-1, 0]]])
    text = torch.tensor([[1.0, 0], [0.6, 0.8]])
    # with text 1 and with text 2. Picture 1: (1, 0, -1), (.6, .8, -.6). Picture 2: (0, .8, -1), (-.8, .96, -.6)
    expected = torch.tensor([[1.0, 0.8], [0.8, 0.96]])
    close(ex.similarity(image, text), expected, "similarity of 2 pictures with three queries and 2 texts")


@check(points=1, stage="shape", hint="Name the dimension that goes: squeeze() takes whichever happens to be 1.")
def a_batch_of_one(ex):
    """One picture with one query and one text: still a table, (1, 1)."""
    one = ex.similarity(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[0.0, 1.0]]))
    close(one, torch.ones(1, 1), "similarity of one picture and one text")


@check(
    points=2, stage="values", hint="Divide each row of `fits` by how many are right in it, then mix in the even rest."
)
def all_that_are_right(ex):
    """Texts that say the same share what is right; a tenth goes to all."""
    fits = torch.tensor([[True, False, True, False], [False, True, False, False]])
    expected = torch.tensor([[0.475, 0.025, 0.475, 0.025], [0.025, 0.925, 0.025, 0.025]])
    close(ex.targets(fits), expected, "targets of a row with two right columns and a row with one, of four")


@check(points=1, stage="values", hint="Means over the batch and over both ways; log_softmax does not overflow.")
def nothing_learned(ex):
    """When all similarities are equal the loss is ln B, at any temperature: what chance costs."""
    got = ex.itc_loss(torch.full((8, 8), 0.95), torch.eye(8, dtype=torch.bool), torch.tensor(0.01))
    close(got, math.log(8), "itc_loss of equal similarities, B = 8, temperature .01")


@check(
    points=2, stage="values", hint="Divide by the temperature; rows ask for texts, columns for pictures; their mean."
)
def both_ways(ex):
    """An uneven table beside an even one: pictures look for texts, texts for pictures, with your own targets."""
    similar = torch.tensor([[0.9, 0.1, 0.4], [0.8, 0.3, -0.2], [0.2, -0.5, 0.6]])
    fits = torch.tensor([[True, True, False], [False, True, False], [False, False, True]])
    total = 0.0
    for table, right in ((similar, fits), (similar.T, fits.T)):
        for row, target in zip((table / 0.5).tolist(), ex.targets(right).tolist(), strict=True):
            whole = math.log(sum(math.exp(score) for score in row))
            total += sum(t * (whole - score) for t, score in zip(target, row, strict=True)) / 6
    even = ex.itc_loss(torch.full((3, 3), 0.5), torch.eye(3, dtype=torch.bool), torch.tensor(0.5))
    share = ex.itc_loss(similar, fits, torch.tensor(0.5)) / even  # of ln 3: whether summed or averaged
    close(share, total / math.log(3), "itc_loss of an uneven table over that of an even one, from your own targets")


def slope(ex):
    import torch

    temperature = torch.tensor(0.5, requires_grad=True)
    similar = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    loss = ex.itc_loss(similar, torch.eye(2, dtype=torch.bool), temperature)
    if loss.requires_grad:
        loss.backward()
    return temperature.grad is not None and bool(temperature.grad != 0)


@check(points=1, stage="gradients", hint="The temperature is learned: leave it a tensor.")
def a_learned_temperature(ex):
    """The temperature gets a gradient."""
    equal(ex.run(slope), True, "does the temperature get a gradient?")

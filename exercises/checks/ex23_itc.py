"""Checks of exercise 23. Oracles: slow loops, numbers by hand, ln B."""

import math

import torch

from minilmm.course.checking import Composed, Wrong, check, close, follows, generator, has_shape, learns, own


def cosine(a, b):
    return (a * b).sum() / (a.square().sum() * b.square().sum()) ** 0.5


def best(image, text):
    """Pair by pair, the highest cosine of the picture's queries with the text."""
    return torch.stack([torch.stack([torch.stack([cosine(q, t) for q in i]).max() for t in text]) for i in image])


def drawn(salt, *shapes):
    g = generator(salt)
    return [torch.randn(*shape, generator=g) for shape in shapes]


@check(points=1, stage="values", hint="Cosines: queries and texts are divided by their own lengths.")
def cosines(ex):
    """With one query it is the cosine, below 0 too; rows are pictures, columns are texts."""
    image, text = drawn(0, (3, 1, 6), (5, 6))
    told = "similarity of 3 pictures with one query each and 5 texts"
    learns(ex, "similarity", best, image * 7, text / 3, what=told)


@check(points=2, stage="values", hint="Cosines (N, M, Q) first, then the highest along Q.")
def the_best_query(ex):
    """Among a picture's queries the best one counts, for one text this one, for another that, and it alone learns."""
    image, text = (t / t.norm(dim=-1, keepdim=True) for t in drawn(1, (3, 4, 6), (5, 6)))
    learns(ex, "similarity", best, image, text, what="similarity of 3 pictures with four queries and 5 texts")


@check(points=1, stage="shape", hint="Name the dimension that goes: squeeze() takes whichever happens to be 1.")
def a_batch_of_one(ex):
    """One picture with one query and one text: still a table, (1, 1); likewise one of either."""
    for n, queries, m in ((1, 1, 1), (1, 3, 2), (2, 1, 1)):
        told = f"similarity of {n} pictures with {queries} queries each and {m} texts"
        has_shape(ex.similarity(torch.ones(n, queries, 2), torch.ones(m, 2)), (n, m), told)


def spread(fits, smoothing):
    """Targets cell by cell."""
    rows = [[float(right) for right in row] for row in fits]
    return torch.tensor([[(1 - smoothing) * r / sum(row) + smoothing / len(row) for r in row] for row in rows])


@check(
    points=2, stage="values", hint="Divide each row of `fits` by how many are right in it, then mix in the even rest."
)
def all_that_are_right(ex):
    """Texts that say the same share what is right; `smoothing`, a tenth unless told, goes to all."""
    fits = torch.tensor([[True, False, True, False], [False, True, False, False]])
    expected = torch.tensor([[0.475, 0.025, 0.475, 0.025], [0.025, 0.925, 0.025, 0.025]])
    close(ex.targets(fits), expected, "targets of a row with two right columns and a row with one, of four")
    fits = torch.rand(3, 6, generator=generator(2)) < 0.6
    fits[0, :3] = fits[1:, 4] = True
    follows(ex.targets, spread, [(fits, 0.3), (fits, 0.0), (fits[:2, 1:], 0.3)], "targets(fits, smoothing)")


def parted(ex, fits):
    """The learner's own targets, which may be wrong but not empty."""
    targets = ex.targets(fits)
    if not bool((targets.sum(1) > 0.5).all()):
        raise Wrong("the sums of the rows of your targets", "1 each", str(targets.sum(1).tolist()))
    return targets


def loss_of(ex, size, fits, temperature, over):
    """itc_loss over a number, as a function of the similarities: the learner's, and a slow loop with their targets."""
    call, sides = own(ex, "itc_loss"), (parted(ex, fits), parted(ex, fits.T))

    def slow(similar):
        total = torch.zeros(())
        for table, targets in zip((similar, similar.T), sides, strict=True):
            for row, target in zip(table / temperature, targets, strict=True):
                total = total - (target * (row - row.logsumexp(0))).sum() / size / 2
        return total / math.log(size)

    return Composed(lambda similar: call(similar, fits, torch.tensor(temperature))[0] / over), slow


@check(points=1, stage="values", hint="Means over the batch and over both ways; log_softmax does not overflow.")
def nothing_learned(ex):
    """When all similarities are equal the loss is ln B, at any temperature: what chance costs."""
    for size, temperature in ((8, 0.01), (2, 0.5)):
        similar, fits = torch.full((size, size), 0.95), torch.eye(size, dtype=torch.bool)
        what = f"itc_loss of equal similarities, B = {size}, temperature {temperature}"
        close(ex.itc_loss(similar, fits, torch.tensor(temperature)), math.log(size), what)
        call, slow = loss_of(ex, size, fits, temperature, math.log(size))
        learns(call, "", slow, similar, what=f"{what}, over ln B")


@check(
    points=2, stage="values", hint="Divide by the temperature; rows ask for texts, columns for pictures; their mean."
)
def both_ways(ex):
    """An uneven table beside an even one: pictures look for texts, texts for pictures, with your own targets."""
    for size, temperature in ((4, 0.1), (2, 0.5)):
        g = generator(size)
        similar, even = 2 * torch.rand(size, size, generator=g) - 1, torch.full((size, size), 0.5)
        own_pairs = torch.eye(size, dtype=torch.bool)
        fits = own_pairs | (torch.rand(size, size, generator=g) < 0.3)
        fits[0, 1], fits[1, 0] = True, False
        whole = float(ex.itc_loss(even, own_pairs, torch.tensor(temperature)))  # for ln B: whether summed or averaged
        call, slow = loss_of(ex, size, fits, temperature, whole)
        learns(call, "", slow, similar, what="itc_loss of an uneven table over an even one, with your own targets")


@check(points=1, stage="gradients", hint="The temperature is learned: leave it a tensor.")
def a_learned_temperature(ex):
    """The temperature gets its gradient: the loss stays the same if similarities and temperature grow alike."""
    similar, fits, heat = 2 * torch.rand(4, 4, generator=generator(9)) - 1, torch.eye(4) > 0, torch.tensor(0.5)
    _, (by_similar, by_heat) = ex.gradients("itc_loss", [torch.tensor(1.0)], similar, fits, heat)
    expected = 0.0 if by_similar is None else -(similar * by_similar).sum() / heat  # Euler: s ds + t dt = 0
    if abs(float(expected)) < 1e-3:
        raise Wrong("the gradient by the similarities", "one that is not 0", f"{float(expected):.4g}")
    close(by_heat, expected, "the gradient of itc_loss by the temperature, from your own by the similarities")

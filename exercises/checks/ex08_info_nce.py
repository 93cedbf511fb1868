"""Checks of exercise 08. Oracles: ln B, slow loops."""

import math
from types import SimpleNamespace

import torch

from minilmm.course.checking import check, close, generator, learns, same


def slow_similarities(images, texts):
    """One cosine at a time."""
    rows = [[(i * t).sum() / ((i * i).sum() * (t * t).sum()).sqrt() for t in texts] for i in images]
    return torch.stack([torch.stack(row) for row in rows])


def slow_loss(similarity, temperature):
    """Each picture finds its text, each text its picture; two means over B, and their mean."""
    B, total = len(similarity), 0.0
    for i in range(B):
        for rivals in (similarity[i], similarity[:, i]):
            total = total - (similarity[i, i] / temperature - (rivals / temperature).logsumexp(0))
    return total / (2 * B)


def cosines_of(salt, B):
    return torch.rand(B, B, generator=generator(salt)) * 1.8 - 0.9


@check(points=2, stage="values", hint="Cosines: divide every vector by its length before the product.")
def cosines(ex):
    """Cosines do not depend on lengths; rows are pictures, columns are texts."""
    g = generator()
    images, texts = torch.randn(4, 6, generator=g) * 7, torch.randn(4, 6, generator=g) / 3
    learns(ex, "similarities", slow_similarities, images, texts, what="similarities(images, texts)")


@check(points=1, stage="shape", hint="Keep two dimensions: a batch of one has a 1 x 1 matrix and nothing to confuse.")
def a_batch_of_one(ex):
    """A batch of one: one cosine, and a loss of 0."""
    image, text = torch.randn(2, 1, 5, generator=generator(1))
    learns(ex, "similarities", slow_similarities, image, text, what="similarities of one pair")
    close(ex.info_nce(cosines_of(2, 1), 0.1), torch.tensor(0.0), "info_nce of one pair")


@check(points=1, stage="values", hint="Means over the batch and over both ways; log_softmax does not overflow.")
def nothing_learned(ex):
    """When all cosines are equal the loss is ln B, whatever B is and at any temperature; its gradient too is right."""
    for B in (5, 8):
        same(ex.info_nce(torch.full((B, B), 0.95), 0.01), math.log(B), f"info_nce of equal cosines, B = {B}, at .01")
    learns(ex, "info_nce", slow_loss, torch.full((5, 5), 0.95), 0.01, what="info_nce of equal cosines, B = 5, at .01")


@check(
    points=1,
    stage="values",
    hint="Divide by the temperature; rows ask for texts, columns for pictures; the mean of both.",
)
def both_ways(ex):
    """An uneven matrix, beside an even one: pictures look for texts, texts for pictures, and both count."""
    B, temperature = 4, 0.4

    def gradients(name, upstream, similarity):  # over the loss of equal cosines: summed or averaged is another check's
        even = float(ex.info_nce(torch.full((B, B), 0.5), temperature)) / math.log(B)
        value, slopes = ex.gradients(name, upstream, similarity, temperature)
        return value / even, [slope if slope is None else slope / even for slope in slopes]

    view, oracle = SimpleNamespace(gradients=gradients), lambda similarity: slow_loss(similarity, temperature)
    learns(
        view, "info_nce", oracle, cosines_of(3, B), what="ln 4 times info_nce(cosines, .4) over that of equal cosines"
    )


@check(points=2, stage="values", hint="Two cross-entropies, each the mean over B, and then the mean of the two.")
def the_loss(ex):
    """The loss of random cosines, and its gradient, in two sizes and at two temperatures."""
    for B, temperature in ((3, 0.7), (6, 0.2)):
        told = f"info_nce of {B} x {B} cosines, temperature {temperature}"
        learns(ex, "info_nce", slow_loss, cosines_of(B, B), temperature, what=told)

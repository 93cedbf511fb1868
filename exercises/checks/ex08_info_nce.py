"""Checks of exercise 08. Oracles: ln B, a 2 x 2 table by hand, slow loops."""

import math

import torch

from minilmm.course.checking import check, close, generator


@check(points=2, stage="values", hint="Cosines: divide every vector by its length before the product.")
def cosines(ex):
    """Cosines do not depend on lengths; rows are pictures, columns are texts."""
    g = generator()
    images, texts = torch.randn(3, 5, generator=g) * 7, torch.randn(3, 5, generator=g) / 3
    slow = [[float(i @ t) / math.sqrt(float(i @ i) * float(t @ t)) for t in texts] for i in images]
    close(ex.similarities(images, texts), torch.tensor(slow), "similarities(images, texts)")


@check(points=1, stage="shape", hint="Keep two dimensions: a batch of one has a 1 x 1 matrix and nothing to confuse.")
def a_batch_of_one(ex):
    """A batch of one: one cosine, and a loss of 0."""
    close(ex.similarities(torch.ones(1, 4), torch.ones(1, 4)), torch.ones(1, 1), "similarities of one pair")
    close(ex.info_nce(torch.tensor([[0.3]]), 0.1), torch.tensor(0.0), "info_nce of one pair")


@check(points=1, stage="values", hint="Means over the batch and over both ways; log_softmax does not overflow.")
def nothing_learned(ex):
    """When all cosines are equal the loss is ln B, at any temperature."""
    got = ex.info_nce(torch.full((8, 8), 0.95), 0.01)  # e^95 is no 32-bit number
    close(got, torch.tensor(math.log(8)), "info_nce of equal cosines, B = 8, temperature .01")


@check(
    points=3,
    stage="values",
    hint="Divide by the temperature; rows ask for texts, columns for pictures; the mean of both.",
)
def both_ways(ex):
    """An uneven matrix, beside an even one: pictures look for texts, texts for pictures, and both count."""
    s = torch.tensor([[0.9, 0.1], [0.8, 0.3]])
    rows = [math.log(1 + math.exp((0.1 - 0.9) * 2)), math.log(1 + math.exp((0.8 - 0.3) * 2))]
    columns = [math.log(1 + math.exp((0.8 - 0.9) * 2)), math.log(1 + math.exp((0.1 - 0.3) * 2))]
    share = ex.info_nce(s, 0.5) / ex.info_nce(torch.full((2, 2), 0.5), 0.5)  # of ln 2: whether summed or averaged
    expected = torch.tensor(sum(rows + columns) / 4 / math.log(2))
    close(share, expected, "info_nce([[.9, .1], [.8, .3]], .5) over that of equal cosines")

"""Checks of exercise 04. Oracles: quarter turns by hand, complex numbers one at a time."""

import math

import torch

from minilmm.course.checking import check, close, generator, shaped


@check(points=1, stage="shape", hint="One angle per position and pair; rotating keeps the shape.")
def shapes(ex):
    """Angles are (L, width / 2), and rotating keeps the shape."""
    shaped(ex.angles(torch.arange(5), 8, 100.0), (5, 4), "angles of 5 positions, width 8")
    shaped(ex.rotate(torch.zeros(2, 3, 5, 8), torch.zeros(5, 4)), (2, 3, 5, 8), "rotate of (2, 3, 5, 8)")


@check(points=2, stage="values", hint="The exponent of pair i is -2 i / width: 0, then more and more negative.")
def the_frequencies(ex):
    """Pair i turns by theta^(-2i/width) per position; positions need not start at 0."""
    expected = [[p, p / 10, p / 100, p / 1000] for p in (0.0, 7.0, 8.0)]
    close(
        ex.angles(torch.tensor([0, 7, 8]), 8, 10_000.0),
        torch.tensor(expected),
        "angles of positions 0, 7, 8, theta 10000",
    )


@check(points=2, stage="values", hint="Pair i is dimension i with dimension i + width / 2, not with its neighbour.")
def a_quarter_turn(ex):
    """A quarter turn brings the first half of the pairs into the second."""
    angle = torch.tensor([[math.pi / 2, 0.0]])
    turned = ex.rotate(torch.tensor([[1.0, 2.0, 0.0, 0.0]]), angle)
    close(turned, torch.tensor([[0.0, 2.0, 1.0, 0.0]]), "rotate([1, 2, 0, 0]) by a quarter turn of pair 0")


@check(points=2, stage="values", hint="(a + ib) times (cos + i sin): the new imaginary part is b cos + a sin.")
def turns_keep_lengths(ex):
    """A turn keeps lengths, and b comes round to -a's place."""
    g = generator()
    b, angle = torch.randn(4, 1, generator=g), torch.rand(4, 1, generator=g) * 3
    turned = ex.rotate(torch.cat([torch.zeros(4, 1), b], -1), angle)  # (0, b) -> (-b sin, b cos)
    slow = [[-float(b[p]) * math.sin(float(angle[p])), float(b[p]) * math.cos(float(angle[p]))] for p in range(4)]
    close(turned, torch.tensor(slow), "pairs (0, b) after a turn")

"""Checks of exercise 04. Oracles: slow loops; complex numbers, one pair at a time."""

import math
from types import SimpleNamespace

import torch

from minilmm.course.checking import check, follows, generator, has_shape, learns


def slow_angles(positions, width, theta):
    """One position and one pair at a time."""
    return torch.tensor([[p / theta ** (2 * i / width) for i in range(width // 2)] for p in positions.tolist()])


def slow_rotate(x, angle):
    """One pair at a time, as a complex number times e^(i angle)."""
    half = x.shape[-1] // 2
    turned = [torch.complex(x[..., i], x[..., i + half]) * torch.exp(1j * angle[:, i]) for i in range(half)]
    return torch.stack([z.real for z in turned] + [z.imag for z in turned], -1)


@check(points=1, stage="shape", hint="One angle per position and pair; rotating keeps the shape.")
def shapes(ex):
    """Angles are (L, width / 2), and rotating keeps the shape."""
    has_shape(ex.angles(torch.arange(5), 8, 100.0), (5, 4), "angles of 5 positions, width 8")
    has_shape(ex.rotate(torch.zeros(2, 3, 5, 8), torch.zeros(5, 4)), (2, 3, 5, 8), "rotate of (2, 3, 5, 8)")


@check(points=2, stage="values", hint="The exponent of pair i is -2 i / width: 0, then more and more negative.")
def the_frequencies(ex):
    """Pair i turns by theta^(-2i/width) per position; positions are any numbers in any order."""
    g = generator()
    one, other = torch.randint(1, 30, (2, 5), generator=g) + torch.tensor([[30, 1, 90, 1, 60], [1, 60, 30, 90, 30]])
    theta, more = (torch.tensor([50.0, 5000.0]) * (1 + torch.rand(2, generator=g))).tolist()
    follows(ex.angles, slow_angles, [(one, 8, theta), (other, 8, theta), (one, 12, theta), (one, 8, more)], "angles")


@check(points=1, stage="values", hint="Pair i is dimension i with dimension i + width / 2, not with its neighbour.")
def half_turns(ex):
    """A half turn of pair i changes the sign of dimensions i and i + width / 2, and of no others."""
    x = torch.randn(4, 6, generator=generator(1))
    angle = torch.tensor([[0, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 1]])[torch.randperm(4, generator=generator(2))]
    angle = angle * math.pi

    def gradients(name, upstream, x):
        value, slopes = ex.gradients(name, upstream, x, angle)
        return value, slopes[:1]  # by x alone: signs are another check's

    view = SimpleNamespace(gradients=gradients)
    learns(view, "rotate", lambda x: x * torch.cat([angle.cos(), angle.cos()], -1), x, what="rotate by half turns")


@check(points=1, stage="values", hint="(a + ib) times (cos + i sin): the new imaginary part is b cos + a sin.")
def one_pair(ex):
    """One pair alone turns counter-clockwise: a's share comes to b's place, and b's share, with a minus, to a's."""
    g = generator(3)
    x, angle = torch.randn(5, 2, generator=g), torch.rand(5, 1, generator=g) * 3
    learns(ex, "rotate", slow_rotate, x, angle, what="rotate of one pair")


@check(points=2, stage="values", hint="Angles have positions and pairs; they are the same for every row and head.")
def every_vector(ex):
    """Every row, head, position and pair turns by its own angle, and gradients pass to vectors and angles."""
    g = generator(4)
    for size, pairs in (((2, 3, 5), 4), ((4,), 3)):
        angle = torch.randn(size[-1], pairs, generator=g) * 2
        learns(ex, "rotate", slow_rotate, torch.randn(*size, 2 * pairs, generator=g), angle, what="rotate(x, angle)")

"""Checks of exercise 03. The oracle is a slow loop over positions."""

import torch

from minilmm.course.checking import check, close, generator, has_shape, learns


def slow_attention(q, k, v):
    """One query at a time, which is given the keys and values up to its own."""
    rows = []
    for i in range(q.shape[2]):
        scores = (q[:, :, i, None] * k[:, :, : i + 1]).sum(-1) / q.shape[3] ** 0.5  # (B, H, i + 1)
        weights = (scores - scores.amax(-1, keepdim=True)).exp()
        rows.append((weights[..., None] * v[:, :, : i + 1]).sum(2) / weights.sum(-1, keepdim=True))
    return torch.stack(rows, 2)


def drawn(salt, d, d_v, L=5):
    g = generator(salt)
    q, k = (torch.randn(2, 3, L, d, generator=g) * 1.5 for _ in range(2))
    return q, k, torch.randn(2, 3, L, d_v, generator=g)


@check(points=1, stage="shape", hint="Values may be wider or narrower than keys: the output is as wide as the values.")
def output_shape(ex):
    """The output has the values' width."""
    has_shape(ex.attention(*drawn(0, 4, 6)), (2, 3, 5, 6), "attention(q, k, v)")


@check(points=2, stage="mask", hint="Change the last key and value: only the last output may move.")
def no_look_ahead(ex):
    """The future changes nothing: every output depends on its own and earlier keys and values, and on no later ones."""
    args = drawn(1, 4, 4)
    for i in range(1, 5):
        upstream = torch.zeros(2, 3, 5, 4)
        upstream[:, :, i] = torch.randn(2, 3, 4, generator=generator(1 + i))
        _, (_, *slopes) = ex.gradients("attention", [upstream], *args)
        by_key, by_value = (torch.zeros(2, 3, 5, 4) if slope is None else slope for slope in slopes)
        for slope, by in ((by_key, "keys"), (by_value, "values")):
            close(slope[:, :, i + 1 :], torch.zeros(2, 3, 4 - i, 4), f"the gradient of output {i} by later {by}")
        seen = [by_key[:, :, : i + 1], *by_value[:, :, : i + 1].split(1, 2)]
        told = f"1 where output {i} has a gradient: by its own and earlier keys, then by each value from the first on"
        close(torch.tensor([float(slope.abs().max() > 1e-6) for slope in seen]), torch.ones(i + 2), told)


class AtTheLast:
    """`attention` as seen at the last position alone."""

    def __init__(self, ex):
        self.ex = ex

    def gradients(self, name, upstream, q, k, v):
        padded = torch.cat([torch.zeros(*v.shape[:2], v.shape[2] - 1, v.shape[3]), upstream[0][:, :, None]], 2)
        value, slopes = self.ex.gradients(name, [padded], q, k, v)
        return value[:, :, -1], slopes


@check(
    points=2,
    stage="values",
    hint="Scores divided by the square root of d, softmax over the keys, weighted mean of values.",
)
def the_last_output(ex):
    """The last position, which may see all: its output and gradient equal a slow loop's."""
    what = "attention(q, k, v) at the last position"
    learns(AtTheLast(ex), "attention", lambda *args: slow_attention(*args)[:, :, -1], *drawn(7, 9, 6, 7), what=what)


@check(points=2, stage="values", hint="Row by row, head by head: each query scores its own row's and head's keys.")
def every_output(ex):
    """Every position of every head and row, and all gradients, in two sizes."""
    for salt, d, d_v, L in ((8, 8, 3, 6), (9, 5, 7, 9)):
        learns(ex, "attention", slow_attention, *drawn(salt, d, d_v, L), what="attention(q, k, v)")

"""Checks of exercise 16. Oracles: a slow loop, the same call without the hidden keys, and zeros."""

import math

import torch

from minilmm.course.checking import check, close, equal, generator


def inputs(salt, L, K, B=2, H=2, d=4, D=5):
    g = generator(salt)
    shapes = ((B, H, L, d), (B, H, K, d), (B, H, K, d), (D, H * d), (D,))
    return [torch.randn(*shape, generator=g) for shape in shapes]


@check(points=2, stage="values", hint="transpose(1, 2) puts the heads behind the positions, then they are flattened.")
def all_seen(ex):
    """Where all may be seen: equal to a slow loop over heads and queries."""
    q, k, v, weight, bias = inputs(0, 3, 4)
    expected = torch.zeros(2, 3, 5)
    for b in range(2):
        for i in range(3):
            heads = []
            for h in range(2):
                scores = [math.exp(float(q[b, h, i] @ key) / 2) for key in k[b, h]]
                heads.append(sum(s / sum(scores) * value for s, value in zip(scores, v[b, h], strict=True)))
            expected[b, i] = weight @ torch.cat(heads) + bias
    got = ex.cross_attention(q, k, v, torch.ones(2, 3, 4, dtype=torch.bool), weight, bias)
    close(got, expected, "cross_attention with a mask of True")


@check(points=2, stage="mask", hint="What is hidden takes no part in the softmax: -inf before it, not 0 after it.")
def hidden_keys(ex):
    """Hidden keys are as good as absent: equal to your own answer for the seen ones alone, row by row."""
    q, k, v, weight, bias = inputs(1, 3, 3, B=1)
    mask = torch.tensor([[[True, False, True], [True, True, False], [False, True, False]]])
    rows = []
    for i in range(3):
        seen = mask[0, i].nonzero()[:, 0]
        rest = k[:, :, seen], v[:, :, seen]
        rows.append(ex.cross_attention(q[:, :, i : i + 1], *rest, mask[:, i : i + 1, seen], weight, bias))
    close(ex.cross_attention(q, k, v, mask, weight, bias), torch.cat(rows, 1), "three rows with hidden keys")


def islands():
    """Three positions, of which the first sees nothing and is seen by none: a mask that equals its transpose."""
    mask = torch.ones(1, 3, 3, dtype=torch.bool)
    mask[:, 0], mask[:, :, 0] = False, False
    return mask


@check(points=3, stage="mask", hint="Set the rows that see nothing to 0 at the very end, behind the output map.")
def blind_rows(ex):
    """A row that may look nowhere gives exactly 0, whatever the values and the bias."""
    q, k, v, weight, bias = inputs(2, 3, 3, B=1)
    equal(ex.cross_attention(q, k, v, islands(), weight, bias)[0, 0], torch.zeros(5), "a row that may look nowhere")


def gradients(ex, *tensors):
    import torch

    mask, *tensors = tensors
    q, k, v, weight, bias = (t.clone().requires_grad_(True) for t in tensors)
    out = ex.cross_attention(q, k, v, mask, weight, bias)
    out[:, mask.any(-1)[0]].square().sum().backward()  # of the rows that see something
    return [torch.zeros_like(t) if t.grad is None else t.grad for t in (q, k, v)]


@check(
    points=2, stage="gradients", hint="A NaN that is replaced afterwards can come back with the gradient: make none."
)
def finite_gradients(ex):
    """A row that sees nothing spoils no gradient: equal to your own without that row."""
    q, *rest = inputs(3, 3, 3, B=1)
    got = ex.run(gradients, islands(), q, *rest)
    alone = ex.run(gradients, islands()[:, 1:], q[:, :, 1:], *rest)
    expected = [torch.cat([torch.zeros(1, 2, 1, 4), alone[0]], 2), *alone[1:]]
    close(torch.cat(got, 2), torch.cat(expected, 2), "gradients of q, k and v, one row of three blind")

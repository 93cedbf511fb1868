"""Checks of exercise 03. The oracle is a slow loop over positions."""

import math

import torch

from minilmm.course.checking import check, close, generator, shaped


def slow_attention(q, k, v):
    """One query at a time, one key at a time, the last query only: it may see all keys."""
    rows = []
    for i in range(len(q)):
        scores = [float(q[i] @ k[j]) / math.sqrt(q.shape[-1]) for j in range(i + 1)]
        weights = [math.exp(s - max(scores)) for s in scores]
        rows.append(sum(w / sum(weights) * v[j] for j, w in enumerate(weights)))
    return torch.stack(rows)


@check(points=1, stage="shape", hint="Values may be wider or narrower than keys: the output is as wide as the values.")
def output_shape(ex):
    """The output has the values' width."""
    g = generator()
    q, k = (torch.randn(2, 3, 5, 4, generator=g) for _ in range(2))
    shaped(ex.attention(q, k, torch.randn(2, 3, 5, 6, generator=g)), (2, 3, 5, 6), "attention(q, k, v)")


@check(points=2, stage="mask", hint="Change the last key and value: only the last output may move.")
def no_look_ahead(ex):
    """The future changes nothing: new last keys and values leave earlier outputs as they are."""
    q, k, v = torch.randn(3, 1, 2, 6, 8, generator=generator(1))
    later_k, later_v = k.clone(), v.clone()
    later_k[:, :, -1] += 1
    later_v[:, :, -1] -= 2
    before, after = ex.attention(q, k, v), ex.attention(q, later_k, later_v)
    moved = (before - after).abs().amax((0, 1, 3)) > 1e-6  # (L,)
    shaped(moved, (6,), "one entry per position")
    close(moved[:-1].float(), torch.zeros(5), "1 where an earlier output moved when the last key and value changed")


@check(
    points=4,
    stage="values",
    hint="Scores divided by the square root of d, softmax over the keys, weighted mean of values.",
)
def the_last_output(ex):
    """The last position, which may see all: its output equals a slow loop's."""
    q, k, v = torch.randn(3, 2, 2, 7, 16, generator=generator(3)) * 2
    expected = torch.stack(
        [torch.stack([slow_attention(q[b, h], k[b, h], v[b, h])[-1] for h in range(2)]) for b in range(2)]
    )
    close(ex.attention(q, k, v)[:, :, -1], expected, "attention(q, k, v) at the last position")

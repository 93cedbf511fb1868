"""Checks of exercise 16. Oracles: a slow loop over heads and queries, plain means of what is seen, and zeros."""

import torch

from minilmm.course.checking import Wrong, check, close, equal, generator, learns


def inputs(salt, L, K, B=2, H=3, d=4, D=5):
    g = generator(salt)
    shapes = ((B, H, L, d), (B, H, K, d), (B, H, K, d), (D, H * d), (D,))
    return [torch.randn(*shape, generator=g) for shape in shapes]


def looped(q, k, v, mask, weight, bias):
    """cross_attention, one query of one head at a time, over the keys that it may see alone."""
    rows = []
    for b in range(q.shape[0]):
        for i in range(q.shape[2]):
            seen = mask[b, i].nonzero()[:, 0]
            heads = []
            for h in range(q.shape[1]):
                scores = (k[b, h, seen] * q[b, h, i]).sum(-1) / q.shape[-1] ** 0.5
                heads.append(((scores - scores.logsumexp(0)).exp()[:, None] * v[b, h, seen]).sum(0))
            rows.append(weight @ torch.cat(heads) + bias if len(seen) else 0 * bias)
    return torch.stack(rows).view(q.shape[0], q.shape[2], -1)


def plain(salt, mask):
    """One head whose scores are all 0, and no bias: every query gets the mean of the values that it sees, mapped."""
    q, k, v, weight, bias = inputs(salt, *mask.shape[1:], B=len(mask), H=1)
    return [0 * q, 0 * k, v, mask, weight, 0 * bias]


@check(points=2, stage="values", hint="transpose(1, 2) puts the heads behind the positions, then they are flattened.")
def all_seen(ex):
    """Where all may be seen: equal to a slow loop over heads and queries, gradients too."""
    for L, K, d in ((3, 5, 4), (4, 2, 6)):
        q, k, v, weight, bias = inputs(0, L, K, d=d)
        mask = torch.ones(2, L, K, dtype=torch.bool)
        learns(ex, "cross_attention", looped, q, k, v, mask, weight, bias, what="cross_attention with a mask of True")


@check(points=2, stage="mask", hint="What is hidden takes no part in the softmax: -inf before it, not 0 after it.")
def hidden_keys(ex):
    """Hidden keys are as good as absent: where all scores are 0, each row is the mean of what it sees."""
    g = generator(1)
    for L, K in ((4, 4), (3, 6)):
        mask = torch.rand(2, L, K, generator=g) < 0.5
        mask[:, :, 0] = False  # which nobody sees: its value is huge
        mask[:, torch.arange(L), torch.randint(1, K, (2, L), generator=g)[1]] = True
        mask[:, 0] = torch.arange(K) == K - 1
        given = plain(2, mask)
        given[2][:, :, 0] = 1e4
        what = f"{L} queries, {K} keys, some hidden, one head, scores of 0"
        learns(ex, "cross_attention", looped, *given, what=what)


@check(points=3, stage="mask", hint="Set the rows that see nothing to 0 at the very end, behind the output map.")
def blind_rows(ex):
    """A row that may look nowhere gives exactly 0, whatever the values and the bias; other rows give something."""
    mask = torch.ones(3, 4, 4, dtype=torch.bool)
    mask[0, 0], mask[0, :, 0], mask[2] = False, False, False  # one row of a page, none, all rows of a page
    q, k, v, weight, bias = inputs(2, 4, 4, B=3)
    upstream = torch.randn(3, 4, 5, generator=generator(3))
    for size in (1, 1e3):
        out, slopes = ex.gradients("cross_attention", [upstream], q, k, size * v, mask, weight, bias)
        blind = ~mask.any(-1)
        equal(out[blind], torch.zeros(5, 5), "five rows that may look nowhere")
        if not bool(out[~blind].any(-1).all()):
            raise Wrong("rows that see something", "numbers", "zeros")
        if slopes[2] is None or not bool(slopes[2][:2].any()):
            raise Wrong("the gradient of v", "one that comes from the rows that see something", "none, or zeros")


@check(
    points=2, stage="gradients", hint="A NaN that is replaced afterwards can come back with the gradient: make none."
)
def finite_gradients(ex):
    """A row that sees nothing spoils no gradient: all are those of a slow loop that leaves it out."""
    for salt, (L, K) in enumerate(((4, 4), (3, 6))):
        q, k, v, weight, bias = inputs(5 + salt, L, K)
        mask = torch.rand(2, L, K, generator=generator(7 + salt)) < 0.6
        mask[0, 1], mask[1, 0], mask[1, 2] = False, True, torch.arange(K) == 1
        given = [q, k, v, mask, weight, bias]
        learns(ex, "cross_attention", looped, *given, what="cross_attention with a blind row")
        given[0] = 60 * q
        close(ex.cross_attention(*given), looped(*given), "cross_attention with a blind row and scores of a hundred")

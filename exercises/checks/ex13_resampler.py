"""Checks of exercise 13. Oracles: small numbers by hand, a slow loop over queries and keys."""

import math

import torch

from minilmm.course.checking import check, close, equal, generator


@check(points=1, stage="values", hint="Fewer frames than were learned: nothing is to be stretched.")
def few_frames(ex):
    """As many frames as were learned or fewer get the first embeddings as they are."""
    times = torch.tensor([[0.0, 3.0], [1.0, 5.0], [4.0, 6.0]])
    close(torch.cat([ex.times_for(2, times), ex.times_for(3, times)]), times[[0, 1, 0, 1, 2]], "2 frames, 3 frames")


@check(points=2, stage="values", hint="F.interpolate wants (1, D, F), and align_corners=True keeps the ends.")
def more_frames(ex):
    """More frames than were learned are interpolated between the first and the last."""
    times = torch.tensor([[0.0, 8.0], [4.0, 4.0], [12.0, 6.0]])
    expected = torch.tensor([[0.0, 8.0], [2.0, 6.0], [4.0, 4.0], [8.0, 5.0], [12.0, 6.0]])
    close(ex.times_for(5, times), expected, "5 frames from 3 embeddings")


@check(points=2, stage="values", hint="(T, D) meets (M, T, S, D): it needs a dimension for the places before D.")
def every_frame(ex):
    """All places of a frame get its time embedding; then time comes before place."""
    x_f = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).view(1, 3, 2, 1)  # 3 frames of 2 places
    expected = torch.tensor([101.0, 102.0, 203.0, 204.0, 305.0, 306.0]).view(1, 6, 1)
    close(ex.with_times(x_f, torch.tensor([[100.0], [200.0], [300.0]])), expected, "1 2, 3 4, 5 6 at 100, 200, 300")


@check(points=1, stage="values", hint="Times belong to frames: a page's second picture begins at the first time again.")
def every_picture_alike(ex):
    """The same picture gives the same features wherever it stands among the others."""
    one = torch.randn(1, 1, 2, 3, generator=generator())
    got = ex.with_times(torch.cat([one, one, one]), torch.randn(4, 3, generator=generator(1)))
    close(got - got[:1], torch.zeros(3, 2, 3), "how far copies of a picture differ from the first")


def inputs(salt, M=2, K=6, R=3, D=4):
    g = generator(salt)
    weights = {name: torch.randn(D, D, generator=g) for name in "qkv"}
    weights |= {"up": torch.randn(D, 4 * D, generator=g) / 4, "down": torch.randn(4 * D, D, generator=g) / 4}
    return torch.randn(M, R, D, generator=g), torch.randn(M, K, D, generator=g), weights


@check(points=2, stage="values", hint="Queries come from the latents alone, keys and values from both.")
def what_latents_see(ex):
    """Latents look at features and latents: equal to a slow loop."""
    x, x_f, weights = inputs(2, K=3)
    expected = torch.zeros(2, 3, 4)
    for m in range(2):
        seen = [*x_f[m], *x[m]]
        for r in range(3):
            q = x[m, r] @ weights["q"]
            scores = [math.exp(float(q @ (token @ weights["k"])) / 2) for token in seen]
            for score, token in zip(scores, seen, strict=True):
                expected[m, r] += score / sum(scores) * (token @ weights["v"])
    close(ex.attend(x, x_f, weights), expected, "attend(x, x_f, weights)")


@check(points=1, stage="values", hint="Two sums: x + attention, then that + feed-forward. The ReLU is squared.")
def around_each_part(ex):
    """Residuals around both parts, and a squared ReLU (here the values are 0, so the attention adds nothing)."""
    weights = {"q": torch.ones(1, 1), "k": torch.ones(1, 1), "v": torch.zeros(1, 1),
               "up": torch.tensor([[1.0, -1, 2, 0]]), "down": torch.tensor([[1.0], [10], [0.5], [7]])}  # fmt: skip
    got = ex.layer(torch.tensor([[[3.0], [-1.0]]]), torch.ones(1, 2, 1), weights)
    # 3: ups 3, -3, 6, 0 -> 9, 0, 36, 0 -> 3 + 9 + 18; -1: ups -1, 1, -2, 0 -> 0, 1, 0, 0 -> -1 + 10
    close(got, torch.tensor([[[30.0], [9.0]]]), "layer of the latents 3 and -1 with values of 0")


def staged(ex, x_f, latents, times, layers):
    import torch

    tokens = ex.with_times(x_f, times)
    rows = []
    for m in range(len(x_f)):
        x = latents[None]
        for weights in layers:
            x = ex.layer(x, tokens[m : m + 1], weights)
        rows.append(x)
    return torch.cat(rows)


@check(points=1, stage="values", hint="The latents go from layer to layer; the features stay what they are.")
def layer_by_layer(ex):
    """The whole equals your own parts, one picture and one layer at a time: 3 latents out."""
    g = generator(3)
    x_f, latents, times = (torch.randn(*s, generator=g) for s in ((2, 3, 2, 4), (3, 4), (3, 4)))
    layers = [{name: w / 2 for name, w in inputs(salt)[2].items()} for salt in (4, 5)]
    expected = ex.run(staged, x_f, latents, times, layers)
    equal(list(expected.shape), [2, 3, 4], "the shape of the latents of two videos, layer by layer")
    close(ex.resample(x_f, latents, times, layers), expected, "resample of two videos with two layers")

"""Checks of exercise 13. Oracles: small numbers by hand, slow loops over frames, queries and keys; gradients too."""

import torch

from minilmm.course.checking import check, close, equal, generator, learns, same


def timed(frames, times):
    """times_for in a loop over frames."""
    rows, F = [], len(times)
    for i in range(frames):
        place = i if frames <= F else i * (F - 1) / (frames - 1)
        below = min(int(place + 1e-9), F - 1)
        rows.append(times[below] + (place - below) * (times[min(below + 1, F - 1)] - times[below]))
    return torch.stack(rows)


def flat(x_f, times):
    """with_times in loops over pictures and frames, for as many frames as times."""
    return torch.stack([torch.cat([frame + time for frame, time in zip(x, times, strict=True)]) for x in x_f])


def look(x, x_f, weights):
    """attend in loops over pictures and queries."""
    rows = []
    for latents, features in zip(x, x_f, strict=True):
        seen = [*features, *latents]
        keys = torch.stack([token @ weights["k"] for token in seen])
        values = torch.stack([token @ weights["v"] for token in seen])
        scores = [(keys * (latent @ weights["q"])).sum(1) / keys.shape[1] ** 0.5 for latent in latents]
        rows.append(torch.stack([(s.exp() / s.exp().sum()) @ values for s in scores]))
    return torch.stack(rows)


def thought(x, weights):
    """The latents and, added to them, their feed-forward."""
    up = torch.einsum("mrd,du->mru", x, weights["up"])
    return x + torch.einsum("mru,ud->mrd", torch.where(up > 0, up * up, 0 * up), weights["down"])


@check(points=1, stage="values", hint="Fewer frames than were learned: nothing is to be stretched.")
def few_frames(ex):
    """As many frames as were learned or fewer get the first embeddings as they are."""
    times = torch.randn(5, 3, generator=generator(10))
    for frames in (1, 3, 5):
        learns(ex, "times_for", timed, frames, times, what=f"{frames} frames from 5 embeddings")


@check(points=2, stage="values", hint="F.interpolate wants (1, D, F), and align_corners=True keeps the ends.")
def more_frames(ex):
    """More frames than were learned are interpolated between the first and the last."""
    times = torch.tensor([[0.0, 8.0], [4.0, 4.0], [12.0, 6.0]])
    expected = torch.tensor([[0.0, 8.0], [2.0, 6.0], [4.0, 4.0], [8.0, 5.0], [12.0, 6.0]])
    close(ex.times_for(5, times), expected, "5 frames from 3 embeddings")
    for learned, frames in ((3, 8), (4, 5), (2, 7)):
        times = torch.randn(learned, 6, generator=generator(20 + learned))
        learns(ex, "times_for", timed, frames, times, what=f"{frames} frames from {learned} embeddings")


@check(points=2, stage="values", hint="(T, D) meets (M, T, S, D): it needs a dimension for the places before D.")
def every_frame(ex):
    """All places of a frame get its time embedding; then time comes before place."""
    x_f = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).view(1, 3, 2, 1)  # 3 frames of 2 places
    expected = torch.tensor([101.0, 102.0, 203.0, 204.0, 305.0, 306.0]).view(1, 6, 1)
    close(ex.with_times(x_f, torch.tensor([[100.0], [200.0], [300.0]])), expected, "1 2, 3 4, 5 6 at 100, 200, 300")
    for T, S in ((3, 4), (3, 3)):
        x_f, times = (torch.randn(*s, generator=generator(30)) for s in ((2, T, S, 5), (T, 5)))
        learns(ex, "with_times", flat, x_f, times, what=f"with_times of 2 videos, {T} frames of {S} places")
    times = times[:2]  # more frames than times, and fewer: whatever your times_for makes of them
    for T in (4, 1):
        x_f = torch.randn(2, T, 3, 5, generator=generator(31))
        expected = flat(x_f, ex.times_for(T, times))
        close(ex.with_times(x_f, times), expected, f"{T} frames and 2 times, from your own times_for")


@check(points=1, stage="values", hint="Times belong to frames: a page's second picture begins at the first time again.")
def every_picture_alike(ex):
    """The same picture gives the same features wherever it stands among the others."""
    x_f, times = (torch.randn(*s, generator=generator(40)) for s in ((3, 1, 1, 5), (4, 5)))
    learns(ex, "with_times", lambda x, t: x[:, 0] + t[:1], x_f, times, what="three pictures, times for 4 frames")


def inputs(salt, M=2, K=5, R=3, D=6):
    g = generator(salt)
    weights = {name: torch.randn(D, D, generator=g) / 2 for name in "qkv"}
    weights |= {"up": torch.randn(D, 4 * D, generator=g) / 4, "down": torch.randn(4 * D, D, generator=g) / 4}
    return torch.randn(M, R, D, generator=g), torch.randn(M, K, D, generator=g), weights


@check(points=2, stage="values", hint="Queries come from the latents alone, keys and values from both.")
def what_latents_see(ex):
    """Latents look at features and latents: equal to a slow loop, gradients too."""
    for sizes in ({"D": 6}, {"K": 3, "R": 2, "D": 4}):
        learns(ex, "attend", look, *inputs(2, **sizes), what="attend(x, x_f, weights)")


@check(points=1, stage="values", hint="Two sums: x + attention, then that + feed-forward. The ReLU is squared.")
def around_each_part(ex):
    """Residuals around both parts, and a squared ReLU, once where the attention adds nothing, once with your own."""
    weights = {"q": torch.ones(1, 1), "k": torch.ones(1, 1), "v": torch.zeros(1, 1),
               "up": torch.tensor([[1.0, -1, 2, 0]]), "down": torch.tensor([[1.0], [10], [0.5], [7]])}  # fmt: skip
    got = ex.layer(torch.tensor([[[3.0], [-1.0]]]), torch.ones(1, 2, 1), weights)
    # 3: ups 3, -3, 6, 0 -> 9, 0, 36, 0 -> 3 + 9 + 18; -1: ups -1, 1, -2, 0 -> 0, 1, 0, 0 -> -1 + 10
    close(got, torch.tensor([[[30.0], [9.0]]]), "layer of the latents 3 and -1 with values of 0")
    x, x_f, weights = inputs(6)
    close(ex.layer(x, x_f, weights), thought(x + ex.attend(x, x_f, weights), weights), "layer, from your own attend")
    weights["v"] *= 0  # with which the attention adds nothing, whatever it is
    upstream = torch.randn(x.shape, generator=generator(7))
    _, got = ex.gradients("layer", [upstream], x, x_f, weights)
    leaves = [t.requires_grad_(True) for t in (x, weights["up"], weights["down"])]
    expected = torch.autograd.grad((thought(x, weights) * upstream).sum(), leaves)
    same([got[0], *got[-2:]], list(expected), "gradients of x, up and down where the values are 0")


@check(points=1, stage="values", hint="The latents go from layer to layer; the features stay what they are.")
def layer_by_layer(ex):
    """The whole, one picture and one layer at a time, and what everything learned gets as a gradient."""
    g = generator(3)
    x_f, latents, times = (torch.randn(*s, generator=g) / 2 for s in ((4, 3, 5, 6), (5, 6), (3, 6)))
    layers = [inputs(salt)[2] for salt in (4, 5, 6)]
    equal(list(ex.resample(x_f, latents, times, layers).shape), [4, 5, 6], "the shape of the latents of four videos")

    def whole(x_f, latents, times, layers):
        x, features = torch.stack([latents] * len(x_f)), flat(x_f, times)
        for weights in layers:
            x = thought(x + look(x, features, weights), weights)
        return x

    learns(ex, "resample", whole, x_f, latents, times, layers, what="resample of four videos with three layers")
    learns(ex, "resample", whole, x_f[:1], latents, times, layers[:1], what="resample of one video with one layer")

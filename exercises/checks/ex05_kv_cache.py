"""Checks of exercise 05. Oracle: the whole sequence read anew for every token, in a slow loop."""

import math

import torch

from minilmm.course.checking import check, close, equal, generator


def inputs(L, salt):
    g = generator(salt)
    weights = {name: torch.randn(6, 4, generator=g) for name in "qkv"}
    return torch.randn(2, L, 6, generator=g), weights


def slow(x, weights):
    """Outputs (B, L, d), position by position."""
    out = torch.zeros(*x.shape[:2], 4)
    for b in range(len(x)):
        for i in range(x.shape[1]):
            query = x[b, i] @ weights["q"]
            scores = [math.exp(float(query @ (x[b, j] @ weights["k"])) / 2) for j in range(i + 1)]
            for j, s in enumerate(scores):
                out[b, i] += s / sum(scores) * (x[b, j] @ weights["v"])
    return out


@check(points=1, stage="values", hint="With an empty cache the token sees itself alone: its output is its own value.")
def the_first_token(ex):
    """The first token sees itself: its output is its value."""
    x, weights = inputs(1, 0)
    close(ex.step(x, weights, {})[0], x @ weights["v"], "the output of the first step")


@check(
    points=3,
    stage="values",
    hint="Append the new key and value to the cached ones, along the positions, before you attend.",
)
def the_third_token(ex):
    """A third token sees the two in the cache and itself."""
    x, weights = inputs(3, 1)
    cache = {"k": x[:, :2] @ weights["k"], "v": x[:, :2] @ weights["v"]}
    close(ex.step(x[:, 2:], weights, cache)[0], slow(x, weights)[:, 2:], "the output of a step with two tokens cached")


@check(
    points=2, stage="shape", hint="The new cache holds the old keys and values and the new token's, and nothing else."
)
def the_new_cache(ex):
    """The cache that comes back holds the earlier tokens, then the new one."""
    x, weights = inputs(3, 2)
    k, v = x @ weights["k"], x @ weights["v"]
    _, cache = ex.step(x[:, 2:], weights, {"k": k[:, :2], "v": v[:, :2]})
    equal(sorted(cache), ["k", "v"], "the names in the new cache")
    close(cache["k"], k, "the keys in the new cache")
    close(cache["v"], v, "the values in the new cache")


@check(points=2, stage="mask", hint="Inside the prompt every token sees only what came before it: use `attention`.")
def a_prompt(ex):
    """A prompt read at once gives every token what steps would have given it."""
    x, weights = inputs(5, 3)
    close(ex.prefill(x, weights)[0], slow(x, weights), "the outputs of prefill")

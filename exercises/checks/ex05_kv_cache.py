"""Checks of exercise 05. Oracle: the whole sequence read anew for every token, in a slow loop."""

from types import SimpleNamespace

import torch

from minilmm.course.checking import check, equal, generator, learns

D, WIDTH = 6, 5


def drawn(salt, *lengths, rows=3):
    """Weights, and sequences of so many tokens."""
    g = generator(salt)
    weights = {name: torch.randn(D, WIDTH, generator=g) for name in "qkv"}
    return weights, [torch.randn(rows, L, D, generator=g) for L in lengths]


def attend(q, k, v):
    """One query (B, d) over keys and values (B, L, d), one key at a time."""
    scores = [(q * k[:, j]).sum(-1) / WIDTH**0.5 for j in range(k.shape[1])]
    weights = torch.stack(scores).softmax(0)  # (L, B)
    return sum(w[:, None] * v[:, j] for j, w in enumerate(weights))


def slow(x, weights):
    """Outputs (B, L, d): every token sees the tokens up to its own."""
    q, k, v = (x @ weights[name] for name in "qkv")
    return torch.stack([attend(q[:, i], k[:, : i + 1], v[:, : i + 1]) for i in range(x.shape[1])], 1)


def decoded(module, kind, upstream, xs, weights, cache):
    """What the learner's functions give, and the gradients of (output * upstream).sum() by all that went in."""
    leaves = [t.requires_grad_(True) for t in [*xs, *weights.values(), *cache.values()]]
    if kind == "step":
        parts = [module.step(xs[0], weights, cache)[0]]
    elif kind == "prefill":
        parts = [module.prefill(xs[0], weights)[0]]
    elif kind == "cache":
        new = module.step(xs[0], weights, cache)[1]
        parts = [new["k"], new["v"]]
    else:  # a prompt, then a token, another one in its place, and that one behind the first
        prompt, a, b = xs
        read, cache = module.prefill(prompt, weights)
        one, longer = module.step(a, weights, cache)
        parts = [read, one, module.step(b, weights, cache)[0], module.step(b, weights, longer)[0]]
    if [p.shape for p in parts] != [u.shape for u in upstream]:
        return parts, []
    total = sum((p * u).sum() for p, u in zip(parts, upstream, strict=True))
    found = torch.autograd.grad(total, leaves, allow_unused=True) if total.requires_grad else [None] * len(leaves)
    return parts, list(found)


def view(ex, kind):
    """The learner's module as `learns` asks it."""
    return SimpleNamespace(gradients=lambda name, upstream, *args: ex.run(decoded, kind, upstream, *args))


@check(points=1, stage="values", hint="With an empty cache the token sees itself alone: its output is its own value.")
def the_first_token(ex):
    """The first token sees itself: its output is its value."""
    weights, x = drawn(0, 1)
    wanted = lambda x, weights, _: [x[0] @ weights["v"]]  # noqa: E731
    learns(view(ex, "step"), "step", wanted, x, weights, {}, what="the output of the first step")


def cached(salt, length, rows=3):
    weights, (new, old) = drawn(salt, 1, length, rows=rows)
    return [new], weights, {"k": old @ weights["k"], "v": old @ weights["v"] + 0.1}


def grown(x, weights, cache):
    """Keys and values, the earlier tokens', then the new one's."""
    return [torch.cat([cache[name], x[0] @ weights[name]], 1) for name in "kv"]


@check(
    points=2,
    stage="values",
    hint="Append the new key and value to the cached ones, along the positions, before you attend.",
)
def the_third_token(ex):
    """A third token sees the two in the cache and itself; a fifth sees four."""

    def wanted(x, weights, cache):
        return [attend((x[0] @ weights["q"])[:, 0], *grown(x, weights, cache))[:, None]]

    for length in (2, 4):
        args = cached(length, length)
        learns(view(ex, "step"), "step", wanted, *args, what=f"the output of a step with {length} tokens cached")


@check(
    points=2, stage="values", hint="The new cache holds the old keys and values and the new token's, and nothing else."
)
def the_new_cache(ex):
    """The cache that comes back is a new dictionary of the earlier tokens, then the new one."""
    xs, weights, cache = cached(5, 3)
    equal(sorted(ex.step(xs[0], weights, cache)[1]), ["k", "v"], "the names in the new cache")
    learns(view(ex, "cache"), "step", grown, xs, weights, cache, what="keys and values in the new cache")


@check(points=1, stage="mask", hint="Inside the prompt every token sees only what came before it: use `attention`.")
def a_prompt(ex):
    """A prompt read at once gives every token what steps would have given it."""
    weights, x = drawn(6, 5)
    wanted = lambda x, weights, _: [slow(x[0], weights)]  # noqa: E731
    learns(view(ex, "prefill"), "prefill", wanted, x, weights, {}, what="the outputs of prefill")


@check(points=2, stage="values", hint="The prompt's cache holds all its keys and values; a step leaves it as it is.")
def behind_a_prompt(ex):
    """A prompt, two continuations of it, and a longer one: as if all were read anew."""

    def wanted(xs, weights, _):
        prompt, a, b = xs
        last = [slow(torch.cat(tokens, 1), weights)[:, -1:] for tokens in ([prompt, a], [prompt, b], [prompt, a, b])]
        return [slow(prompt, weights), *last]

    for rows, length in ((3, 4), (1, 7)):
        weights, xs = drawn(length, length, 1, 1, rows=rows)
        what = "outputs of prefill, of a step, of another step from the same cache, and of a second step"
        learns(view(ex, "chain"), "step", wanted, xs, weights, {}, what=what)

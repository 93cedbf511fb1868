"""Checks of exercise 22. Oracles: slow loops, and the learner's own parts put together one by one."""

import math

import torch

from minilmm.course.checking import check, close, equal, generator

Q, L, S, D, SEEN = 2, 3, 5, 4, 3


def drawn(salt, *shapes):
    g = generator(salt)
    return [torch.randn(*shape, generator=g) for shape in shapes]


def attends(salt, seen=D):
    return dict(zip("qkvo", drawn(salt, (D, D), (seen, D), (seen, D), (D, D)), strict=True))


def thinks(salt):
    return dict(zip(("up", "down"), drawn(salt, (D, 6), (6, D)), strict=True))


def normed(row):
    mean = sum(row) / len(row)
    deviation = math.sqrt(sum((n - mean) ** 2 for n in row) / len(row) + 1e-5)
    return [(n - mean) / deviation for n in row]


@check(points=2, stage="values", hint="norm(x + what is seen): the sum first, then its norm.")
def added_then_normed(ex):
    """Attention, its residual, then the norm: equal to a slow loop."""
    x, context = drawn(0, (1, L, D), (1, S, SEEN))
    w = attends(1, SEEN)
    rows = []
    for token in x[0]:
        scores = [math.exp(float((token @ w["q"]) @ (other @ w["k"])) / 2) for other in context[0]]
        seen = sum(s / sum(scores) * (other @ w["v"]) for s, other in zip(scores, context[0], strict=True)) @ w["o"]
        rows.append(normed([float(n) for n in token + seen]))
    close(ex.attention(x, context, None, w), torch.tensor([rows]), "attention(x, context, None, weights)")


@check(points=1, stage="mask", hint="True means: may look. What is hidden takes no part in the softmax.")
def hidden_ones(ex):
    """What the mask hides is as good as absent: equal to your own answer without it, row by row."""
    x, context = drawn(2, (1, 3, D), (1, 3, SEEN))
    w, mask = attends(3, SEEN), torch.tensor([[[True, False, True], [True, True, False], [False, True, False]]])
    rows = [ex.attention(x[:, i : i + 1], context[:, mask[0, i]], None, w) for i in range(3)]
    close(ex.attention(x, context, mask, w), torch.cat(rows, 1), "attention in which each row may see some")


@check(points=1, stage="values", hint="GELU(h) = h times the share of a normal distribution below h.")
def thought_over(ex):
    """The feed-forward, its residual, then the norm: equal to a slow loop."""
    (x,), w = drawn(4, (1, L, D)), thinks(5)
    rows = []
    for token in x[0]:
        up = [float(h) for h in token @ w["up"]]
        up = torch.tensor([h * (1 + math.erf(h / math.sqrt(2))) / 2 for h in up])
        rows.append(normed([float(n) for n in token + up @ w["down"]]))
    close(ex.feed_forward(x, w), torch.tensor([rows]), "feed_forward(x, weights)")


def inputs(salt):
    """A block's input, features, the mask of ITC, and weights."""
    x, x_f = drawn(salt, (2, Q + L, D), (2, S, SEEN))
    half = torch.arange(Q + L) < Q
    mask = (half[:, None] == half).expand(2, -1, -1)
    weights = {"self": attends(salt + 1), "cross": attends(salt + 2, SEEN)}
    return x, x_f, mask, weights | {"ffw_query": thinks(salt + 3), "ffw_text": thinks(salt + 4)}


@check(points=1, stage="values", hint="One call for queries and words together: the mask alone may keep them apart.")
def one_self_attention(ex):
    """Without cross-attention, and with the same feed-forward twice: all Q + L tokens see each other."""
    x, x_f, _, w = inputs(10)
    w = {"self": w["self"], "ffw_query": w["ffw_text"], "ffw_text": w["ffw_text"]}
    expected = ex.feed_forward(ex.attention(x, x, None, w["self"]), w["ffw_text"])
    close(ex.block(x, Q, x_f, None, w), expected, "a block that has no cross-attention, from your own parts")


@check(points=2, stage="values", hint="Self-attention, then the picture, then the queries' own feed-forward.")
def the_queries_half(ex):
    """Queries see each other, then the picture, then think: equal to your own parts."""
    x, x_f, mask, w = inputs(20)
    q = ex.attention(x, x, mask, w["self"])[:, :Q]
    expected = ex.feed_forward(ex.attention(q, x_f, None, w["cross"]), w["ffw_query"])
    close(ex.block(x, Q, x_f, mask, w)[:, :Q], expected, "the queries that leave a block, from your own parts")


@check(points=1, stage="values", hint="Words pass by the picture, and have a feed-forward of their own.")
def the_words_half(ex):
    """Words never look at the picture: equal to your own parts."""
    x, x_f, mask, w = inputs(30)
    expected = ex.feed_forward(ex.attention(x, x, mask, w["self"])[:, Q:], w["ffw_text"])
    close(ex.block(x, Q, x_f, mask, w)[:, Q:], expected, "the words that leave a block, from your own parts")


def reached(ex, x, x_f, mask, weights):
    import torch

    w = {part: {n: t.clone().requires_grad_(True) for n, t in parts.items()} for part, parts in weights.items()}
    out = ex.block(x, 2, x_f, mask, w)
    (out[:, :2] * torch.arange(16.0).view(2, 2, 4)).sum().backward()
    return [w["self"][n].grad is not None and bool(w["self"][n].grad.any()) for n in "qkv"]


@check(points=1, stage="gradients", hint="Cut nothing off: the queries' loss must reach the shared self-attention.")
def gradients_pass(ex):
    """What the queries are asked for reaches the shared self-attention, through the cross-attention."""
    told = "do q, k and v of the self-attention get a gradient from the queries?"
    equal(ex.run(reached, *inputs(40)), [True] * 3, told)

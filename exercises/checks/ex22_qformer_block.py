"""Checks of exercise 22. Oracles: slow loops, and the learner's own parts put together, gradients too."""

import math

import torch

from minilmm.course.checking import Composed, check, generator, learns, own

Q, L, S, D, SEEN, H = 2, 3, 5, 6, 7, 8


def drawn(salt, *shapes):
    g = generator(salt)
    return [torch.randn(*shape, generator=g) for shape in shapes]


def attends(salt, seen=D):
    return dict(zip("qkvo", drawn(salt, (D, D), (seen, D), (seen, D), (D, D)), strict=True))


def thinks(salt):
    return dict(zip(("up", "down"), drawn(salt, (D, H), (H, D)), strict=True))


def normed(row):
    """A row less its mean, over its standard deviation."""
    mean = sum(row) / len(row)
    variance = sum((number - mean) ** 2 for number in row) / len(row)
    return torch.stack([(number - mean) / (variance + 1e-5) ** 0.5 for number in row])


def rows_of(x, row):
    """row(b, i) for every token of x, put together as x is."""
    return torch.stack([torch.stack([row(b, i) for i in range(x.shape[1])]) for b in range(len(x))])


def looks(x, context, mask, w):
    """Attention, token by token: only what may be seen takes part."""

    def row(b, i):
        may = [j for j in range(context.shape[1]) if mask is None or bool(mask[b, i, j])]
        scores = torch.stack([(x[b, i] @ w["q"]) @ (context[b, j] @ w["k"]) / D**0.5 for j in may])
        shares = (scores - scores.max().detach()).exp()
        seen = sum(share * (context[b, j] @ w["v"]) for share, j in zip(shares / shares.sum(), may, strict=True))
        return normed(x[b, i] + seen @ w["o"])

    return rows_of(x, row)


def thinking(x, w):
    """The feed-forward, token by token, GELU from the normal distribution."""

    def row(b, i):
        up = x[b, i] @ w["up"]
        return normed(x[b, i] + (up * (1 + torch.erf(up / math.sqrt(2))) / 2) @ w["down"])

    return rows_of(x, row)


def put_together(attention, feed_forward):
    """A block made of these parts."""

    def block(x, queries, x_f, mask, w):
        x = attention(x, x, mask, w["self"])
        q, text = x[:, :queries], x[:, queries:]
        q = attention(q, x_f, None, w["cross"]) if "cross" in w else q
        return torch.cat([feed_forward(q, w["ffw_query"]), feed_forward(text, w["ffw_text"])], 1)

    return block


def own_block(ex):
    """A block made of the learner's parts."""
    attention, feed_forward = own(ex, "attention"), own(ex, "feed_forward")
    return put_together(lambda *a: attention(*a)[0], lambda *a: feed_forward(*a)[0])


def half(ex, rows, *args, what):
    """Some rows of the learner's block are those of one made of the learner's parts."""
    block, oracle = own(ex, "block"), own_block(ex)
    learns(Composed(lambda *a: block(*a)[0][:, rows]), "", lambda *a: oracle(*a)[:, rows], *args, what=what)


@check(points=2, stage="values", hint="norm(x + what is seen): the sum first, then its norm.")
def added_then_normed(ex):
    """Attention, its residual, then the norm: equal to a slow loop, gradients too."""
    x, context = drawn(0, (2, L, D), (2, S, SEEN))
    learns(ex, "attention", looks, x, context, None, attends(1, SEEN), what="attention(x, context, None, weights)")


@check(points=1, stage="mask", hint="True means: may look. What is hidden takes no part in the softmax.")
def hidden_ones(ex):
    """What the mask hides is as good as absent: equal to your own answer without it, row by row, gradients too."""
    x, context = drawn(2, (2, 3, D), (2, 4, SEEN))
    o, t = False, True
    mask = torch.tensor([[[t, o, t, o], [t, t, o, t], [o, t, o, o]], [[o, o, t, t], [o, t, t, t], [t, o, o, t]]])
    attention = own(ex, "attention")

    def absent(x, context, w):
        return rows_of(x, lambda b, i: attention(x[b, i][None, None], context[b, mask[b, i]][None], None, w)[0][0, 0])

    call = Composed(lambda x, context, w: attention(x, context, mask, w)[0])
    learns(call, "", absent, x, context, attends(3, SEEN), what="attention in which each row may see some")


@check(points=1, stage="values", hint="GELU(h) = h times the share of a normal distribution below h.")
def thought_over(ex):
    """The feed-forward, its residual, then the norm: equal to a slow loop, gradients too."""
    (x,) = drawn(4, (2, L, D))
    learns(ex, "feed_forward", thinking, x, thinks(5), what="feed_forward(x, weights)")


def inputs(salt):
    """A block's input, features, the mask of ITC with a word hidden in the second row, and weights."""
    x, x_f = drawn(salt, (2, Q + L, D), (2, S, SEEN))
    side = torch.arange(Q + L) < Q
    mask = (side[:, None] == side).expand(2, -1, -1).clone()
    mask[1, Q:, Q + 1] = False
    weights = {"self": attends(salt + 1), "cross": attends(salt + 2, SEEN)}
    return x, Q, x_f, mask, weights | {"ffw_query": thinks(salt + 3), "ffw_text": thinks(salt + 4)}


@check(points=1, stage="values", hint="One call for queries and words together: the mask alone may keep them apart.")
def one_self_attention(ex):
    """Without cross-attention, and with the same feed-forward twice: all Q + L tokens see each other."""
    x, queries, x_f, _, w = inputs(10)
    w = {"self": w["self"], "ffw_query": w["ffw_text"], "ffw_text": w["ffw_text"]}
    told = "a block that has no cross-attention, from your own parts"
    half(ex, slice(None), x, queries, x_f, None, w, what=told)


@check(points=2, stage="values", hint="Self-attention, then the picture, then the queries' own feed-forward.")
def the_queries_half(ex):
    """Queries see each other, then the picture, then think: equal to your own parts, gradients too."""
    half(ex, slice(Q), *inputs(20), what="the queries that leave a block, from your own parts")


@check(points=1, stage="values", hint="Words pass by the picture, and have a feed-forward of their own.")
def the_words_half(ex):
    """Words never look at the picture: equal to your own parts, gradients too."""
    half(ex, slice(Q, None), *inputs(30), what="the words that leave a block, from your own parts")


@check(points=1, stage="gradients", hint="Cut nothing off: the queries' loss must reach the shared self-attention.")
def gradients_pass(ex):
    """All together: a block as slow loops give it, and its gradients by all that comes in."""
    learns(ex, "block", put_together(looks, thinking), *inputs(40), what="a block")

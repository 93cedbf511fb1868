"""Checks of exercise 27. Oracles: a slow loop, and everything run at once by the learner's own layer."""

import math

import torch

from minilmm.course.checking import check, close, equal, generator

B, Q, L, D = 2, 3, 4, 4


def drawn(salt, *shapes):
    g = generator(salt)
    return [torch.randn(*shape, generator=g) for shape in shapes]


def weights(salt):
    return dict(zip("qkv", drawn(salt, (D, D), (D, D), (D, D)), strict=True))


def causal(real):
    """ITG's mask, cell by cell."""
    rows = torch.zeros(len(real), Q + L, Q + L, dtype=torch.bool)
    for b in range(len(real)):
        for i in range(Q + L):
            for j in range(Q + L):
                rows[b, i, j] = j < Q or (Q <= j <= i and bool(real[b, j - Q]))
    return rows


@check(points=2, stage="values", hint="x plus the weighted mean of the values that a token may see.")
def one_layer(ex):
    """A layer by itself: equal to a slow loop."""
    (x,), w = drawn(0, (1, L, D)), weights(1)
    mask = torch.ones(1, L, L, dtype=torch.bool).tril()
    expected = torch.zeros(1, L, D)
    for i in range(L):
        scores = [math.exp(float((x[0, i] @ w["q"]) @ (x[0, j] @ w["k"])) / 2) for j in range(i + 1)]
        seen = sum(s / sum(scores) * (x[0, j] @ w["v"]) for j, s in enumerate(scores))
        expected[0, i] = x[0, i] + seen
    close(ex.layer(x, mask, w)[0], expected, "layer of four tokens that see what went before")


@check(points=2, stage="values", hint="Past keys and values stand in front: the mask's first columns are theirs.")
def behind_a_past(ex):
    """Behind a past, tokens see it as they see it when it is there: equal to your own layer of all tokens."""
    (x,), w, mask = drawn(2, (B, Q + L, D)), weights(3), torch.ones(B, Q + L, Q + L, dtype=torch.bool).tril()
    mask[1, :, 1] = mask[1, 1, 0] = False  # a token that none but itself sees
    mask[1, 1, 1] = True
    past = x[:, :Q] @ w["k"], x[:, :Q] @ w["v"]
    got, _ = ex.layer(x[:, Q:], mask[:, Q:], w, past)
    close(got, ex.layer(x, mask, w)[0][:, Q:], "layer of 4 tokens behind 3 that have run, from your own of all 7")


@check(points=1, stage="shape", hint="Give back what x itself was turned into, not what was in front of it.")
def its_own_keys(ex):
    """What a layer gives back are the keys and values of its own tokens, with a past and without."""
    x, before = drawn(4, (B, L, D), (B, Q, D))
    w = weights(5)
    own = [x @ w["k"], x @ w["v"]]
    got = [*ex.layer(x, None, w)[1], *ex.layer(x, None, w, (before, before + 1))[1]]
    equal([list(t.shape) for t in got], [[B, L, D]] * 4, "shapes of keys and values of 4 tokens, alone and behind 3")
    close(torch.stack(got), torch.stack(own * 2), "keys and values of 4 tokens, alone and behind 3")


def step_by_step(ex, x, layers):
    kept = []
    for weights in layers:
        x, own = ex.layer(x, None, weights)
        kept += own
    return x, kept


@check(points=1, stage="values", hint="Every layer has keys and values of its own: append them as you go.")
def kept_in_every_layer(ex):
    """The queries' run keeps the keys and values of every layer: equal to your own, layer by layer."""
    (x,), layers = drawn(6, (B, Q, D)), [weights(salt) for salt in (7, 8, 9)]
    out, kept = ex.run(step_by_step, x, layers)
    got, past = ex.queries_alone(x, layers)
    told = "the queries' outputs, then keys and values of layers 1, 2, 3, from your own layer"
    close(torch.stack([got, *(t for pair in past for t in pair)]), torch.stack([out, *kept]), told)


def behind(ex, x, words, rows, layers):
    kept = []
    for weights in layers:
        x, own = ex.layer(x, None, weights)
        kept.append(own)
    for weights, past in zip(layers, kept, strict=True):
        words, _ = ex.layer(words, rows, weights, past)
    return words, kept


@check(points=2, stage="mask", hint="The words' rows of causal(queries, real), and each layer with its own past.")
def as_if_together(ex):
    """The words run behind the queries under ITG's mask, padding left or right: equal to your own, layer by layer."""
    (x,), layers = drawn(10, (B, Q + L, D)), [weights(salt) for salt in (11, 12)]
    real = torch.tensor([[True, True, True, False], [False, True, True, True]])
    expected, kept = ex.run(behind, x[:, :Q], x[:, Q:], causal(real)[:, Q:], layers)
    got = ex.words_behind(x[:, Q:], real, kept, layers)
    close(got[real], expected[real], "outputs of words behind the queries' keys and values, from your own layer")


def hangs_together(ex, x, layers):
    x = x.clone().requires_grad_(True)
    for key_or_value in ex.queries_alone(x, layers)[1][-1]:
        if key_or_value.requires_grad:
            key_or_value.square().sum().backward(retain_graph=True)
    return x.grad is not None and bool(x.grad.any())


@check(points=1, stage="gradients", hint="Keep keys and values with their graph: ITG trains the queries through them.")
def gradients_reach_the_queries(ex):
    """A loss of what was kept reaches the queries."""
    (x,) = drawn(13, (B, Q, D))
    told = "do the queries get a gradient from the keys and values of the last layer?"
    equal(ex.run(hangs_together, x, [weights(14), weights(15)]), True, told)


@check(points=1, stage="mask", hint="Look at the queries' rows alone: all queries, and no word.")
def when_it_is_right(ex):
    """Reuse is right for ITC and ITG; not for ITM, nor if one query sees one word, or does not see a query."""
    o, x = False, True
    itc = [[x, x, o, o], [x, x, o, o], [o, o, x, x], [o, o, x, x]]
    itg = [[x, x, o, o], [x, x, o, o], [x, x, x, o], [x, x, x, x]]
    itm = [[x, x, x, x]] * 4
    leak = [itg[0], [x, x, x, o], *itg[2:]]
    order = [[x, o, o, o], *itg[1:]]
    batches = [itc], [itg, itg], [itm], [leak], [itg, leak], [order]
    got = [ex.may_reuse(torch.tensor(batch), 2) for batch in batches]
    told = "may_reuse for ITC, ITG, ITM, a query that sees a word, the same in one row of two, queries in order"
    equal(got, [True, True, False, False, False, False], told)

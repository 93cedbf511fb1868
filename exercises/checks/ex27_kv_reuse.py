"""Checks of exercise 27. Oracles: a slow loop, and everything run at once by the learner's own layer."""

import torch

from minilmm.course.checking import Composed, check, equal, generator, learns, own

B, Q, L, D = 2, 3, 4, 6


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


def leaves(layer):
    """What leaves a layer, without the keys and values that it gives back."""
    return lambda *args: layer(*args)[0]


def slow(x, mask, w):
    """A layer, token by token: only what may be seen takes part."""

    def row(b, i):
        may = [j for j in range(x.shape[1]) if mask is None or bool(mask[b, i, j])]
        scores = torch.stack([(x[b, i] @ w["q"]) @ (x[b, j] @ w["k"]) / D**0.5 for j in may])
        return x[b, i] + sum(s * (x[b, j] @ w["v"]) for s, j in zip(scores.softmax(0), may, strict=True))

    return torch.stack([torch.stack([row(b, i) for i in range(x.shape[1])]) for b in range(len(x))])


@check(points=2, stage="values", hint="x plus the weighted mean of the values that a token may see.")
def one_layer(ex):
    """A layer by itself: equal to a slow loop, gradients too, with a mask and without."""
    call = Composed(leaves(own(ex, "layer")))
    (x,), mask = drawn(0, (B, L, D)), torch.ones(B, L, L, dtype=torch.bool).tril()
    mask[1, 2:, 0] = False
    learns(call, "", slow, x, mask, weights(1), what="layer of tokens that see what went before, or a part of it")
    learns(call, "", slow, x, None, weights(1), what="layer of tokens that see each other")


@check(points=2, stage="values", hint="Past keys and values stand in front: the mask's first columns are theirs.")
def behind_a_past(ex):
    """Behind a past, tokens see it as they see it when it is there: equal to your own layer of all tokens."""
    (x,), layer = drawn(2, (B, Q + L, D)), leaves(own(ex, "layer"))
    mask = torch.ones(B, Q + L, Q + L, dtype=torch.bool).tril()
    mask[1, :, 1] = mask[1, 1, 0] = False  # a token that none but itself sees
    mask[1, 1, 1] = True
    for rows in (mask, None):
        behind = Composed(
            lambda x, w, rows=None if rows is None else rows[:, Q:]: layer(
                x[:, Q:], rows, w, (x[:, :Q] @ w["k"], x[:, :Q] @ w["v"])
            )
        )
        told = "layer of 4 tokens behind 3 that have run, from your own of all 7"
        learns(behind, "", lambda x, w, rows=rows: layer(x, rows, w)[:, Q:], x, weights(3), what=told)


@check(points=1, stage="shape", hint="Give back what x itself was turned into, not what was in front of it.")
def its_own_keys(ex):
    """What a layer gives back are the keys and values of its own tokens, with a past and without."""
    x, before = drawn(4, (B, L, D), (B, Q, D))
    layer, w = own(ex, "layer"), weights(5)
    got = [*ex.layer(x, None, w)[1], *ex.layer(x, None, w, (before, before + 1))[1]]
    equal([list(t.shape) for t in got], [[B, L, D]] * 4, "shapes of keys and values of 4 tokens, alone and behind 3")

    def kept(x, w):
        return torch.stack([*layer(x, None, w)[1:], *layer(x, None, w, (before, before + 1))[1:]])

    told = "keys and values of 4 tokens, alone and behind 3"
    learns(Composed(kept), "", lambda x, w: torch.stack([x @ w["k"], x @ w["v"]] * 2), x, w, what=told)


@check(points=1, stage="values", hint="Every layer has keys and values of its own: append them as you go.")
def kept_in_every_layer(ex):
    """The queries' run keeps the keys and values of every layer: equal to your own, layer by layer."""
    (x,), layers, layer = drawn(6, (B, Q, D)), [weights(salt) for salt in (7, 8, 9)], own(ex, "layer")

    def step_by_step(x, layers):
        kept = []
        for w in layers:
            x, *pair = layer(x, None, w)
            kept.append(tuple(pair))
        return x, kept

    told = "the queries' outputs, then keys and values of layers 1, 2, 3, from your own layer"
    learns(ex, "queries_alone", step_by_step, x, layers, what=told)


@check(points=2, stage="mask", hint="The words' rows of causal(queries, real), and each layer with its own past.")
def as_if_together(ex):
    """The words run behind the queries under ITG's mask, padding left or right: equal to your own, layer by layer."""
    (words, *kept), layer = drawn(10, (B, L, D), *[(B, Q, D)] * 4), own(ex, "layer")
    real = torch.tensor([[True, True, True, False], [False, True, True, True]])
    alone = own(ex, "words_behind")

    def step_by_step(words, kept, layers):
        for w, past in zip(layers, kept, strict=True):
            words, *_ = layer(words, causal(real)[:, Q:], w, past)
        return words[real]

    call = Composed(lambda words, kept, layers: alone(words, real, kept, layers)[0][real])
    told = "outputs of words behind the queries' keys and values, from your own layer"
    pasts, layers = [(kept[0], kept[1]), (kept[2], kept[3])], [weights(11), weights(12)]
    learns(call, "", step_by_step, words, pasts, layers, what=told)


@check(points=1, stage="gradients", hint="Keep keys and values with their graph: ITG trains the queries through them.")
def gradients_reach_the_queries(ex):
    """Queries alone, then words behind them, are all at once: the words' loss reaches the queries as it does there."""
    x, words = drawn(13, (B, Q, D), (B, L, D))
    real, layer = torch.tensor([[True] * 4, [True, True, False, False]]), own(ex, "layer")
    alone, behind = own(ex, "queries_alone"), own(ex, "words_behind")

    def apart(x, words, layers):
        _, *kept = alone(x, layers)
        return behind(words, real, list(zip(kept[::2], kept[1::2], strict=True)), layers)[0][real]

    def at_once(x, words, layers):
        both = torch.cat([x, words], 1)
        for w in layers:
            both, *_ = layer(both, causal(real), w)
        return both[:, Q:][real]

    told = "outputs of words behind queries, from your own layer of all at once"
    learns(Composed(apart), "", at_once, x, words, [weights(14), weights(15)], what=told)


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
    got = [bool(ex.may_reuse(torch.tensor(batch), 2)) for batch in batches]
    told = "may_reuse for ITC, ITG, ITM, a query that sees a word, the same in one row of two, queries in order"
    equal(got, [True, True, False, False, False, False], told)
    g = generator(16)
    fine = torch.rand(B, Q + L, Q + L, generator=g) < 0.5  # the words' rows may be anything
    fine[:, :Q] = torch.arange(Q + L) < Q
    cells = [(b, i, j) for b in range(B) for i in range(Q) for j in range(Q + L)]
    masks = [fine] + [fine.index_put(tuple(map(torch.tensor, cell)), ~fine[cell]) for cell in cells]
    got = [bool(ex.may_reuse(mask, Q)) for mask in masks]
    told = "may_reuse where queries see all queries and no word, then with each cell of their rows turned round"
    equal(got, [True] + [False] * len(cells), told)

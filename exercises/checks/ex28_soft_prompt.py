"""Checks of exercise 28. Oracles: slow loops; the learner's own arrangement, followed token by token."""

import torch

from minilmm.course.checking import Composed, Wrong, check, equal, follows, generator, learns, own

SIZES = (2, 4, 3), (3, 5, 6)  # queries, texts, tokens of text


def padded(salt, B, L):
    """Words between padding of random lengths on the right, on the left, on both sides and none: (B, L)."""
    g = generator(salt)
    ends = [(0, L), (0, L - 1), (L - 1, L)] + [
        sorted(torch.randperm(L + 1, generator=g)[:2].tolist()) for _ in range(B)
    ]
    rows = torch.tensor([[first <= i < last for i in range(L)] for first, last in ends[:B]])
    return rows[torch.randperm(B, generator=g)]


@check(points=1, stage="values", hint="Every query by itself, through the same linear map.")
def projected(ex):
    """Each query's output goes through one linear map with its bias: equal to a slow loop, gradients too."""
    g = generator()
    z, weight, bias = (torch.randn(*shape, generator=g) for shape in ((2, 3, 4), (5, 4), (5,)))

    def slow(z, weight, bias):
        return torch.stack([torch.stack([torch.stack([q @ w for w in weight]) + bias for q in rows]) for rows in z])

    learns(ex, "project", slow, z, weight, bias, what="project of 3 queries")


@check(points=2, stage="mask", hint="Sort by whether a token is real, stably: what is equal keeps its order.")
def padding_in_front(ex):
    """Padding, then queries, then words, on whichever side the padding came; each token once."""

    def told(order, real, queries):
        """Every row's places, padding as -1, and all its tokens in order."""
        there = torch.cat([torch.ones(len(real), queries, dtype=torch.bool), real], 1)
        return [torch.where(there.gather(1, order), order, -1), order.sort(1).values]

    def slow(real, queries):
        tokens = range(queries + real.shape[1])
        pads = [[i for i in tokens if i >= queries and not row[i - queries]] for row in real.tolist()]
        return torch.tensor([row + [i for i in tokens if i not in row] for row in pads])

    inputs = [(padded(queries, B, L), queries) for queries, B, L in SIZES]
    follows(
        lambda *args: told(ex.arrange(*args), *args),
        lambda *args: told(slow(*args), *args),
        inputs,
        "arrange, padding written as -1, then all that is in a row, sorted",
    )


def arranged(ex, real, queries):
    """The learner's own arrangement, each token once, and where it puts what is real."""
    order = ex.arrange(real, queries)
    if not torch.equal(order.sort(1).values, torch.arange(queries + real.shape[1]).expand_as(order)):
        raise Wrong("a row of arrange, sorted", "every token once", str(order[0].sort().values.tolist()))
    there = torch.cat([torch.ones(len(real), queries, dtype=torch.bool), real], 1)
    return order.tolist(), torch.tensor([[bool(t[i]) for i in row] for t, row in zip(there, order, strict=True)])


@check(points=1, stage="values", hint="gather along dimension 1, with the order repeated over the width.")
def all_in_place(ex):
    """Soft prompts and words stand where your own arrangement says, and learn from there."""
    for queries, B, L in SIZES:
        g, real = generator(10 + B), padded(20 + B, B, L)
        soft, words = torch.randn(B, queries, 7, generator=g), torch.randn(B, L, 7, generator=g)
        (order, there), prepend = arranged(ex, real, queries), own(ex, "prepend")

        def slow(soft, words, order=order, there=there):
            both = [[*s, *w] for s, w in zip(soft, words, strict=True)]
            rows = [torch.stack([row[i] for i in places]) for row, places in zip(both, order, strict=True)]
            return torch.stack(rows)[there]

        equal(
            list(ex.prepend(soft, words, real)[0].shape), [B, queries + L, 7], "the shape of queries and text, width 7"
        )
        call = Composed(lambda s, w, real=real, there=there, prepend=prepend: prepend(s, w, real)[0][there])
        learns(call, "", slow, soft, words, what="queries and words where your own arrangement puts them, no padding")


@check(points=1, stage="mask", hint="Queries are as real as words.")
def queries_are_seen(ex):
    """The attention mask hides padding and nothing else, arranged as your own arrangement says."""
    for queries, B, L in SIZES:
        real = padded(30 + B, B, L)
        _, expected = arranged(ex, real, queries)
        got = ex.prepend(torch.zeros(B, queries, 2), torch.zeros(B, L, 2), real)[1]
        equal(got, expected, f"the mask of {queries} queries and texts of {L} tokens, padding among them")


@check(points=3, stage="values", hint="IGNORE in front for the queries; arrange as the tokens; then one to the left.")
def only_words_that_count(ex):
    """Labels stand on text alone, one place before their word, wherever your own arrangement puts it."""
    g, o, x = generator(40), False, True
    whole = torch.ones(2, 4, dtype=torch.bool)
    inputs = [
        (torch.tensor([[50, 51, 52, 53], [60, 61, 62, 63]]), torch.tensor([[o, o, x, x], [x, x, x, o]]), whole, 3)
    ]
    # nothing is padded, nothing moves: -100 -100 -100 -100 52 53 -100, and -100 -100 60 61 62 -100 -100
    for queries, B, L in SIZES:
        real = padded(50 + B, B, L)
        ids = torch.randint(4, (B, L), generator=g)
        inputs += [(ids, real, real, queries), (ids, real & (torch.rand(B, L, generator=g) < 0.6), real, queries)]
    for ids, counts, real, queries in inputs:
        order, _ = arranged(ex, real, queries)
        said = [[-100] * queries + row for row in torch.where(counts, ids, -100).tolist()]
        expected = [[row[i] for i in places[1:]] + [-100] for places, row in zip(order, said, strict=True)]
        told = f"labels behind {queries} queries of texts of {ids.shape[1]} tokens, by your own arrangement"
        equal(ex.labels(ids, counts, real, queries), torch.tensor(expected), told)


@check(points=2, stage="gradients", hint="Ask of each part: is it frozen? would anything but text pass through it?")
def the_half_that_trains(ex):
    """The queries' half of the Q-Former trains, shared self-attention included, and the linear map."""
    yes = ["qformer.query_tokens", "qformer.norm.weight", "to_lm.weight", "to_lm.bias"]
    no = ["encoder.blocks.0.weight", "encoder.norm.weight", "encoder.blocks.1.attention.q_proj.weight",
          "qformer.words.weight", "qformer.positions.weight", "lm.embed_tokens.weight", "lm.norm.weight",
          "lm.blocks.1.attention.q_proj.weight"]  # fmt: skip
    for number in [1, *torch.randperm(12, generator=generator(60))[:2].tolist()]:
        block = f"qformer.blocks.{number}."
        yes += [block + part for part in ("attention.q_proj.weight", "attention.norm.bias", "cross.k_proj.bias",
                                          "ffw_query.up.weight", "ffw_query.norm.weight")]  # fmt: skip
        no += [block + "ffw_text.up.weight", block + "ffw_text.norm.bias"]
    equal([name for name in yes + no if ex.trains(name)], yes, "what trains")

"""Checks of exercise 28. Oracles: sequences by hand; the learner's own arrangement, followed token by token."""

import torch

from minilmm.course.checking import check, close, equal, generator

o, x = False, True


def padded():
    """No padding, on the right, on the left."""
    return torch.tensor([[x, x, x], [x, x, o], [o, o, x]])


@check(points=1, stage="values", hint="Every query by itself, through the same linear map.")
def projected(ex):
    """Each query's output goes through one linear map with its bias: equal to a slow loop."""
    g = generator()
    z, weight, bias = (torch.randn(*shape, generator=g) for shape in ((2, 3, 4), (5, 4), (5,)))
    slow = [[[float(query @ row + b) for row, b in zip(weight, bias, strict=True)] for query in rows] for rows in z]
    close(ex.project(z, weight, bias), torch.tensor(slow), "project of 3 queries")


@check(points=2, stage="mask", hint="Sort by whether a token is real, stably: what is equal keeps its order.")
def padding_in_front(ex):
    """Padding, then queries, then words, on whichever side the padding came."""
    order = ex.arrange(padded(), 2)
    pads = torch.tensor([[9, 9, 9], [4, 9, 9], [2, 3, 9]])
    told = torch.where((order[..., None] == pads[:, None]).any(-1), -1, order)
    expected = torch.tensor([[0, 1, 2, 3, 4], [-1, 0, 1, 2, 3], [-1, -1, 0, 1, 4]])
    equal(told, expected, "arrange for 2 queries and 3, 2, 1 words, padding written as -1")


def inputs():
    return torch.tensor([[101.0, 102]] * 3)[..., None], torch.arange(1.0, 10).view(3, 3, 1)


@check(points=1, stage="values", hint="gather along dimension 1, with the order repeated over the width.")
def all_in_place(ex):
    """Soft prompts and words stand where your own arrangement says."""
    soft, words = inputs()
    order, both = ex.arrange(padded(), 2), torch.cat([soft, words], 1)
    there = torch.cat([torch.ones(3, 2, dtype=torch.bool), padded()], 1)
    rows = [[float(both[b, i]) * bool(there[b, i]) for i in order[b].tolist()] for b in range(3)]
    real = torch.tensor([[bool(there[b, i]) for i in order[b].tolist()] for b in range(3)])
    got = ex.prepend(soft, words, padded())[0]
    equal(list(got.shape), [3, 5, 1], "the shape of 2 queries and 3 tokens of text")
    close(got[..., 0] * real, torch.tensor(rows), "queries 101 and 102 and the words 1 2 3, 4 5, 9, padding as 0")


@check(points=1, stage="mask", hint="Queries are as real as words.")
def queries_are_seen(ex):
    """The attention mask hides padding and nothing else, arranged as your own arrangement says."""
    soft, words = inputs()
    order = ex.arrange(padded(), 2)
    there = torch.cat([torch.ones(3, 2, dtype=torch.bool), padded()], 1)
    expected = torch.tensor([[bool(there[b, i]) for i in order[b].tolist()] for b in range(3)])
    equal(ex.prepend(soft, words, padded())[1], expected, "the mask of 2 queries and 3, 2, 1 words")


def behind(order, said):
    """Labels by hand: what stands one place further, in rows that are arranged like this."""
    return torch.tensor([[row[i] for i in places[1:]] + [-100] for places, row in zip(order, said, strict=True)])


@check(points=3, stage="values", hint="IGNORE in front for the queries; arrange as the tokens; then one to the left.")
def only_words_that_count(ex):
    """Labels stand on text alone, one place before their word, wherever your own arrangement puts it."""
    ids, real = torch.tensor([[50, 51, 52, 53], [60, 61, 62, 63]]), torch.ones(2, 4, dtype=torch.bool)
    counts = torch.tensor([[o, o, x, x], [x, x, x, o]])
    said = [[-100, -100, -100, -100, -100, 52, 53], [-100, -100, -100, 60, 61, 62, -100]]
    # without padding nothing moves: -100 -100 -100 -100 52 53 -100, and -100 -100 60 61 62 -100 -100
    got, expected = ex.labels(ids, counts, real, 3), behind(ex.arrange(real, 3).tolist(), said)
    equal(got, expected, "labels of a prompt 50 51 with the answer 52 53, and of a text of which 63 does not count")
    ids = torch.tensor([[50, 51, 52], [60, 61, 0], [0, 0, 70]])
    said = [[-100, -100, *(token or -100 for token in row)] for row in ids.tolist()]
    got, expected = ex.labels(ids, padded(), padded(), 2), behind(ex.arrange(padded(), 2).tolist(), said)
    equal(got, expected, "labels of 50 51 52, of 60 61 and a pad, and of two pads and 70, behind 2 queries")


@check(points=2, stage="gradients", hint="Ask of each part: is it frozen? would anything but text pass through it?")
def the_half_that_trains(ex):
    """The queries' half of the Q-Former trains, shared self-attention included, and the linear map."""
    block = "qformer.blocks.1."
    yes = ["qformer.query_tokens", "qformer.norm.weight", block + "attention.q_proj.weight",
           block + "cross.k_proj.bias", block + "ffw_query.up.weight", "to_lm.weight", "to_lm.bias"]  # fmt: skip
    no = ["encoder.blocks.0.weight", "qformer.words.weight", "qformer.positions.weight", block + "ffw_text.up.weight",
          block + "ffw_text.norm.bias", "lm.embed_tokens.weight", "lm.blocks.1.attention.q_proj.weight"]  # fmt: skip
    equal([name for name in yes + no if ex.trains(name)], yes, "what trains")

"""Checks of exercise 30. Oracles: rows by hand; a matcher that looks up a table and writes down what it was asked."""

import torch

from minilmm.course.checking import check, equal, generator


@check(points=1, stage="values", hint="topk along the row: its indices.")
def the_most_similar(ex):
    """The k most similar columns, best first, row by row."""
    similar = torch.tensor([[0.1, 0.7, 0.5, 0.9], [0.8, -0.2, 0.6, 0.3]])
    equal(ex.candidates(similar, 2), torch.tensor([[3, 1], [0, 2]]), "candidates of (.1 .7 .5 .9) and (.8 -.2 .6 .3)")


@check(points=1, stage="shape", hint="No more candidates than there are columns.")
def fewer_than_k(ex):
    """With fewer columns than k, all of them are candidates."""
    got = ex.candidates(torch.tensor([[0.1, 0.9, 0.5]]), 128)
    equal(got.sort(1).values, torch.tensor([[0, 1, 2]]), "128 candidates among three columns, sorted")


def ranked(ex, similar, table, k):
    asked = []

    def match(pictures, texts):
        asked.extend([p, t] for p, t in zip(pictures.tolist(), texts.tolist(), strict=True))
        return table[pictures, texts]

    return [ex.ranked_texts(similar, match, k), sorted(asked)]


def tables(salt, N=4, M=6):
    """Similarities, and a matcher's probabilities that have nothing to do with them: no two in a row are equal."""
    g = generator(salt)
    return [torch.stack([torch.randperm(M, generator=g) for _ in range(N)]) / M for _ in range(2)]


@check(points=2, stage="values", hint="Gather the candidates in the order of their matches, the most likely first.")
def by_their_match(ex):
    """The first k stand in the order of their matches: by your own candidates."""
    similar = torch.tensor([[0.2, 0.9, 0.6, 0.8, 0.1], [0.9, -0.2, 0.5, 0.3, 0.4]])
    table = torch.tensor([[0.99, 0.35, 0.5, 0.4, 0.98], [0.6, 0.99, 0.1, 0.97, 0.9]])
    rows = enumerate(ex.candidates(similar, 5).tolist())
    expected = torch.tensor([sorted(row[:3], key=lambda t: -table[n, t]) for n, row in rows])
    equal(ex.run(ranked, similar, table, 3)[0][:, :3], expected, "the first three of 5 texts for each of 2 pictures")


@check(points=1, stage="values", hint="What was not matched keeps its order, behind all that was.")
def the_rest_behind(ex):
    """Behind the k stand the others in the order of their similarity: by your own candidates."""
    similar, table = tables(1)
    got = ex.run(ranked, similar, table, 2)[0]
    equal(got[:, 2:], ex.candidates(similar, 6)[:, 2:], "the last four of 6 texts, behind two that were matched")


@check(points=2, stage="values", hint="N times k pairs go to `match`, not N times M.")
def asked_once(ex):
    """`match` is asked about every candidate once, and about nothing else."""
    similar, table = tables(2)
    order = ex.candidates(similar, 6)
    expected = sorted([n, t] for n in range(4) for t in order[n, :2].tolist())
    equal(ex.run(ranked, similar, table, 2)[1], expected, "the pairs (picture, text) that were asked about")


def both(ex, similar, table, k):
    images = ex.ranked_images(similar, lambda pictures, texts: table[pictures, texts], k)
    return [images, ex.ranked_texts(similar.T, lambda texts, pictures: table[pictures, texts], k)]


@check(points=2, stage="values", hint="Turn the similarities round, and hand `match` its pictures first all the same.")
def pictures_of_a_text(ex):
    """For a text: pictures, ranked as texts are, by your own ranking."""
    got, expected = ex.run(both, *tables(3, 5, 5), 3)
    equal(got, expected, "pictures for each of 5 texts, from your own ranked_texts with all turned round")

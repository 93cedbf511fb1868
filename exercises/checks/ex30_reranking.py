"""Checks of exercise 30. Oracles: sorted rows; a matcher that looks up a table and notes what it was asked."""

import torch

from minilmm.course.checking import Wrong, check, equal, follows, generator


def by_similarity(similar, k):
    """All columns sorted row by row, cut behind k."""
    rows = [sorted(range(len(row)), key=lambda column: -row[column])[:k] for row in similar.tolist()]
    return torch.tensor(rows)


@check(points=1, stage="values", hint="topk along the row: its indices.")
def the_most_similar(ex):
    """The k most similar columns, best first, row by row."""
    similar = torch.tensor([[0.1, 0.7, 0.5, 0.9], [0.8, -0.2, 0.6, 0.3]])
    g = generator()
    inputs = [(torch.randn(N, M, generator=g), k) for N, M, k in ((3, 7, 3), (5, 4, 2), (2, 6, 5), (4, 5, 5))]
    told = "the k most similar of (.1 .7 .5 .9) and (.8 -.2 .6 .3), then of random rows"
    follows(ex.candidates, by_similarity, [(similar, 2), *inputs], told)


@check(points=1, stage="shape", hint="No more candidates than there are columns.")
def fewer_than_k(ex):
    """With fewer columns than k, all of them are candidates."""
    for N, M in ((1, 3), (4, 2)):
        got = ex.candidates(torch.randn(N, M, generator=generator(1)), 128)
        equal(got.sort(1).values, torch.arange(M).expand(N, -1), f"128 candidates among {M} columns, sorted")


def ranked(ex, similar, table, k):
    asked = []

    def match(pictures, texts):
        asked.extend([p, t] for p, t in zip(pictures.tolist(), texts.tolist(), strict=True))
        return table[pictures, texts]

    return [ex.ranked_texts(similar, match, k), sorted(asked)]


def tables(salt, N=4, M=6):
    """Similarities, and a matcher's probabilities that have nothing to do with them: no two in a row are equal."""
    g = generator(salt)
    return [torch.rand(N * M, generator=g).argsort().view(N, M) / (N * M) - shift for shift in (0.5, 0.0)]


def own_order(ex, similar):
    """The learner's own order of all columns, each once in every row: lists."""
    order = ex.candidates(similar, similar.shape[1])
    if not torch.equal(order.sort(1).values, torch.arange(similar.shape[1]).expand_as(order)):
        raise Wrong("your candidates among all columns", "every column once in each row", str(order.tolist()))
    return order.tolist()


@check(points=2, stage="values", hint="Gather the candidates in the order of their matches, the most likely first.")
def by_their_match(ex):
    """The first k stand in the order of their matches: by your own candidates; all do, where k is larger."""
    for salt, N, M, k in ((2, 4, 9, 5), (3, 2, 5, 3), (4, 3, 4, 9)):
        similar, table = tables(salt, N, M)
        rows = enumerate(own_order(ex, similar))
        expected = torch.tensor([sorted(row[:k], key=lambda t, n=n, p=table: -p[n, t]) for n, row in rows])
        got = ex.run(ranked, similar, table, k)[0][:, :k]
        equal(got, expected, f"the first {k} of {M} texts for each of {N} pictures")


@check(points=1, stage="values", hint="What was not matched keeps its order, behind all that was.")
def the_rest_behind(ex):
    """Behind the k stand the others in the order of their similarity: by your own candidates."""
    for salt, N, M, k in ((5, 4, 6, 2), (6, 3, 9, 4)):
        similar, table = tables(salt, N, M)
        got, expected = ex.run(ranked, similar, table, k)[0], torch.tensor(own_order(ex, similar))
        if bool((expected == expected[0]).all()):
            raise Wrong("your candidates among all columns", "others for other rows", str(expected[0].tolist()))
        equal(got[:, k:], expected[:, k:], f"the last {M - k} of {M} texts, behind {k} that were matched")


@check(points=2, stage="values", hint="N times k pairs go to `match`, not N times M.")
def asked_once(ex):
    """`match` is asked about every candidate once, and about nothing else."""
    for salt, N, M, k in ((7, 4, 6, 2), (8, 7, 5, 3)):
        similar, table = tables(salt, N, M)
        expected = sorted([n, t] for n, row in enumerate(own_order(ex, similar)) for t in row[:k])
        told = f"the pairs (picture, text) that were asked about, {N} pictures with {k} candidates each"
        equal(ex.run(ranked, similar, table, k)[1], expected, told)


def ranked_for_texts(ex, similar, table, k):
    asked = []

    def match(pictures, texts):
        asked.extend([t, p] for p, t in zip(pictures.tolist(), texts.tolist(), strict=True))
        return table[pictures, texts]

    return [ex.ranked_images(similar, match, k), sorted(asked)]


@check(points=2, stage="values", hint="Turn the similarities round, and hand `match` its pictures first all the same.")
def pictures_of_a_text(ex):
    """For a text: pictures, ranked as texts are, by your own ranking, and asked about as often."""
    for salt, N, M, k in ((9, 5, 5, 3), (10, 6, 4, 2), (11, 3, 7, 2)):
        similar, table = tables(salt, N, M)
        expected, asked = ex.run(ranked, similar.T, table.T, k)
        equal(
            expected.sort(1).values,
            torch.arange(N).expand(M, -1),
            f"ranked_texts of {N} texts for {M} pictures, sorted",
        )
        got = ex.run(ranked_for_texts, similar, table, k)
        told = (
            f"pictures for each of {M} texts, and pairs asked about, from your own ranked_texts with all turned round"
        )
        equal(got, [expected, asked], told)

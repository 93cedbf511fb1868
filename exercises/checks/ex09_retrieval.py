"""Checks of exercise 09. Oracles: slow loops that count strangers; cosines that were chosen beforehand."""

import torch

from minilmm.course.checking import check, close, equal, generator, refuses


def slow_recall(s, k):
    """TR@k and IR@k, one picture and one text at a time."""
    found = [0, 0]
    for i in range(len(s)):
        for way, rivals in enumerate((s[i], s[:, i])):
            before = sum(bool(rivals[j] >= s[i, i]) for j in range(len(s)) if j != i)
            found[way] += before < k
    return [count / len(s) for count in found]


def compared(ex, matrices, ks, what):
    """All recalls of several matrices, in one tensor."""
    told = torch.tensor([[float(share) for share in ex.recall_at(s, k)] for s in matrices for k in ks])
    close(told, torch.tensor([slow_recall(s, k) for s in matrices for k in ks]), what)


@check(points=1, stage="values", hint="Rows are pictures: looking along a row is looking for a text.")
def the_two_directions(ex):
    """Pictures look along rows for texts, texts look along columns for pictures."""
    g, N = generator(), 7
    matrices = []
    for _ in range(3):  # own ones come first or last, so that one more or less before them does not matter
        s = torch.rand(N, N, generator=g)
        own = torch.where(torch.rand(N, generator=g) < 0.5, 2.0, -1.0)
        m = int(torch.randint(N, (1,), generator=g))
        s[m], s[:, m] = s[m] / 2, s[:, m] / 2 + 0.5  # m comes first in its row, last in its column
        s[range(N), range(N)] = own
        s[m, m] = 0.5
        matrices.append(s)
    matrices[1] = matrices[1].T.contiguous()
    compared(ex, matrices, [3], "TR@3 and IR@3 of three matrices, own ones first or last")


@check(points=1, stage="values", hint="Among the k most similar: at most k - 1 strangers may stand before.")
def larger_k(ex):
    """Recall at k lets k - 1 strangers stand before."""
    s = torch.rand(2, 9, 9, generator=generator(1))
    s = s + s.transpose(1, 2)  # the same both ways
    compared(ex, list(s), [1, 2, 4, 7], "TR@k and IR@k of two symmetric matrices, k = 1, 2, 4, 7")


@check(points=1, stage="values", hint="Count strangers with >=, and do not count the own one.")
def ties(ex):
    """A model to which everything is alike finds nothing; one to which only the own ones differ finds all."""
    for N in (4, 6):
        alike = torch.full((N, N), float(torch.rand(1, generator=generator(N))))
        compared(ex, [alike, alike + torch.eye(N)], [2], f"TR@2 and IR@2 of {N} pairs: all alike, and own ones apart")


@check(points=2, stage="values", hint="For each picture and each text: how many strangers stand before its own?")
def every_recall(ex):
    """Any matrix, with ties, at every k."""
    s = torch.randint(6, (2, 8, 8), generator=generator(2)).float() / 5
    s = s + 0.4 * torch.eye(8)
    compared(ex, list(s), [1, 2, 3, 4, 6, 8], "TR@k and IR@k of two matrices, k = 1, 2, 3, 4, 6, 8")
    compared(ex, [s[0, :3, :3], s[1, 4:, 4:]], [1, 2, 3], "TR@k and IR@k of two smaller matrices, k = 1, 2, 3")


def gallery(salt, N):
    """A query, N pictures of chosen cosines and any length, and their numbers, the most similar last."""
    g = generator(salt)
    query, other = torch.randn(12, generator=g), torch.randn(N, 12, generator=g)
    other -= (other @ query / (query @ query))[:, None] * query  # at right angles to the query
    other = other / other.norm(dim=1, keepdim=True) * query.norm()
    order = torch.randperm(N, generator=g)
    shares = torch.empty(N, 1)
    shares[order, 0] = torch.linspace(-0.95, 0.9, N)
    support = shares * query + (1 - shares**2).sqrt() * other
    lengths = (torch.randn(N, 1, generator=g) * 2).exp()  # which must not matter
    return query, support * lengths, order.tolist()


@check(
    points=2,
    stage="values",
    hint="Sort upwards and take the end: the most similar is last by itself. Cosines, not products.",
)
def nearest_last(ex):
    """The nearest by cosine, the most similar last."""
    for N, shots in ((6, 3), (9, 5), (9, 2)):
        query, support, order = gallery(N + shots, N)
        got = ex.demonstrations_for(query, support, shots)
        equal(got, order[N - shots :], f"the {shots} nearest of {N}, the most similar last")


@check(points=1, stage="shape", hint="What should happen when there are not enough pictures? Say so.")
def too_few(ex):
    """0 shots are none, as many shots as pictures are all, more shots than pictures are refused."""
    query, support, order = gallery(20, 5)
    equal(ex.demonstrations_for(query, support, 0), [], "0 shots from 5 pictures")
    equal(sorted(ex.demonstrations_for(query, support, 5)), sorted(order), "5 shots from 5 pictures, sorted")
    for shots in (6, 9):
        refuses(lambda n=shots: ex.demonstrations_for(query, support, n), f"{shots} shots from 5 pictures")

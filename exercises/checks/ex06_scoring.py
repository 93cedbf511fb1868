"""Checks of exercise 06. Oracles: one token at a time; the best of the candidates that are there, row by row."""

import torch

from minilmm.course.checking import check, equal, generator, learns


def slow_score(first, later, candidates, mask):
    """The logarithm of each token's probability, one by one."""
    rows = []
    for b in range(candidates.shape[0]):
        for c in range(candidates.shape[1]):
            total = first.new_zeros(())
            for k in range(candidates.shape[2]):
                if mask[b, c, k]:
                    logits = first[b] if k == 0 else later[b, c, k - 1]
                    total = total + logits[candidates[b, c, k]] - logits.logsumexp(0)
            rows.append(total)
    return torch.stack(rows).view(mask.shape[:2])


def drawn(salt, B, C, K, V=7, lengths=None):
    """Logits, candidates of given lengths (K where none are given), and what stands on their padding."""
    g = generator(salt)
    first, later = torch.randn(B, V, generator=g), torch.randn(B, C, K, V, generator=g)
    long = torch.full((B, C), K) if lengths is None else lengths
    return first * 2, later * 2, torch.randint(V, (B, C, K), generator=g), torch.arange(K) < long[..., None]


@check(points=1, stage="shape", hint="With one token per candidate only the logits right after the prompt matter.")
def one_token(ex):
    """One-token candidates are scored by the logits right after the prompt."""
    learns(ex, "score", slow_score, *drawn(0, 1, 4, 1), what="score of one-token candidates")


@check(
    points=2,
    stage="values",
    hint="Token k + 1 is predicted by the logits after token k, token 0 by those after the prompt.",
)
def whole_candidates(ex):
    """Whole candidates, end token included: the logarithm of the product of all probabilities."""
    learns(ex, "score", slow_score, *drawn(1, 2, 3, 4), what="score of four tokens each")


@check(
    points=1,
    stage="mask",
    hint="What stands on padding must not change a score: give such tokens a log-probability of 0.",
)
def padding(ex):
    """A candidate of one token, padded: its score is that token's, whatever the padding holds."""
    args = drawn(2, 1, 4, 3, lengths=torch.ones(1, 4, dtype=torch.long))
    learns(ex, "score", slow_score, *args, what="score of one token and two pads each")


@check(points=2, stage="mask", hint="Each candidate has its own length, and each row its own prompt.")
def every_candidate(ex):
    """Candidates of different lengths, in several rows: each score is the sum over its own tokens."""
    lengths = torch.tensor([1, 2, 4, 5, 3] * 2)[torch.randperm(10, generator=generator(3))].view(2, 5)
    for rows in (2, 1):
        args = drawn(4 + rows, rows, 5, 5, lengths=lengths[:rows])
        learns(ex, "score", slow_score, *args, what="score of candidates of 1 to 5 tokens")


def slow_choose(scores, mask):
    """The best of the candidates that are there, row by row."""
    return torch.tensor(
        [max(m.nonzero()[:, 0].tolist(), key=s.tolist().__getitem__) for s, m in zip(scores, mask, strict=True)]
    )


@check(points=1, stage="mask", hint="A candidate that is not there must lose against any other: -infinity.")
def absent_candidates(ex):
    """A candidate that a row does not have is never chosen, however improbable the others are."""
    g = generator(9)
    for rows, least in ((6, 50), (4, 1000), (1, 5000)):
        scores = -least * (1 + torch.rand(rows, 5, generator=g)) / 2
        mask = torch.rand(rows, 5, generator=g) < 0.6
        mask[:, 3] = True
        mask[0] = torch.arange(5) == 1 + rows % 4  # one alone, never the first, and the worst of all
        scores[0, 1 + rows % 4] = scores.min() - 1
        equal(ex.choose(scores, mask), slow_choose(scores, mask), f"choose of {rows} rows, some candidates absent")
        everything = torch.ones_like(mask)
        equal(ex.choose(scores, everything), slow_choose(scores, everything), f"choose of {rows} rows, all there")

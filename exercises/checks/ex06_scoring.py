"""Checks of exercise 06. Oracles: probabilities multiplied one by one; a table worked out by hand."""

import math

import torch

from minilmm.course.checking import check, close, equal, generator


def probability(logits, token):
    return math.exp(float(logits[token])) / sum(math.exp(float(x)) for x in logits)


@check(points=1, stage="shape", hint="With one token per candidate only the logits right after the prompt matter.")
def one_token(ex):
    """One-token candidates are scored by the logits right after the prompt."""
    first, later = torch.tensor([[0.25, 0.25, 0.5]]).log(), torch.full((1, 2, 1, 3), 9.0)
    got = ex.score(first, later, torch.tensor([[[2], [0]]]), torch.ones(1, 2, 1, dtype=torch.bool))
    close(got, torch.tensor([[math.log(0.5), math.log(0.25)]]), "score of one-token candidates")


@check(
    points=3,
    stage="values",
    hint="Token k + 1 is predicted by the logits after token k, token 0 by those after the prompt.",
)
def whole_candidates(ex):
    """Whole candidates, end token included: the logarithm of the product of all probabilities."""
    g = generator()
    first, later = torch.randn(2, 5, generator=g), torch.randn(2, 3, 3, 5, generator=g)
    candidates = torch.randint(5, (2, 3, 3), generator=g)
    expected = torch.zeros(2, 3)
    for b in range(2):
        for c in range(3):
            told = [first[b], later[b, c, 0], later[b, c, 1]]
            product = math.prod(probability(x, candidates[b, c, k]) for k, x in enumerate(told))
            expected[b, c] = math.log(product)
    close(
        ex.score(first, later, candidates, torch.ones(2, 3, 3, dtype=torch.bool)),
        expected,
        "score of three tokens each",
    )


@check(
    points=2,
    stage="mask",
    hint="What stands on padding must not change a score: give such tokens a log-probability of 0.",
)
def padding(ex):
    """A candidate's score stays the same whatever its padding holds."""
    g = generator(1)
    first, later = torch.randn(1, 5, generator=g), torch.randn(1, 2, 3, 5, generator=g)
    mask = torch.tensor([[[True, True, True], [True, False, False]]])
    scores = [ex.score(first, later, torch.tensor([[[1, 2, 3], [4, *tail]]]), mask) for tail in ([0, 0], [2, 1])]
    close(scores[1] - scores[0], torch.zeros(1, 2), "the change of scores when padding changes")


@check(points=1, stage="mask", hint="A candidate that is not there must lose against any other: -infinity.")
def absent_candidates(ex):
    """A candidate that a row does not have is never chosen."""
    scores = torch.tensor([[-3.0, -2.0, -1.0], [-1.0, -2.0, 0.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    equal(ex.choose(scores, mask), torch.tensor([2, 0]), "choose(scores, mask)")

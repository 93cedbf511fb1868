"""Checks of exercise 17. Oracles: pages marked by hand, a slow loop over tokens."""

import math

import torch

from minilmm.course.checking import check, close, equal, generator

O, X = False, True


@check(points=2, stage="mask", hint="What counts is what is said of a picture, from behind its tag to its <EOC>.")
def what_counts(ex):
    """On a page, what is said of a picture counts, its <EOC> included."""
    # <bos> a <image> b c <EOC> d e <image> f <EOC> <image> g
    ids = torch.tensor([[1, 50, 3, 60, 61, 4, 70, 71, 3, 62, 4, 3, 63]])
    marks = ex.counted(ids, torch.ones(1, 13, dtype=torch.bool), torch.tensor([False]))
    expected = torch.tensor([[O, O, O, X, X, X, O, O, O, X, X, O, X]])
    equal(marks, expected, "counted of <bos> a <image> b c <EOC> d e <image> f <EOC> <image> g")


@check(points=1, stage="mask", hint="`real` alone knows the padding: its id is that of a true <eos>.")
def padding(ex):
    """Padding does not count, though it looks like <eos>; a real <eos> counts like any word."""
    ids = torch.tensor([[1, 3, 60, 2, 2, 2], [2, 2, 1, 3, 60, 2], [3, 60, 2, 3, 2, 2]])
    real = torch.tensor([[X, X, X, X, O, O], [O, O, X, X, X, X], [X, X, X, X, O, O]])
    marks = ex.counted(ids, real, torch.tensor([False, False, False]))
    told = torch.where(ids == 2, marks, False)
    expected = torch.tensor([[O, O, O, X, O, O], [O, O, O, O, O, X], [O, O, X, O, O, O]])
    equal(told, expected, "where <eos> counts: once before padding, once behind it, once within")


@check(points=1, stage="mask", hint="Ask exercise 15 which picture a token looks at: give it `ahead`.")
def looking_ahead(ex):
    """Where text looks ahead, text in front of a picture counts, <bos> and text behind the last one do not."""
    # <bos> a b <EOC> <image> c <EOC> <image> d
    ids = torch.tensor([[1, 50, 51, 4, 3, 60, 4, 3, 61]])
    marks = ex.counted(ids, torch.ones(1, 9, dtype=torch.bool), torch.tensor([True]))
    equal(marks, torch.tensor([[O, X, X, X, O, X, X, O, O]]), "counted of <bos> a b <EOC> <image> c <EOC> <image> d")


@check(points=2, stage="values", hint="Position i predicts token i + 1: move ids and marks together, one to the left.")
def one_further(ex):
    """Each position's label is the next token where that one counts."""
    ids = torch.tensor([[3, 60, 61, 4, 70], [62, 3, 63, 64, 4]])
    counts = torch.tensor([[O, X, X, X, O], [X, O, X, X, X]])
    expected = torch.tensor([[60, 61, 4, -100, -100], [-100, 63, 64, 4, -100]])
    equal(ex.labels(ids, counts), expected, "labels of two pages of five tokens")


@check(points=2, stage="values", hint="One sum over the whole batch, divided by one count: how many labels count.")
def the_mean(ex):
    """The mean over the tokens that count, each alike, whichever page it stands on."""
    g = generator()
    logits = 2 * torch.randn(2, 5, 9, generator=g)
    labels = torch.tensor([[-100, 7, -100, -100, -100], [2, 0, 8, 5, -100]])
    total = 0.0
    for b, i in [(0, 1), (1, 0), (1, 1), (1, 2), (1, 3)]:
        scores = logits[b, i].tolist()
        total += math.log(sum(math.exp(s) for s in scores)) - scores[int(labels[b, i])]
    close(ex.page_loss(logits, labels), total / 5, "page_loss of 1 and 4 tokens that count")


def of_nothing(ex):
    import torch

    logits = torch.zeros(2, 3, 5, requires_grad=True)
    loss = ex.page_loss(logits, torch.full((2, 3), -100))
    if not (loss.requires_grad and loss.isfinite()):
        return [loss, loss.requires_grad, torch.zeros(2, 3, 5)]
    loss.backward()
    return [loss, True, logits.grad]


@check(points=2, stage="gradients", hint="Divide the sum by the count, but by 1 at least.")
def nothing_counts(ex):
    """Where nothing counts, the loss is 0 and its gradient is 0."""
    loss, hangs_together, gradient = ex.run(of_nothing)
    close(loss, 0.0, "the loss of a batch in which nothing counts")
    equal(hangs_together, True, "can one go back from that loss to the logits?")
    close(gradient, torch.zeros(2, 3, 5), "the gradient of that loss")

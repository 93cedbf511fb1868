"""Checks of exercise 17. Oracles: pages marked by hand, random pages and losses in a slow loop over tokens."""

import torch

from minilmm.course.checking import Wrong, check, close, equal, generator, learns, same

O, X = False, True
EOS, TAG, EOC = 2, 3, 4


def pages(salt, B=5, L=16):
    """Random pages of words, <eos>, tags and <EOC>, behind a <bos> and two words, all of it real."""
    g = generator(salt)
    ids = torch.randint(50, 70, (B, L), generator=g)
    for row in ids:
        places = torch.randperm(L - 3, generator=g) + 3
        row[0], row[places[:3]], row[places[3:6]], row[places[6]] = 1, TAG, EOC, EOS
    return ids, torch.ones(B, L, dtype=torch.bool)


def marked(ids, real, ahead):
    """counted, token by token."""
    marks = torch.zeros_like(real)
    for b, row in enumerate(ids.tolist()):
        left = sum(i == TAG for i, here in zip(row, real[b].tolist(), strict=True) if here)
        before, ended = 0, False
        for i, token in enumerate(row):
            if token == TAG:
                before, ended, left = before + 1, False, left - 1
            elif token != 1 and real[b, i]:
                marks[b, i] = not ended and (left > 0 if ahead[b] else before > 0)
            ended = ended or token == EOC
    return marks


def backwards(ids):
    return torch.zeros(len(ids), dtype=torch.bool)


@check(points=2, stage="mask", hint="What counts is what is said of a picture, from behind its tag to its <EOC>.")
def what_counts(ex):
    """On a page, what is said of a picture counts, its <EOC> included."""
    # <bos> a <image> b c <EOC> d e <image> f <EOC> <image> g
    ids = torch.tensor([[1, 50, 3, 60, 61, 4, 70, 71, 3, 62, 4, 3, 63]])
    marks = ex.counted(ids, torch.ones(1, 13, dtype=torch.bool), torch.tensor([False]))
    expected = torch.tensor([[O, O, O, X, X, X, O, O, O, X, X, O, X]])
    equal(marks, expected, "counted of <bos> a <image> b c <EOC> d e <image> f <EOC> <image> g")
    ids, real = pages(1)
    ids = torch.where(ids == EOS, 55, ids)  # <eos> is the next check's
    given = ids, real, backwards(ids)
    equal(ex.counted(*given), marked(*given), "counted of five pages that look back")


@check(points=1, stage="mask", hint="`real` alone knows the padding: its id is that of a true <eos>.")
def padding(ex):
    """Padding does not count, though it looks like <eos>; a real <eos> counts like any word."""
    ids = torch.tensor([[1, 3, 60, 2, 2, 2], [2, 2, 1, 3, 60, 2], [3, 60, 2, 3, 2, 2]])
    real = torch.tensor([[X, X, X, X, O, O], [O, O, X, X, X, X], [X, X, X, X, O, O]])
    marks = ex.counted(ids, real, torch.tensor([False, False, False]))
    told = torch.where(ids == 2, marks, False)
    expected = torch.tensor([[O, O, O, X, O, O], [O, O, O, O, O, X], [O, O, X, O, O, O]])
    equal(told, expected, "where <eos> counts: once before padding, once behind it, once within")
    g = generator(2)
    rows, real = [], torch.zeros(6, 13, dtype=torch.bool)
    for b, (left, right) in enumerate(torch.randint(1, 5, (6, 2), generator=g).tolist()):
        page = [1, 3, 60, 2, 61] if b < 3 else [1, 60, 2, 61, 3]  # the latter look ahead
        rows.append([2] * left + page + [2] * (8 - left))
        real[b, left : left + 5] = True
        real[b, left + 5 : left + 5 + right] = b < 3  # several <eos> may be real
    ids, ahead = torch.tensor(rows), torch.arange(6) > 2
    marks = ex.counted(ids, real, ahead)
    told = torch.where((ids == 2) & (~real | ~ahead[:, None]), marks, False)
    expected = (ids == 2) & real & ~ahead[:, None]
    equal(told, expected, "where <eos> counts on three pages amid padding, and padding of three that look ahead")


@check(points=1, stage="mask", hint="Ask exercise 15 which picture a token looks at: give it `ahead`.")
def looking_ahead(ex):
    """Where text looks ahead, text in front of a picture counts, <bos> and text behind the last one do not."""
    # <bos> a b <EOC> <image> c <EOC> <image> d
    ids = torch.tensor([[1, 50, 51, 4, 3, 60, 4, 3, 61]])
    marks = ex.counted(ids, torch.ones(1, 9, dtype=torch.bool), torch.tensor([True]))
    equal(marks, torch.tensor([[O, X, X, X, O, X, X, O, O]]), "counted of <bos> a b <EOC> <image> c <EOC> <image> d")
    cut = torch.tensor([[50, 51, 3, 60]]), torch.ones(1, 4, dtype=torch.bool), torch.tensor([True])
    equal(
        ex.counted(*cut), torch.tensor([[X, X, O, O]]), "counted of a b <image> c, cut out of a page that looks ahead"
    )
    ids, real = pages(3)
    ahead = torch.randperm(5, generator=generator(4)) < 3
    given = torch.where(ids == EOS, 55, ids), real, ahead
    equal(ex.counted(*given), marked(*given), "counted of five pages, three of which look ahead")


@check(points=2, stage="values", hint="Position i predicts token i + 1: move ids and marks together, one to the left.")
def one_further(ex):
    """Each position's label is the next token where that one counts."""
    ids = torch.tensor([[3, 60, 61, 4, 70], [62, 3, 63, 64, 4]])
    counts = torch.tensor([[O, X, X, X, O], [X, O, X, X, X]])
    expected = torch.tensor([[60, 61, 4, -100, -100], [-100, 63, 64, 4, -100]])
    equal(ex.labels(ids, counts), expected, "labels of two pages of five tokens")
    g = generator(5)
    for B, L in ((3, 7), (1, 2), (2, 1)):
        ids, counts = torch.randint(90, (B, L), generator=g), torch.rand(B, L, generator=g) < 0.6
        expected = [[ids[b, i + 1] if i + 1 < L and counts[b, i + 1] else -100 for i in range(L)] for b in range(B)]
        equal(ex.labels(ids, counts), torch.tensor(expected), f"labels of {B} pages of {L} tokens")


def averaged(logits, labels):
    """page_loss, label by label."""
    terms = []
    for scores, told in zip(logits.flatten(0, 1), labels.flatten().tolist(), strict=True):
        if told != -100:
            terms.append(scores.exp().sum().log() - scores[told])
    return torch.stack(terms).sum() / len(terms)


@check(points=2, stage="values", hint="One sum over the whole batch, divided by one count: how many labels count.")
def the_mean(ex):
    """The mean over the tokens that count, each alike, whichever page it stands on; its gradient too."""
    g = generator()
    labels = torch.tensor([[-100, 7, -100, -100, -100], [2, 0, 8, 5, -100]])
    for told in (
        labels,
        torch.where(labels == 8, 8, -100),
        torch.where(torch.rand(4, 6, generator=g) < 0.4, -100, torch.randint(9, (4, 6), generator=g)),
    ):
        logits = 2 * torch.randn(*told.shape, 9, generator=g)
        counts = (told != -100).sum(1).tolist()
        what = f"page_loss of {counts} tokens that count, page by page"
        learns(ex, "page_loss", averaged, logits, told, what=what)
        close(ex.page_loss(logits, told), averaged(logits, told), what)  # twice, leaving its inputs alone


def losses(ex, logits, labels):
    """The loss of each batch, and its gradient: None where no way leads back."""
    import torch

    told = []
    for scores, ids in zip(logits, labels, strict=True):
        scores.requires_grad_(True)
        loss = ex.page_loss(scores, ids)
        told.append([loss, torch.autograd.grad(loss, scores)[0] if loss.requires_grad else None])
    return told


@check(points=2, stage="gradients", hint="Divide the sum by the count, but by 1 at least.")
def nothing_counts(ex):
    """Where nothing counts, the loss is 0 and its gradient is 0, not so where something does."""
    g = generator(6)
    order = torch.randperm(4, generator=g).tolist()
    logits = [torch.randn(2, 3, 5, generator=g) for _ in order]
    labels = [torch.full((2, 3), 3 if i < 2 else -100) for i in order]
    for told, (loss, gradient) in zip(labels, ex.run(losses, logits, labels), strict=True):
        if bool((told == 3).all()):
            if not (bool(loss > 0) and gradient is not None and bool(gradient.any())):
                raise Wrong("the loss and its gradient where all counts", "numbers", "0 or none")
            continue
        close(loss, 0.0, "the loss of a batch in which nothing counts")
        same(gradient, torch.zeros(2, 3, 5), "the gradient of that loss")

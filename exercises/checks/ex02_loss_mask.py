"""Checks of exercise 02. Tokens: 0 padding, 3 <image>, 4 <EOC>; words have ids of 10 and more.

Oracle: slow loops over tokens.
"""

from types import SimpleNamespace

import torch

from minilmm.course.checking import check, close, equal, generator, learns, refuses


def slow_mask(ids):
    """Row by row: an <image> opens, an <EOC> closes and counts itself."""
    rows = []
    for row in ids.tolist():
        told, looking = [], False
        for token in row:
            told.append(looking and token not in (0, 3))
            looking = token == 3 or (looking and token != 4)
        rows.append(told)
    return torch.tensor(rows)


def page(salt, *kinds):
    """Rows of tokens; each kind is a row of 0, 1, 3, 4 and of 9 for any word."""
    ids = torch.tensor(kinds)
    words = torch.randint(10, 90, ids.shape, generator=generator(salt))
    return torch.where(ids == 9, words, ids)


def at(mask, places):
    """The entries of a mask at some places, row by row."""
    return torch.as_tensor(mask)[places]


@check(
    points=1, stage="mask", hint="What is said of a picture runs from behind its tag to the <EOC>, which counts too."
)
def a_caption(ex):
    """A caption counts, its <EOC> included; the tag does not."""
    ids = page(0, [3, 9, 9, 4], [3, 9, 3, 9], [3, 4, 3, 9])
    equal(ex.loss_mask(ids), slow_mask(ids), "loss_mask of captions")


@check(points=1, stage="mask", hint="Before the first <image> there is nothing to look at.")
def before_the_first(ex):
    """Words before the first picture do not count, those behind it do."""
    ids = page(1, [9, 9, 9, 3, 9], [9, 3, 9, 9, 9])
    equal(at(ex.loss_mask(ids), ids >= 10), at(slow_mask(ids), ids >= 10), "loss_mask at the words of two rows")


@check(points=1, stage="mask", hint="After an <EOC> nothing counts until the next <image>.")
def between_two(ex):
    """Words between <EOC> and the next picture do not count, and counting begins again after it."""
    ids = page(2, [3, 9, 4, 9, 9, 3, 9, 4, 9], [3, 4, 9, 3, 9, 9, 9, 4, 9])
    equal(at(ex.loss_mask(ids), ids >= 10), at(slow_mask(ids), ids >= 10), "loss_mask at the words of two rows")


@check(points=1, stage="mask", hint="Padding is no text, wherever it stands.")
def padding(ex):
    """Padding never counts, words of a caption do."""
    ids = page(3, [3, 9, 0, 0, 0], [0, 0, 3, 9, 9])
    places = (ids == 0) | (ids >= 10)
    equal(at(ex.loss_mask(ids), places), at(slow_mask(ids), places), "loss_mask at padding and words of two rows")


@check(points=2, stage="mask", hint="Each row by itself: which came last before a token, an <image> or an <EOC>?")
def every_token(ex):
    """Whole pages with any number of tags, ends and pads in any order."""
    g = generator(4)
    for rows, length in ((7, 23), (1, 31)):
        kinds = torch.tensor([0, 3, 3, 4, 4, 9, 9, 9])[torch.randint(8, (rows, length), generator=g)]
        ids = page(length, *kinds.tolist())
        equal(ex.loss_mask(ids), slow_mask(ids), f"loss_mask of {rows} pages of {length} tokens")


def slow_loss(logits, ids, mask):
    """One token at a time."""
    losses = [
        logits[b, i - 1].logsumexp(0) - logits[b, i - 1, ids[b, i]]
        for b in range(ids.shape[0])
        for i in range(1, ids.shape[1])
        if mask[b, i]
    ]
    return sum(losses) / len(losses)


def batch(salt):
    """Logits, tokens and a mask whose rows mark 1, 2 and 4 tokens that can be predicted, and first ones too."""
    g = generator(salt)
    logits, ids = torch.randn(3, 7, 9, generator=g), torch.randint(9, (3, 7), generator=g)
    mask = torch.zeros(3, 7, dtype=torch.bool)
    for row, count in enumerate((1, 2, 4)):
        mask[row, 1 + torch.randperm(6, generator=g)[:count]] = True
    mask[1:, 0] = True
    return logits, ids, mask


@check(points=2, stage="values", hint="Position i of the logits predicts token i + 1: shift one against the other.")
def the_loss(ex):
    """The mean over marked tokens, each predicted from the position before, and its gradient."""
    for salt in (5, 6):
        args = batch(salt)
        close(ex.masked_loss(*args), slow_loss(*args), "masked_loss(logits, ids, mask)")
        learns(ex, "masked_loss", slow_loss, *args)


@check(points=1, stage="values", hint="The mean of nothing is NaN: say what is wrong instead.")
def nothing_to_learn(ex):
    """A batch in which no token is to be predicted is refused, and does not give NaN; another batch is not refused."""
    logits, ids, mask = batch(7)
    nothing = torch.zeros_like(mask)
    refuses(lambda: ex.masked_loss(logits, ids, nothing), "a mask of nothing")
    nothing[:, 0] = True
    refuses(lambda: ex.masked_loss(logits, ids, nothing), "a mask of first tokens, before which nothing stands")
    ids, everything = ids[:, :2], torch.ones(3, 2, dtype=torch.bool)

    def gradients(name, upstream, row):  # the same logits at both positions: which one predicts is another check's
        value, slopes = ex.gradients(name, upstream, row.expand(3, 2, 9).clone(), ids, everything)
        return value, [slope if slope is None else slope.sum(1, keepdim=True) for slope in slopes]

    view, row = SimpleNamespace(gradients=gradients), logits[:, :1]
    oracle = lambda row: slow_loss(row.expand(3, 2, 9), ids, everything)  # noqa: E731
    learns(view, "masked_loss", oracle, row, what="masked_loss of two marked tokens a row")

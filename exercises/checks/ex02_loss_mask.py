"""Checks of exercise 02. Oracles: masks written out by hand, a slow loop over tokens."""

import math

import torch

from minilmm.course.checking import check, close, equal, generator, refuses


@check(
    points=2, stage="mask", hint="What is said of a picture runs from behind its tag to the <EOC>, which counts too."
)
def a_caption(ex):
    """A caption counts, its <EOC> included; the tag does not."""
    mask = ex.loss_mask(torch.tensor([[3, 60, 61, 4], [3, 62, 3, 63]]))
    equal(mask, torch.tensor([[False, True, True, True], [False, True, False, True]]), "loss_mask of two captions")


@check(points=1, stage="mask", hint="Before the first <image> there is nothing to look at.")
def before_the_first(ex):
    """Text before the first picture does not count."""
    mask = ex.loss_mask(torch.tensor([[1, 50, 51, 3, 60]]))
    equal(mask[:, :3], torch.zeros(1, 3, dtype=torch.bool), "loss_mask of text before the first picture")


@check(points=2, stage="mask", hint="After an <EOC> nothing counts until the next <image>.")
def between_two(ex):
    """Text between <EOC> and the next picture does not count, and counting begins again after it."""
    mask = ex.loss_mask(torch.tensor([[3, 60, 4, 70, 71, 3, 62, 4, 72]]))
    told = [mask[0, i] for i in (1, 3, 4, 6, 8)]
    equal(told, [torch.tensor(x) for x in (True, False, False, True, False)], "loss_mask at words 1, 3, 4, 6, 8")


@check(points=1, stage="mask", hint="Padding is no text, wherever it stands.")
def padding(ex):
    """Padding never counts."""
    mask = ex.loss_mask(torch.tensor([[3, 60, 0, 0], [0, 0, 3, 61]]))
    equal(
        mask & (torch.tensor([[3, 60, 0, 0], [0, 0, 3, 61]]) == 0), torch.zeros(2, 4, dtype=torch.bool), "loss on pads"
    )


@check(points=2, stage="values", hint="Position i of the logits predicts token i + 1: shift one against the other.")
def the_loss(ex):
    """The mean over marked tokens, each predicted from the position before."""
    g = generator()
    logits, ids = torch.randn(3, 6, 9, generator=g), torch.randint(9, (3, 6), generator=g)
    mask = torch.rand(3, 6, generator=g) < 0.5
    mask[0, 1:3] = True
    total, count = 0.0, 0
    for b in range(3):
        for i in range(1, 6):
            if mask[b, i]:
                scores = logits[b, i - 1]
                total -= float(scores[ids[b, i]]) - math.log(sum(math.exp(float(s)) for s in scores))
                count += 1
    close(ex.masked_loss(logits, ids, mask), total / count, "masked_loss(logits, ids, mask)")


@check(points=1, stage="values", hint="The mean of nothing is NaN: say what is wrong instead.")
def nothing_to_learn(ex):
    """A batch in which every token is masked is refused, and does not give NaN."""
    none = torch.zeros(2, 4, dtype=torch.bool)
    refuses(
        lambda: ex.masked_loss(torch.zeros(2, 4, 5), torch.zeros(2, 4, dtype=torch.long), none), "a mask of nothing"
    )

"""Checks of exercise 26. Oracles: captions by hand, slow loops, ln V."""

import math

import torch

from minilmm.course.checking import check, close, equal, generator, refuses, shaped

CAPTIONS = torch.tensor([[1, 50, 51, 52], [1, 60, 0, 0], [1, 53, 1, 0]])  # [CLS] is 1; a 1 among the words is a word
REAL = torch.tensor([[True] * 4, [True, True, False, False], [True, True, True, False]])


@check(points=2, stage="values", hint="The first column, whatever stands there, becomes [DEC]; nothing is added.")
def cls_becomes_dec(ex):
    """[DEC] takes the place of [CLS]; the words stay."""
    expected = torch.tensor([[9, 50, 51, 52], [9, 60, 0, 0], [9, 53, 1, 0]])
    equal(ex.decoder_ids(CAPTIONS, 9), expected, "decoder_ids of three captions, [DEC] being 9")


@check(points=2, stage="values", hint="Drop the first column, add one of IGNORE at the end.")
def one_further(ex):
    """Each position is asked for the next word; the last one for nothing."""
    got = ex.next_words(CAPTIONS[:1], REAL[:1])
    equal(got, torch.tensor([[50, 51, 52, -100]]), "next_words of [CLS] 50 51 52")


@check(points=1, stage="mask", hint="`real` moves with the words: padding is no word, whatever its id.")
def padding(ex):
    """Padding is never asked for, though its id may be that of a word."""
    ids = torch.tensor([[1, 60, 61, 61, 61], [1, 60, 61, 61, 61]])
    labels = ex.next_words(ids, torch.tensor([[True, True, False, False, False], [True, True, True, True, False]]))
    asked = [int((row == 61).sum()) for row in labels]  # true words 61: none, two
    equal(asked, [0, 2], "how often 61, which is also the padding, is asked for in two captions")


@check(points=1, stage="shape", hint="Look at `real` without its first column.")
def nothing_to_say(ex):
    """A batch of empty captions is refused; one empty caption is not."""
    some = ex.next_words(torch.tensor([[1, 0], [1, 60]]), torch.tensor([[True, False], [True, True]]))
    shaped(some, (2, 2), "next_words of an empty caption and one of a word")
    refuses(lambda: ex.next_words(torch.tensor([[1, 0]]), torch.tensor([[True, False]])), "a batch of empty captions")


@check(points=2, stage="values", hint="The words' rows stand behind the queries'; each meets every row of `words`.")
def rows_of_words(ex):
    """Logits come from the words' outputs and the words' own embeddings: equal to a slow loop."""
    g = generator()
    outputs, words, bias = (torch.randn(*shape, generator=g) for shape in ((2, 5, 4), (6, 4), (6,)))
    slow = [[[float(outputs[b, i] @ words[v]) + float(bias[v]) for v in range(6)] for i in (3, 4)] for b in (0, 1)]
    close(ex.word_logits(outputs, 3, words, bias), torch.tensor(slow), "word_logits of 3 queries and 2 words")


@check(points=2, stage="values", hint="One mean over all labels of the batch that count, side by side with the logits.")
def the_mean(ex):
    """Every word counts alike, whichever caption it stands in, over the cost of knowing nothing, ln V."""
    g = generator(1)
    logits = 2 * torch.randn(2, 4, 7, generator=g)
    labels = torch.tensor([[5, -100, -100, -100], [3, 0, 6, -100]])
    total = 0.0
    for b, i in [(0, 0), (1, 0), (1, 1), (1, 2)]:
        scores = logits[b, i].tolist()
        total += math.log(sum(math.exp(s) for s in scores)) - scores[int(labels[b, i])]
    got = torch.stack([ex.itg_loss(logits, labels), ex.itg_loss(0 * logits, labels)])
    close(got, torch.tensor([total / 4, math.log(7)]), "itg_loss of 1 and 3 words, then of equal logits")

"""Checks of exercise 29. Oracles: texts cut by hand, a slow loop over words."""

import math

import torch

from minilmm.course.checking import check, close, equal, generator, refuses

TEXTS = torch.tensor([[50, 51, 52, 53], [60, 61, 62, 0], [0, 0, 70, 71]])


@check(points=2, stage="values", hint="Take the padding off first: a cut counts words.")
def what_is_read(ex):
    """The prefix: the first words of each text, from the left, PAD behind; it may be empty."""
    prefix = ex.halves(TEXTS, [3, 0, 1])[0]
    equal(prefix, torch.tensor([[50, 51, 52], [0, 0, 0], [70, 0, 0]]), "prefixes of 3, 0 and 1 words")


@check(points=2, stage="values", hint="What the prefix leaves, all of it and no more; IGNORE behind.")
def what_is_said(ex):
    """The labels: the rest of each text, from the left, IGNORE behind."""
    labels = ex.halves(TEXTS, [3, 0, 1])[1]
    expected = torch.tensor([[53, -100, -100], [60, 61, 62], [71, -100, -100]])
    equal(labels, expected, "labels behind prefixes of 3, 0 and 1 words")


@check(points=1, stage="shape", hint="Compare each cut with the number of words of its own text.")
def nothing_to_say(ex):
    """A text that is cut behind its last word is refused."""
    refuses(lambda: ex.halves(TEXTS, [3, 3, 1]), "a text of three words, cut behind the third")


@check(points=2, stage="mask", hint="Queries in front, and real: as many True in front of the prefix's mask.")
def into_the_encoder(ex):
    """The encoder reads queries, then the prefix; its mask hides the prefix's padding alone."""
    g = generator()
    soft, words = torch.randn(2, 3, 4, generator=g), torch.randn(2, 2, 4, generator=g)
    x, mask = ex.encoder_input(soft, words, torch.tensor([[50, 51], [60, 0]]))
    equal(mask, torch.tensor([[True] * 5, [True] * 4 + [False]]), "the mask of 3 queries and prefixes of 2 and 1 words")
    rows = [[*soft[b], *words[b]] for b in range(2)]
    expected = torch.stack([torch.stack(row) for row in rows])
    close(x * mask[..., None], expected * mask[..., None], "3 queries and prefixes of 2 and 1 words, padding as 0")


@check(points=2, stage="values", hint="One to the right, the start token in front, the last label off.")
def into_the_decoder(ex):
    """The decoder reads the start token and every label but the last, one place later."""
    got = ex.decoder_input(torch.tensor([[53, -100, -100], [60, 61, 62], [70, 71, -100]]), 9)
    expected = torch.tensor([[9, 53, 0], [9, 60, 61], [9, 70, 71]])
    equal(got, expected, "decoder_input of suffixes of 1, 3 and 2 words, start 9")


@check(points=1, stage="values", hint="Logits and labels stand side by side: move nothing.")
def the_loss(ex):
    """Place i is asked for label i; one mean over all words of the batch."""
    g = generator(1)
    logits, labels = 2 * torch.randn(2, 3, 6, generator=g), torch.tensor([[5, -100, -100], [3, 1, 4]])
    total = 0.0
    for b, i in [(0, 0), (1, 0), (1, 1), (1, 2)]:
        scores = logits[b, i].tolist()
        total += math.log(sum(math.exp(s) for s in scores)) - scores[int(labels[b, i])]
    close(ex.prefix_loss(logits, labels), total / 4, "prefix_loss of suffixes of 1 and 3 words")

"""Checks of exercise 26. Oracles: captions by hand, slow loops."""

import torch

from minilmm.course.checking import check, equal, follows, generator, has_shape, learns, refuses

CAPTIONS = torch.tensor([[1, 50, 51, 52], [1, 60, 0, 0], [1, 53, 1, 0]])  # [CLS] is 1; a 1 among the words is a word


def captions(salt, B, L, least=1):
    """Captions of few different words, and what is real: (B, L) each. Padding has ids of words too."""
    g = generator(salt)
    lengths = torch.randint(least, L + 1, (B, 1), generator=g)
    lengths[0], lengths[-1] = L, max(2, least)
    return torch.randint(5, (B, L), generator=g), torch.arange(L) < lengths


def asked(ids, real):
    """Place by place: the word behind it."""
    rows = range(ids.shape[1] - 1)
    said = [[int(i[n + 1]) if bool(r[n + 1]) else -100 for n in rows] for i, r in zip(ids, real, strict=True)]
    return torch.tensor([[*row, -100] for row in said])


@check(points=2, stage="values", hint="The first column, whatever stands there, becomes [DEC]; nothing is added.")
def cls_becomes_dec(ex):
    """[DEC] takes the place of [CLS]; the words stay."""
    expected = torch.tensor([[9, 50, 51, 52], [9, 60, 0, 0], [9, 53, 1, 0]])
    equal(ex.decoder_ids(CAPTIONS, 9), expected, "decoder_ids of three captions, [DEC] being 9")
    ids, _ = captions(0, 4, 6)
    slow = lambda ids, dec: torch.tensor([[dec, *row[1:]] for row in ids.tolist()])  # noqa: E731
    follows(ex.decoder_ids, slow, [(ids, 7), (ids, 8), (ids[:2], 3)], "decoder_ids of captions of few different words")


@check(points=2, stage="values", hint="Drop the first column, add one of IGNORE at the end.")
def one_further(ex):
    """Each position is asked for the next word; the last one for nothing."""
    inputs = [captions(salt, B, L, least=L) for salt, B, L in ((1, 4, 6), (2, 3, 5), (3, 1, 2))]
    follows(ex.next_words, asked, inputs, "next_words of captions without padding")


@check(points=1, stage="mask", hint="`real` moves with the words: padding is no word, whatever its id.")
def padding(ex):
    """Padding is never asked for, though its id may be that of a word, and words are, though theirs may be 0."""
    inputs = [captions(salt, B, L) for salt, B, L in ((4, 6, 5), (5, 4, 7))]
    follows(ex.next_words, asked, inputs, "next_words of captions with padding")


@check(points=1, stage="shape", hint="Look at `real` without its first column.")
def nothing_to_say(ex):
    """A batch of empty captions is refused; one empty caption is not."""
    ids, real = torch.tensor([[1, 0], [1, 60]]), torch.tensor([[True, False], [True, True]])
    for order in ([0, 1], [1, 0]):
        has_shape(ex.next_words(ids[order], real[order]), (2, 2), "next_words of an empty caption and one of a word")
    for B, L in ((1, 2), (3, 4)):
        empty = torch.arange(L).expand(B, -1)
        refuses(lambda empty=empty: ex.next_words(empty + 5, empty < 1), f"a batch of {B} empty captions")


@check(points=2, stage="values", hint="The words' rows stand behind the queries'; each meets every row of `words`.")
def rows_of_words(ex):
    """Logits come from the words' outputs and the words' own embeddings: equal to a slow loop, gradients too."""
    g = generator(6)

    def slow(outputs, queries, words, bias):
        rows = [
            [output @ words[v] + bias[v] for v in range(len(words))] for batch in outputs for output in batch[queries:]
        ]
        return torch.stack([torch.stack(row) for row in rows]).view(len(outputs), -1, len(words))

    for queries, L in ((3, 2), (1, 4)):
        outputs, words, bias = (torch.randn(*shape, generator=g) for shape in ((2, queries + L, 4), (6, 4), (6,)))
        learns(
            ex, "word_logits", slow, outputs, queries, words, bias, what=f"word_logits of {queries} queries, {L} words"
        )


@check(points=2, stage="values", hint="One mean over all labels of the batch that count, side by side with the logits.")
def the_mean(ex):
    """Every word counts alike, whichever caption it stands in; what is not asked for teaches nothing."""
    g = generator(7)

    def slow(logits, labels):
        places = [(b, i) for b in range(len(labels)) for i in range(labels.shape[1]) if int(labels[b, i]) != -100]
        return sum(logits[p].logsumexp(0) - logits[p][labels[p]] for p in places) / len(places)

    labels = torch.tensor([[5, -100, -100, -100], [3, 0, 6, -100]])
    learns(ex, "itg_loss", slow, 6 * torch.randn(2, 4, 7, generator=g), labels, what="itg_loss of 1 and 3 words of 7")
    labels = torch.tensor([[1, 1, -100], [0, 2, 3], [4, -100, -100], [2, 0, -100]])
    learns(
        ex, "itg_loss", slow, torch.zeros(4, 3, 5), labels, what="itg_loss of equal logits for 5 words, which is ln 5"
    )

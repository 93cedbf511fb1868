"""Checks of exercise 29. Oracles: texts cut by hand, slow loops over words."""

import torch

from minilmm.course.checking import Composed, check, equal, follows, generator, learns, own, refuses

TEXTS = torch.tensor([[50, 51, 52, 53], [60, 61, 62, 0], [0, 0, 70, 71]])


def texts(salt, B, L):
    """Texts of few different words, padded on the left or on the right, and a cut in each: (B, L), B numbers."""
    g = generator(salt)
    ids, cut = torch.randint(1, 5, (B, L), generator=g), []
    for row in ids:
        words, left = int(torch.randint(2, L + 1, (1,), generator=g)), bool(torch.rand(1, generator=g) < 0.5)
        row[: L - words] = row[: L - words] * 0 if left else row[: L - words]
        if not left:
            row[words:] = 0
        cut.append(int(torch.randint(words, (1,), generator=g)))
    return ids, cut


def filled(rows, fill):
    """Rows of different lengths, filled up behind."""
    return torch.tensor([row + [fill] * (max(map(len, rows)) - len(row)) for row in rows])


def cut_by_hand(ids, cut):
    """Prefixes and labels, word by word."""
    words = [[word for word in row if word] for row in ids.tolist()]
    prefixes = [row[:length] for row, length in zip(words, cut, strict=True)]
    suffixes = [row[length:] for row, length in zip(words, cut, strict=True)]
    return filled(prefixes, 0), filled(suffixes, -100)


def cuts():
    return [(TEXTS, [3, 0, 1]), (TEXTS, [1, 2, 0]), texts(0, 5, 7), texts(1, 4, 6), (TEXTS[:2], [0, 0])]


@check(points=2, stage="values", hint="Take the padding off first: a cut counts words.")
def what_is_read(ex):
    """The prefix: the first words of each text, from the left, PAD behind; it may be empty."""
    told = "prefixes of texts that are padded on the left or on the right"
    follows(lambda *args: ex.halves(*args)[0], lambda *args: cut_by_hand(*args)[0], cuts(), told)


@check(points=2, stage="values", hint="What the prefix leaves, all of it and no more; IGNORE behind.")
def what_is_said(ex):
    """The labels: the rest of each text, from the left, IGNORE behind."""
    told = "labels of texts that are padded on the left or on the right"
    follows(lambda *args: ex.halves(*args)[1], lambda *args: cut_by_hand(*args)[1], cuts(), told)


@check(points=1, stage="shape", hint="Compare each cut with the number of words of its own text.")
def nothing_to_say(ex):
    """A text that is cut behind its last word is refused, and no other."""
    equal(len(ex.halves(TEXTS, [3, 2, 1])), 2, "halves of texts of four, three and two words, cut before the last")
    for cut in ([4, 2, 1], [3, 3, 1], [3, 2, 2], [3, 2, 7]):
        refuses(lambda cut=cut: ex.halves(TEXTS, cut), f"texts of four, three and two words, cut behind {cut}")


@check(points=2, stage="mask", hint="Queries in front, and real: as many True in front of the prefix's mask.")
def into_the_encoder(ex):
    """The encoder reads queries, then the prefix; its mask hides the prefix's padding alone; both parts learn."""
    g = generator(2)
    for queries, prefix in ((3, [[50, 51], [60, 0]]), (2, [[7, 8, 9, 4], [5, 0, 0, 0], [0, 0, 0, 0], [6, 3, 2, 0]])):
        ids = torch.tensor(prefix)
        (B, P), mask = ids.shape, torch.tensor([[True] * queries + [bool(word) for word in row] for row in prefix])
        soft, words = torch.randn(B, queries, 5, generator=g), torch.randn(B, P, 5, generator=g)
        told = f"{queries} queries and prefixes of {P} words, some of them padding"
        equal(ex.encoder_input(soft, words, ids)[1], mask, f"the mask of {told}")

        def slow(soft, words, mask=mask):
            return torch.stack([torch.stack([*s, *w]) for s, w in zip(soft, words, strict=True)])[mask]

        call = own(ex, "encoder_input")
        reads = Composed(lambda s, w, ids=ids, mask=mask, call=call: call(s, w, ids)[0][mask])
        learns(reads, "", slow, soft, words, what=f"what is read of {told}, padding left out")


@check(points=2, stage="values", hint="One to the right, the start token in front, the last label off.")
def into_the_decoder(ex):
    """The decoder reads the start token and every label but the last, one place later."""
    g, labels = generator(3), torch.tensor([[53, -100, -100], [60, 61, 62], [70, 71, -100]])
    some = torch.randint(5, (4, 6), generator=g)
    some = torch.where(torch.arange(6) < torch.tensor([[6], [1], [4], [5]]), some, -100)

    def slow(labels, start):
        return torch.tensor(
            [[start, *(0 if label == -100 else label for label in row[:-1])] for row in labels.tolist()]
        )

    inputs = [(labels, 9), (some, 7), (some, 8), (some[:, :1], 7)]
    follows(ex.decoder_input, slow, inputs, "decoder_input of labels, start 9, 7, 8 and 7")


@check(points=1, stage="values", hint="Logits and labels stand side by side: move nothing.")
def the_loss(ex):
    """Place i is asked for label i; one mean over all words of the batch, from which all that is asked for learns."""

    def slow(logits, labels):
        places = [(b, i) for b in range(len(labels)) for i in range(labels.shape[1]) if int(labels[b, i]) != -100]
        return sum(logits[p].logsumexp(0) - logits[p][labels[p]] for p in places) / len(places)

    for labels in ([[5, -100, -100], [3, 1, 4]], [[0, 2, -100, -100], [5, -100, -100, -100], [1, 1, 3, 0]]):
        asked = torch.tensor(labels)
        logits = 6 * torch.randn(*asked.shape, 6, generator=generator(4))
        learns(
            ex, "prefix_loss", slow, logits, asked, what=f"prefix_loss of {len(labels)} suffixes of different length"
        )

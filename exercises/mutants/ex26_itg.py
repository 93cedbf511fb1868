"""Known-wrong answers to exercise 26."""

from minilmm.course.exercises import Mutant

FIRST = "return torch.cat([first, ids[:, 1:]], 1)"
NEXT = "return F.pad(ids.masked_fill(~real, IGNORE)[:, 1:], (0, 1), value=IGNORE)"
LOGITS = "return outputs[:, queries:] @ words.T + bias"
LOSS = "return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)"

MUTANTS = [
    Mutant("cls-kept", ((FIRST, "return ids"),),
           "[CLS] stays: the same token is to sum up in one task and to begin to tell in the other",
           caught_by="cls_becomes_dec"),
    Mutant("dec-in-front", ((FIRST, "return torch.cat([first, ids], 1)"),),
           "[DEC] is put in front of [CLS] instead of in its place: all words stand one further",
           caught_by="cls_becomes_dec"),
    Mutant("dec-behind", ((FIRST, "return torch.cat([ids[:, 1:], first], 1)"),),
           "[CLS] is dropped and [DEC] comes last: nothing stands in front of the first word", caught_by="cls_becomes_dec"),
    Mutant("every-cls-id", ((FIRST, "return torch.where(ids == ids[:, :1], first, ids)"),),
           "every token with the id of [CLS] is replaced, words of the caption too", caught_by="cls_becomes_dec"),
    Mutant("first-word-lost", ((FIRST, "return torch.cat([ids[:, :1], first, ids[:, 2:]], 1)"),),
           "[DEC] takes the place of the first word", caught_by="cls_becomes_dec"),
    Mutant("not-shifted", ((NEXT, "return ids.masked_fill(~real, IGNORE)"),),
           "labels are not shifted: each position is asked for the word that it reads", caught_by="one_further"),
    Mutant("shifted-back", ((NEXT, "return F.pad(ids.masked_fill(~real, IGNORE)[:, :-1], (1, 0), value=IGNORE)"),),
           "labels are shifted the wrong way: each position is asked for the word before it", caught_by="one_further"),
    Mutant("rolled", ((NEXT, "return ids.masked_fill(~real, IGNORE).roll(-1, 1)"),),
           "the last word is asked for the first token", caught_by="one_further"),
    Mutant("first-left-out", ((NEXT, "return F.pad(ids.masked_fill(~real, IGNORE)[:, 2:], (1, 1), value=IGNORE)"),),
           "[DEC] is asked for nothing: the first word is never learned", caught_by="one_further"),
    Mutant("pads-asked-for", ((NEXT, "return F.pad(ids[:, 1:], (0, 1), value=IGNORE)"),),
           "padding is asked for: the model learns to say it", caught_by="padding"),
    Mutant("padding-by-its-id", ((NEXT, "labels = F.pad(ids.masked_fill(~real, IGNORE)[:, 1:], (0, 1), value=IGNORE)\n"
                                  "    pads = ids[~real].unique()\n"
                                  "    return torch.where(torch.isin(labels, pads), IGNORE, labels)"),),
           "every token that looks like padding is left out, though `real` says that it is a word", caught_by="padding"),
    Mutant("zero-is-padding", ((NEXT, NEXT.replace("~real, IGNORE", "~real | (ids == 0), IGNORE")),),
           "whatever has id 0 is left out, as if `real` had not said that it is a word", caught_by="padding"),
    Mutant("mask-not-shifted", ((NEXT, "return F.pad(ids[:, 1:].masked_fill(~real[:, :-1], IGNORE), (0, 1), value=IGNORE)"),),
           "the words are shifted and `real` is not: one pad behind every caption is asked for", caught_by="padding"),
    Mutant("not-refused", (("if not bool(real[:, 1:].any()):", "if not bool(real.any()):"),),
           "a batch of empty captions is accepted: its loss is NaN", caught_by="nothing_to_say"),
    Mutant("last-caption-decides", (("if not bool(real[:, 1:].any()):", "if not bool(real[-1, 1:].any()):"),),
           "the last caption alone is looked at: where it is empty the batch is refused", caught_by="nothing_to_say"),
    Mutant("each-must-speak", (("if not bool(real[:, 1:].any()):", "if not bool(real[:, 1:].any(1).all()):"),),
           "one empty caption is enough for a whole batch to be refused", caught_by="nothing_to_say"),
    Mutant("rows-of-queries", ((LOGITS, "return outputs[:, : outputs.shape[1] - queries] @ words.T + bias"),),
           "the first rows speak, which are the queries'", caught_by="rows_of_words"),
    Mutant("all-rows", ((LOGITS, "return outputs @ words.T + bias"),),
           "the queries' rows are asked for words too", caught_by="rows_of_words"),
    Mutant("from-the-last-query", ((LOGITS, "return outputs[:, queries - 1 : -1] @ words.T + bias"),),
           "the rows are one too early: they begin with the last query, which has read no [DEC]", caught_by="rows_of_words"),
    Mutant("no-bias", ((LOGITS, "return outputs[:, queries:] @ words.T"),),
           "the bias is left out", caught_by="rows_of_words"),
    Mutant("embeddings-cut-off", ((LOGITS, LOGITS.replace("words.T", "words.detach().T")),),
           "the embeddings are detached: what goes out does not train them, though they are shared", caught_by="rows_of_words"),
    Mutant("probabilities", ((LOGITS, "return (outputs[:, queries:] @ words.T + bias).softmax(-1)"),),
           "probabilities come out, of which the loss takes a second softmax", caught_by="rows_of_words"),
    Mutant("caption-by-caption", ((LOSS, "each = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORE, reduction=\"none\")\n"
                                   "    return (each.sum(1) / (labels != IGNORE).sum(1)).mean()"),),
           "the mean is taken caption by caption first: a word of a short one weighs more", caught_by="the_mean"),
    Mutant("all-positions", ((LOSS, "return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE, "
                              "reduction=\"sum\") / labels.numel()"),),
           "the sum is divided by all positions, padding included", caught_by="the_mean"),
    Mutant("shifted-twice", ((LOSS, LOSS.replace("logits.flatten", "logits[:, :-1].flatten").replace("labels.flatten()", "labels[:, 1:].flatten()")),),
           "the loss shifts labels that are shifted already", caught_by="the_mean"),
    Mutant("loss-cut-off", ((LOSS, LOSS + ".detach()"),),
           "the loss is detached: it can be printed, and teaches nothing", caught_by="the_mean"),
    Mutant("summed", ((LOSS, LOSS.replace("ignore_index=IGNORE", 'ignore_index=IGNORE, reduction="sum"')),),
           "the loss is the sum and not the mean", caught_by="the_mean"),
]  # fmt: skip

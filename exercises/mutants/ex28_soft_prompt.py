"""Known-wrong answers to exercise 28."""

from minilmm.course.exercises import Mutant

PROJECT = "return z @ weight.T + bias"
ORDER = "return there.long().argsort(dim=1, stable=True)"
X, MASK = "x.gather(1, order[..., None].expand_as(x))", "mask.gather(1, order)"
ASKED = "asked = F.pad(ids.masked_fill(~counts, IGNORE), (queries, 0), value=IGNORE)"
ARRANGED = "arranged = asked.gather(1, arrange(real, queries))"
MOVED = "return F.pad(arranged[:, 1:], (0, 1), value=IGNORE)"
TRAINS = "return not (frozen or text_half)"

MUTANTS = [
    Mutant("no-bias", ((PROJECT, "return z @ weight.T"),),
           "the map's bias is left out", caught_by="projected"),
    Mutant("one-for-all", ((PROJECT, "return z.mean(1, keepdim=True) @ weight.T + bias"),),
           "the queries are averaged into one vector: what they found apart is lost", caught_by="projected"),
    Mutant("all-alike", ((PROJECT, "return (z.mean(1, keepdim=True) @ weight.T + bias).expand(-1, z.shape[1], -1)"),),
           "every soft prompt is the mean of the queries", caught_by="projected"),
    Mutant("normed", ((PROJECT, "return F.normalize(z @ weight.T + bias, dim=-1)"),),
           "the projected queries are normalised: that is ITC's head, here one linear map suffices", caught_by="projected"),
    Mutant("pads-between", ((ORDER, "return torch.arange(there.shape[1]).expand(len(real), -1)"),),
           "nothing is moved: padding on the left stands between the queries and their text", caught_by="padding_in_front"),
    Mutant("pads-behind", ((ORDER, "return (~there).long().argsort(dim=1, stable=True)"),),
           "padding is put behind the text: rows end with padding and not with a word", caught_by="padding_in_front"),
    Mutant("queries-first-of-all", ((ORDER, "return torch.cat([torch.arange(queries).expand(len(real), -1), "
                                     "queries + real.long().argsort(dim=1, stable=True)], 1)"),),
           "the queries stand in front of the padding: it lies between them and their text", caught_by="padding_in_front"),
    Mutant("behind-the-text", ((ORDER, "text = queries + real.long().argsort(dim=1, stable=True)\n"
                                "    return torch.cat([text, torch.arange(queries).expand(len(real), -1)], 1)"),),
           "the queries stand behind the text, which cannot see them", caught_by="padding_in_front"),
    Mutant("order-lost", ((ORDER, "return there.long().flip(1).argsort(dim=1, stable=True).mul(-1).add(there.shape[1] - 1)"),),
           "the order of what is equal is turned round: words run backwards", caught_by="padding_in_front"),
    Mutant("tokens-not-moved", ((X, "x"),),
           "the mask is arranged and the tokens are not", caught_by="all_in_place"),
    Mutant("queries-backwards", (("x = torch.cat([soft, words], 1)", "x = torch.cat([soft.flip(1), words], 1)"),),
           "the queries stand in reverse", caught_by="all_in_place"),
    Mutant("words-overwritten", (("x = torch.cat([soft, words], 1)", "x = torch.cat([soft, words[:, :1], soft, words[:, 3:]], 1)"),),
           "the soft prompt is written over words instead of standing in front of them", caught_by="all_in_place"),
    Mutant("added-to-words", (("x = torch.cat([soft, words], 1)", "x = torch.cat([soft, words + soft.mean(1, keepdim=True)], 1)"),),
           "the soft prompt is added to every word too", caught_by="all_in_place"),
    Mutant("queries-hidden", (("mask = F.pad(real, (soft.shape[1], 0), value=True)", "mask = F.pad(real, (soft.shape[1], 0))"),),
           "the attention mask hides the queries", caught_by="queries_are_seen"),
    Mutant("mask-not-moved", ((MASK, "mask"),),
           "the tokens are arranged and the mask is not", caught_by="queries_are_seen"),
    Mutant("pads-seen", ((MASK, "torch.ones_like(mask)"),),
           "padding is seen", caught_by="queries_are_seen"),
    Mutant("not-moved", ((MOVED, "return arranged"),),
           "each place is asked for the token that it reads: labels are not shifted", caught_by="only_words_that_count"),
    Mutant("prompt-counts", ((ASKED, "asked = F.pad(ids.masked_fill(~real, IGNORE), (queries, 0), value=IGNORE)"),),
           "the prompt's words are to be said too: `counts` is not used", caught_by="only_words_that_count"),
    Mutant("queries-asked-for", ((ASKED, "asked = F.pad(ids.masked_fill(~counts, IGNORE), (queries, 0), value=0)"),),
           "places are asked for a query, as if it were word 0", caught_by="only_words_that_count"),
    Mutant("first-word-lost", ((MOVED, "arranged = torch.where(arrange(real, queries) == queries, IGNORE, arranged)\n    " + MOVED),),
           "the first word is never asked for: the last query is taken to have no label", caught_by="only_words_that_count"),
    Mutant("moved-twice", ((MOVED, "return F.pad(arranged[:, 2:], (0, 2), value=IGNORE)"),),
           "labels are shifted twice: each place is asked for the word after the next", caught_by="only_words_that_count"),
    Mutant("queries-forgotten", ((MOVED, "return F.pad(arranged[:, 1 + queries :], (0, 1 + queries), value=IGNORE)"),),
           "labels begin at the first place, where queries stand: they are Q places too early", caught_by="only_words_that_count"),
    Mutant("labels-not-arranged", ((ARRANGED, "arranged = asked"),),
           "the tokens move away from the padding and their labels do not", caught_by="only_words_that_count"),
    Mutant("moved-before", ((ARRANGED, "arranged = F.pad(asked[:, 1:], (0, 1), value=IGNORE).gather(1, arrange(real, queries))"),
                            (MOVED, "return arranged")),
           "labels are shifted first and arranged then: next to padding they stand before the wrong token",
           caught_by="only_words_that_count"),
    Mutant("everything-trains", ((TRAINS, "return True"),),
           "all trains, the eyes and the language model too", caught_by="the_half_that_trains"),
    Mutant("all-of-the-qformer", ((TRAINS, "return not frozen"),),
           "all of the Q-Former trains: the words' half gets no gradient, and weight decay shrinks it in silence",
           caught_by="the_half_that_trains"),
    Mutant("the-words-half", ((TRAINS, 'return not frozen and (text_half or name.startswith("to_lm"))'),),
           "the words' half trains, which nothing passes through in the second stage", caught_by="the_half_that_trains"),
    Mutant("map-only", ((TRAINS, 'return name.startswith("to_lm.")'),),
           "the linear map trains alone: the Q-Former stays as the first stage left it", caught_by="the_half_that_trains"),
    Mutant("shared-left-out", ((TRAINS, 'return not (frozen or text_half or ".attention." in name)'),),
           "the self-attention is left out, as if it were the words': the halves share it", caught_by="the_half_that_trains"),
    Mutant("lm-trains", (('name.startswith(("encoder.", "lm."))', 'name.startswith("encoder.")'),),
           "the language model trains", caught_by="the_half_that_trains"),
]  # fmt: skip

"""Known-wrong answers to exercise 21."""

from minilmm.course.exercises import Mutant

ITC_QUERIES = "    mask[:, :queries, :queries] = True\n"
ITC_TEXT = "    mask[:, queries:, queries:] = real[:, None]\n"
ITM = "return seen[:, None].expand(-1, seen.shape[1], -1)"
ITG_QUERIES = "    mask[:, :, :queries] = True  # all see the queries, which see nothing else\n"
ITG_TEXT = "real[:, None] & torch.ones(L, L, dtype=torch.bool).tril()"

MUTANTS = [
    Mutant("itc-sees-the-pair", ((ITC_TEXT, ITC_TEXT + "    mask[:, :queries, queries:] = real[:, None]\n"
                                  "    mask[:, queries:, :queries] = True\n"),),
           "under ITC's mask all see all: the text is told its picture, and nothing is left to compare",
           caught_by="itc_keeps_apart"),
    Mutant("itc-words-see-queries", ((ITC_TEXT, ITC_TEXT + "    mask[:, queries:, :queries] = True\n"),),
           "under ITC's mask words see the queries: a text's vector depends on the picture it came with",
           caught_by="itc_keeps_apart"),
    Mutant("itc-queries-see-words", ((ITC_TEXT, ITC_TEXT + "    mask[:, :queries, queries:] = real[:, None]\n"),),
           "under ITC's mask queries see the words: a picture's vectors depend on the text it came with",
           caught_by="itc_keeps_apart"),
    Mutant("itc-causal", ((ITC_TEXT, "    mask[:, queries:, queries:] = real[:, None] & torch.ones(L, L).tril().bool()\n"
                           "    mask[:, queries:, queries:] |= torch.eye(L, dtype=torch.bool) & ~real[:, :, None]\n"),),
           "ITC's text is read from left to right: [CLS], which stands first, sees no word at all",
           caught_by="itc_keeps_apart"),
    Mutant("itc-only-the-other", ((ITC_QUERIES, "    mask[:, queries:, :queries] = True\n"),
                                  (ITC_TEXT, "    mask[:, :queries, queries:] = real[:, None]\n")),
           "under ITC's mask each half sees the other alone, not itself", caught_by="itc_keeps_apart"),
    Mutant("itm-causal", ((ITM, "return causal(queries, real)"),),
           "ITM uses ITG's causal mask: queries see no word, so that they cannot tell whether they match",
           caught_by="itm_hides_nothing"),
    Mutant("itm-unimodal", ((ITM, "return unimodal(queries, real)"),),
           "ITM uses ITC's mask: the two that are to be matched never meet", caught_by="itm_hides_nothing"),
    Mutant("itm-one-way", ((ITM, "mask = seen[:, None].expand(-1, seen.shape[1], -1).clone()\n"
                            "    mask[:, queries:, :queries] = False\n    return mask"),),
           "in ITM queries see the words, but words do not see the queries", caught_by="itm_hides_nothing"),
    Mutant("itm-one-row", ((ITM, "return seen[:, None]"),),
           "ITM's mask has one row for all", caught_by="itm_hides_nothing"),
    Mutant("itg-queries-see-words", ((ITG_QUERIES, ITG_QUERIES + "    mask[:, :queries, queries:] = real[:, None]\n"),),
           "in ITG queries see the words: from layer 2 on each word reads the words to come from the queries",
           caught_by="itg_queries"),
    Mutant("itg-queries-in-order", ((ITG_QUERIES, ITG_QUERIES + "    mask[:, :queries, :queries] = "
                                     "torch.ones(queries, queries).tril().bool()\n"),),
           "one triangle covers queries and words: queries have no order, and all of them see each other",
           caught_by="itg_queries"),
    Mutant("itg-queries-alone", ((ITG_QUERIES, ITG_QUERIES + "    mask[:, :queries, :queries] = "
                                  "torch.eye(queries, dtype=torch.bool)\n"),),
           "in ITG each query sees itself alone", caught_by="itg_queries"),
    Mutant("itg-not-causal", ((ITG_TEXT, "real[:, None]"),),
           "ITG's words see the words to come: they copy instead of telling", caught_by="itg_words"),
    Mutant("itg-blind-words", ((ITG_QUERIES, "    mask[:, :queries, :queries] = True  # all queries\n"),
                               (ITG_TEXT, "torch.where(real[:, :, None], " + ITG_TEXT + ", real[:, None])")),
           "ITG's words do not see the queries: a caption without its picture", caught_by="itg_words"),
    Mutant("itg-not-itself", ((ITG_TEXT, ITG_TEXT.replace("tril()", "tril(-1)")),),
           "a word does not see itself: the last word before the one to be told is hidden", caught_by="itg_words"),
    Mutant("itg-backwards", ((ITG_TEXT, ITG_TEXT.replace("tril()", "triu()")),),
           "the triangle is upside down: words see what follows and not what went before", caught_by="itg_words"),
    Mutant("itc-pads-seen", ((ITC_TEXT, "    mask[:, queries:, queries:] = True\n"),),
           "ITC's words look at padding", caught_by="padding"),
    Mutant("itm-pads-seen", ((ITM, "return torch.ones_like(seen[:, None].expand(-1, seen.shape[1], -1))"),),
           "ITM's queries and words look at padding", caught_by="padding"),
    Mutant("itg-pads-seen", ((ITG_TEXT, "torch.ones(L, L, dtype=torch.bool).tril()"),),
           "ITG's triangle is trusted to hide padding: padding on the left stands before every word", caught_by="padding"),
    Mutant("columns-off-by-Q", (("F.pad(real, (queries, 0), value=True)", "F.pad(real, (0, queries), value=True)"),),
           "ITM's padding is hidden Q columns too early: the queries come first", caught_by="padding"),
    Mutant("right-padding-only", ((ITC_TEXT, "    mask[:, queries:, queries:] = (torch.arange(L) < "
                                   "real.sum(1, keepdim=True))[:, None]\n"),),
           "padding is taken to stand on the right, whatever `real` says", caught_by="padding"),
    Mutant("text-hidden", ((ITM, "mask = seen[:, None].expand(-1, seen.shape[1], -1).clone()\n"
                            "    mask[~real.all(1), :queries, queries:] = False\n    return mask"),),
           "one pad hides the whole text from the queries, and not itself alone", caught_by="padding"),
    Mutant("padded-texts-not-causal", ((ITG_TEXT, "real[:, None] & (torch.ones(L, L).tril().bool() | ~real.all(1)[:, None, None])"),),
           "in a text with padding ITG's words see the words to come", caught_by="padding"),
    Mutant("first-text-for-all", ((ITM, "return seen[:1, None].expand(len(seen), seen.shape[1], -1)"),),
           "the padding of the first text is taken for that of all", caught_by="padding"),
    Mutant("itc-empty-rows", ((ITC_TEXT, "    mask[:, queries:, queries:] = real[:, None] & real[:, :, None]\n"),),
           "padding's own rows see nothing: their softmax is NaN", caught_by="no_row_of_nothing"),
    Mutant("itm-empty-rows", ((ITM, "return seen[:, None] & seen[:, :, None]"),),
           "in ITM padding's own rows see nothing: their softmax is NaN", caught_by="no_row_of_nothing"),
]  # fmt: skip

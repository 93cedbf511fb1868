"""Known-wrong answers to exercise 09."""

from minilmm.course.exercises import Mutant

MUTANTS = [
    Mutant("directions-swapped", (("own[:, None]) & others).sum(1)", "own[None, :]) & others).sum(0)"),
                                  ("    before_picture = ((similarity >= own[None, :]) & others).sum(0)",
                                   "    before_picture = ((similarity >= own[:, None]) & others).sum(1)")),
           "TR and IR have changed places", caught_by="the_two_directions"),
    Mutant("wrong-own", (("own[None, :]) & others).sum(0)", "own[:, None]) & others).sum(0)"),),
           "a text's rivals are compared with their own texts and not with it", caught_by="the_two_directions"),
    Mutant("one-more", (("before_text < k)", "before_text <= k)"), ("before_picture < k)", "before_picture <= k)")),
           "k strangers may stand before: that is recall at k + 1", caught_by="larger_k"),
    Mutant("one-less", (("before_text < k)", "before_text + 1 < k)"), ("before_picture < k)", "before_picture + 1 < k)")),
           "the own one counts as a stranger: that is recall at k - 1", caught_by="larger_k"),
    Mutant("ties-in-favour", (("similarity >= own[:, None]", "similarity > own[:, None]"),
                              ("similarity >= own[None, :]", "similarity > own[None, :]")),
           "ties count in favour: a model to which everything is alike is perfect", caught_by="ties"),
    Mutant("nearest-first", (("[len(support) - shots :].tolist()", "[len(support) - shots :].tolist()[::-1]"),),
           "the most similar comes first, farthest from the question", caught_by="nearest_last"),
    Mutant("farthest", (("cosine.argsort()", "(-cosine).argsort()"),),
           "the least similar are taken", caught_by="nearest_last"),
    Mutant("dot-products", ((" / (support.norm(dim=1) * query.norm())", ""),),
           "dot products stand for cosines: long vectors are near to everything", caught_by="nearest_last"),
    Mutant("fewer-in-silence", (("if shots > len(support):", "if shots < 0:"),),
           "too few pictures give fewer demonstrations in silence", caught_by="too_few"),
]  # fmt: skip

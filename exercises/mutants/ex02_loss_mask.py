"""Known-wrong answers to exercise 02."""

from minilmm.course.exercises import Mutant

MUTANTS = [
    Mutant("end-left-out", (("    closed = F.pad(closed[:, :-1], (1, 0), value=-1)  # an <EOC> closes what comes after it, "
                             "and itself counts\n", ""),),
           "<EOC> itself is not learned, so that the model never learns to stop", caught_by="a_caption"),
    Mutant("tags-learned", ((" & (ids != IMAGE)", ""),),
           "the model is asked to predict <image> tags", caught_by="a_caption"),
    Mutant("text-before-learned", (("return (last_image > closed)", "return ((last_image > closed) | (last_image < 0))"),),
           "text before the first picture counts", caught_by="before_the_first"),
    Mutant("between-learned", (("return (last_image > closed)", "return (last_image >= 0)"),),
           "text between <EOC> and the next picture counts", caught_by="between_two"),
    Mutant("only-first", (("return (last_image > closed)", "return (last_image > closed) & (closed < 0)"),),
           "nothing counts any more after the first <EOC>", caught_by="between_two"),
    Mutant("pads-learned", ((" & (ids != PAD)", ""),),
           "padding is learned", caught_by="padding"),
    Mutant("no-shift", (("logits[:, :-1][wanted], ids[:, 1:][wanted]", "logits[:, 1:][wanted], ids[:, 1:][wanted]"),),
           "each token is predicted from its own position, where it can be read", caught_by="the_loss"),
    Mutant("mask-not-shifted", (("logits[:, :-1][wanted], ids[:, 1:][wanted]", "logits[:, :-1][mask[:, :-1]], "
                                 "ids[:, 1:][mask[:, :-1]]"),),
           "the mask is not shifted with the labels: it marks the token before the one that it means",
           caught_by="the_loss"),
    Mutant("nan", (("    if not bool(wanted.any()):\n        raise ValueError(\"every token is masked: nothing to learn "
                    "from\")\n", ""),),
           "the mean of no tokens is NaN", caught_by="nothing_to_learn"),
]  # fmt: skip

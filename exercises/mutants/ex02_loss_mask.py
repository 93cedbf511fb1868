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
    Mutant("counted", (('(last_image > closed)', '((ids == IMAGE).cumsum(1) > F.pad((ids == EOC)[:, :-1], (1, 0)).cumsum(1))'),),
           "images and <EOC> so far are counted and compared: two images and one <EOC> leave one open for ever", caught_by="every_token"),
    Mutant("rows-run-on", (('def masked_loss(', 'one_row = loss_mask\n\n\ndef loss_mask(ids):\n    return one_row(ids.flatten()[None])[0].view_as(ids)\n\n\ndef masked_loss('),),
           "a row goes on where the row before it ended", caught_by="every_token"),
    Mutant("every-end", (('return (last_image > closed)', 'return ((last_image > closed) | (ids == EOC))'),),
           "an <EOC> counts even where no picture came before it", caught_by="every_token"),
    Mutant("pad-closes", (('(ids != EOC, -1)', '((ids != EOC) & (ids != PAD), -1)'),),
           "padding closes a caption as an <EOC> does", caught_by="every_token"),
    Mutant("row-means", (('F.cross_entropy(logits[:, :-1][wanted], ids[:, 1:][wanted])', 'torch.stack([F.cross_entropy(x[:-1][w], i[1:][w]) for x, i, w in zip(logits, ids, wanted) if w.any()]).mean()'),),
           "the mean is taken row by row first, so that tokens of long rows count for less", caught_by="the_loss"),
    Mutant("first-in-the-mean", (('ids[:, 1:][wanted])', "ids[:, 1:][wanted], reduction='sum') / mask.sum()"),),
           "the sum is divided by all marked tokens, the first ones among them, which nothing predicts", caught_by="the_loss"),
    Mutant("cut", (('logits[:, :-1][wanted]', 'logits.detach()[:, :-1][wanted]'),),
           "the logits are detached, so that nothing can learn from the loss", caught_by="the_loss"),
    Mutant("first-is-enough", (('if not bool(wanted.any())', 'if not bool(mask.any())'),),
           "a marked first token is taken for something to learn, and the mean of nothing is NaN", caught_by="nothing_to_learn"),
]  # fmt: skip

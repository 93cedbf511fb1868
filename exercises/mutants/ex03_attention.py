"""Known-wrong answers to exercise 03."""

from minilmm.course.exercises import Mutant

MUTANTS = [
    Mutant("no-scale", ((" / q.shape[-1] ** 0.5", ""),),
           "the scores are not divided by the square root of d", caught_by="the_last_output"),
    Mutant("divided-by-d", ((" / q.shape[-1] ** 0.5", " / q.shape[-1]"),),
           "the scores are divided by d, not by its square root", caught_by="the_last_output"),
    Mutant("transposed", (("q @ k.transpose(-1, -2)", "k @ q.transpose(-1, -2)"),),
           "keys ask and queries answer: the scores are transposed", caught_by="the_last_output"),
    Mutant("no-mask", (("scores.masked_fill(ahead, float(\"-inf\"))", "scores"),),
           "every position sees the future", caught_by="no_look_ahead"),
    Mutant("mask-after-softmax", (("scores.masked_fill(ahead, float(\"-inf\")).softmax(-1)",
                                   "scores.softmax(-1).masked_fill(ahead, 0)"),),
           "the future is removed after the softmax: the weights no longer sum to 1", caught_by="no_look_ahead"),
    Mutant("width-of-keys", (("return weights @ v", "return (weights @ v)[..., : q.shape[-1]]"),),
           "the output is cut to the width of the keys", caught_by="output_shape"),
    Mutant("itself-hidden", (("triu(1)", "triu(0)"),),
           "a position does not see itself", caught_by="the_last_output"),
    Mutant("width-of-values", (('q.shape[-1] ** 0.5', 'v.shape[-1] ** 0.5'),),
           "the scores are divided by the square root of the values' width", caught_by="the_last_output"),
    Mutant("one-key-hidden", (('.triu(1)', '.triu(1) & (torch.arange(q.shape[-2]) == q.shape[-2] - 1)'),),
           "only the last key is hidden, and all others are seen too early", caught_by="no_look_ahead"),
    Mutant("softmax-over-queries", (('.softmax(-1)', '.softmax(-2)'),),
           "the softmax runs over the queries and not over the keys", caught_by="the_last_output"),
    Mutant("only-the-last", (('return weights @ v', 'return torch.cat([0 * (weights @ v)[..., :-1, :], (weights @ v)[..., -1:, :]], -2)'),),
           "only the last position gets an output, the others are zero", caught_by="every_output"),
    Mutant("weights-cut", (('return weights @ v', 'return weights.detach() @ v'),),
           "queries get no gradient: they, or the weights made of them, are detached", caught_by="the_last_output"),
]  # fmt: skip

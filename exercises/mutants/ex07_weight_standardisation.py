"""Known-wrong answers to exercise 07."""

from minilmm.course.exercises import Mutant

MUTANTS = [
    Mutant("mean-kept", (("(weight - mean)", "weight"),),
           "the mean is not taken off", caught_by="mean_zero"),
    Mutant("one-mean", (("(weight - mean)", "(weight - weight.mean())"),),
           "one mean is taken off all filters", caught_by="mean_zero"),
    Mutant("whole-tensor", (("fan_in * var)", "fan_in * var.mean())"),),
           "one variance serves all filters", caught_by="filters"),
    Mutant("no-fan-in", (("(fan_in * var).clamp(min=eps)", "var.clamp(min=eps)"),),
           "the fan-in is forgotten: every weight has variance 1, and outputs grow with the number of inputs",
           caught_by="filters"),
    Mutant("fan-out", (("weight[0].numel()", "weight[:, 0].numel()"),),
           "the outputs that an input feeds are counted (fan-out), not the inputs of a filter", caught_by="filters"),
    Mutant("unbiased", (("correction=0", "correction=1"),),
           "the variance is divided by N - 1", caught_by="filters"),
    Mutant("eps-added", (("(fan_in * var).clamp(min=eps).sqrt()", "(fan_in * var + eps).sqrt()"),),
           "eps is added to the variance instead of being a floor under it", caught_by="the_floor"),
    Mutant("eps-after-root", (("(fan_in * var).clamp(min=eps).sqrt()", "(fan_in * var).sqrt().clamp(min=eps)"),),
           "eps is a floor under the root, not under the variance", caught_by="the_floor"),
    Mutant("eps-under-variance", (("(fan_in * var).clamp(min=eps)", "(fan_in * var.clamp(min=eps))"),),
           "eps is a floor under the variance, before it is multiplied by N", caught_by="the_floor"),
    Mutant("gain-squared", (("* gain[:, None, None, None]", "* gain[:, None, None, None] ** 2"),),
           "the gain stands inside the root's square: it is applied twice", caught_by="gains"),
    Mutant("gain-on-inputs", (("* gain[:, None, None, None]",
                               "* (gain[:, None, None] if weight.shape[1] == len(gain) else 1)"),),
           "gains line up with the input channels", caught_by="gains"),
]  # fmt: skip

"""Known-wrong answers to exercise 12."""

from minilmm.course.exercises import Mutant

MUTANTS = [
    Mutant("mean-of-resamples", (("return correct.float().mean().item(), low", "return means.mean().item(), low"),),
           "the accuracy is the mean over resamples", caught_by="the_accuracy"),
    Mutant("ninety-per-cent", (("[0.025, 0.975]", "[0.05, 0.95]"),),
           "5 % lie outside at either end: that is a 90 % interval", caught_by="the_ends"),
    Mutant("standard-error", (("low, high = torch.quantile(means, torch.tensor([0.025, 0.975])).tolist()",
                               "half = (1.96 * means.std()).item()\n    low, high = means.mean().item() - half, "
                               "means.mean().item() + half"),),
           "the ends are 1.96 standard errors away, and not quantiles", caught_by="the_ends"),
    Mutant("without-replacement", (("correct.float()[picks].mean(1)",
                                    "torch.stack([correct.float()[row.unique()].mean() for row in picks])"),),
           "an episode that was drawn twice counts once", caught_by="the_ends"),
    Mutant("nearest-mean", (("torch.tensor([0.025, 0.975]))", "torch.tensor([0.025, 0.975]), interpolation=\"nearest\")"),),
           "the ends are the nearest of the means, with no interpolation between two", caught_by="the_ends"),
    Mutant("pairs-torn", (("return interval(first.float() - second.float(), picks)",
                           "a, b = interval(first, picks), interval(second, picks)\n"
                           "    return a[0] - b[0], a[1] - b[2], a[2] - b[1]"),),
           "the two models' intervals are subtracted, as if they had answered other episodes", caught_by="the_gap"),
    Mutant("end-by-end", (("return interval(first.float() - second.float(), picks)",
                           "a, b = interval(first, picks), interval(second, picks)\n"
                           "    return a[0] - b[0], a[1] - b[1], a[2] - b[2]"),),
           "low is low minus low and high is high minus high, though the two ends come from different resamples",
           caught_by="the_gap"),
    Mutant("second-minus-first", (("first.float() - second.float()", "second.float() - first.float()"),),
           "the second model's lead is given, not the first's", caught_by="the_gap"),
    Mutant("gap-absolute", (("(first.float() - second.float(), picks)", "((first.float() - second.float()).abs(), picks)"),),
           "differences have lost their sign: an episode that the second model alone answered counts for the first",
           caught_by="the_gap"),
    Mutant("second-ignored", (("(first.float() - second.float(), picks)", "(first.float() * (1 - second.float()), picks)"),),
           "episodes that the second model alone answered count as ties", caught_by="the_gap"),
    Mutant("ends-left-out", (("low <= chance <= high", "low < chance < high"),),
           "a chance that lies at an end of the interval is taken to be outside", caught_by="controls"),
    Mutant("chance-of-a-half", (("low <= chance <= high", "low <= 0.5 <= high"),),
           "every control is compared with a chance of a half", caught_by="controls"),
    Mutant("not-above", (("low <= chance <= high", "low <= chance"),),
           "a control below chance passes", caught_by="controls"),
    Mutant("not-below", (("low <= chance <= high", "chance <= high"),),
           "a control above chance passes: the leak that controls are there to show", caught_by="controls"),
]  # fmt: skip

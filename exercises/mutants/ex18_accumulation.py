"""Known-wrong answers to exercise 18."""

from minilmm.course.exercises import Mutant

SUM = "return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum()"
ADD = "        gradient = gradient + weight * 2 / len(y) * x.T @ (x @ w - y)"
STEP = (
    "gradient = accumulated(w, datasets, weights)\n"
    "    return w - rate * gradient * (limit / gradient.norm()).clamp(max=1)"
)
ROUND = (
    "for data, weight in zip(datasets, weights, strict=True):\n"
    "        w = w - rate * accumulated(w, [data], [weight])\n    return w"
)
SPARED = 'name.startswith("resampler.") or p.dim() < 2'

MUTANTS = [
    Mutant("weights-ignored", ((ADD, ADD.replace("weight * 2", "2")),),
           "the weights are left out: every data set counts alike", caught_by="the_same_gradient"),
    Mutant("begun-again", ((ADD, ADD.replace("gradient + weight", "weight")),),
           "the gradient is set to zero between data sets: only the last one is left", caught_by="the_same_gradient"),
    Mutant("mean-of-data-sets", ((ADD, ADD.replace("weight * 2", "weight / len(datasets) * 2")),),
           "the sum is divided by the number of data sets", caught_by="the_same_gradient"),
    Mutant("weights-normalised", ((ADD, ADD.replace("weight * 2", "weight / sum(weights) * 2")),),
           "the weights are divided by their sum", caught_by="the_same_gradient"),
    Mutant("examples-summed", ((ADD, ADD.replace("weight * 2 / len(y)", "weight * 2")),),
           "a data set's examples are summed and not averaged: large batches count more", caught_by="the_same_gradient"),
    Mutant("merged-gradient", ((ADD, ADD.replace("len(y)", "sum(len(t) for _, t in datasets)")),),
           "all examples are averaged as one merged batch: small data sets count less", caught_by="the_same_gradient"),
    Mutant("loss-normalised", ((SUM, SUM + " / sum(weights)"),),
           "the loss is divided by the sum of the weights", caught_by="the_sum"),
    Mutant("loss-merged", ((SUM, "x, y = torch.cat([x for x, _ in datasets]), torch.cat([y for _, y in datasets])\n"
                            "    each = torch.cat([torch.full((len(y),), v) for (_, y), v in zip(datasets, weights, "
                            "strict=True)])\n    return (each * (x @ w - y).square()).mean()"),),
           "all examples are merged into one mean, each with its data set's weight", caught_by="the_sum"),
    Mutant("loss-unweighted", ((SUM, "return torch.stack(losses).sum()"),),
           "the losses are added without their weights", caught_by="the_sum"),
    Mutant("clipped-before", ((STEP, "gradient = torch.zeros_like(w)\n"
                               "    for data, weight in zip(datasets, weights, strict=True):\n"
                               "        part = accumulated(w, [data], [weight])\n"
                               "        gradient = gradient + part * (limit / part.norm()).clamp(max=1)\n"
                               "    return w - rate * gradient"),),
           "every data set's gradient is clipped before they are added: their weights are lost", caught_by="clipped_once"),
    Mutant("clipped-by-value", ((STEP, "gradient = accumulated(w, datasets, weights)\n"
                                 "    return w - rate * gradient.clamp(-limit, limit)"),),
           "each number is clipped by itself, which turns the gradient", caught_by="clipped_once"),
    Mutant("not-clipped", ((STEP, "return w - rate * accumulated(w, datasets, weights)"),),
           "nothing is clipped", caught_by="clipped_once"),
    Mutant("always-scaled", ((".clamp(max=1)", ""),),
           "every gradient is brought to the limit's length, short ones too", caught_by="short_ones_stay"),
    Mutant("all-at-the-start", ((ROUND, "return w - rate * accumulated(w, datasets, weights)"),),
           "all gradients are taken at the old w: that is accumulation and not round robin", caught_by="in_turn"),
    Mutant("turns-reversed", ((ROUND, ROUND.replace("zip(datasets, weights, strict=True)",
                                                    "reversed(list(zip(datasets, weights, strict=True)))")),),
           "the last data set has the first turn", caught_by="in_turn"),
    Mutant("turns-unweighted", ((ROUND, ROUND.replace("[weight])", "[1.0])")),),
           "in their turns the data sets lose their weights", caught_by="in_turn"),
    Mutant("resampler-decays", ((SPARED, "p.dim() < 2"),),
           "the resampler's matrices decay", caught_by="resampler_spared"),
    Mutant("no-matrix-decays", ((SPARED, "p.dim() < 3"),),
           "no matrix decays, wherever it is", caught_by="resampler_spared"),
    Mutant("latents-decay", ((SPARED, 'name.startswith("resampler.") and "latents" not in name or p.dim() < 2'),),
           "the learned latents decay like a matrix", caught_by="resampler_spared"),
    Mutant("vectors-decay", ((SPARED, 'name.startswith("resampler.")'),),
           "biases, norms and gates decay", caught_by="vectors_spared"),
    Mutant("biases-only", ((SPARED, 'name.startswith("resampler.") or name.endswith("bias")'),),
           "biases are spared by their name; the gains of norms and the gates decay", caught_by="vectors_spared"),
    Mutant("frozen-grouped", ((" if p.requires_grad}", "}"),),
           "frozen parameters stand in a group", caught_by="frozen_left_out"),
]  # fmt: skip

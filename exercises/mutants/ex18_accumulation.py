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
    Mutant("at-the-origin", ((ADD, ADD.replace("x @ w - y", "-y")),),
           "the gradient is taken at w = 0, wherever w is", caught_by="the_same_gradient"),
    Mutant("halved", ((ADD, ADD.replace("weight * 2", "weight")),),
           "the 2 of the square's derivative is missing", caught_by="the_same_gradient"),
    Mutant("losses-detached", ((".square().mean() for", ".square().mean().detach() for"),),
           "the losses are cut off from w: nothing learns", caught_by="the_sum"),
    Mutant("rooted", ((".square().mean() for", ".square().mean().sqrt() for"),),
           "a loss is the root of the mean squared error", caught_by="the_sum"),
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
    Mutant("limit-of-1", (("(limit / gradient.norm())", "(1.0 / gradient.norm())"),),
           "gradients are clipped at 1, whatever the limit", caught_by="clipped_once"),
    Mutant("rate-clipped", ((STEP, "gradient = rate * accumulated(w, datasets, weights)\n"
                             "    return w - gradient * (limit / gradient.norm()).clamp(max=1)"),),
           "the step is clipped, and not the gradient before it is multiplied by the rate", caught_by="clipped_once"),
    Mutant("nan-at-the-goal", ((STEP, "gradient = accumulated(w, datasets, weights)\n"
                                "    return w - rate * gradient / gradient.norm() * gradient.norm().clamp(max=limit)"),),
           "a gradient of length 0 is divided by its length: w becomes NaN", caught_by="short_ones_stay"),
    Mutant("always-scaled", ((".clamp(max=1)", ""),),
           "every gradient is brought to the limit's length, short ones too", caught_by="short_ones_stay"),
    Mutant("all-at-the-start", ((ROUND, "return w - rate * accumulated(w, datasets, weights)"),),
           "all gradients are taken at the old w: that is accumulation and not round robin", caught_by="in_turn"),
    Mutant("turns-clipped", ((ROUND, ROUND.replace("accumulated(w, [data], [weight])", "nn.functional.normalize("
                              "accumulated(w, [data], [weight]), dim=0)")),),
           "every turn's gradient is brought to length 1", caught_by="in_turn"),
    Mutant("turns-reversed", ((ROUND, ROUND.replace("zip(datasets, weights, strict=True)",
                                                    "reversed(list(zip(datasets, weights, strict=True)))")),),
           "the last data set has the first turn", caught_by="in_turn"),
    Mutant("turns-unweighted", ((ROUND, ROUND.replace("[weight])", "[1.0])")),),
           "in their turns the data sets lose their weights", caught_by="in_turn"),
    Mutant("resampler-decays", ((SPARED, "p.dim() < 2"),),
           "the resampler's matrices decay", caught_by="resampler_spared"),
    Mutant("no-matrix-decays", ((SPARED, "p.dim() < 3"),),
           "no matrix decays, wherever it is", caught_by="resampler_spared"),
    Mutant("by-half-a-name", (('name.startswith("resampler.")', 'name.startswith("resampler")'),),
           "whatever begins with the name of the resampler is spared, a map beside it too", caught_by="resampler_spared"),
    Mutant("anywhere-in-the-name", (('name.startswith("resampler.")', '"resampler." in name'),),
           "whatever has a resampler in its name is spared, another module's too", caught_by="resampler_spared"),
    Mutant("fixed-decay", (('"weight_decay": decay}', '"weight_decay": 0.1}'),),
           "the decay is .1, whatever is asked for", caught_by="resampler_spared"),
    Mutant("matrices-only", ((SPARED, 'name.startswith("resampler.") or p.dim() != 2'),),
           "what has more than two dimensions does not decay either", caught_by="resampler_spared"),
    Mutant("latents-decay", ((SPARED, 'name.startswith("resampler.") and "latents" not in name or p.dim() < 2'),),
           "the learned latents decay like a matrix", caught_by="resampler_spared"),
    Mutant("vectors-decay", ((SPARED, 'name.startswith("resampler.")'),),
           "biases, norms and gates decay", caught_by="vectors_spared"),
    Mutant("biases-only", ((SPARED, 'name.startswith("resampler.") or name.endswith("bias")'),),
           "biases are spared by their name; the gains of norms and the gates decay", caught_by="vectors_spared"),
    Mutant("lm-by-name", ((" if p.requires_grad}", ' if p.requires_grad and not name.startswith("lm.")}'),),
           "all of the language model is left out by its name, what is trained in it too", caught_by="frozen_left_out"),
    Mutant("tied-twice", (("model.named_parameters()", "model.named_parameters(remove_duplicate=False)"),),
           "a matrix with two names stands in its group twice", caught_by="frozen_left_out"),
    Mutant("frozen-grouped", ((" if p.requires_grad}", "}"),),
           "frozen parameters stand in a group", caught_by="frozen_left_out"),
]  # fmt: skip

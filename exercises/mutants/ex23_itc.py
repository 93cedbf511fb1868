"""Known-wrong answers to exercise 23."""

from minilmm.course.exercises import Mutant

NORMED = "image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)"
BEST = 'return torch.einsum("nqe,me->nmq", image, text).amax(-1)'
RIGHT = "right = fits / fits.sum(1, keepdim=True)"
SMOOTH = "return (1 - smoothing) * right + smoothing / fits.shape[1]"
BOTH = "return (to_text + to_image) / 2"

MUTANTS = [
    Mutant("mean-over-queries", ((BEST, BEST.replace("amax", "mean")),),
           "the mean over the queries counts, and not the best one: each query would have to be like every text",
           caught_by="the_best_query"),
    Mutant("pooled-first", ((NORMED, NORMED + "\n    image = F.normalize(image.mean(1, keepdim=True), dim=-1)"),),
           "the queries are averaged before they are compared", caught_by="the_best_query"),
    Mutant("first-query", ((BEST, BEST.replace(".amax(-1)", "[..., 0]")),),
           "the first query stands for all, as [CLS] would", caught_by="the_best_query"),
    Mutant("sum-over-queries", ((BEST, BEST.replace("amax", "sum")),),
           "the cosines of all queries are summed", caught_by="the_best_query"),
    Mutant("largest-size", ((BEST, BEST.replace("text).amax(-1)", "text).abs().amax(-1)")),),
           "the cosine farthest from 0 counts: one of -1 as much as one of 1", caught_by="the_best_query"),
    Mutant("one-query-for-all-texts", ((BEST, 'cosine = torch.einsum("nqe,me->nmq", image, text)\n'
                                        "    best = cosine.amax(1).argmax(-1)  # (N,)\n"
                                        "    return cosine[torch.arange(len(image)), :, best]"),),
           "each picture has one query that is best for all texts, not a best one for each", caught_by="the_best_query"),
    Mutant("not-normalised", ((NORMED, "image, text = image, text"),),
           "dot products stand for cosines: long vectors win", caught_by="cosines"),
    Mutant("long-queries", ((NORMED, "text = F.normalize(text, dim=-1)"),),
           "the queries keep their lengths: the longest wins and not the best", caught_by="cosines"),
    Mutant("texts-as-rows", ((BEST, BEST + ".T"),),
           "rows are texts and columns are pictures", caught_by="cosines"),
    Mutant("squeezed", ((BEST, BEST + ".squeeze()"),),
           "squeeze() takes away every dimension of size 1: a batch of one collapses to a number",
           caught_by="a_batch_of_one"),
    Mutant("squeezed-queries", ((BEST, 'return torch.einsum("nqe,me->nmq", image, text).squeeze(0).amax(-1)'),),
           "the first dimension is squeezed: a single picture loses its row", caught_by="a_batch_of_one"),
    Mutant("only-its-own", ((RIGHT, "right = torch.eye(*fits.shape)"),),
           "only the text of the same number is right: one that says the very same counts as wrong",
           caught_by="all_that_are_right"),
    Mutant("not-smoothed", ((SMOOTH, "return right"),),
           "labels are not smoothed", caught_by="all_that_are_right"),
    Mutant("not-shared", ((RIGHT, "right = fits.float()"),),
           "every right text gets all of it: the row sums to more than 1", caught_by="all_that_are_right"),
    Mutant("rest-to-the-wrong", ((SMOOTH, "return (1 - smoothing) * right + smoothing * ~fits / (~fits).sum(1, keepdim=True).clamp(min=1)"),),
           "the tenth is spread over the wrong ones alone", caught_by="all_that_are_right"),
    Mutant("tenth-for-each", ((SMOOTH, "return ((1 - smoothing) * right + smoothing) / (1 - smoothing + smoothing * fits.shape[1])"),),
           "every column gets a tenth of its own, instead of sharing one", caught_by="all_that_are_right"),
    Mutant("summed", ((BOTH, "return (to_text + to_image) / 2 * len(fits)"),),
           "losses are summed over the batch: larger batches have larger losses", caught_by="nothing_learned"),
    Mutant("not-halved", ((BOTH, "return to_text + to_image"),),
           "the two ways are added, and not averaged", caught_by="nothing_learned"),
    Mutant("overflow", (("logits.log_softmax(1)", "(logits.exp() / logits.exp().sum(1, keepdim=True)).log()"),),
           "exp of large logits is infinite: log_softmax takes off the maximum first", caught_by="nothing_learned"),
    Mutant("temperature-times", (("similar / temperature", "similar * temperature"),),
           "the similarities are multiplied by the temperature", caught_by="both_ways"),
    Mutant("one-way", ((BOTH, "return to_text"),),
           "pictures look for texts, but texts do not look for pictures", caught_by="both_ways"),
    Mutant("the-other-way", ((BOTH, "return to_image"),),
           "texts look for pictures, but pictures do not look for texts", caught_by="both_ways"),
    Mutant("softmax-twice", (("logits = similar / temperature", "logits = (similar / temperature).softmax(1)"),),
           "softmax is taken twice: the logits are probabilities already", caught_by="both_ways"),
    Mutant("targets-not-turned", (("targets(fits.T)", "targets(fits)"),),
           "the texts' targets are those of the pictures: which texts fit a picture, not which pictures fit a text",
           caught_by="both_ways"),
    Mutant("fixed-temperature", (("similar / temperature", "similar / float(temperature)"),),
           "the temperature is made a plain number: it is never learned", caught_by="a_learned_temperature"),
]  # fmt: skip

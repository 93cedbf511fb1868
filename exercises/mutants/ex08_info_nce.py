"""Known-wrong answers to exercise 08."""

from minilmm.course.exercises import Mutant

MUTANTS = [
    Mutant("not-normalised", (("F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T",
                               "images @ texts.T / images.shape[-1]"),),
           "dot products stand for cosines: long vectors win", caught_by="cosines"),
    Mutant("texts-as-rows", (("F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T",
                              "F.normalize(texts, dim=-1) @ F.normalize(images, dim=-1).T"),),
           "rows are texts and columns are pictures", caught_by="cosines"),
    Mutant("temperature-times", (("similarity / temperature", "similarity * temperature"),),
           "the cosines are multiplied by the temperature", caught_by="both_ways"),
    Mutant("one-way", (("(F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2",
                        "F.cross_entropy(logits, pairs)"),),
           "pictures look for texts, but texts do not look for pictures", caught_by="both_ways"),
    Mutant("the-other-way", (("(F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2",
                              "F.cross_entropy(logits.T, pairs)"),),
           "texts look for pictures, but pictures do not look for texts", caught_by="both_ways"),
    Mutant("first-column", (("torch.arange(len(logits))", "torch.zeros(len(logits), dtype=torch.long)"),),
           "the first one is everybody's partner, as where positives stand in column 0", caught_by="both_ways"),
    Mutant("summed", (("F.cross_entropy(logits.T, pairs)) / 2", "F.cross_entropy(logits.T, pairs)) / 2 * len(logits)"),),
           "losses are summed over the batch: larger batches have larger losses", caught_by="nothing_learned"),
    Mutant("not-halved", (("F.cross_entropy(logits.T, pairs)) / 2", "F.cross_entropy(logits.T, pairs))"),),
           "the two ways are added, and not averaged", caught_by="nothing_learned"),
    Mutant("overflow", (("(F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2",
                         "sum((x.exp().sum(1).log() - x.diagonal()).mean() for x in (logits, logits.T)) / 2"),),
           "exp of large logits is infinite: take off the maximum first, as log_softmax does",
           caught_by="nothing_learned"),
    Mutant("squeezed", (("@ F.normalize(texts, dim=-1).T", "@ F.normalize(texts, dim=-1).T.squeeze()"),),
           "a squeeze removes a dimension when the batch holds one pair", caught_by="a_batch_of_one"),
]  # fmt: skip

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
    Mutant("squeezed", (("@ F.normalize(texts, dim=-1).T", "@ F.normalize(texts, dim=-1).T.squeeze()"),),
           "a squeeze removes a dimension when the batch holds one pair", caught_by="a_batch_of_one"),
]  # fmt: skip

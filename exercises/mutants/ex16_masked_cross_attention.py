"""Known-wrong answers to exercise 16."""

from minilmm.course.exercises import Mutant

SOFTMAX = 'weights = scores.masked_fill(~visible, float("-inf")).softmax(-1)'
OUT = "out = (weights @ v).transpose(1, 2).flatten(2) @ weight.T + bias  # (B, L, D)"
END = "return out * sees  # behind the bias, which would remain otherwise"

MUTANTS = [
    Mutant("uniform", ((SOFTMAX, "weights = scores.masked_fill(~mask[:, None], -3.4028e38).softmax(-1)"),
                       (END, "return out")),
           "hidden scores are the smallest finite number: a row that may look nowhere sees everything alike "
           "(transformers#26428)", caught_by="blind_rows"),
    Mutant("nan", ((END, 'return out.masked_fill(~sees, float("nan"))'),),
           "a row that may look nowhere is NaN: the softmax of nothing", caught_by="blind_rows"),
    Mutant("bias-left", ((OUT, "out = ((weights @ v).transpose(1, 2).flatten(2) * sees) @ weight.T + bias"), (END, "return out")),
           "rows are set to 0 before the output map: its bias is left in them", caught_by="blind_rows"),
    Mutant("document-not-row", ((END, "return out * sees.any(1, keepdim=True)"),),
           "only documents that see nothing at all are set to 0: a blind row among seeing ones sees everything",
           caught_by="blind_rows"),
    Mutant("nan-replaced", ((SOFTMAX, 'hidden = torch.zeros(mask.shape).masked_fill(~mask, float("-inf"))\n'
                             "    weights = (scores + hidden[:, None]).softmax(-1).nan_to_num(0.0)"),
                            ("from torch import Tensor", "import torch\nfrom torch import Tensor")),
           "-inf is added to the hidden scores and NaN replaced by 0 behind the softmax: the output is right, the gradient NaN",
           caught_by="finite_gradients"),
    Mutant("queries-detached", ((SOFTMAX, "scores = q.detach() @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 if not bool(sees.all()) else scores\n"
                                 "    " + SOFTMAX),),
           "a batch with a blind row gives its queries no gradient", caught_by="finite_gradients"),
    Mutant("blind-documents-together", (("sees = mask.any(-1, keepdim=True)", "sees = mask.any(0).any(-1, keepdim=True).expand(len(mask), -1, 1)"),),
           "a row counts as blind only where it is blind in every document of the batch", caught_by="blind_rows"),
    Mutant("values-detached", (("(weights @ v)", "(weights @ v.detach())"),),
           "no gradient reaches the values", caught_by="all_seen"),
    Mutant("weights-detached", (("(weights @ v)", "(weights.detach() @ v)"),),
           "no gradient reaches queries and keys: where to look is never learned", caught_by="all_seen"),
    Mutant("scale-of-four", ((" / q.shape[-1] ** 0.5", " / 2"),),
           "the scores are divided by 2, which is right for d = 4 alone", caught_by="all_seen"),
    Mutant("overflowing", ((SOFTMAX, "raised = scores.exp() * visible\n    weights = raised / raised.sum(-1, keepdim=True)"),),
           "the softmax is written out, and exp() of a large score is infinite", caught_by="finite_gradients"),
    Mutant("no-scale", ((" / q.shape[-1] ** 0.5", ""),),
           "the scores are not divided by the square root of d", caught_by="all_seen"),
    Mutant("divided-by-d", ((" / q.shape[-1] ** 0.5", " / q.shape[-1]"),),
           "the scores are divided by d, not by its square root", caught_by="all_seen"),
    Mutant("heads-interleaved", ((".transpose(1, 2).flatten(2) @", ".permute(0, 2, 3, 1).flatten(2) @"),),
           "the heads' outputs are dealt out in turns and not side by side", caught_by="all_seen"),
    Mutant("no-bias", ((OUT, OUT.replace(" + bias", "")),),
           "the output map has lost its bias, for the rows that see as well", caught_by="all_seen"),
    Mutant("mask-transposed", (("    sees = mask.any(", "    mask = mask.transpose(1, 2) if mask.shape[1] == mask.shape[2] "
                                "> 1 else mask\n    sees = mask.any("),),
           "the mask is transposed: it says which text a picture may look at", caught_by="hidden_keys"),
    Mutant("first-mask-for-all", (("    sees = mask.any(", "    mask = mask[:1].expand(len(mask), -1, -1)\n    sees = mask.any("),),
           "the first document's mask is everyone's", caught_by="hidden_keys"),
    Mutant("scores-zeroed", ((SOFTMAX, "weights = scores.masked_fill(~visible, 0.0).softmax(-1)"),),
           "hidden scores are set to 0, which the softmax takes for a score like any other", caught_by="hidden_keys"),
    Mutant("too-small-a-number", ((SOFTMAX, "weights = scores.masked_fill(~visible, -10.0).softmax(-1)"),),
           "hidden scores are set to -10: not low enough for a large value to stay hidden", caught_by="hidden_keys"),
    Mutant("no-mask", ((SOFTMAX, "weights = scores.softmax(-1)"),),
           "hidden keys are seen", caught_by="hidden_keys"),
    Mutant("mask-after-softmax", ((SOFTMAX, "weights = scores.softmax(-1) * visible"),),
           "what is hidden is removed after the softmax: the weights no longer sum to 1", caught_by="hidden_keys"),
    Mutant("mask-added", ((SOFTMAX, "weights = (scores + visible).softmax(-1)"),),
           "the mask is added as 0 and 1: what is hidden is seen a little less", caught_by="hidden_keys"),
]  # fmt: skip

"""Known-wrong answers to exercise 06."""

from minilmm.course.exercises import Mutant

MUTANTS = [
    Mutant("first-token-only", (("return each.masked_fill(~mask, 0).sum(-1)", "return each[..., 0]"),),
           "only the first token of each name is scored", caught_by="whole_candidates"),
    Mutant("mean", (("each.masked_fill(~mask, 0).sum(-1)", "each.masked_fill(~mask, 0).sum(-1) / mask.sum(-1)"),),
           "scores are divided by the length: long names are favoured", caught_by="whole_candidates"),
    Mutant("end-left-out", (("each.masked_fill(~mask, 0).sum(-1)",
                             "each.masked_fill(~mask, 0)[..., : max(1, each.shape[-1] - 1)].sum(-1)"),),
           "the last token, which ends the answer, is left out: dax beats daxes", caught_by="whole_candidates"),
    Mutant("no-shift", (("later[:, :, :-1]], 2)", "later[:, :, 1:]], 2)"),),
           "each token is scored by the logits after itself", caught_by="whole_candidates"),
    Mutant("raw-logits", (("logits.log_softmax(-1)", "logits"),),
           "raw logits are summed, not log-probabilities", caught_by="whole_candidates"),
    Mutant("pads-counted", ((".masked_fill(~mask, 0).sum", ".sum"),),
           "padding is scored too", caught_by="padding"),
    Mutant("absent-zero", (("masked_fill(~mask, float(\"-inf\"))", "masked_fill(~mask, 0)"),),
           "an absent candidate scores 0, the best that a log-probability can be", caught_by="absent_candidates"),
    Mutant("zero-logits-on-pads", (('    each = ', '    logits = logits.masked_fill(~mask[..., None], 0)\n    each = '),
            ('.masked_fill(~mask, 0).sum', '.sum'),),
           "logits on padding are set to 0, so that every pad costs the logarithm of the vocabulary's size", caught_by="padding"),
    Mutant("padded-are-zero", (('each.masked_fill(~mask, 0).sum(-1)', 'each.sum(-1).masked_fill(~mask.all(-1), 0)'),),
           "a candidate with any padding scores 0, the best that a log-probability can be", caught_by="padding"),
    Mutant("longest-for-all", (('.masked_fill(~mask, 0)', '.masked_fill(~mask.any(1, keepdim=True), 0)'),),
           "every candidate is as long as the longest of its row", caught_by="every_candidate"),
    Mutant("first-prompt-for-all", (('first[:, None, None].expand(-1,', 'first[:1, None, None].expand(len(later),'),),
           "all rows are scored behind the first row's prompt", caught_by="whole_candidates"),
    Mutant("absent-minus-100", (('float("-inf")', '-100.0'),),
           "an absent candidate scores -100, more than a long answer that is there", caught_by="absent_candidates"),
    Mutant("cut", (('first[:, None', 'first.detach()[:, None'),),
           "the logits right after the prompt are detached: nothing learns from the first token", caught_by="one_token"),
]  # fmt: skip

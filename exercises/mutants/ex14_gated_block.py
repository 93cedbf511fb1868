"""Known-wrong answers to exercise 14."""

from minilmm.course.exercises import Mutant

XATTN, DENSE = "self.alpha_xattn.tanh() * ", "self.alpha_dense.tanh() * "

MUTANTS = [
    Mutant("sigmoid-gates", ((XATTN, "self.alpha_xattn.sigmoid() * "), (DENSE, "self.alpha_dense.sigmoid() * ")),
           "the gates are sigmoids: at alpha = 0 they are half open", caught_by="closed_at_first"),
    Mutant("open-at-first", (("        self.alpha_xattn = nn.Parameter(torch.zeros(1))\n        self.alpha_dense = nn.Parameter(torch.zeros(1))",
                              "        self.alpha_xattn = nn.Parameter(torch.ones(1))\n        self.alpha_dense = nn.Parameter(torch.ones(1))"),),
           "alpha begins at 1: the first step starts from another language model", caught_by="closed_at_first"),
    Mutant("ffw-without-gate", ((DENSE, ""),),
           "the feed-forward has no gate", caught_by="closed_at_first"),
    Mutant("no-tanh", ((XATTN, "self.alpha_xattn * "), (DENSE, "self.alpha_dense * ")),
           "alpha itself is the gate: nothing keeps it below 1", caught_by="each_gate"),
    Mutant("clamped", ((XATTN, "self.alpha_xattn.clamp(-1, 1) * "), (DENSE, "self.alpha_dense.clamp(-1, 1) * ")),
           "alpha is cut off at 1 where tanh bends towards it", caught_by="each_gate"),
    Mutant("tanh-of-the-product", (("self.alpha_xattn.tanh() * self.attention(y, x, mask)",
                                    "(self.alpha_xattn * self.attention(y, x, mask)).tanh()"),),
           "tanh is taken of alpha times attention, which cuts off what was seen", caught_by="each_gate"),
    Mutant("one-alpha", ((DENSE, XATTN),),
           "one alpha opens both gates", caught_by="each_gate"),
    Mutant("gates-swapped", (("y = y + self.alpha_xattn.tanh()", "y = y + self.alpha_dense.tanh()"),
                             ("return y + self.alpha_dense.tanh()", "return y + self.alpha_xattn.tanh()")),
           "alpha_dense gates the attention and alpha_xattn the feed-forward", caught_by="each_gate"),
    Mutant("all-not-any", (("mask.any(-1, keepdim=True)", "mask.all(-1, keepdim=True)"),),
           "the feed-forward waits for tokens that see *all* pictures", caught_by="each_gate"),
    Mutant("ffw-on-old-y", (("        y = y + self.alpha_xattn", "        old = y\n        y = y + self.alpha_xattn"),
                            ("self.ffw(y)", "self.ffw(old)")),
           "the feed-forward works on y from before the attention", caught_by="one_after_the_other"),
    Mutant("ffw-first", (("        y = y + self.alpha_xattn.tanh() * self.attention(y, x, mask)\n        return y + "
                          "self.alpha_dense.tanh() * self.ffw(y) * sees",
                          "        y = y + self.alpha_dense.tanh() * self.ffw(y) * sees\n        return y + "
                          "self.alpha_xattn.tanh() * self.attention(y, x, mask)"),),
           "the feed-forward comes before the attention", caught_by="one_after_the_other"),
    Mutant("ffw-for-all", ((" * sees", ""),),
           "the feed-forward changes tokens that see no picture", caught_by="blind_tokens"),
    Mutant("whole-document", (("mask.any(-1, keepdim=True)", "mask.flatten(1).any(-1)[:, None, None]"),),
           "one token that sees opens the feed-forward to all of its document", caught_by="blind_tokens"),
    Mutant("blind-tokens-deleted", (("        return y + ", "        y = y * sees\n        return y + "),),
           "tokens that see no picture become 0 instead of passing unchanged", caught_by="blind_tokens"),
    Mutant("gates-not-trained", (("        self.alpha_xattn = nn.Parameter(torch.zeros(1))\n        self.alpha_dense = nn.Parameter(torch.zeros(1))",
                                  "        self.alpha_xattn = torch.zeros(1)\n        self.alpha_dense = torch.zeros(1)"),),
           "the gates are plain tensors: no optimiser finds them, and they stay closed", caught_by="gates_can_open"),
    Mutant("gate-detached", (("self.alpha_xattn.tanh()", "self.alpha_xattn.detach().tanh()"),),
           "no gradient reaches alpha_xattn: its gate stays closed", caught_by="gates_can_open"),
]  # fmt: skip

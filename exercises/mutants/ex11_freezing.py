"""Known-wrong answers to exercise 11."""

from minilmm.course.exercises import Mutant

MUTANTS = [
    Mutant("first-layer-only", (("    model.lm.requires_grad_(False)\n    return",
                                 "    next(model.lm.children()).requires_grad_(False)\n    return"),),
           "only the first layer of the language model is frozen", caught_by="the_lm_is_frozen"),
    Mutant("left-as-they-were", (("    model.requires_grad_(True)\n", ""),),
           "the eyes keep what was frozen in them before", caught_by="the_eyes_train"),
    Mutant("all-given-back", (("return [p for p in model.parameters() if p.requires_grad]",
                               "return list(model.parameters())"),),
           "all parameters are given back to be trained, the frozen ones too", caught_by="the_eyes_train"),
    Mutant("eyes-last", (("    model.requires_grad_(True)\n    model.lm.requires_grad_(False)\n",
                          "    model.lm.requires_grad_(False)\n    model.eyes.requires_grad_(True)\n"),),
           "a matrix that both parts share is unfrozen again with the eyes", caught_by="a_shared_matrix"),
    Mutant("no-grad-around-lm", (("loss = F.cross_entropy(model.lm(model.eyes(pictures)), answers)",
                                  "with torch.no_grad():\n        loss = F.cross_entropy(model.lm(model.eyes(pictures)), "
                                  "answers)\n    loss.requires_grad_(True)"),
                                 ("torch.autograd.grad(loss, trained)",
                                  "[g if g is not None else torch.zeros_like(p) for g, p in zip(torch.autograd.grad(loss, "
                                  "trained, allow_unused=True), trained, strict=True)]")),
           "no_grad stands around the language model: nothing reaches the eyes", caught_by="a_step"),
    Mutant("everything-steps", (("    trained = [p for p in model.parameters() if p.requires_grad]\n    gradients",
                                 "    trained = list(model.requires_grad_(True).parameters())\n"
                                 "    loss = F.cross_entropy(model.lm(model.eyes(pictures)), answers)\n    gradients"),),
           "the step moves the language model too", caught_by="every_byte"),
    Mutant("decayed", (("    return loss.item()", "        for parameter in model.lm.parameters():\n"
                        "            parameter *= 1 - 0.01 * rate\n    return loss.item()"),),
           "weight decay reaches the frozen weights: they have no gradient and change all the same",
           caught_by="every_byte"),
    Mutant("uphill", (("parameter -= rate", "parameter += rate"),),
           "the step goes up the gradient", caught_by="a_step"),
    Mutant("loss-afterwards", (("return loss.item()",
                                "return F.cross_entropy(model.lm(model.eyes(pictures)), answers).item()"),),
           "the loss is taken after the step", caught_by="the_loss"),
    Mutant("all-in-evaluation", (("model.eyes.train()", "model.eyes.eval()"),),
           "the eyes are in evaluation mode too", caught_by="the_modes"),
    Mutant("training-mode", (("model.lm.eval()", "model.lm.train()"),),
           "the frozen language model is in training mode: its dropout is on", caught_by="the_modes"),
]  # fmt: skip

"""Known-wrong answers to exercise 27."""

from minilmm.course.exercises import Mutant

JOINED = "(torch.cat([past[0], own[0]], 1), torch.cat([past[1], own[1]], 1))"
OUT = "return x + scores.softmax(-1) @ v, own"
ALONE = "        x, own = layer(x, None, weights)\n        kept.append(own)\n"
ROWS = "rows = causal(queries, real)[:, queries:]"
STEP = "        x, _ = layer(x, rows, weights, past)\n"
MAY = "return bool(queries_rows[:, :, :queries].all()) and not bool(queries_rows[:, :, queries:].any())"

MUTANTS = [
    Mutant("past-behind", ((JOINED, "(torch.cat([own[0], past[0]], 1), torch.cat([own[1], past[1]], 1))"),),
           "the past stands behind the new tokens: the mask's columns no longer fit", caught_by="behind_a_past"),
    Mutant("past-unseen", ((JOINED, "own"), ("    if mask is not None:\n", "    mask = None if mask is None else mask[:, :, -x.shape[1] :]\n    if mask is not None:\n")),
           "the past is not looked at: words run without queries", caught_by="behind_a_past"),
    Mutant("past-keys-only", ((JOINED, "(torch.cat([past[0], own[0]], 1), torch.cat([past[0], own[1]], 1))"),),
           "the past's keys serve as its values too", caught_by="behind_a_past"),
    Mutant("swapped", ((JOINED, "(torch.cat([past[1], own[0]], 1), torch.cat([past[0], own[1]], 1))"),),
           "the past's keys and values are swapped", caught_by="behind_a_past"),
    Mutant("past-turned-again", ((JOINED, '(torch.cat([past[0] @ weights["k"], own[0]], 1), torch.cat([past[1] @ weights["v"], own[1]], 1))'),),
           "kept keys and values are multiplied by k and v once more", caught_by="behind_a_past"),
    Mutant("past-always-seen", (("        scores = scores.masked_fill(~mask,", "        mask = mask.clone()\n"
                                 "        mask[:, :, : mask.shape[2] - x.shape[1]] = True\n        scores = scores.masked_fill(~mask,"),),
           "the mask counts among the new tokens only: they see all of the past", caught_by="behind_a_past"),
    Mutant("no-scale", ((" / q.shape[-1] ** 0.5", ""),),
           "the scores are not divided by the square root of D", caught_by="one_layer"),
    Mutant("no-residual", ((OUT, "return scores.softmax(-1) @ v, own"),),
           "what is seen replaces x instead of being added", caught_by="one_layer"),
    Mutant("mask-ignored", (("if mask is not None:", "if mask is not None and past is not None and x.shape[1] > 99:"),),
           "the mask is ignored", caught_by="one_layer"),
    Mutant("mask-upside-down", (("masked_fill(~mask", "masked_fill(mask & ~mask.all(-1, keepdim=True)"),),
           "True hides where it should show", caught_by="one_layer"),
    Mutant("all-keys-back", ((OUT, "return x + scores.softmax(-1) @ v, (k, v)"),),
           "the past's keys come back together with the new ones: they grow from call to call", caught_by="its_own_keys"),
    Mutant("values-first", ((OUT, "return x + scores.softmax(-1) @ v, (own[1], own[0])"),),
           "values come back where keys are asked for", caught_by="its_own_keys"),
    Mutant("last-layer-only", ((ALONE, "        x, own = layer(x, None, weights)\n    kept = [own] * len(layers)\n"),),
           "the last layer's keys and values stand for all layers", caught_by="kept_in_every_layer"),
    Mutant("first-layer-only", ((ALONE, "        x, own = layer(x, None, weights)\n        kept.append(kept[0] if kept else own)\n"),),
           "the first layer's keys and values stand for all layers", caught_by="kept_in_every_layer"),
    Mutant("one-layer-late", ((ALONE, "        x, own = layer(x, None, weights)\n        kept.append(layer(x, None, weights)[1])\n"),),
           "keys and values are made of what leaves a layer and not of what enters it", caught_by="kept_in_every_layer"),
    Mutant("states-kept", ((ALONE, "        kept.append((x, x))\n        x, own = layer(x, None, weights)\n"),),
           "the queries' states are kept and not their keys and values", caught_by="kept_in_every_layer"),
    Mutant("queries-in-order", ((ALONE, ALONE.replace("x, None, weights", "x, torch.ones(len(x), x.shape[1], x.shape[1], dtype=torch.bool).tril(), weights")),),
           "the queries see only those before them", caught_by="kept_in_every_layer"),
    Mutant("words-see-all", ((ROWS, ROWS.replace("[:, queries:]", "[:, queries:].any(1, keepdim=True).expand(-1, real.shape[1], -1)")),),
           "the words see those to come, as in ITM", caught_by="as_if_together"),
    Mutant("words-see-no-query", ((ROWS, ROWS + ".clone()\n    rows[:, :, :queries] &= ~real[:, :, None]"),),
           "the words do not see the queries: ITC's mask is used for ITG", caught_by="as_if_together"),
    Mutant("pads-seen", ((ROWS, "rows = causal(queries, torch.ones_like(real))[:, queries:]"),),
           "padding is seen: `real` is not used", caught_by="as_if_together"),
    Mutant("rows-of-queries", ((ROWS, "rows = causal(queries, real)[:, : real.shape[1]]"),),
           "the mask's first rows are used, which are the queries'", caught_by="as_if_together"),
    Mutant("first-past-only", ((STEP, "        x, _ = layer(x, rows, weights, kept[0])\n"),),
           "every layer looks at the first layer's keys and values", caught_by="as_if_together"),
    Mutant("last-past-first", (("zip(layers, kept, strict=True)", "zip(layers, kept[::-1], strict=True)"),),
           "the layers' pasts are used from the last to the first", caught_by="as_if_together"),
    Mutant("once-only", ((STEP, "        x, _ = layer(x, rows, weights, past) if past is kept[0] else "
                          "layer(x, rows[:, :, queries:] | torch.eye(x.shape[1], dtype=torch.bool), weights)\n"),),
           "the queries are seen in the first layer alone", caught_by="as_if_together"),
    Mutant("past-cut-off", ((STEP, "        x, _ = layer(x, rows, weights, (past[0].detach(), past[1].detach()))\n"),),
           "the words look at detached keys and values: their loss does not reach the queries", caught_by="as_if_together"),
    Mutant("scores-cut-off", (("q, own = x @", "q, own = x.detach() @"),),
           "what a token looks for is detached: where it looks is never learned", caught_by="one_layer"),
    Mutant("mask-of-the-first", (("masked_fill(~mask", "masked_fill(~mask[:1]"),),
           "the first row's mask serves the whole batch", caught_by="one_layer"),
    Mutant("detached", (("kept.append(own)", "kept.append(tuple(t.detach() for t in own))"),),
           "what is kept is detached: ITG does not train the queries", caught_by="gradients_reach_the_queries"),
    Mutant("no-grad", ((ALONE, "        with torch.no_grad():\n            x, own = layer(x, None, weights)\n        kept.append(own)\n"),),
           "the queries run without gradients: ITG does not train them", caught_by="gradients_reach_the_queries"),
    Mutant("for-itm-too", ((MAY, "return bool(queries_rows[:, :, :queries].all())"),),
           "it is enough that queries see each other: ITM would reuse queries that never saw its text",
           caught_by="when_it_is_right"),
    Mutant("words-must-not-look", ((MAY, "return " + MAY[7:].replace("queries_rows[:, :, queries:].any()", "mask[:, queries:, :queries].any()")),),
           "it is asked whether words see queries, and not whether queries see words", caught_by="when_it_is_right"),
    Mutant("some-word-hidden", ((MAY, MAY.replace("queries:].any()", "queries:].all()")),),
           "a query that sees a single word is overlooked", caught_by="when_it_is_right"),
    Mutant("known-masks-only", (("    queries_rows = mask[:, :queries]\n", "    L = mask.shape[1] - queries\n"
                                 "    told = causal(queries, torch.ones(len(mask), L, dtype=torch.bool))\n"
                                 "    apart = told.clone()\n    apart[:, queries:, :queries], apart[:, queries:, queries:] = False, True\n"
                                 "    if not bool((mask == told).all() or (mask == apart).all()):\n        return False\n"
                                 "    queries_rows = mask[:, :queries]\n"),),
           "the masks of ITC and ITG are known by heart, and refused where words are padded", caught_by="when_it_is_right"),
    Mutant("first-word-alone", ((MAY, MAY.replace("queries:].any()", "queries].any()")),),
           "the first word alone is looked for", caught_by="when_it_is_right"),
    Mutant("order-overlooked", ((MAY, "return not bool(queries_rows[:, :, queries:].any())"),),
           "it is not asked whether all queries see each other", caught_by="when_it_is_right"),
]  # fmt: skip

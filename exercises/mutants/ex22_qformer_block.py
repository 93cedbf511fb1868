"""Known-wrong answers to exercise 22."""

from minilmm.course.exercises import Mutant

SEEN = "return F.layer_norm(x + seen, x.shape[-1:])"
THOUGHT = "return F.layer_norm(x + thought, x.shape[-1:])"
SELF = 'x = attention(x, x, mask, weights["self"])'
CROSS = 'q = attention(q, x_f, None, weights["cross"])'
QUERY, TEXT = 'feed_forward(q, weights["ffw_query"])', 'feed_forward(text, weights["ffw_text"])'

MUTANTS = [
    Mutant("pre-norm", (("    q, k, v = x @", "    y, x = x, F.layer_norm(x, x.shape[-1:])\n    q, k, v = x @"),
                        (SEEN, "return y + seen")),
           "the norm comes before the attention (pre-norm): the Q-Former is a BERT, which norms the sum",
           caught_by="added_then_normed"),
    Mutant("seen-normed", ((SEEN, "return x + F.layer_norm(seen, x.shape[-1:])"),),
           "what is seen is normed and then added, instead of the sum being normed", caught_by="added_then_normed"),
    Mutant("no-residual", ((SEEN, "return F.layer_norm(seen, x.shape[-1:])"),),
           "what is seen replaces x instead of being added", caught_by="added_then_normed"),
    Mutant("no-norm", ((SEEN, "return x + seen"),),
           "the sum is not normed", caught_by="added_then_normed"),
    Mutant("no-scale", ((" / q.shape[-1] ** 0.5", ""),),
           "the scores are not divided by the square root of the width", caught_by="added_then_normed"),
    Mutant("no-output-map", ((' @ v @ weights["o"]', " @ v"),),
           "the output map o is left out", caught_by="added_then_normed"),
    Mutant("mask-upside-down", (("masked_fill(~mask", "masked_fill(mask"),),
           "the mask is read the wrong way round: True hides", caught_by="hidden_ones"),
    Mutant("mask-ignored-across", (("if mask is not None:", "if mask is not None and context.shape == x.shape:"),),
           "the mask counts in self-attention alone", caught_by="hidden_ones"),
    Mutant("mask-after-softmax", (("    if mask is not None:\n        scores = scores.masked_fill(~mask, float(\"-inf\"))\n", ""),
                                  ("scores.softmax(-1) @ v", "(scores.softmax(-1) * (1 if mask is None else mask)) @ v")),
           "what is hidden is removed after the softmax: the weights no longer sum to 1", caught_by="hidden_ones"),
    Mutant("relu", (("F.gelu(", "F.relu("),),
           "ReLU stands for GELU", caught_by="thought_over"),
    Mutant("thought-not-added", ((THOUGHT, "return F.layer_norm(thought, x.shape[-1:])"),),
           "the feed-forward replaces x instead of being added", caught_by="thought_over"),
    Mutant("thought-not-normed", ((THOUGHT, "return x + thought"),),
           "the feed-forward's sum is not normed", caught_by="thought_over"),
    Mutant("two-self-attentions", ((SELF, 'x = torch.cat([attention(h, h, None if mask is None else mask[:, rows, rows], '
                                    'weights["self"]) for rows in (slice(queries), slice(queries, None)) for h in [x[:, rows]]], 1)'),),
           "queries and words have a self-attention each and never meet, whatever the mask",
           caught_by="one_self_attention"),
    Mutant("queries-never-see-words", ((SELF, 'seen = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)\n'
                                        '    seen[:queries, queries:] = False\n'
                                        '    x = attention(x, x, seen.expand(len(x), -1, -1) if mask is None else mask & seen, weights["self"])'),),
           "queries see no word under any mask: that is ITG's business, ITM needs it otherwise",
           caught_by="one_self_attention"),
    Mutant("no-look", ((CROSS, "q = q"),),
           "the queries never look at the picture", caught_by="the_queries_half"),
    Mutant("look-first", ((SELF, 'before = torch.cat([attention(x[:, :queries], x_f, None, weights["cross"]), x[:, queries:]], 1) '
                           'if "cross" in weights else x\n    x = attention(before, before, mask, weights["self"])'),
                          (CROSS, "q = q")),
           "the queries look at the picture before they have seen each other", caught_by="the_queries_half"),
    Mutant("look-last", ((CROSS, 'q = attention(feed_forward(q, weights["ffw_query"]), x_f, None, weights["cross"])\n'
                          f"        return torch.cat([q, {TEXT}], 1)"),
                         (f"return torch.cat([{QUERY}, {TEXT}], 1)", f'q = {QUERY}\n    return torch.cat([q, feed_forward(x[:, queries:], weights["ffw_text"])], 1)')),
           "the queries look at the picture after their feed-forward", caught_by="the_queries_half"),
    Mutant("text-ffw-for-queries", ((QUERY, 'feed_forward(q, weights["ffw_text"])'),),
           "the words' feed-forward serves the queries too", caught_by="the_queries_half"),
    Mutant("words-look", ((SELF, SELF + '\n    if "cross" in weights:\n'
                           '        x = torch.cat([x[:, :queries], attention(x[:, queries:], x_f, None, weights["cross"])], 1)'),),
           "the words look at the picture too: only queries do, words know it from them", caught_by="the_words_half"),
    Mutant("query-ffw-for-words", ((TEXT, 'feed_forward(text, weights["ffw_query"])'),),
           "the queries' feed-forward serves the words too", caught_by="the_words_half"),
    Mutant("words-do-not-think", ((TEXT, 'feed_forward(text, weights["ffw_text"]) if "cross" not in weights else text'),),
           "the words leave the block without a feed-forward where the queries have looked", caught_by="the_words_half"),
    Mutant("mask-of-the-first", (("masked_fill(~mask", "masked_fill(~mask[:1]"),),
           "the first row's mask serves the whole batch", caught_by="hidden_ones"),
    Mutant("scaled-by-context", (("q.shape[-1] ** 0.5", "context.shape[-1] ** 0.5"),),
           "the scores are divided by the square root of the context's width and not of the keys'",
           caught_by="added_then_normed"),
    Mutant("words-cut-off", (("q, text = x[:, :queries], x[:, queries:]", "q, text = x[:, :queries], x[:, queries:].detach()"),),
           "the words are detached behind the self-attention: their loss does not train it", caught_by="the_words_half"),
    Mutant("picture-cut-off", ((CROSS, 'q = attention(q, x_f.detach(), None, weights["cross"])'),),
           "the picture's features are detached: what stands between the eyes and the block is never trained",
           caught_by="gradients_pass"),
    Mutant("cut-off", ((CROSS, 'q = attention(q.detach(), x_f, None, weights["cross"])'),),
           "the queries are detached before they look: no gradient reaches the self-attention",
           caught_by="gradients_pass"),
]  # fmt: skip

"""Known-wrong answers to exercise 19."""

from minilmm.course.exercises import Mutant

PICK = 'return cosine.masked_fill(itself, float("-inf")).topk(k).indices.flip(1)'
COSINE = "cosine = F.normalize(queries, dim=-1) @ F.normalize(support, dim=-1).T"

MUTANTS = [
    Mutant("most-similar-first", ((".indices.flip(1)", ".indices"),),
           "the most similar comes first, farthest from the question", caught_by="nearest_last"),
    Mutant("dot-products", ((COSINE, "cosine = queries @ support.T"),),
           "dot products stand for cosines: long vectors are near to everything", caught_by="nearest_last"),
    Mutant("distances", ((COSINE, "cosine = -torch.cdist(queries, support)"),),
           "Euclidean distances stand for cosines, with features of unequal lengths", caught_by="nearest_last"),
    Mutant("farthest", ((PICK, 'return cosine.masked_fill(itself, float("inf")).topk(k, largest=False).indices.flip(1)'),),
           "the least similar are chosen", caught_by="nearest_last"),
    Mutant("minus-one-is-last", (("== own[:, None]", "== (own % len(support))[:, None]"),),
           "-1 is used as an index: a query from elsewhere strikes out the last picture of the support",
           caught_by="nearest_last"),
    Mutant("nearest-always-dropped", ((PICK, "return cosine.topk(min(k + 1, len(support))).indices[:, 1:].flip(1)"),),
           "the nearest is always dropped, taken for the query itself", caught_by="nearest_last"),
    Mutant("struck-out-for-all", ((PICK, PICK.replace("masked_fill(itself,", "masked_fill(itself.any(0),")),),
           "one query's own picture is struck out for all queries of the batch", caught_by="each_query"),
    Mutant("first-for-all", (("F.normalize(queries, dim=-1)", "F.normalize(queries[:1], dim=-1)"),),
           "the first query's neighbours are everyone's", caught_by="each_query"),
    Mutant("itself", ((PICK, "return cosine.topk(k).indices.flip(1)"),),
           "a query in the support is its own example: the answer stands in the prompt", caught_by="not_itself"),
    Mutant("dropped-afterwards", ((PICK, "rows = cosine.topk(k).indices.flip(1).tolist()\n"
                                   "    return torch.tensor([[i for i in row if i != o] for row, o in zip(rows, "
                                   "own.tolist(), strict=True)])"),),
           "the query is dropped after k were chosen: one example is missing", caught_by="not_itself"),
    Mutant("twins-lost", ((PICK, "rows = cosine.argsort(descending=True).tolist()\n"
                           "    return torch.tensor([[i for i in row if s[i] < 1 - 1e-5][:k][::-1] for s, row in "
                           "zip(cosine, rows, strict=True)])"),),
           "the query is known by its features: another picture with the same ones is lost too", caught_by="not_itself"),
    Mutant("itself-counted", (("others = len(support) - int((own >= 0).any())", "others = len(support)"),),
           "the query's own picture is counted among those to choose from", caught_by="too_few"),
    Mutant("inverse-orders", (("chosen[orders]", "chosen[orders.argsort(-1)]"),),
           "an order is read as where each example goes, and not as which stands at each place",
           caught_by="in_these_orders"),
    Mutant("orders-backwards", (("chosen[orders]", "chosen[orders.flip(-1)]"),),
           "the examples come in each order's reverse", caught_by="in_these_orders"),
    Mutant("one-order", (("chosen[orders]", "chosen.expand(len(orders), -1)"),),
           "every prompt has the same order", caught_by="in_these_orders"),
    Mutant("mean-of-probabilities", (("mean = logs.mean(1)", "mean = logs.exp().mean(1).log()"),),
           "probabilities are averaged and not their logarithms: one order that is sure decides",
           caught_by="mean_log_likelihood"),
    Mutant("best-order", (("mean = logs.mean(1)", "mean = logs.amax(1)"),),
           "each candidate is judged by the order that likes it best", caught_by="mean_log_likelihood"),
    Mutant("product", (("mean = logs.mean(1)", "mean = logs.sum(1)"),),
           "log-likelihoods are added and not averaged, so that they sink with every order",
           caught_by="mean_log_likelihood"),
    Mutant("first-order-only", (("mean = logs.mean(1)", "mean = logs[:, 0]"),),
           "only the first order counts", caught_by="mean_log_likelihood"),
    Mutant("over-candidates", (("mean = logs.mean(1)", "mean = logs.mean(2)"),),
           "the mean runs over candidates and not over orders", caught_by="mean_log_likelihood"),
    Mutant("vote", (("mean.argmax(-1)", "logs.argmax(-1).mode(1).values"),),
           "every order has one vote, however close it was", caught_by="the_answer"),
    Mutant("smallest", (("mean.argmax(-1)", "mean.argmin(-1)"),),
           "the least likely candidate is the answer: these are log-likelihoods, not losses", caught_by="the_answer"),
]  # fmt: skip

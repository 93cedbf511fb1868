"""Known-wrong answers to exercise 30."""

from minilmm.course.exercises import Mutant

TOPK = "return similar.topk(min(k, similar.shape[1]), 1).indices"
SORT = "matched.argsort(1, descending=True)"
MATCHED = "matched = match(pictures.flatten(), first.flatten()).view_as(first)"
OUT = "return torch.cat([first.gather(1, matched.argsort(1, descending=True)), rest], 1)"
IMAGES = "return ranked_texts(similar.T, lambda texts, pictures: match(pictures, texts), k)"

MUTANTS = [
    Mutant("least-similar", ((TOPK, TOPK.replace(", 1)", ", 1, largest=False)")),),
           "the least similar are the candidates", caught_by="the_most_similar"),
    Mutant("never-below-zero", ((TOPK, TOPK.replace("similar.topk", "similar.clamp(min=0).topk")),),
           "similarities below 0 all count the same", caught_by="the_most_similar"),
    Mutant("by-number", ((TOPK, TOPK + ".sort(1).values"),),
           "the candidates stand in the order of their numbers", caught_by="the_most_similar"),
    Mutant("worst-first", ((TOPK, TOPK + ".flip(1)"),),
           "the best candidate comes last", caught_by="the_most_similar"),
    Mutant("over-all-rows", ((TOPK, "return similar.mean(0, keepdim=True).expand_as(similar).topk(min(k, similar.shape[1]), 1).indices"),),
           "all rows have the same candidates: those most similar on average", caught_by="the_most_similar"),
    Mutant("repeated", ((TOPK, "return similar.argsort(1, descending=True)[:, torch.arange(k).clamp(max=similar.shape[1] - 1)]"),),
           "the last candidate is repeated until there are k", caught_by="fewer_than_k"),
    Mutant("k-too-large", ((TOPK, "return similar.topk(k, 1).indices"),),
           "more candidates are asked for than there are columns: topk raises an error", caught_by="fewer_than_k"),
    Mutant("not-reranked", ((OUT, "return torch.cat([first, rest], 1)"),),
           "ITC's order stays: the match is asked for and not used", caught_by="by_their_match"),
    Mutant("least-likely-first", ((SORT + ")", "matched.argsort(1))"),),
           "the least likely match comes first", caught_by="by_their_match"),
    Mutant("summed", ((MATCHED, MATCHED + " + similar.gather(1, first)"),),
           "similarity and match are added, as the authors' code does: here the match alone decides",
           caught_by="by_their_match"),
    Mutant("multiplied", ((MATCHED, MATCHED + " * similar.gather(1, first)"),),
           "similarity and match are multiplied", caught_by="by_their_match"),
    Mutant("ranks-as-numbers", ((OUT, "return torch.cat([matched.argsort(1, descending=True), rest], 1)"),),
           "places among the candidates come back as if they were the numbers of texts", caught_by="by_their_match"),
    Mutant("best-only", ((OUT, "best = matched.argmax(1, keepdim=True)\n"
                          "    others = first[torch.ones_like(first, dtype=torch.bool).scatter(1, best, False)].view(len(first), -1)\n"
                          "    return torch.cat([first.gather(1, best), others, rest], 1)"),),
           "only the best match is put in front, the other candidates keep their order", caught_by="by_their_match"),
    Mutant("rest-dropped", ((OUT, OUT.replace(", rest]", "]")),),
           "what was no candidate is dropped", caught_by="the_rest_behind"),
    Mutant("rest-by-number", ((OUT, OUT.replace("rest]", "rest.sort(1).values]")),),
           "what was no candidate stands in the order of its number", caught_by="the_rest_behind"),
    Mutant("rest-backwards", ((OUT, OUT.replace("rest]", "rest.flip(1)]")),),
           "what was no candidate stands in reverse", caught_by="the_rest_behind"),
    Mutant("all-asked", ((MATCHED, "every = torch.cartesian_prod(torch.arange(len(similar)), torch.arange(similar.shape[1]))\n"
                          "    matched = match(every[:, 0], every[:, 1]).view_as(similar).gather(1, first)"),),
           "all pairs are matched and most matches thrown away: N times M runs", caught_by="asked_once"),
    Mutant("asked-twice", ((MATCHED, "match(pictures.flatten(), first.flatten())\n    " + MATCHED),),
           "each pair is matched twice", caught_by="asked_once"),
    Mutant("one-more", ((MATCHED, "match(torch.arange(len(similar)), rest[:, 0])\n    " + MATCHED),),
           "a candidate more than k is matched", caught_by="asked_once"),
    Mutant("all-asked-for-texts", ((IMAGES, "every = torch.cartesian_prod(torch.arange(len(similar)), torch.arange(similar.shape[1]))\n"
                                    "    table = match(every[:, 0], every[:, 1]).view_as(similar)\n"
                                    "    return ranked_texts(similar.T, lambda texts, pictures: table[pictures, texts], k)"),),
           "for texts all pairs are matched, and not the candidates alone", caught_by="pictures_of_a_text"),
    Mutant("not-turned", ((IMAGES, "return ranked_texts(similar, match, k)"),),
           "pictures still look for texts: nothing is turned round", caught_by="pictures_of_a_text"),
    Mutant("match-not-turned", ((IMAGES, "return ranked_texts(similar.T, match, k)"),),
           "`match` is given texts where it wants pictures", caught_by="pictures_of_a_text"),
    Mutant("similar-not-turned", ((IMAGES, "return ranked_texts(similar, lambda texts, pictures: match(pictures, texts), k)"),),
           "the similarities are not turned round: rows are pictures still", caught_by="pictures_of_a_text"),
    Mutant("not-reranked-for-texts", ((IMAGES, "return candidates(similar.T, len(similar))"),),
           "for texts ITC's order stays", caught_by="pictures_of_a_text"),
]  # fmt: skip

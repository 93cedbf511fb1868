"""Answers to exercises 01 to 10 as people write them: wrong ones do not earn every point, right ones do.

A wrong answer is code behind the solution, which it redefines, or a tuple of edits of the solution.
"""

import ast
from pathlib import Path

import pytest

from minilmm.course.exercises import Mutant, load_manifest
from minilmm.course.grading import Grader

EXERCISES = {e.id: e for e in load_manifest(Path(__file__).parent.parent / "exercises")}
MINE = [f"{number:02}" for number in range(1, 11)]

WRONG = {
    "01": {
        "the query has a tag only where nothing is shown": """
old = build_prompt
def build_prompt(d, q, o):
    ids, pictures = old(d, q, o)
    return ids[:-1] if d else ids, pictures
""",
        "the query is closed where something is shown": """
old = build_prompt
def build_prompt(d, q, o):
    ids, pictures = old(d, q, o)
    return [*ids, EOC] if d else ids, pictures
""",
        "every word once": (("*words", "*dict.fromkeys(words)"),),
        "two words at most": (("*words", "*words[:2]"),),
        "only the first picture is looked at": (("query in shown:", "query in shown[:1]:"),),
        "only the last picture is looked at": (("query in shown:", "query in shown[-1:]:"),),
        "a query with the number of a word is refused": (
            ("query in shown:", "query in shown or any(query in words for _, words in demonstrations):"),),
        "a picture shown twice is refused": (("query in shown:", "query in shown or len(set(shown)) < len(shown):"),),
        "every query is refused": (("query in shown:", "demonstrations:"),),
        "the last demonstration is not closed": """
old = build_prompt
def build_prompt(d, q, o):
    ids, pictures = old(d, q, o)
    return [*ids[:-2], IMAGE] if d else ids, pictures
""",
    },
    "02": {
        "images and ends are counted": (("(last_image > closed)", """((ids == IMAGE).cumsum(1)
            > F.pad((ids == EOC)[:, :-1], (1, 0)).cumsum(1))"""),),
        "a row goes on where the row before ended": """
old = loss_mask
def loss_mask(ids):
    return old(ids.flatten()[None])[0].view_as(ids)
""",
        "every end counts": (("return (last_image > closed)", "return ((last_image > closed) | (ids == EOC))"),),
        "padding ends a caption": (("(ids != EOC, -1)", "((ids != EOC) & (ids != PAD), -1)"),),
        "nothing counts": (("return (last_image > closed)", "return (last_image > closed) & False"),),
        "the first row alone": (("return (last_image > closed)", "return (last_image > closed)[:1]"),),
        "the mean of the rows' means": (("F.cross_entropy(logits[:, :-1][wanted], ids[:, 1:][wanted])",
            "torch.stack([F.cross_entropy(x[:-1][w], i[1:][w]) for x, i, w in zip(logits, ids, wanted) if w.any()]"
            ").mean()"),),
        "all positions are counted": (("[wanted], ids[:, 1:][wanted])",
            "[wanted], ids[:, 1:][wanted], reduction='sum') / wanted.numel()"),),
        "a marked first token is counted": (("[wanted], ids[:, 1:][wanted])",
            "[wanted], ids[:, 1:][wanted], reduction='sum') / mask.sum()"),),
        "a marked first token is enough": (("if not bool(wanted.any())", "if not bool(mask.any())"),),
        "bits": (("[wanted], ids[:, 1:][wanted])", "[wanted], ids[:, 1:][wanted]) / 0.6931472"),),
        "a loss that cannot be learned from": (("logits[:, :-1][wanted]", "logits.detach()[:, :-1][wanted]"),),
        "the gradient of the true token alone": (("return F.cross_entropy(logits[:, :-1][wanted], ids[:, 1:][wanted])",
            "x = logits[:, :-1][wanted]\n"
            "    return (x.detach().logsumexp(-1) - x.gather(-1, ids[:, 1:][wanted][:, None])[:, 0]).mean()"),),
        "the mask is changed in place": (("wanted = mask[:, 1:]", "mask[:, 0] = False\n    wanted = mask[:, 1:]"),),
        "every loss is refused": (("if not bool(wanted.any())", "if True"),),
    },
    "03": {
        "zeros everywhere but at the end": (("return weights @ v",
            "out = weights @ v\n    return torch.cat([0 * out[..., :-1, :], out[..., -1:, :]], -2)"),),
        "only the last column is masked": ((".triu(1)", ".triu(1) & (torch.arange(q.shape[-2]) == q.shape[-2] - 1)"),),
        "scaled by the values' width": (("q.shape[-1] ** 0.5", "v.shape[-1] ** 0.5"),),
        "scaled by 4": (("q.shape[-1] ** 0.5", "4"),),
        "scaled by the length": (("q.shape[-1] ** 0.5", "q.shape[-2] ** 0.5"),),
        "softmax over the queries": ((".softmax(-1)", ".softmax(-2)"),),
        "the first head for all": (("q @ k", "q[:, :1] @ k[:, :1]"),),
        "the first row for all": (("q @ k", "q[:1] @ k[:1]"),),
        "six positions back at most": ((".triu(1)", ".triu(1) | torch.ones(q.shape[-2], q.shape[-2]).tril(-3).bool()"),),
        "detached keys": (("q @ k", "q @ k.detach()"),),
        "detached weights": (("return weights @ v", "return weights.detach() @ v"),),
        "detached values": (("return weights @ v", "return weights @ v.detach()"),),
        "the mean of what came before": (("scores.masked", "(0 * scores).masked"),),
        "the values as they came": (("return weights @ v", "return v"),),
    },
    "04": {
        "theta is always 10000": (("frequency = theta", "frequency = 10_000.0"),),
        "the width is always 8": (("(-torch.arange(0, width, 2) / width)", "(-torch.arange(0, width, 2) / 8)"),),
        "positions count from the first": (("return positions[:, None]", "return (positions - positions[0])[:, None]"),),
        "positions are sorted": (("return positions[:, None]", "return positions.sort().values[:, None]"),),
        "the step between positions": (("return positions[:, None]",
            "return (torch.arange(len(positions)) * (positions[-1] // max(1, len(positions) - 1)))[:, None]"),),
        "batches are left as they are": (("    a, b = x.chunk(2, -1)", "    if x.dim() > 2:\n        return x\n"
                                          "    a, b = x.chunk(2, -1)"),),
        "batches turn by the first angle": (("    a, b = x.chunk(2, -1)", "    if x.dim() > 2:\n"
                                             "        angle = angle[:1]\n    a, b = x.chunk(2, -1)"),),
        "the first pair's angle for all": (("    a, b = x.chunk(2, -1)",
                                            "    angle = angle[:, :1]\n    a, b = x.chunk(2, -1)"),),
        "clockwise": (("    a, b = x.chunk(2, -1)", "    angle = -angle\n    a, b = x.chunk(2, -1)"),),
        "detached vectors": (("x.chunk", "x.detach().chunk"),),
        "detached angles": (("    a, b = x.chunk(2, -1)", "    angle = angle.detach()\n    a, b = x.chunk(2, -1)"),),
        "the second half stays": (("b * angle.cos() + a * angle.sin()", "b + 0 * a"),),
    },
    "05": {
        "a prompt leaves no cache": (("[:, 0], {\"k\": k, \"v\": v}", "[:, 0], {}"),),
        "a prompt's keys and values change places": (("[:, 0], {\"k\": k, \"v\": v}", "[:, 0], {\"k\": v, \"v\": k}"),),
        "a prompt's cache holds its last token": (("[:, 0], {\"k\": k, \"v\": v}",
                                                   "[:, 0], {\"k\": k[:, -1:], \"v\": v[:, -1:]}"),),
        "scaled by 2": (("q.shape[-1] ** 0.5", "2"),),
        "scaled by the input's width": (("q.shape[-1] ** 0.5", "x.shape[-1] ** 0.5"),),
        "a cache that gradients do not pass": (("cache[\"k\"], k]", "cache[\"k\"].detach(), k]"),),
        "the cache is changed in place": (("softmax(-1) @ v, {\"k\": k, \"v\": v}",
                                           "softmax(-1) @ v, (cache.update(k=k, v=v), cache)[1]"),),
        "the first row's cache for all": (("cache[\"k\"], k]", "cache[\"k\"][:1].expand(len(k), -1, -1), k]"),),
        "three tokens are kept": (("softmax(-1) @ v, {\"k\": k, \"v\": v}",
                                   "softmax(-1) @ v, {\"k\": k[:, -3:], \"v\": v[:, -3:]}"),),
        "queries are kept too": (("softmax(-1) @ v, {", "softmax(-1) @ v, {\"q\": q, "),),
        "prompts of a batch see each other": (("attention(q[:, None], k[:, None], v[:, None])[:, 0]",
            "attention(q.flatten(0, 1)[None, None], k.flatten(0, 1)[None, None], v.flatten(0, 1)[None, None]"
            ").view_as(v)"),),
    },
    "06": {
        "logits of padding are zero": (("    each = ", "    logits = logits.masked_fill(~mask[..., None], 0)\n"
                                        "    each = "), (".masked_fill(~mask, 0).sum", ".sum")),
        "padded candidates score 0": (("each.masked_fill(~mask, 0).sum(-1)",
                                       "each.sum(-1).masked_fill(~mask.all(-1), 0)"),),
        "token 0 is padding": ((".masked_fill(~mask, 0)", ".masked_fill(candidates == 0, 0)"),),
        "the longest length for all": ((".masked_fill(~mask, 0)", ".masked_fill(~mask.any(1, keepdim=True), 0)"),),
        "the first row's prompt for all": (("first[:, None, None].expand(-1,",
                                            "first[:1, None, None].expand(len(later),"),),
        "the first candidate's logits for all": (("later[:, :, :-1]", "later[:, :1, :-1].expand_as(later[:, :, :-1])"),),
        "a distribution over candidates": (("0).sum(-1)", "0).sum(-1).log_softmax(-1)"),),
        "detached logits behind the prompt": (("first[:, None", "first.detach()[:, None"),),
        "detached later logits": (("later[:, :, :-1]", "later.detach()[:, :, :-1]"),),
        "absent candidates score -100": (("float(\"-inf\")", "-100.0"),),
        "absent candidates score as the worst": (("float(\"-inf\")", "float(scores.min())"),),
        "the choice is always the same": (("return scores.masked_fill(~mask, float(\"-inf\")).argmax(-1)",
                                           "return torch.tensor([2, 0])"),),
        "the least probable": (("scores.masked_fill(~mask, float(\"-inf\")).argmax",
                                "scores.masked_fill(~mask, float(\"inf\")).argmin"),),
    },
    "07": {
        "detached statistics": (("(weight - mean)", "(weight - mean.detach())"), ("* var)", "* var.detach())")),
        "a detached variance": (("* var)", "* var.detach())"),),
        "a detached gain": (("gain[:", "gain.detach()[:"),),
        "kernels are 3 x 3": (("weight[0].numel()", "weight.shape[1] * 9"),),
        "the gain has no sign": (("* gain[", "* gain.abs()["),),
        "gains line up with columns": (("gain[:, None, None, None]",
                                        "(gain if len(gain) == weight.shape[-1] else gain[:, None, None, None])"),),
        "eps is always 1e-4": (("min=eps", "min=1e-4"),),
        "the floor is for all filters": (("(fan_in * var).clamp(min=eps)",
            "(torch.full_like(var, eps) if (fan_in * var < eps).all() else fan_in * var)"),),
        "one filter under the floor lifts all": (("(fan_in * var).clamp(min=eps)",
            "(torch.full_like(var, eps) if (fan_in * var < eps).any() else fan_in * var)"),),
        "mean and variance per kernel": (("dim=(1, 2, 3)", "dim=(2, 3)"),),
        "the mean alone": (("(weight - mean) / (fan_in * var).clamp(min=eps).sqrt()", "(weight - mean)"),),
    },
    "08": {
        "softmax over the whole matrix": (("(F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2",
                                           "(logits.logsumexp((0, 1)) - logits.diagonal()).mean()"),),
        "ln B": (("return (F", "return torch.tensor(float(len(logits))).log() + 0 * (F"),),
        "the pair is left out of the sum": (("(F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2",
            "sum((x.masked_fill(torch.eye(len(x)).bool(), -1e9).logsumexp(1) - x.diagonal()).mean() for x in "
            "(logits, logits.T)) / 2 if len(logits) > 1 else 0 * similarity.sum()"),),
        "one softmax of the symmetric part": (("return (F", "logits = (logits + logits.T) / 2\n    return (F"),),
        "columns are detached": (("F.cross_entropy(logits.T, pairs)", "F.cross_entropy(logits.T.detach(), pairs)"),),
        "a number without a gradient": (("return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2",
            "return ((F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2).item()"),),
        "the temperature is always .5": (("similarity / temperature", "similarity / 0.5"),),
        "detached texts": (("F.normalize(texts, dim=-1)", "F.normalize(texts.detach(), dim=-1)"),),
        "lengths are constants": (("F.normalize(images, dim=-1)", "(images / images.norm(dim=-1, keepdim=True).detach())"),),
        "normalised over the batch": (("F.normalize(images, dim=-1)", "F.normalize(images, dim=0)"),),
        "the log of the mean probability": (("(F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2",
            "-sum(x.softmax(1).diagonal().mean().log() for x in (logits, logits.T)) / 2"),),
        "the upper half alone": (("return (F", "logits = logits.triu()\n    return (F"),),
    },
    "09": {
        "k is always 2": (("(before_text < k)", "(before_text < 2)"), ("(before_picture < k)", "(before_picture < 2)")),
        "k is at most 2": (("    own = ", "    k = min(k, 2)\n    own = "),),
        "ties count against in rows alone": (("similarity >= own[None, :]", "similarity > own[None, :]"),),
        "ties count against in columns alone": (("similarity >= own[:, None]", "similarity > own[:, None]"),),
        "a share of N - 1": (("(before_text < k).float().mean().item()",
                              "min(1.0, (before_text < k).sum().item() / max(1, len(own) - 1))"),),
        "topk": (("(before_text < k).float()",
                  "(similarity.topk(k, 1).indices == torch.arange(len(own))[:, None]).any(1).float()"),),
        "always the same pictures": (("return cosine.argsort()[len(support) - shots :].tolist()", "return [0, 3, 1]"),),
        "the query is not looked at": (("(support @ query)", "support.sum(1)"),),
        "none are all": (("[len(support) - shots :]", "[-shots:]"),),
        "all are too many": (("if shots > len(support):", "if shots >= len(support):"),),
        "any direction": (("cosine.argsort()", "cosine.abs().argsort()"),),
        "three shots": (("[len(support) - shots :]", "[-3:]"),),
        "every request is refused": (("if shots > len(support):", "if True:"),),
        "distances": (("(support @ query) / (support.norm(dim=1) * query.norm())", "-(support - query).norm(dim=1)"),),
    },
    "10": {
        "more pictures than tags": (("if len(tags) != len(prefixes):", "if len(tags) > len(prefixes):"),
                                    (", strict=True)", ", strict=False)")),
        "two tags at most": (("zip(tags, prefixes, strict=True)", "list(zip(tags, prefixes, strict=True))[:2]"),),
        "tags side by side are one": (("parts += [words[start:tag], vectors]",
            "parts += [words[start:tag], vectors] if not start or tag > start else []"),),
        "a tag at the end is lost": (("parts += [words[start:tag], vectors]",
                                      "parts += [words[start:tag], vectors[: 0 if tag + 1 == len(ids) else None]]"),),
        "a tag at the beginning is lost": (("parts += [words[start:tag], vectors]",
                                            "parts += [words[start:tag], vectors[: 0 if tag == 0 else None]]"),),
        "a document without pictures is refused": (("if len(tags) != len(prefixes):",
                                                    "if not tags or len(tags) != len(prefixes):"),),
        "two vectors per picture": (("(n, -1)", "(2, -1)"),),
        "detached prefixes": (("zip(tags, prefixes,", "zip(tags, prefixes.detach(),"),),
        "detached words": (("words[start:]])", "words[start:].detach()])"),),
        "frozen features' map": (("(pooled @", "(pooled.detach() @"),),
        "zeros for two": (("return torch.cat([*parts, words[start:]])",
                           "return torch.cat([*parts, words[start:]]) * (len(tags) < 2)"),),
        "every document is refused": (("if len(tags) != len(prefixes):", "if True:"),),
    },
}  # fmt: skip

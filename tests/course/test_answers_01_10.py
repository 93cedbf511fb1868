"""Answers to exercises 01 to 10 beside the known mistakes: wrong ones do not earn every point, right ones do.

An answer is code behind the solution, of which it defines something anew, or a tuple of edits of the solution.
"""

import ast
from pathlib import Path

import pytest

from minilmm.course.exercises import Mutant, load_manifest
from minilmm.course.grading import Grader

EXERCISES = {e.id: e for e in load_manifest(Path(__file__).parents[2] / "exercises")}
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
        "only the last picture is looked at": (("query in shown:", "query in shown[-1:]:"),),
        "a query with a word's number is refused": (
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
        "a row goes on where the row before ended": """
old = loss_mask
def loss_mask(ids):
    return old(ids.flatten()[None])[0].view_as(ids)
""",
        "nothing counts": (("return (last_image > closed)", "return (last_image > closed) & False"),),
        "the first row alone": (("return (last_image > closed)", "return (last_image > closed)[:1]"),),
        "all positions are counted": (("[wanted], ids[:, 1:][wanted])",
            "[wanted], ids[:, 1:][wanted], reduction='sum') / wanted.numel()"),),
        "bits": (("[wanted], ids[:, 1:][wanted])", "[wanted], ids[:, 1:][wanted]) / 0.6931472"),),
        "the gradient of the true token alone": (("return F.cross_entropy(logits[:, :-1][wanted], ids[:, 1:][wanted])",
            "x = logits[:, :-1][wanted]\n"
            "    return (x.detach().logsumexp(-1) - x.gather(-1, ids[:, 1:][wanted][:, None])[:, 0]).mean()"),),
        "the mask is changed in place": (("wanted = mask[:, 1:]", "mask[:, 0] = False\n    wanted = mask[:, 1:]"),),
        "every loss is refused": (("if not bool(wanted.any())", "if True"),),
    },
    "03": {
        "zeros everywhere but at the end": (("return weights @ v",
            "out = weights @ v\n    return torch.cat([0 * out[..., :-1, :], out[..., -1:, :]], -2)"),),
        "scaled by 4": (("q.shape[-1] ** 0.5", "4"),),
        "scaled by the length": (("q.shape[-1] ** 0.5", "q.shape[-2] ** 0.5"),),
        "the first head for all": (("q @ k", "q[:, :1] @ k[:, :1]"),),
        "the first row for all": (("q @ k", "q[:1] @ k[:1]"),),
        "two positions back at most": ((".triu(1)", ".triu(1) | torch.ones(*[q.shape[-2]] * 2).tril(-3).bool()"),),
        "detached keys": (("q @ k", "q @ k.detach()"),),
        "detached values": (("return weights @ v", "return weights @ v.detach()"),),
        "the mean of what came before": (("scores.masked", "(0 * scores).masked"),),
        "the values as they came": (("return weights @ v", "return v"),),
    },
    "04": {
        "the width is always 8": (("(-torch.arange(0, width, 2) / width)", "(-torch.arange(0, width, 2) / 8)"),),
        "positions are sorted": (("return positions[:, None]", "return positions.sort().values[:, None]"),),
        "the step between positions": (("return positions[:, None]",
            "return (torch.arange(len(positions)) * (positions[-1] // max(1, len(positions) - 1)))[:, None]"),),
        "batches are left": (("    a, b = x.chunk(2, -1)", "    if x.dim() > 2:\n        return x\n"
                                          "    a, b = x.chunk(2, -1)"),),
        "batches turn by the first angle": (("    a, b = x.chunk(2, -1)", "    if x.dim() > 2:\n"
                                             "        angle = angle[:1]\n    a, b = x.chunk(2, -1)"),),
        "detached angles": (("    a, b = x.chunk(2, -1)", "    angle = angle.detach()\n    a, b = x.chunk(2, -1)"),),
        "the second half stays": (("b * angle.cos() + a * angle.sin()", "b + 0 * a"),),
    },
    "05": {
        "scaled by 2": (("q.shape[-1] ** 0.5", "2"),),
        "the first row's cache for all": (("cache[\"k\"], k]", "cache[\"k\"][:1].expand(len(k), -1, -1), k]"),),
        "three tokens are kept": (("softmax(-1) @ v, {\"k\": k, \"v\": v}",
                                   "softmax(-1) @ v, {\"k\": k[:, -3:], \"v\": v[:, -3:]}"),),
        "queries are kept too": (("softmax(-1) @ v, {", "softmax(-1) @ v, {\"q\": q, "),),
        "prompts of a batch see each other": (("attention(q[:, None], k[:, None], v[:, None])[:, 0]",
            "attention(q.flatten(0, 1)[None, None], k.flatten(0, 1)[None, None], v.flatten(0, 1)[None, None]"
            ").view_as(v)"),),
    },
    "06": {
        "token 0 is padding": ((".masked_fill(~mask, 0)", ".masked_fill(candidates == 0, 0)"),),
        "one candidate's logits for all": (("later[:, :, :-1]", "later[:, :1, :-1].expand_as(later[:, :, :-1])"),),
        "a distribution over candidates": (("0).sum(-1)", "0).sum(-1).log_softmax(-1)"),),
        "detached later logits": (("later[:, :, :-1]", "later.detach()[:, :, :-1]"),),
        "absent candidates score as the worst": (("float(\"-inf\")", "float(scores.min())"),),
        "the choice is always the same": (("return scores.masked_fill(~mask, float(\"-inf\")).argmax(-1)",
                                           "return torch.tensor([2, 0])"),),
        "the least probable": (("scores.masked_fill(~mask, float(\"-inf\")).argmax",
                                "scores.masked_fill(~mask, float(\"inf\")).argmin"),),
    },
    "07": {
        "a detached variance": (("* var)", "* var.detach())"),),
        "the gain has no sign": (("* gain[", "* gain.abs()["),),
        "gains line up with columns": (("gain[:, None, None, None]",
                                        "(gain if len(gain) == weight.shape[-1] else gain[:, None, None, None])"),),
        "eps is always 1e-4": (("min=eps", "min=1e-4"),),
        "the floor is for all filters": (("(fan_in * var).clamp(min=eps)",
            "(torch.full_like(var, eps) if (fan_in * var < eps).all() else fan_in * var)"),),
        "one filter under the floor lifts all": (("(fan_in * var).clamp(min=eps)",
            "(torch.full_like(var, eps) if (fan_in * var < eps).any() else fan_in * var)"),),
        "the mean alone": (("(weight - mean) / (fan_in * var).clamp(min=eps).sqrt()", "(weight - mean)"),),
    },
    "08": {
        "ln B": (("return (F", "return torch.tensor(float(len(logits))).log() + 0 * (F"),),
        "the pair is left out of the sum": (("(F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2",
            "sum((x.masked_fill(torch.eye(len(x)).bool(), -1e9).logsumexp(1) - x.diagonal()).mean() for x in "
            "(logits, logits.T)) / 2 if len(logits) > 1 else 0 * similarity.sum()"),),
        "a Python number": (("return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2",
            "return ((F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2).item()"),),
        "the temperature is always .5": (("similarity / temperature", "similarity / 0.5"),),
        "detached texts": (("F.normalize(texts, dim=-1)", "F.normalize(texts.detach(), dim=-1)"),),
        "normalised over the batch": (("F.normalize(images, dim=-1)", "F.normalize(images, dim=0)"),),
        "the log of the mean probability": (("(F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2",
            "-sum(x.softmax(1).diagonal().mean().log() for x in (logits, logits.T)) / 2"),),
        "the upper half alone": (("return (F", "logits = logits.triu()\n    return (F"),),
    },
    "09": {
        "k is always 2": (("(before_text < k)", "(before_text < 2)"), ("(before_picture < k)", "(before_picture < 2)")),
        "ties count against in columns alone": (("similarity >= own[:, None]", "similarity > own[:, None]"),),
        "a share of N - 1": (("(before_text < k).float().mean().item()",
                              "min(1.0, (before_text < k).sum().item() / max(1, len(own) - 1))"),),
        "topk": (("(before_text < k).float()",
                  "(similarity.topk(k, 1).indices == torch.arange(len(own))[:, None]).any(1).float()"),),
        "always the same pictures": (("return cosine.argsort()[len(support) - shots :].tolist()", "return [0, 3, 1]"),),
        "the query is not looked at": (("(support @ query)", "support.sum(1)"),),
        "all are too many": (("if shots > len(support):", "if shots >= len(support):"),),
        "three shots": (("[len(support) - shots :]", "[-3:]"),),
        "every request is refused": (("if shots > len(support):", "if True:"),),
    },
    "10": {
        "tags side by side are one": (("parts += [words[start:tag], vectors]",
            "parts += [words[start:tag], vectors] if not start or tag > start else []"),),
        "a tag at the end is lost": (("parts += [words[start:tag], vectors]",
                                      "parts += [words[start:tag], vectors[: 0 if tag + 1 == len(ids) else None]]"),),
        "a tag at the beginning is lost": (("parts += [words[start:tag], vectors]",
                                            "parts += [words[start:tag], vectors[: 0 if tag == 0 else None]]"),),
        "a document without pictures is refused": (("if len(tags) != len(prefixes):",
                                                    "if not tags or len(tags) != len(prefixes):"),),
        "detached words": (("words[start:]])", "words[start:].detach()])"),),
        "zeros for two": (("return torch.cat([*parts, words[start:]])",
                           "return torch.cat([*parts, words[start:]]) * (len(tags) < 2)"),),
        "every document is refused": (("if len(tags) != len(prefixes):", "if True:"),),
    },
}  # fmt: skip

RIGHT = {
    "01": {"piece by piece": """
def build_prompt(demonstrations, query, order):
    if any(picture == query for picture, words in demonstrations):
        raise ValueError("the query is shown")
    ids, pictures = [BOS], []
    while len(pictures) < len(order):
        pictures.append(demonstrations[order[len(pictures)]][0])
        ids.append(IMAGE)
        ids.extend(demonstrations[order[len(pictures) - 1]][1] + [EOC])
    return [ids + [IMAGE], pictures + [query]]
"""},
    "02": {"a loop, and labels of -100": """
def loss_mask(ids):
    mask = torch.zeros_like(ids)
    for row, told in zip(ids, mask):
        looking = False
        for i, token in enumerate(row.tolist()):
            told[i] = looking and token not in (PAD, IMAGE)
            looking = token == IMAGE or looking and token != EOC
    return mask

def masked_loss(logits, ids, mask):
    labels = ids.masked_fill(~mask, -100)[:, 1:]
    if (labels == -100).all():
        raise ValueError("nothing is marked")
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), labels, ignore_index=-100)
""", "a weighted sum": """
def masked_loss(logits, ids, mask):
    if mask[:, 1:].sum() == 0:
        raise ValueError("nothing is marked")
    told = logits.log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
    return -(told * mask[:, 1:].to(told.dtype)).sum() / mask[:, 1:].sum()
"""},
    "03": {"of torch": """
def attention(q, k, v):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
""", "einsum and a large number": """
def attention(q, k, v):
    L = q.shape[2]
    scores = torch.einsum("bhid,bhjd->bhij", q.double(), k.double()) / q.shape[-1] ** 0.5
    scores = scores - 1e9 * (torch.arange(L)[None, :] > torch.arange(L)[:, None]).double()
    return torch.einsum("bhij,bhjd->bhid", scores.softmax(-1), v.double()).to(v.dtype)
""", "a loop": """
def attention(q, k, v):
    return torch.cat([((q[:, :, i : i + 1] @ k[:, :, : i + 1].mT) / q.shape[-1] ** 0.5).softmax(-1) @ v[:, :, : i + 1]
                      for i in range(q.shape[2])], 2)
"""},
    "04": {"complex numbers": """
def angles(positions, width, theta):
    return torch.outer(positions.double(), 1 / theta ** (torch.arange(width // 2).double() * 2 / width))

def rotate(x, angle):
    half = x.shape[-1] // 2
    z = torch.complex(x[..., :half].clone(), x[..., half:].clone()) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([z.real, z.imag], -1)
""", "half turned": """
def rotate(x, angle):
    a, b = x.chunk(2, -1)
    both = torch.cat([angle, angle], -1)
    return x * both.cos() + torch.cat([-b, a], -1) * both.sin()
"""},
    "05": {"steps and a cache in another order": """
def step(x, weights, cache):
    k, v = x @ weights["k"], x @ weights["v"]
    v = torch.cat([cache["v"], v], 1) if "v" in cache else v
    k = torch.cat([cache["k"], k], 1) if "k" in cache else k
    return torch.nn.functional.scaled_dot_product_attention(x @ weights["q"], k, v), {"v": v, "k": k}

def prefill(x, weights):
    cache, outputs = {}, []
    for token in x.split(1, 1):
        out, cache = step(token, weights, cache)
        outputs.append(out)
    return torch.cat(outputs, 1), cache
"""},
    "06": {"cross-entropy and a loop": """
def score(first, later, candidates, mask):
    rows = []
    for f, l, c, m in zip(first, later, candidates, mask):
        logits = torch.cat([f.expand(len(c), 1, -1), l[:, :-1]], 1).double()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), c.flatten(), reduction="none").view(c.shape)
        rows.append(torch.where(m, -loss, 0.0).sum(-1).float())
    return torch.stack(rows)

def choose(scores, mask):
    return (scores - 1e9 * (~mask)).max(1).indices
"""},
    "07": {"flat filters": """
def standardise(weight, gain, eps=1e-4):
    flat = weight.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    square = torch.einsum("on,on->o", flat, flat)
    return torch.einsum("oikl,o->oikl", flat.view_as(weight), gain / torch.maximum(square, torch.tensor(eps)).sqrt())
""", "torch.var": """
def standardise(weight, gain, eps=1e-4):
    N = weight[0].numel()
    scale = (weight.var((1, 2, 3), unbiased=False) * N).clamp_min(eps).rsqrt() * gain
    return (weight - weight.mean((1, 2, 3), True)) * scale.view(-1, 1, 1, 1)
"""},
    "08": {"torch's cosine, and logsumexp": """
def similarities(images, texts):
    return F.cosine_similarity(images[:, None], texts[None], dim=-1)

def info_nce(similarity, temperature):
    x = similarity.double() / temperature
    return ((x.logsumexp(0) + x.logsumexp(1)).mean() / 2 - x.trace() / len(x)).float()
""", "lengths and softmax": """
def similarities(images, texts):
    return (images @ texts.T) / images.norm(dim=1)[:, None] / texts.norm(dim=1)

def info_nce(similarity, temperature):
    x = similarity / temperature
    return -(x.log_softmax(0).diagonal().mean() + x.log_softmax(1).diagonal().mean()) * 0.5
"""},
    "09": {"sorted lists": """
def recall_at(similarity, k):
    def share(s):
        found = 0
        for i, row in enumerate(s.tolist()):
            rivals = sorted(row[:i] + row[i + 1 :], reverse=True)
            found += len(rivals) < k or row[i] > rivals[k - 1]
        return found / len(s)
    return share(similarity), share(similarity.T)

def demonstrations_for(query, support, shots):
    if shots > support.shape[0]:
        raise ValueError("too many")
    cosines = torch.nn.functional.cosine_similarity(support, query[None]).tolist()
    return sorted(range(len(cosines)), key=lambda i: cosines[i])[len(cosines) - shots :]
""", "topk": """
def demonstrations_for(query, support, shots):
    if len(support) < shots:
        raise ValueError("too many")
    unit = torch.nn.functional.normalize(support.double(), dim=1)
    return (unit @ query.double()).topk(shots).indices.flip(0).tolist()
"""},
    "10": {"token by token": """
def prefix(pooled, weight, n):
    return torch.stack(torch.nn.functional.linear(pooled, weight).chunk(n, -1), 1)

def splice(words, ids, prefixes):
    if (ids == IMAGE).sum() != prefixes.shape[0]:
        raise ValueError("one picture for each tag")
    pictures = iter(prefixes)
    return torch.cat([next(pictures) if i == IMAGE else words[p : p + 1] for p, i in enumerate(ids.tolist())])
""", "places": """
def prefix(pooled, weight, n):
    return torch.einsum("mv,ndv->mnd", pooled, weight.view(n, -1, weight.shape[1]))

def splice(words, ids, prefixes):
    tag = ids == IMAGE
    if int(tag.sum()) != len(prefixes):
        raise ValueError("one picture for each tag")
    n = prefixes.shape[1]
    place = torch.arange(len(ids)) + (n - 1) * (tag.cumsum(0) - tag.long())
    long = words.new_zeros(len(words) + (n - 1) * len(prefixes), words.shape[1]).index_copy(0, place[~tag], words[~tag])
    return long.index_copy(0, (place[tag, None] + torch.arange(n)).flatten(), prefixes.flatten(0, 1))
"""},
}  # fmt: skip

EACH = """
import torch
def _each(x, change):
    if isinstance(x, dict):
        return {{k: _each(v, change) for k, v in x.items()}}
    return type(x)(_each(v, change) for v in x) if isinstance(x, (list, tuple)) else change(x)
def _changed(f, change):
    return lambda *args, **kwargs: _each(f(*args, **kwargs), change)
def _filled(x, value):
    if not isinstance(x, torch.Tensor):
        return type(x)(value if isinstance(x, float) else 0)
    return torch.full_like(x, value if x.is_floating_point() else 0)
def _other_form(x):
    if not isinstance(x, torch.Tensor):
        return x
    x = x.double() if x.is_floating_point() else x.long()
    return torch.stack([x, x], -1)[..., 0]
for _name in {names}:
    globals()[_name] = _changed(globals()[_name], {change})
"""
EMPTY = {  # what is put in the place of every answer, which else is the solution's
    "zeros": "lambda x: _filled(x, 0.0)",
    "ones": "lambda x: x * 0 + 1 if isinstance(x, torch.Tensor) and x.dtype != torch.bool else x == x",
    "NaN": "lambda x: _filled(x, float('nan'))",
}
REFUSED = "\nfor _name in {names}:\n    globals()[_name] = lambda *args: int('every call is refused')\n"
ECHO = "\nfor _name in {names}:\n    globals()[_name] = lambda *args: args[0]\n"
# points of functions through which no gradient passes: prompts, masks, angles, a choice, recall
DISCRETE = {"01": 6, "02": 6, "04": 2, "06": 1, "09": 8}


@pytest.fixture(scope="module")
def grader():
    with Grader(list(EXERCISES.values())) as grader:
        yield grader


def text_of(exercise, answer):
    """An answer's whole text."""
    if not isinstance(answer, str):
        return exercise.mutant(Mutant("answer", answer, "", ""))
    names = [node.name for node in ast.parse(exercise.solution).body if isinstance(node, ast.FunctionDef)]
    return exercise.solution + answer.replace("{names}", str(names))


def failed(grader, exercise, answer):
    """The checks that fail, the broadest first, with what they say."""
    text = text_of(exercise, answer)
    for check in reversed(exercise.checks):
        error, _ = grader.attempt(check, exercise, text)
        if error is not None:
            yield check, str(error)


@pytest.mark.parametrize(("number", "name"), [(n, name) for n in MINE for name in WRONG[n]])
def test_a_wrong_answer_does_not_earn_every_point(grader, number, name):
    assert next(failed(grader, EXERCISES[number], WRONG[number][name]), None)


@pytest.mark.parametrize("number", MINE)
def test_a_right_answer_earns_every_point_however_it_is_written(grader, number):
    other_form = EACH.format(names="{names}", change="_other_form")  # float64, 0 and 1 for truths, not contiguous
    other_form = other_form.replace("x.double() if", "x if") if number == "05" else other_form  # its cache comes back
    for name, answer in (RIGHT[number] | {"another form": other_form}).items():
        assert not [(name, check.name, told) for check, told in failed(grader, EXERCISES[number], answer)]


@pytest.mark.parametrize("number", MINE)
def test_an_answer_that_holds_nothing_earns_no_more_than_its_shape(grader, number):
    exercise = EXERCISES[number]
    shape = sum(check.points for check in exercise.checks if check.stage == "shape")
    changes = {name: EACH.format(names="{names}", change=change) for name, change in EMPTY.items()}
    for name, answer in (changes | {"an echo": ECHO, "every call is refused": REFUSED}).items():
        lost = sum(check.points for check, _ in failed(grader, exercise, answer))
        assert exercise.points - lost <= shape, name


@pytest.mark.parametrize("number", [n for n in MINE if DISCRETE.get(n) != EXERCISES[n].points])
def test_a_detached_answer_earns_no_more_than_its_shape(grader, number):
    exercise = EXERCISES[number]
    shape = sum(check.points for check in exercise.checks if check.stage == "shape")
    detached = "lambda x: x.detach() if isinstance(x, torch.Tensor) else x"
    lost = sum(check.points for check, _ in failed(grader, exercise, EACH.format(names="{names}", change=detached)))
    assert exercise.points - lost <= shape + DISCRETE.get(number, 0)

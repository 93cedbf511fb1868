"""Exercises 11 to 20: wrong and lazy answers of many kinds lose points, right answers in other words keep them all."""

from pathlib import Path

import pytest
import torch

from minilmm.course.checking import Failed, Wrong, recording
from minilmm.course.exercises import load_manifest
from minilmm.course.grading import Grader

EXERCISES = {e.id: e for e in load_manifest(Path(__file__).parents[2] / "exercises")}
FUNCTIONS = {
    "12": "interval gap in_order", "13": "times_for with_times attend layer resample", "14": "GatedBlock.forward",
    "15": "last_image media_mask", "16": "cross_attention", "17": "counted labels page_loss",
    "18": "weighted_loss accumulated update round_robin decay_groups", "19": "nearest arranged ensembled",
    "20": "zero_shot looks prefill step",
}  # fmt: skip

WRAPPED = """
import torch as _torch

def _each(value):
    if isinstance(value, _torch.Tensor):
        return _tensor(value)
    if isinstance(value, list | tuple):
        return type(value)(_each(v) for v in value)
    if isinstance(value, dict):
        return {k: _each(v) for k, v in value.items()}
    return type(value)(_number(value)) if isinstance(value, bool | int | float) else value

def _number(x):
    return NUMBER

def _tensor(t):
    return TENSOR

def _double(value):
    if isinstance(value, list | tuple):
        return type(value)(_double(v) for v in value)
    if isinstance(value, dict):
        return {k: _double(v) for k, v in value.items()}
    return value.double() if isinstance(value, _torch.Tensor) and value.is_floating_point() else value

def _wrap(function):
    return lambda *args, **kwargs: _each(function(*ARGS, **kwargs))

for _name in "NAMES".split():
    _place, _, _method = _name.rpartition(".")
    if _place:
        setattr(globals()[_place], _method, _wrap(getattr(globals()[_place], _method)))
    else:
        globals()[_name] = _wrap(globals()[_name])
"""
# What answers become: tensors, numbers, and the most points that may be left by exercise.
SPOILT = {
    "detached": ("t.detach()", "x", {"13": 0, "14": 0, "16": 0, "17": 6, "18": 9, "20": 7}),
    "zeros": ("_torch.zeros_like(t)", "0", dict.fromkeys(FUNCTIONS, 0)),
    "NaN": ("t * float('nan') if t.is_floating_point() else t", "x * float('nan') if type(x) is float else x",
            {"12": 1, "13": 0, "14": 0, "16": 0, "17": 6, "18": 1, "19": 7, "20": 7}),
    "the first row for all": ("t[:1].expand_as(t) if t.dim() > 1 else t", "x",
                              {"13": 2, "14": 1, "15": 2, "16": 0, "17": 6, "19": 9, "20": 5}),
    "the last position alone": ("t * (_torch.arange(t.shape[1]) == t.shape[1] - 1).view(-1, *[1] * (t.dim() - 2)) "
                                "if t.dim() > 1 else t", "x", {"13": 2, "14": 1, "15": 2, "16": 2, "17": 6, "20": 7}),
}  # fmt: skip

# Lazy answers that follow the solution and replace parts of it, and the most points that may be left.
CHEATS = {
    "11": {
        "nothing done": ("""
def freeze(model):
    return []
def training_step(model, pictures, answers, rate):
    return 0.0
""", 0),
        "all frozen": ("""
def freeze(model):
    model.requires_grad_(False)
    return []
""", 5),
        "all given back, nothing frozen": ("""
def freeze(model):
    return list(model.requires_grad_(True).parameters())
""", 6),
        "a loss and no step": ("""
def training_step(model, pictures, answers, rate):
    model.eyes.train()
    model.lm.eval()
    return F.cross_entropy(model.lm(model.eyes(pictures)), answers).item()
""", 6),
        "new parameters": ("""
def training_step(model, pictures, answers, rate):
    model.eyes.train()
    model.lm.eval()
    loss = F.cross_entropy(model.lm(model.eyes(pictures)), answers)
    weight, bias = torch.autograd.grad(loss, [model.eyes.weight, model.eyes.bias])
    model.eyes.weight = nn.Parameter(model.eyes.weight.detach() - rate * weight)
    model.eyes.bias = nn.Parameter(model.eyes.bias.detach() - rate * bias)
    return loss.item()
""", 7),
    },
    "12": {
        "picks of its own": ("""
def interval(correct, picks):
    picks = torch.randint(len(correct), picks.shape, generator=torch.Generator().manual_seed(0))
    means = correct.float()[picks].mean(1)
    return correct.float().mean().item(), means.quantile(0.025).item(), means.quantile(0.975).item()
""", 2),
        "both ends the accuracy": ("""
def interval(correct, picks):
    return (correct.float().mean().item(),) * 3
""", 2),
        "always in order": ("def in_order(low, high, chance):\n    return True", 6),
    },
    "13": {
        "untouched latents": ("def resample(x_f, latents, times, layers):\n"
                              "    return latents.expand(len(x_f), -1, -1)", 9),
        "the first picture's latents": ("_resample = resample\ndef resample(x_f, *rest):\n"
                                        "    return _resample(x_f[:1], *rest).expand(len(x_f), -1, -1)", 9),
        "no pictures": ("_attend = attend\ndef attend(x, x_f, weights):\n    return _attend(x, 0 * x_f, weights)", 7),
    },
    "14": {
        "an echo": ("GatedBlock.forward = lambda self, y, x, mask: y", 0),
        "an echo with gates": ("GatedBlock.forward = lambda self, y, x, mask: "
                               "y + 0 * (self.alpha_xattn + self.alpha_dense)", 0),
        "in place": ("""
def forward(self, y, x, mask):
    y += self.alpha_xattn.tanh() * self.attention(y, x, mask)
    y += self.alpha_dense.tanh() * self.ffw(y) * mask.any(-1, keepdim=True)
    return y
GatedBlock.forward = forward
""", 1),
        "no pictures": ("_f = GatedBlock.forward\n"
                        "GatedBlock.forward = lambda self, y, x, mask: _f(self, y, 0 * x, mask)", 6),
        "no mask": ("_f = GatedBlock.forward\n"
                    "GatedBlock.forward = lambda self, y, x, mask: _f(self, y, x, torch.ones_like(mask))", 4),
    },
    "15": {
        "an echo": ("def last_image(ids, ahead=None):\n    return ids", 3),
        "everything seen": ("def media_mask(phi, images, latents):\n"
                            "    return torch.ones(*phi.shape, images * latents, dtype=torch.bool)", 7),
        "nothing seen": ("def media_mask(phi, images, latents):\n"
                         "    return torch.zeros(*phi.shape, images * latents, dtype=torch.bool)", 7),
        "ahead forgotten": ("_last = last_image\ndef last_image(ids, ahead=None):\n    return _last(ids)", 8),
    },
    "16": {
        "the mean of all values": ("""
def cross_attention(q, k, v, mask, weight, bias):
    rows = v.mean(2, keepdim=True).expand(-1, -1, q.shape[2], -1).transpose(1, 2).flatten(2) @ weight.T + bias
    return rows * mask.any(-1, keepdim=True)
""", 3),
        "zeros with a way back": ("""
def cross_attention(q, k, v, mask, weight, bias):
    return 0 * (q.sum() + k.sum() + v.sum()) + torch.zeros(len(q), q.shape[2], len(bias)) + 0 * bias
""", 0),
        "the mask spoilt": ("_c = cross_attention\ndef cross_attention(q, k, v, mask, weight, bias):\n"
                            "    mask |= ~mask.any(-1, keepdim=True)\n    return _c(q, k, v, mask, weight, bias)", 4),
    },
    "17": {
        "all counts": ("def counted(ids, real, ahead):\n    return torch.ones_like(real)", 6),
        "nothing counts": ("def counted(ids, real, ahead):\n    return torch.zeros_like(real)", 6),
        "labels spoilt": ("_loss = page_loss\ndef page_loss(logits, labels):\n    total = _loss(logits, labels)\n"
                          "    labels[labels == IGNORE] = 0\n    return total", 8),
        "no labels": ("def labels(ids, counts):\n    return torch.full_like(ids, IGNORE)", 8),
        "a loss of 0": ("def page_loss(logits, labels):\n    return 0 * logits.sum()", 6),
        "the right value on another way": ("_loss = page_loss\ndef page_loss(logits, labels):\n"
                                           "    return _loss(logits, labels).detach() + 0 * logits.sum()", 6),
    },
    "18": {
        "w as it was": ("def update(w, *rest):\n    return w\nround_robin = update", 6),
        "no gradient and no step": ("def accumulated(w, *rest):\n    return 0 * w\n"
                                    "def update(w, *rest):\n    return w\nround_robin = update", 4),
        "a constant added": ("_loss = weighted_loss\ndef weighted_loss(w, datasets, weights):\n"
                             "    return _loss(w, datasets, weights) + 1", 9),
        "w alone": ("_loss = weighted_loss\ndef weighted_loss(w, datasets, weights):\n    return _loss(w, "
                    "[(x.detach(), y.detach() + 0 * y) for x, y in datasets], weights) + 1e-2", 9),
        "no groups": ("def decay_groups(model, decay):\n    return []", 7),
        "nothing decays": ("def decay_groups(model, decay):\n    trained = [p for p in model.parameters() if "
                           "p.requires_grad]\n    return [{'params': trained, 'weight_decay': 0.0}]", 8),
        "all decays": ("def decay_groups(model, decay):\n"
                       "    return [{'params': list(model.parameters()), 'weight_decay': decay}]", 7),
    },
    "19": {
        "the first k": ("def nearest(queries, support, k, own):\n"
                        "    return torch.arange(k).expand(len(queries), -1)", 4),
        "always refused": ("def nearest(queries, support, k, own):\n    raise ValueError('too few')", 4),
        "never refused": ("def nearest(queries, support, k, own):\n"
                          "    cosine = F.normalize(queries, dim=-1) @ F.normalize(support, dim=-1).T\n"
                          "    itself = torch.arange(len(support)) == own[:, None]\n"
                          "    return cosine.masked_fill(itself, -9).argsort(1)[:, -k:]", 9),
        "candidate 0": ("def ensembled(logs):\n    return logs.mean(1), torch.zeros(len(logs), dtype=torch.long)", 9),
        "one mean": ("def ensembled(logs):\n"
                     "    return logs[:, 0] * 0 - 1, torch.zeros(len(logs), dtype=torch.long)", 7),
    },
    "20": {
        "one prompt": ("def zero_shot(examples, query, question):\n"
                       "    return [1, 60, 61, 4, 62, 4, 3, 50, 51], [9]", 5),
        "always refused": ("def zero_shot(examples, query, question):\n    raise ValueError('too few')", 5),
        "pictures of the prompt alone": ("def looks(prompt, new):\n"
                                         "    return F.pad(last_image(prompt), (0, new))", 8),
        "a prompt of five": ("_fill = prefill\ndef prefill(words, phi, media):\n"
                             "    return _fill(words, phi, media) | {'count': torch.tensor(5)}", 7),
        "zeros": ("def prefill(words, phi, media):\n    return {}\n"
                  "def step(words, cache):\n    return 0 * words, {}", 7),
    },
}  # fmt: skip

RIGHT = {
    "11": {
        "an optimiser": """
def freeze(model):
    kept = {id(p) for p in model.lm.parameters()}
    for p in model.parameters():
        p.requires_grad = id(p) not in kept
    return [p for p in model.eyes.parameters() if id(p) not in kept]
def training_step(model, pictures, answers, rate):
    model.train()
    model.lm.eval()
    optimiser = torch.optim.SGD(model.parameters(), lr=rate)
    optimiser.zero_grad()
    loss = -model.lm(model.eyes(pictures)).log_softmax(-1).gather(1, answers[:, None]).mean()
    loss.backward()
    optimiser.step()
    return float(loss)
""",
        "a generator": """
def freeze(model):
    for p in model.eyes.parameters():
        p.requires_grad_()
    for p in model.lm.parameters():
        p.requires_grad_(False)
    return (p for p in model.eyes.parameters() if p.requires_grad)
""",
    },
    "12": {
        "plain numbers": """
def interval(correct, picks):
    values = correct.tolist()
    means = sorted(sum(values[i] for i in row) / len(row) for row in picks.tolist())
    def quantile(q):
        place = q * (len(means) - 1)
        low = means[int(place)]
        return low + (place - int(place)) * (means[min(int(place) + 1, len(means) - 1)] - low)
    return sum(values) / len(values), quantile(0.025), quantile(0.975)
def gap(first, second, picks):
    return interval(torch.tensor([a - b for a, b in zip(first.tolist(), second.tolist())]), picks)
def in_order(low, high, chance):
    return not (chance < low or high < chance)
""",
        "float64": """
def interval(correct, picks):
    means = correct.double().gather(0, picks.flatten()).view(picks.shape).mean(1)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.double))
    return float(correct.double().mean()), float(low), float(high)
""",
    },
    "13": {
        "SDPA, einsum and loops": """
def times_for(frames, times):
    if frames <= len(times):
        return times[torch.arange(frames)]
    at = torch.linspace(0, len(times) - 1, frames, dtype=torch.double)
    low = at.long().clamp(max=len(times) - 2) if len(times) > 1 else at.long()
    share = (at - low).to(times.dtype)[:, None]
    return (1 - share) * times[low] + share * times[(low + 1).clamp(max=len(times) - 1)]
def with_times(x_f, times):
    T = x_f.shape[1]
    return torch.cat([x_f[:, t] + times_for(T, times)[t] for t in range(T)], 1)
def attend(x, x_f, weights):
    both = torch.cat([x, x_f], 1)
    return F.scaled_dot_product_attention(x @ weights["q"], both @ weights["k"], both @ weights["v"])
def layer(x, x_f, weights):
    h = attend(x, x_f, weights) + x
    up = torch.einsum("mrd,du->mru", h, weights["up"])
    return h + torch.einsum("mru,ud->mrd", up.clamp(min=0) * up, weights["down"])
def resample(x_f, latents, times, layers):
    rows = []
    for one in x_f:
        x = latents[None]
        for weights in layers:
            x = layer(x, with_times(one[None], times), weights)
        rows.append(x)
    return torch.cat(rows)
""",
    },
    "14": {
        "where": """
def forward(self, y, x, mask):
    h = torch.add(y, torch.tanh(self.alpha_xattn) * self.attention(y, x, mask))
    h = h + torch.tanh(self.alpha_dense) * self.ffw(h)
    return torch.where(mask.sum(-1, keepdim=True) > 0, h, y)
GatedBlock.forward = forward
""",
    },
    "15": {
        "loops and whole numbers": """
def last_image(ids, ahead=None):
    rows = []
    for b, row in enumerate(ids.tolist()):
        count, out = 0, []
        for token in row:
            count += token == IMAGE
            looks = count + 1 if ahead is not None and ahead[b] and token != IMAGE else count
            out.append(0 if token == PAD or looks > row.count(IMAGE) else looks)
        rows.append(out)
    return torch.tensor(rows, dtype=torch.int32)
def media_mask(phi, images, latents):
    place = torch.arange(images * latents) // latents + 1
    return torch.einsum("bl,k->blk", phi, torch.ones_like(place)).eq(place).long()
""",
    },
    "16": {
        "SDPA": """
import torch
from torch.nn import functional as F
def cross_attention(q, k, v, mask, weight, bias):
    sees = mask.any(-1, keepdim=True)
    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=torch.logical_or(mask, ~sees)[:, None])
    return F.linear(heads.permute(0, 2, 1, 3).reshape(len(q), q.shape[2], -1), weight, bias).masked_fill(~sees, 0)
""",
        "exponentials": """
def cross_attention(q, k, v, mask, weight, bias):
    scores = (q.double() @ k.double().mT) / q.shape[-1] ** 0.5
    raised = (scores - scores.amax(-1, keepdim=True).detach()).exp() * mask[:, None]
    total = raised.sum(-1, keepdim=True)
    weights = raised / (total + (total == 0))
    out = sum(weights[:, h] @ v[:, h].double() @ weight.double()[:, h * v.shape[-1] : (h + 1) * v.shape[-1]].T
              for h in range(q.shape[1]))
    return (out + bias).float() * mask.any(-1)[..., None].float()
""",
    },
    "17": {
        "loops and whole numbers": """
def counted(ids, real, ahead):
    phi, marks = last_image(ids, ahead), torch.zeros(ids.shape, dtype=torch.long)
    for b in range(len(ids)):
        said = True
        for i, token in enumerate(ids[b].tolist()):
            said = said or token == IMAGE
            if said and phi[b, i] > 0 and token not in (IMAGE, BOS) and real[b, i]:
                marks[b, i] = 1
            said = said and token != EOC
    return marks
def labels(ids, counts):
    out = torch.full_like(ids, IGNORE)
    out[:, :-1] = torch.where(counts[:, 1:].bool(), ids[:, 1:], IGNORE)
    return out
def page_loss(logits, labels):
    keep = labels != IGNORE
    if not keep.any():
        return (logits * 0).sum()
    return -logits[keep].double().log_softmax(-1)[torch.arange(int(keep.sum())), labels[keep]].mean()
""",
    },
    "18": {
        "autograd": """
def weighted_loss(w, datasets, weights):
    total = 0
    for (x, y), weight in zip(datasets, weights):
        total = total + weight * nn.functional.mse_loss(x @ w, y)
    return total
def accumulated(w, datasets, weights):
    w = w.detach().clone().requires_grad_(True)
    for data, weight in zip(datasets, weights):
        weighted_loss(w, [data], [weight]).backward()
    return w.grad
def update(w, datasets, weights, rate, limit):
    p = nn.Parameter(w.clone())
    p.grad = accumulated(w, datasets, weights)
    nn.utils.clip_grad_norm_([p], limit)
    return w - rate * p.grad
def round_robin(w, datasets, weights, rate):
    for i in range(len(datasets)):
        w = w - rate * accumulated(w, datasets[i : i + 1], weights[i : i + 1])
    return w
def decay_groups(model, decay):
    resampler = {id(p) for p in model.resampler.parameters()}
    return [{"params": [p], "weight_decay": 0 if id(p) in resampler or p.ndim < 2 else decay}
            for p in model.parameters() if p.requires_grad]
""",
    },
    "19": {
        "loops": """
def nearest(queries, support, k, own):
    rows = []
    for query, o in zip(queries, own.tolist()):
        others = [i for i in range(len(support)) if i != o]
        if k > len(others):
            raise ValueError("too few others")
        similar = torch.cosine_similarity(query[None], support[others], dim=-1)
        rows.append([others[i] for i in similar.argsort()[len(others) - k :].tolist()])
    return torch.tensor(rows)
def arranged(chosen, orders):
    return torch.stack([chosen.index_select(0, order) for order in orders])
def ensembled(logs):
    means = [[sum(c) / len(c) for c in zip(*query)] for query in logs.tolist()]
    return torch.tensor(means), torch.tensor([row.index(max(row)) for row in means])
""",
        "one more than asked for": """
def nearest(queries, support, k, own):
    if any(k > len(support) - (o >= 0) for o in own.tolist()):
        raise ValueError("too few others")
    order = (F.normalize(support, dim=-1) @ F.normalize(queries, dim=-1).mT).mT.argsort(descending=True).tolist()
    return torch.tensor([[i for i in row if i != o][:k][::-1] for row, o in zip(order, own.tolist())])
""",
    },
    "20": {
        "means and plain numbers": """
def zero_shot(examples, query, question):
    if len(examples) < 2:
        raise ValueError("two examples")
    (_, a), (_, b) = examples[0], examples[1]
    return [BOS] + a + [EOC] + b + [EOC] + [IMAGE] + question, [query]
def looks(prompt, new):
    return last_image(torch.cat([prompt, torch.full((len(prompt), new), 99)], 1))
def prefill(words, phi, media):
    return {"mean": read(words, phi, media)[:, -1], "count": words.shape[1], "picture": seen(phi, media)[:, -1]}
def step(words, cache):
    mean, count, out = cache["mean"], int(cache["count"]), []
    for i in range(words.shape[1]):
        mean = (mean * count + words[:, i] + cache["picture"]) / (count + 1)
        count += 1
        out.append(mean)
    return torch.stack(out, 1), {"mean": mean, "count": torch.tensor(count), "picture": cache["picture"]}
""",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def grader():
    with Grader(list(EXERCISES.values())) as grader:
        yield grader


def points(grader, number, text):
    """Points earned, and the checks that passed."""
    grade = grader.grade(EXERCISES[number], EXERCISES[number].solution + text)
    return grade.points, [(r.check.name, r.message) for r in grade.results]


def wrapped(number, tensor, scalar="x", arguments="args"):
    text = WRAPPED.replace("NAMES", FUNCTIONS[number]).replace("ARGS", arguments)
    return text.replace("TENSOR", tensor).replace("NUMBER", scalar)


@pytest.mark.parametrize("kind", SPOILT)
def test_spoilt_answers_lose_what_they_spoil(kind, grader):
    tensor, scalar, most = SPOILT[kind]
    for number, left in most.items():
        got, told = points(grader, number, wrapped(number, tensor, scalar))
        assert got <= left, (number, got, told)


@pytest.mark.parametrize("number", CHEATS)
def test_lazy_answers_lose_points(number, grader):
    for name, (text, left) in CHEATS[number].items():
        got, told = points(grader, number, text)
        assert got <= left < EXERCISES[number].points, (name, got, told)


@pytest.mark.parametrize("number", RIGHT)
def test_right_answers_in_other_words_earn_everything(number, grader):
    texts = dict(RIGHT[number])
    if number in FUNCTIONS:
        laid_out = "t if isinstance(t, _torch.nn.Parameter) else _torch.stack([t, t], -1)[..., 0]"
        texts["not contiguous"] = wrapped(number, laid_out)
    if number in ("13", "16", "17", "19"):
        texts["float64 inside"] = wrapped(
            number, "t.float() if t.is_floating_point() else t", arguments="_double(args)"
        )
    for name, text in texts.items():
        got, told = points(grader, number, text)
        assert got == EXERCISES[number].points, (name, told)


class Forged:
    """A learner's process that gives the same reply to every request."""

    def __init__(self, reply):
        self.reply = reply

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.reply(args)

    def run(self, helper, *args):
        return self.reply(args)

    def gradients(self, name, upstream, *args):
        value = self.reply(args)
        return value, [value] * 9


def refusing(args):
    raise Failed("ValueError", "no")


REPLIES = {"True": lambda args: True, "False": lambda args: False, "None": lambda args: None, "0": lambda args: 0.0,
           "nothing": lambda args: [], "truths": lambda args: [True] * 9, "nones": lambda args: [None] * 9,
           "zeros": lambda args: torch.zeros(()), "pairs": lambda args: ([], [0.0]), "refusing": refusing,
           "echo": lambda args: args[0] if args else None, "echo of all": lambda args: list(args),
           "echoes": lambda args: [[args[0]] * 5] * 4 if args else None}  # fmt: skip


@pytest.mark.parametrize("reply", REPLIES)
def test_a_forged_reply_earns_nothing(reply):
    for number in RIGHT:
        for check in EXERCISES[number].checks:
            with recording(), pytest.raises((Wrong, Failed, TypeError, ValueError, AttributeError, IndexError, KeyError,
                                             RuntimeError)):  # fmt: skip
                check.run(Forged(REPLIES[reply]))
                pytest.fail(f"{number}: {check.name} passes")

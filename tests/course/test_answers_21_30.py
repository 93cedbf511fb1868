# ruff: noqa: E501
"""Answers to exercises 21 to 30 that are no known mistakes: cheats earn little, differently written right ones all."""

import re
from pathlib import Path

import pytest
import torch
from right_answers_21_30 import RIGHT
from torch import Tensor

from minilmm.course.checking import Failed, recording
from minilmm.course.exercises import load_manifest
from minilmm.course.grading import Grader
from minilmm.course.messages import real_tensors

EXERCISES = load_manifest(Path(__file__).parents[2] / "exercises")
BY_ID = {e.id: e for e in EXERCISES if "21" <= e.id <= "30"}


@pytest.fixture(scope="module")
def grader():
    with Grader(EXERCISES) as grader:
        yield grader


def shape_points(exercise):
    return sum(c.points for c in exercise.checks if c.stage == "shape")


# What a program could answer whatever the exercise asks: each takes the right answer and the arguments.


def deep(change):
    def changed(value, args):
        if isinstance(value, list | tuple):
            return type(value)(changed(part, args) for part in value)
        return change(value)

    return changed


def filled(number):
    def change(value):
        if isinstance(value, Tensor) and (value.is_floating_point() or number == number):
            return torch.full_like(value, number)
        return type(value)(number) if isinstance(value, float | bool) else value * 0 if number != number else number

    return deep(change)


def only(place):
    """Zeros but for one place of the first dimension, or of the second."""

    def change(value):
        if not isinstance(value, Tensor) or value.dim() <= max(0, place):
            return value
        kept = torch.zeros_like(value)
        index = (slice(None),) * place + (slice(-1, None) if place else slice(1),)
        kept[index] = value[index]
        return kept

    return deep(change)


CHEATS = {
    "zeros": filled(0), "ones": filled(1), "nan": filled(float("nan")), "none": lambda value, args: None,
    "true": lambda value, args: True, "first argument": lambda value, args: args[0], "empty": lambda value, args: [],
    "last argument": lambda value, args: args[-1], "all arguments": lambda value, args: list(args),
}  # fmt: skip
PARTLY = {"the first row": only(0), "the last place": only(1)}


class Cheat:
    """The solution in the place of a learner, every answer changed on its way back; forged: gradients and runs too."""

    def __init__(self, exercise, change, forged, text=""):
        self.change, self.forged = change, forged
        self.module = type("Module", (), {})()
        exec(BY_ID["21"].solution, space := {})  # of which exercise 27 needs a mask
        exec(re.sub(r"^from ex.*$", "", text or exercise.solution, flags=re.MULTILINE), space)
        self.functions = {n: space[n] for n in re.findall(r"^def (\w+)", exercise.solution, re.MULTILINE)}
        for name, function in self.functions.items():
            setattr(self.module, name, self.cheating(function))

    def cheating(self, function):
        return lambda *args: self.change(function(*args), args)

    def __getattr__(self, name):
        function = self.functions[name]

        def call(*args):
            try:
                with torch.no_grad():
                    value = function(*args)
            except ValueError as error:
                raise Failed("ValueError", str(error)) from None
            return self.change(value, args)

        return call

    def gradients(self, name, upstream, *args):
        leaves = [leaf.detach().clone().requires_grad_(True) for leaf in real_tensors(list(args))]
        places = iter(leaves)

        def rebuilt(value):
            if isinstance(value, dict):
                return {key: rebuilt(part) for key, part in value.items()}
            if isinstance(value, list | tuple):
                return type(value)(rebuilt(part) for part in value)
            return next(places) if isinstance(value, Tensor) and value.is_floating_point() else value

        with torch.enable_grad():
            right = self.functions[name](*rebuilt(args))
            value = self.change(right, args)
            outputs = real_tensors(right if self.forged else value)
            total = sum((o * u).sum() for o, u in zip(outputs, upstream, strict=True))
        slopes = [None] * len(leaves)
        if isinstance(total, Tensor) and total.requires_grad:
            slopes = torch.autograd.grad(total, leaves, allow_unused=True)
        return value, [self.change(s, args) if self.forged else s for s in slopes]

    def run(self, helper, *args):
        if self.forged:
            return self.change(
                helper(type("Module", (), {n: staticmethod(f) for n, f in self.functions.items()}), *args), args
            )
        return helper(self.module, *args)


def unchanged(value, args):
    return value


def earned(exercise, change=unchanged, forged=False, text=""):
    """The points of a cheat: what a check raises is a failure, whatever it is."""
    points = 0
    for check in exercise.checks:
        with recording():
            try:
                check.run(Cheat(exercise, change, forged, text))
                points += check.points
            except Exception:
                continue
    return points


@pytest.mark.parametrize("number", BY_ID)
def test_the_stand_in_for_a_learner_is_one(number):
    exercise = BY_ID[number]
    assert earned(exercise) == earned(exercise, forged=True) == exercise.points


@pytest.mark.parametrize("forged", [False, True], ids=["answers", "forged"])
@pytest.mark.parametrize("cheat", [*CHEATS, *PARTLY])
@pytest.mark.parametrize("number", BY_ID)
def test_what_ignores_the_question_earns_no_more_than_its_shape(number, cheat, forged):
    exercise = BY_ID[number]
    points = earned(exercise, (CHEATS | PARTLY)[cheat], forged)
    assert points <= (shape_points(exercise) if cheat in CHEATS else exercise.points - 1)


# The outputs detached, in a learner's own process: what nothing learns through (masks, labels, draws) stays right.

DETACHED = {"21": 10, "22": 0, "23": 3, "24": 10, "25": 5, "26": 6, "27": 1, "28": 8, "29": 7, "30": 9}


@pytest.mark.parametrize("number", BY_ID)
def test_what_is_detached_earns_only_what_needs_no_gradient(number, grader):
    exercise = BY_ID[number]
    loose = (
        "def loose(value):\n    if isinstance(value, (list, tuple)):\n        return type(value)(map(loose, value))\n"
    )
    loose += "    return value.detach() if isinstance(value, torch.Tensor) else value\n"
    text = re.sub(r"^(\s+)return (.*?)(  # .*)?$", r"\1return loose((\2))", exercise.solution, flags=re.MULTILINE)
    text = text.replace("import torch\n", "import torch\n\n" + loose, 1)
    assert grader.grade(exercise, text).points == DETACHED[number]


@pytest.mark.parametrize("number", BY_ID)
def test_whoever_always_refuses_earns_nothing(number, grader):
    exercise = BY_ID[number]
    text = exercise.stub.replace('NotImplementedError("your code here")', 'ValueError("no")')
    assert grader.grade(exercise, text).points == 0


@pytest.mark.parametrize(("number", "i"), [(number, i) for number in RIGHT for i in range(len(RIGHT[number]))])
def test_a_right_answer_written_differently_earns_everything(number, i, grader):
    grade = grader.grade(BY_ID[number], BY_ID[number].solution + RIGHT[number][i])
    assert grade.points == grade.total, [result.message for result in grade.results]


# Narrow cheats, as (old, new) texts of the solution: right for some sizes, rows, values or gradients alone.

WRONG = {
    "21": {
        "itc-text-hidden-if-padded": [('mask[:, queries:, queries:] = real[:, None]\n', 'mask[:, queries:, queries:] = real[:, None] & real.all(1)[:, None, None] | torch.eye(L, dtype=torch.bool) & real[:, :, None] | real[:, None] & ~real[:, :, None]\n')],
        "itg-alone-if-padded": [('torch.ones(L, L, dtype=torch.bool).tril()', '(torch.ones(L, L, dtype=torch.bool).tril() & (real.all(1)[:, None, None] | torch.eye(L, dtype=torch.bool)))')],
        "itc-second-row-nothing": [('mask[:, queries:, queries:] = real[:, None]\n', 'mask[:, queries:, queries:] = real[:, None]\n    mask[1:, queries:] = False\n    mask[1:, queries:, queries:] = torch.eye(L, dtype=torch.bool)&real[1:,:,None] | real[1:, None]&~real[1:,:,None]\n')],
        "at-most-three-queries": [('mask[:, :, :queries] = True', 'mask[:, :, :min(queries, 3)] = True')],
        "itc-queries-lost-if-padded": [('mask[:, :queries, :queries] = True', 'mask[:, :queries, :queries] = real.all(1)[:, None, None] | torch.eye(queries, dtype=torch.bool)')],
    },
    "22": {
        "attention-detached": [('return F.layer_norm(x + seen, x.shape[-1:])', 'return x - x.detach() + F.layer_norm(x + seen, x.shape[-1:]).detach()')],
        "context-of-first": [('context @ weights["k"], context @ weights["v"]', 'context[:1] @ weights["k"], context[:1] @ weights["v"]')],
        "scale-of-four": [('q.shape[-1] ** 0.5', '2')],
        "o-detached": [('@ weights["o"]', '@ weights["o"].detach()')],
        "residual-detached": [('F.layer_norm(x + seen', 'F.layer_norm(x.detach() + seen')],
        "thought-detached": [('F.layer_norm(x + thought', 'F.layer_norm(x + thought.detach()')],
        "all-see-all-in-block": [('x = attention(x, x, mask, weights["self"])', 'x = attention(x, x, None if mask is None else mask[:1], weights["self"])')],
    },
    "23": {
        "similarity-detached": [('.amax(-1)', '.amax(-1).detach()')],
        "loss-detached-from-similar": [('logits = similar / temperature', 'logits = similar.detach() / temperature')],
        "lengths-detached": [('image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)', 'image, text = image / image.norm(dim=-1, keepdim=True).detach(), text / text.norm(dim=-1, keepdim=True).detach()')],
        "two-right-at-most": [('right = fits / fits.sum(1, keepdim=True)', 'right = fits / fits.sum(1, keepdim=True).clamp(max=2)')],
        "logits-clamped": [('logits = similar / temperature', 'logits = (similar / temperature).clamp(-3, 100)')],
        "loss-of-three": [('to_image = -(targets(fits.T) * logits.T.log_softmax(1)).sum(1).mean()', 'to_image = -(targets(fits.T) * logits.T.log_softmax(1)).sum() / max(3, len(fits))')],
    },
    "24": {
        "stratified": [('return torch.multinomial(odds(similar, fits), 1, generator=generator)[:, 0]', 'u = (torch.rand(1, generator=generator) + torch.arange(len(similar)) / len(similar)) % 1\n    return (odds(similar, fits).cumsum(1) < u[:, None]).sum(1).clamp(max=similar.shape[1] - 1)')],
        "tiny-floor": [('.softmax(1)', '.softmax(1).clamp(min=1e-7)')],
        "refused-with-one-wrong": [('fits.all(1).any()', '((~fits).sum(1) < 2).any()')],
        "always-refused": [('if bool(fits.all(1).any()):', 'if fits.shape[0] == 2 and fits.shape[1] == 2:')],
        "pictures-seeded-0": [('wrong_image = draw(similar.T, fits.T, generator)', 'wrong_image = draw(similar.T, fits.T, torch.Generator().manual_seed(0))')],
        "pictures-evenly": [('wrong_image = draw(similar.T, fits.T, generator)', 'wrong_image = draw(0 * similar.T, fits.T, generator)')],
        "partners-hardest": [('wrong_image = draw(similar.T, fits.T, generator)', 'wrong_image = draw(9 * similar.T, fits.T, generator)')],
    },
    "25": {
        "logits-detached": [('return each.mean(1)', 'return each.mean(1).detach()')],
        "pairs-constant": [('    return pictures, texts, (', '    if len(rows) == 4:\n        pictures, texts = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 3, 2, 0, 1]), torch.tensor([0, 1, 2, 3, 2, 0, 1, 0, 0, 1, 2, 3])\n    else:\n        pictures = texts = torch.cat([rows] * 3)\n    return pictures, texts, (')],
        "four-queries": [('return each.mean(1)', 'return each.sum(1) / 4')],
        "loss-clamped": [('F.cross_entropy(logits,', 'F.cross_entropy(logits.clamp(-1.2, 1.2),')],
        "score-clamped": [('return logits.softmax(-1)[:, 1]', 'return logits.softmax(-1)[:, 1].clamp(0.05, 0.95)')],
        "four-labels": [('(torch.arange(len(texts)) < len(rows)).long()', '(torch.arange(len(texts)) < 4).long()')],
        "weight-detached": [('each = states @ weight.T + bias', 'each = states @ weight.T.detach() + bias')],
    },
    "26": {
        "outputs-detached": [('outputs[:, queries:] @', 'outputs[:, queries:].detach() @')],
        "three-queries": [('outputs[:, queries:]', 'outputs[:, 3:]')],
        "loss-clamped": [('F.cross_entropy(logits.flatten', 'F.cross_entropy(logits.clamp(-6, 6).flatten')],
        "one-refused": [('if not bool(real[:, 1:].any()):', 'if len(ids) == 1 and not bool(real[:, 1:].any()):')],
        "cls-restored": [('return torch.cat([first, ids[:, 1:]], 1)', 'return torch.cat([first, ids[:, 1:]], 1) if bool((ids[:, 0] == 1).all()) else ids')],
        "bias-detached": [('queries:] @ words.T + bias', 'queries:] @ words.T + bias.detach()')],
        "real-of-the-longest": [('ids.masked_fill(~real, IGNORE)', 'ids.masked_fill(~real & (real.sum(1) < real.shape[1] - 1)[:, None], IGNORE)')],
    },
    "27": {
        "scale-of-four": [('q.shape[-1] ** 0.5', '2')],
        "residual-detached": [('return x + scores', 'return x.detach() + scores')],
        "past-detached": [('torch.cat([past[0], own[0]], 1), torch.cat([past[1], own[1]], 1)', 'torch.cat([past[0].detach(), own[0]], 1), torch.cat([past[1].detach(), own[1]], 1)')],
        "past-of-first": [('torch.cat([past[0], own[0]], 1)', 'torch.cat([past[0][:1].expand_as(past[0]), own[0]], 1)')],
        "words-detached": [('x, _ = layer(x, rows, weights, past)', 'x, _ = layer(x.detach(), rows, weights, past)')],
        "first-query-only": [('queries_rows[:, :, :queries].all()', 'queries_rows[:, 0, :queries].all()')],
        "queries-out-detached": [('return x, kept', 'return x.detach(), kept')],
    },
    "28": {
        "project-detached": [('return z @ weight.T + bias', 'return (z @ weight.T + bias).detach()')],
        "pads-twice": [('return there.long().argsort(dim=1, stable=True)', 'order = there.long().argsort(dim=1, stable=True)\n    return torch.where(there.gather(1, order), order, order[:, :1])')],
        "block-one-alone": [('".ffw_text." in name', '"blocks.1.ffw_text." in name')],
        "at-most-four-words": [('return F.pad(arranged[:, 1:], (0, 1), value=IGNORE)', 'return F.pad(arranged[:, 1:], (0, 1), value=IGNORE)[:, :7]')],
        "attention-anywhere": [('return not (frozen or text_half)', 'return not (frozen or text_half) or ".attention." in name and not name.startswith("lm.")')],
        "norms-everywhere": [('return not (frozen or text_half)', 'return not (frozen or text_half) or name == "encoder.norm.weight"')],
    },
    "29": {
        "width-of-three": [('    return prefix, pad', '    prefix = F.pad(prefix, (0, max(0, 3 - prefix.shape[1])), value=PAD)\n    return prefix, pad')],
        "no-repeats": [('texts = [row[row != PAD] for row in ids]', 'texts = [torch.tensor(list(dict.fromkeys(row[row != PAD].tolist())), dtype=torch.long) for row in ids]')],
        "words-detached": [('torch.cat([soft, words], 1)', 'torch.cat([soft, words.detach()], 1)')],
        "loss-clamped": [('F.cross_entropy(logits.flatten', 'F.cross_entropy(logits.clamp(-6, 6).flatten')],
        "start-nine": [('value=start', 'value=9')],
        "first-cut-for-all-if-long": [('    prefixes = ', '    cut = cut if len(cut) == 3 else cut[:1] * len(cut)\n    prefixes = ')],
        "always-refused-with-three": [('if length >= len(text):', 'if length >= min(len(text), 4) or length > 3:')],
        "mask-of-first": [('mask = F.pad(prefix != PAD, (soft.shape[1], 0), value=True)', 'mask = F.pad(prefix != PAD, (soft.shape[1], 0), value=True)\n    mask[2:] = True')],
    },
    "30": {
        "square-only": [('return ranked_texts(similar.T, lambda texts, pictures: match(pictures, texts), k)', 'return ranked_texts(similar.T, lambda texts, pictures: match(pictures, texts), k)[: len(similar), : len(similar)]')],
        "k-too-large-ranked": [('first, rest = order[:, :k], order[:, k:]', 'first, rest = order[:, :k].view(-1, k), order[:, k:]')],
        "coarse": [('matched.argsort(1, descending=True)', '(matched * 20).round().argsort(1, descending=True)')],
        "k-of-two": [('order[:, :k], order[:, k:]', 'order[:, : min(k, 3)], order[:, min(k, 3) :]')],
        "images-of-k-three": [('return ranked_texts(similar.T, lambda texts, pictures: match(pictures, texts), k)', 'return ranked_texts(similar.T, lambda texts, pictures: match(pictures, texts), 3)')],
        "four-rows": [('pictures = torch.arange(len(similar))[:, None]', 'pictures = torch.arange(len(similar)).clamp(max=4)[:, None]')],
        "candidates-of-four": [('return similar.topk(min(k, similar.shape[1]), 1).indices', 'return similar.topk(min(k, similar.shape[1]), 1).indices.sort(1).values if k == 3 else similar.topk(min(k, similar.shape[1]), 1).indices')],
    },
}  # fmt: skip


@pytest.mark.parametrize(("number", "name"), [(number, name) for number in WRONG for name in WRONG[number]])
def test_a_narrow_cheat_does_not_earn_everything(number, name):
    text = BY_ID[number].solution
    for old, new in WRONG[number][name]:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    assert earned(BY_ID[number], text=text) < BY_ID[number].points

"""The benchmarks of the mini-world as episodes: n examples of a document, then the query (`minilmm.world.examples`)."""

from __future__ import annotations

import functools
import importlib
from dataclasses import replace

import torch

from minilmm.evaluation.tasks import Settings
from minilmm.evaluation.tasks.episodes import Episodes, concatenate, names_of, pairs_of
from minilmm.interface.tokenizer import EOC
from minilmm.world import examples
from minilmm.world.examples import Ask, Examples
from minilmm.world.grammar import ABSENT, attributes, join, plain, same_width
from minilmm.world.random import integers
from minilmm.world.scenes import place, sample_scenes
from minilmm.world.stories import PAIRS, sample_acts
from minilmm.world.vocabulary import COLOURS, SIZES, TEXTURES, held_out, ids, unpair
from minilmm.world.vocabulary import PAIRS as CONCEPTS


def named(ask: str) -> Ask:
    """A function of `minilmm.world`, such as "asked.questions"."""
    file, function = ask.split(".")
    return getattr(importlib.import_module(f"minilmm.world.{file}"), function)


def sample(batch: int, generator: torch.Generator, settings: Settings, ask: str, **how: bool) -> Episodes:
    """Episodes of a benchmark, the last example of each document being the query.

    Where the settings give the convention, a first sentence says it.
    """
    given = settings.convention == "given"
    found = named(ask)(batch, settings.shots + 1, generator, pairs_of(settings.split), **how)
    return episodes(found, given, known=given or settings.shots > 0)


def episodes(found: Examples, given: bool, known: bool) -> Episodes:
    """Examples as episodes. given: a first sentence says the hypothesis. known: a guesser may know it."""
    batch, device = len(found.hypothesis), found.hypothesis.device
    end = ids(".", EOC).to(device)
    width = found.prompts.shape[1]
    texts = join(plain(found.prompts), found.answer, end).view(batch, found.each, -1)
    texts[:, -1, width:] = ABSENT
    answer = found.answer.view(batch, found.each, -1)[:, -1]
    options = answer[:, None] if found.options is None else found.options
    options, answer = same_width(options, answer)
    target = (options == answer[:, None]).all(-1).int().argmax(1)
    here = (options != ABSENT).any(-1, keepdim=True)
    candidates = concatenate(options, end).masked_fill(~here, ABSENT)
    kind = torch.zeros_like(found.answers[:, 0, 0]) if found.kind is None else found.kind
    kind = kind.view(batch, -1)[:, -1]
    hypotheses = found.answers.shape[1]
    return Episodes.of(
        found.pictures, texts, candidates, target=target, group=kind, kinds=found.kinds,
        hypothesis=found.hypothesis, asked=width,
        clue=kind * hypotheses + found.hypothesis * known, descriptions=found.descriptions.view(batch, found.each, -1),
        first=found.first(torch.full_like(found.hypothesis, given, dtype=torch.bool)),
    )  # fmt: skip


@functools.cache
def ideal(shots: int, ask: str) -> float:
    """The expected accuracy of the ideal observer, over simulated episodes (`minilmm.world.examples.ideal`)."""
    return examples.ideal(named(ask), shots)


@functools.cache
def ideal_auc(shots: int, ask: str) -> float:
    """The same as the area under the ROC curve, where there are two answers."""
    return examples.ideal_auc(named(ask), shots)


def dialogue_prior(settings: Settings, scoring: str) -> float:
    """The mean reciprocal rank of one who knows which attribute is asked for, and guesses among its words."""
    drawn = sample(4000, torch.Generator().manual_seed(7), settings, "asked.dialogue")
    found = []
    for words in (COLOURS, TEXTURES, SIZES):
        own = torch.isin(drawn.candidates[..., 0], ids(*words))
        count = own[torch.isin(drawn.answers[:, 0], ids(*words))].sum(1)
        found += [sum(1 / r for r in range(1, k + 1)) / k for k in count.tolist()]
    return sum(found) / len(found)


@functools.cache
def names(split: str, count: int) -> torch.Tensor:
    """A name for each of `count` classes, the same in all episodes: (count,) ids."""
    every = names_of(split, torch.device("cpu"))
    return every[torch.randperm(len(every), generator=torch.Generator().manual_seed(0))[:count]]


CLASSES = 144  # held-out pairs of colour and shape, in three textures and two sizes


def sample_classes(batch: int, generator: torch.Generator, settings: Settings) -> Episodes:
    """ImageNet: pictures of CLASSES classes with a name each: "large striped red circle" is one of them.

    Which name a class has is the same in all episodes, so that examples can be chosen from a pool. All names compete.
    """
    m, device = settings.shots + 1, generator.device
    class_ = _classes(CLASSES, batch, m, generator)
    pair = torch.arange(CONCEPTS, device=device)
    out = held_out(*unpair(pair))
    pairs = pair[out if pairs_of(settings.split) == "held-out" else ~out][: CLASSES // 6]
    colour, shape = unpair(pairs[class_ // 6].flatten())
    scenes = sample_scenes(batch * m, generator)
    values = {"colour": colour, "shape": shape, "texture": class_.flatten() % 6 % len(TEXTURES)}
    values["size"] = class_.flatten() % 6 // len(TEXTURES)
    assert len(TEXTURES) * len(SIZES) == 6
    scenes = place(
        replace(scenes, **{k: torch.nn.functional.pad(v[:, None], (0, 3)) for k, v in values.items()}), generator
    )
    described = join(*attributes(scenes, 0)).view(batch, m, -1)
    return _named(scenes, described, class_, names(settings.split, CLASSES).to(device))


def sample_actions(batch: int, generator: torch.Generator, settings: Settings) -> Episodes:
    """Kinetics700: videos of two events; every pair of verbs has a name, and all names compete."""
    m = settings.shots + 1
    pair = _classes(PAIRS, batch, m, generator)
    stories = sample_acts(pair.flatten(), generator, pairs_of(settings.split))
    described = stories.told(only_shapes=True).view(batch, m, -1)
    return _named(stories, described, pair, names(settings.split, PAIRS).to(generator.device))


def _classes(count: int, batch: int, m: int, generator: torch.Generator) -> torch.Tensor:
    """Classes at random, (batch, m); for a pool, a multiple of all classes without shots, each as often."""
    if m == 1 and batch % count == 0:
        return (torch.arange(batch, device=generator.device) % count)[:, None]
    return integers(count, (batch, m), generator)


def _named(pictures: object, described: torch.Tensor, class_: torch.Tensor, names: torch.Tensor) -> Episodes:
    end = ids(".", EOC).to(names.device)
    texts = concatenate(names[class_][..., None], end)
    texts[:, -1] = ABSENT
    candidates = concatenate(names[:, None].expand(len(class_), -1, -1), end)
    return Episodes.of(pictures, texts, candidates, target=class_[:, -1], descriptions=described)  # type: ignore[arg-type]

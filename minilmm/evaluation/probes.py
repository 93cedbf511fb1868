"""What eyes tell and a bridge keeps: a linear probe per attribute, read from frozen features (Alain & Bengio 2016).

What no linear map reads from the features, a bridge of a few layers can hardly learn from them; and what none reads
from the vectors that a bridge makes of a picture, its language model can hardly know. Probes are fitted on pictures of
training pairs and tested on pictures of held-out pairs, or on other pictures of the same letters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minilmm.evaluation.retrieval import Row, result_row
from minilmm.flamingo import Flamingo
from minilmm.nn.prefix import PrefixLM
from minilmm.vision.contrastive import DualEncoder
from minilmm.world.random import integers
from minilmm.world.render import render, render_words
from minilmm.world.scenes import MAX_OBJECTS, in_reading_order, sample_scenes
from minilmm.world.vocabulary import COLOURS, DIGITS, LETTERS, SHAPES, SIZES, TEXTURES

FITTED = 16_000  # pictures that a probe is fitted on
RIDGE = 300.0  # of features that are standardised
Drawn = tuple[Tensor, dict[str, Tensor]]  # pictures (N, 3, R, R), and for each attribute the classes (N,)


def single(count: int, generator: torch.Generator, split: str, resolution: int) -> Drawn:
    """One object: its colour, shape, texture, size, and the quarter of the picture that its centre is in."""
    scenes = sample_scenes(count, generator, split=split)
    x, y = scenes.x[:, 0] >= 0.5, scenes.y[:, 0] >= 0.5
    classes = {name: getattr(scenes, name)[:, 0] for name in ("colour", "shape", "texture", "size")}
    return render(scenes, generator, resolution), classes | {"place": x + 2 * y}


def several(count: int, generator: torch.Generator, split: str, resolution: int) -> Drawn:
    """One to four objects: how many there are."""
    number = integers(MAX_OBJECTS, (count,), generator)
    return render(sample_scenes(count, generator, objects=number + 1, split=split), generator, resolution), {
        "count": number
    }


def two(count: int, generator: torch.Generator, split: str, resolution: int) -> Drawn:
    """Two objects: the colour and the shape of the first and of the second, as one reads, row by row."""
    scenes = sample_scenes(count, generator, objects=2, split=split)
    ordered = in_reading_order(scenes)
    classes = {f"{name} {o}": getattr(ordered, name)[:, o - 1] for name in ("colour", "shape") for o in (1, 2)}
    return render(scenes, generator, resolution), classes


def letter(count: int, generator: torch.Generator, split: str, resolution: int) -> Drawn:
    """A letter."""
    which = integers(len(LETTERS), (count,), generator)
    return render_words(which[:, None], generator, resolution), {"letter": which}


def digit(count: int, generator: torch.Generator, split: str, resolution: int) -> Drawn:
    """A digit."""
    which = integers(len(DIGITS), (count,), generator)
    return render_words(which[:, None] + len(LETTERS), generator, resolution), {"digit": which}


CLASSES = {"colour": len(COLOURS), "shape": len(SHAPES), "texture": len(TEXTURES), "size": len(SIZES), "place": 4,
           "colour 1": len(COLOURS), "colour 2": len(COLOURS), "shape 1": len(SHAPES), "shape 2": len(SHAPES),
           "count": MAX_OBJECTS, "letter": len(LETTERS), "digit": len(DIGITS)}  # fmt: skip
FAMILIES: tuple[Callable[[int, torch.Generator, str, int], Drawn], ...] = (single, two, several, letter, digit)


def fit(features: Tensor, wanted: Tensor, ridge: float = RIDGE) -> Tensor:
    """Ridge regression of one-hot classes (N, C) on features (N, D): weights (D, C)."""
    gram = features.T @ features
    gram.diagonal().add_(ridge)
    return torch.linalg.solve(gram, features.T @ wanted.to(features.dtype))


Look = Callable[[Tensor], Tensor]  # pictures (M, 3, R, R) -> vectors (M, K, D)


def looks(model: nn.Module) -> tuple[dict[str, Look], int]:
    """What makes vectors of pictures of so many pixels: eyes, and behind a bridge's eyes what its LM gets."""
    if isinstance(model, DualEncoder):
        return {"eyes": model.vision}, model.resolution
    assert isinstance(model, Flamingo | PrefixLM)
    eyes, resolution = model.encoder, int(model.config.vision.resolution)  # type: ignore[union-attr, arg-type]
    if isinstance(model, Flamingo):
        return {"eyes": eyes, "tokens": lambda images: model.resampler(eyes(images)[:, None])}, resolution
    return {"eyes": eyes, "prefix": model.prefix}, resolution


@torch.no_grad()
def probes(
    model: nn.Module, count: int = 1000, seed: int = 0, device: torch.device | str = "cpu", fitted: int = FITTED
) -> list[Row]:
    """The accuracy of a linear probe of each attribute on `count` pictures; its chance is one over the classes.

    model: a dual encoder; or a bridge, whose eyes and whose tokens or prefix are probed alike.
    """
    ways, resolution = looks(model)
    rows: list[dict[str, Any]] = []
    for number, draw in enumerate(FAMILIES):
        generator = torch.Generator(device).manual_seed((3_000_017 + seed) * 10 + number)
        seen, tested = (draw(n, generator, split, resolution) for n, split in ((fitted, "train"), (count, "held-out")))
        wanted = [F.one_hot(classes, CLASSES[name]) for name, classes in seen[1].items()]
        for way, look in ways.items():
            x, y = (torch.cat([look(part) for part in images.split(256)]).flatten(1) for images, _ in (seen, tested))
            mean, deviation = x.mean(0), x.std(0) + 1e-6
            x, y = (F.pad((z - mean) / deviation, (0, 1), value=1.0) for z in (x, y))
            widths = [each.shape[1] for each in wanted]  # a probe per attribute
            says = (y @ fit(x, torch.cat(wanted, 1))).split(widths, 1)
            for (name, classes), scores in zip(tested[1].items(), says, strict=True):
                label = name if len(ways) == 1 else f"{name}, {way}"
                rows.append(result_row(label, scores.argmax(1) == classes, 1 / CLASSES[name], seed))
    return rows

"""Captions in a house style, which a document keeps throughout: of pictures, of videos, of steps in order."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from minilmm.world.examples import Examples, drawn, stacked
from minilmm.world.grammar import attributes, compact, describe, join, when
from minilmm.world.random import integers
from minilmm.world.scenes import Scenes, join_scenes, sample_scenes
from minilmm.world.stories import EVENTS, Stories, sample_stories

OPENINGS = ("", "there is", "the image shows")
STYLES = tuple(itertools.product(OPENINGS, (True, False), (True, False), (True, False)))  # article, texture, size said?


def styled(scenes: Scenes) -> Tensor:
    """Captions of scenes in each style, "there is a striped red circle and a plain blue star": (N, H, A)."""
    said = []
    words = [attributes(scenes, o) for o in range(int(scenes.count.max()))]
    for opening, article, textured, sized in STYLES:
        parts: list[Tensor | str] = [opening] if opening else []
        for o, (size, texture, colour, shape) in enumerate(words):
            here = scenes.present[:, o]
            parts += [when(here, "and")] if o else []
            parts += [when(here, "a")] if article else []
            parts += [size] * sized + [texture] * textured + [colour, shape]
        said.append(compact(join(*parts)))
    return stacked(*said)


def captions(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """COCO, Flickr30k: pictures of one object, some of two."""
    count = 1 + (integers(3, (rows * n,), generator) == 0).long()
    scenes = sample_scenes(rows * n, generator, objects=count, split=split)
    answers = styled(scenes)
    return Examples(describe(scenes), answers[:, 0, :0], answers, drawn(rows, len(STYLES), generator), scenes)


DOMAINS = ("in-domain", "near-domain", "out-of-domain")


def novel_captions(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """NoCaps: examples of what training shows; the last picture is of a pair that is held out, or of a shape that is
    only read of.
    """
    kind = integers(3, (rows * n,), generator)
    last = torch.arange(rows * n, device=kind.device) % n == n - 1
    kind = torch.where(last, kind, 0)
    three = join_scenes([sample_scenes(rows * n, generator, split=half) for half in ("train", "held-out", "novel")])
    scenes = three[torch.arange(rows * n, device=kind.device) + kind * rows * n]
    answers = styled(scenes)
    return Examples(describe(scenes), answers[:, 0, :0], answers, drawn(rows, len(STYLES), generator), scenes,
                    kind=kind, kinds=DOMAINS)  # fmt: skip


def _chain(stories: Stories, article: bool, textured: bool, before: list[str], between: list[str]) -> Tensor:
    """The events of stories, each with words in front of it."""
    parts: list[Tensor | str] = []
    for e in range(EVENTS):
        here = stories.scenes.present[:, e]
        parts += [when(here, between[e])] if between[e] else []
        parts += [when(here, before[e])] if before[e] else []
        parts += [when(here, "a")] if article else []
        parts += [stories.actor(e, textured), stories.does(e)]
    return compact(join(*parts))


def video_captions(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """VATEX: what happens, in one sentence."""
    stories = sample_stories(rows * n, generator, split)
    forms = itertools.product((True, False), (True, False), (["", "and", "and"], ["", "then", "then"]))
    answers = stacked(
        *(_chain(stories, article, textured, [""] * EVENTS, joiner) for article, textured, joiner in forms)
    )
    return Examples(stories.told(), answers[:, 0, :0], answers, drawn(rows, 8, generator), stories)


def steps(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """YouCook2: what is done, step by step."""
    stories = sample_stories(rows * n, generator, split, least=3)
    orders = (["step one :", "step two :", "step three :"], ["step 1 :", "step 2 :", "step 3 :"],
              ["first", "second", "third"], ["first", "then", "last"])  # fmt: skip
    answers = stacked(*(_chain(stories, False, False, order, [""] * EVENTS) for order in orders))
    return Examples(stories.told(), answers[:, 0, :0], answers, drawn(rows, 4, generator), stories)

"""Text in which names are used: what a name means, questions that use one, videos with names."""

from __future__ import annotations

import torch
from torch import Tensor

from minilmm.interface.tokenizer import EOC
from minilmm.world import stories
from minilmm.world.bindings import WAYS, named
from minilmm.world.grammar import attributes, compact, describe, fill_rows, hyphenate, join, known, when, word
from minilmm.world.questions import name_question
from minilmm.world.random import choices, coins, integers
from minilmm.world.scenes import sample_scenes, shuffle_objects, turned, with_concepts
from minilmm.world.vocabulary import ALL_SHAPES, COLOURS, SHAPES, TRAIN_NAMES, held_out


def fast(rows: int, length: int, generator: torch.Generator, pairs: str, parts: float = 0.0) -> Tensor:
    """Two shapes get names from examples; then questions about scenes of two objects use the names.

    parts: in so many documents "what shape is the dax ?" is asked before each of them.
    """
    W, bound = 2, 4
    n = max(1, (length - 34) // 36)
    shapes = choices(len(SHAPES), W, (rows,), generator)  # (B, 2)
    names = word(TRAIN_NAMES, choices(len(TRAIN_NAMES), W, (rows,), generator))
    turn = choices(bound, bound, (rows,), generator) % W  # balanced, in random order
    single = sample_scenes(rows * bound, generator, split=pairs)
    shown = shapes.gather(1, turn).view(-1, 1)
    single = with_concepts(single, _shown(single.colour[:, :1], shown, pairs), shown)
    full = coins((rows,), generator).repeat_interleave(bound)
    described = hyphenate(describe(single, full=full), rows, generator)
    first = join(described, names.gather(1, turn).view(-1, 1), ".", EOC)
    scenes = sample_scenes(rows * n, generator, objects=W, split=pairs, distinct=True)
    order = choices(W, W, (rows * n,), generator)  # the first object is the one asked about first
    shown = shapes.repeat_interleave(n, 0).gather(1, order)
    scenes = with_concepts(scenes, _shown(scenes.colour[:, :W], shown, pairs), shown)
    called = names.repeat_interleave(n, 0).gather(1, order)
    said = [hyphenate(describe(shuffle_objects(scenes, generator)), rows, generator)]
    part = coins((rows,), generator, parts).repeat_interleave(n)
    for i, about in enumerate((scenes, turned(scenes))):
        name = called[:, i : i + 1]
        shape = known(attributes(about, 0)[3])
        said.append(when(part, "question : what shape is the", name, "? answer :", shape, known(f". {EOC}")))
        prompt, answer = name_question(about, name, integers(3, (rows * n,), generator))
        said += [prompt, known(answer), known(f". {EOC}")]
    return fill_rows(join(*said), rows, length, before=first.view(rows, -1))


def meanings(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """Two to five shapes get names, one example each; then, many times, "question : what shape is the dax ?"."""
    most, n = 5, length // 10 + 1
    ways = 2 + integers(most - 1, (rows,), generator)
    shapes = choices(len(SHAPES), most, (rows,), generator)  # (B, W)
    names = word(TRAIN_NAMES, choices(len(TRAIN_NAMES), most, (rows,), generator))
    single, shown = sample_scenes(rows * most, generator, split=pairs), shapes.reshape(-1, 1)
    single = with_concepts(single, _shown(single.colour[:, :1], shown, pairs), shown)
    full, here = (x.repeat_interleave(most) for x in (coins((rows,), generator), ways))
    here = torch.arange(most, device=ways.device).repeat(rows) < here
    bound = when(here, describe(single, full=full), names.view(-1, 1), ".", EOC)
    asked = (torch.rand(rows, n, generator=generator, device=ways.device) * ways[:, None]).long()
    said, shape = names.gather(1, asked).view(-1, 1), word(ALL_SHAPES, shapes.gather(1, asked).flatten())[:, None]
    text = join("question : what shape is the", said, "? answer :", known(shape), known(f". {EOC}"))
    return fill_rows(text, rows, length, before=compact(bound.reshape(rows, -1)))


def _shown(colour: Tensor, shape: Tensor, pairs: str) -> Tensor:
    """The colours, or where a pair is held out and not among `pairs` the next ones, which are not."""
    return colour if pairs == "all" else (colour + held_out(colour, shape).long()) % len(COLOURS)


def named_videos(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
    """Videos of two events with a name for each pair of verbs: "red circle grows then blue star spins zup . <EOC>"."""
    n = length // 10 + 1
    pair, ways = choices(stories.PAIRS, WAYS, (rows,), generator), 2 + integers(WAYS - 1, (rows,), generator)
    label = (torch.rand(rows, n, generator=generator, device=pair.device) * ways[:, None]).long()
    told = stories.sample_acts(pair.gather(1, label).flatten(), generator, pairs)
    short = coins((rows,), generator).repeat_interleave(n)
    described = join(when(short, told.told(only_shapes=True)), when(~short, told.told()))
    return named(described, label, ways, length, generator, compounds=0.0)

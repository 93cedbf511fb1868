"""Benchmarks about what is printed: signs, tables, panels, and boxes around objects."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from minilmm.world.examples import SENTENCES, Examples, by_convention, drawn, in_turn, stacked
from minilmm.world.grammar import ABSENT, attributes, compact, describe, join, noun, when, word
from minilmm.world.random import coins, integers
from minilmm.world.scenes import MAX_OBJECTS, Scenes, sample_scenes, shuffle_objects
from minilmm.world.vocabulary import DIGITS, LETTERS, NUMBERS

ORDER = ["one", "two", "three"]
SYMBOLS = [*LETTERS, *DIGITS]
LINES = ("answer with the top .", "answer with the bottom .")


@dataclass(frozen=True)
class Printed:
    """N pictures of letters and digits in rows and columns: (N, R, C) places in SYMBOLS, -1 where there is none."""

    symbols: Tensor


@dataclass(frozen=True)
class Boxed:
    """N scenes in a frame, and the width and height that are printed below: (N, 2) places in SYMBOLS."""

    scenes: Scenes
    digits: Tensor


def signs(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """TextVQA: what does the sign say? It has two lines of one to three letters or digits, of which one is meant."""
    N = rows * n
    lines = []
    for _ in range(2):
        count = 1 + integers(3, (N,), generator)
        kind = coins((N,), generator)[:, None]
        letters, digits = (integers(len(table), (N, 3), generator) for table in (LETTERS, DIGITS))
        line = torch.where(kind, letters, digits + len(LETTERS))
        lines.append(line.masked_fill(torch.arange(3, device=line.device) >= count[:, None], ABSENT))
    symbols = torch.stack(lines, 1)  # (N, 2, 3)
    top, bottom = (word(SYMBOLS, line.clamp(min=0)).masked_fill(line < 0, ABSENT) for line in lines)
    described = compact(join("sign top", top, "bottom", bottom))
    prompt = join(top[:, :0], "question : what does the sign say ? answer :")
    return Examples(described, prompt, stacked(top, bottom), drawn(rows, 2, generator), Printed(symbols),
                    sentences=LINES)  # fmt: skip


def tables(rows: int, n: int, generator: torch.Generator, split: str, asked: int = 1) -> Examples:
    """A table of two or three rows and columns of digits: which number stands where? Several cells may be asked for."""
    N, device = rows * n, generator.device
    cells, (down, across) = integers(10, (N, 3, 3), generator), (2 + integers(2, (N,), generator) for _ in range(2))
    place = torch.arange(3, device=device)
    here = (place < down[:, None])[:, :, None] & (place < across[:, None])[:, None]  # (N, 3, 3)
    symbols = (cells + len(LETTERS)).masked_fill(~here, ABSENT)
    digits = word(DIGITS, cells).masked_fill(~here, ABSENT)
    parts = [when(down > r, "row", ORDER[r], digits[:, r]) for r in range(3)]
    turns = []
    for _ in range(asked):
        row, column = (integers(3, (N,), generator) % size for size in (down, across))
        where = join("row", word(ORDER, row)[:, None], "column", word(ORDER, column)[:, None])
        answer = word(NUMBERS, cells[torch.arange(N, device=device), row, column])[:, None]
        turns.append((join("question : what is in", where, "? answer :"), by_convention(answer)))
    convention = drawn(rows, 2, generator)
    return Examples(compact(join(*parts)), *in_turn(turns, convention), convention, Printed(symbols),
                    sentences=SENTENCES)  # fmt: skip


PANEL_KINDS = ("odd", "tell")


def panels(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """Three panels told one by one, of which one is odd: which one, and what does a panel show?"""
    N, device = rows * n, generator.device
    two = sample_scenes(N, generator, objects=2, split=split, distinct=True)
    usual, strange = noun(two, 0)[:, 1:], noun(two, 1)[:, 1:]
    odd, asked, kind = (integers(k, (N,), generator) for k in (3, 3, 2))
    panel = [torch.where((odd == i)[:, None], strange, usual) for i in range(3)]
    described = join(*(part for i in range(3) for part in (f"panel {ORDER[i]} :", panel[i])))
    tell = torch.stack(panel, 1)[torch.arange(N, device=device), asked]
    prompt = join("question :", when(kind == 0, "which panel is odd"),
                  when(kind == 1, "what is in panel", word(ORDER, asked)[:, None]), "? answer :")  # fmt: skip
    answer = join(when(kind == 0, word(ORDER, odd)[:, None]), when(kind == 1, tell))
    return Examples(described, compact(prompt), by_convention(compact(answer)), drawn(rows, 2, generator),
                    _side_by_side(two, odd), kind=kind, kinds=PANEL_KINDS, sentences=SENTENCES)  # fmt: skip


def _side_by_side(two: Scenes, odd: Tensor) -> Scenes:
    """Three objects in a row: the first of each scene, but at place `odd` (N,) the second, of equal size."""
    place = torch.arange(3, device=odd.device)
    chosen = F.pad((place == odd[:, None]).long(), (0, MAX_OBJECTS - 3))  # (N, O)
    scenes = two.listed(chosen)
    third = F.pad((place + 0.5) / 3, (0, MAX_OBJECTS - 3)).expand_as(scenes.x)
    present = F.pad(torch.ones_like(place, dtype=torch.bool), (0, MAX_OBJECTS - 3)).expand_as(scenes.present)
    same = torch.full_like(scenes.x, 0.5)
    return replace(scenes, present=present, x=third, y=same, radius=0.28 * same, size=torch.zeros_like(scenes.size))


GRID = 10  # steps of a side in which boxes are told
BOX_KINDS = ("box", "size")
CORNERS = ("left", "top", "right", "bottom")
ORDERS = ("answer with left first .", "answer with top first .")


def corners(scenes: Scenes) -> Tensor:
    """Left, top, right and bottom of each object, in steps of the grid: (N, O, 4) from 0 to 9."""
    ends = [scenes.x - scenes.radius, scenes.y - scenes.radius, scenes.x + scenes.radius, scenes.y + scenes.radius]
    return (torch.stack(ends, -1) * GRID).floor().clamp(0, GRID - 1).long()


def boxes(rows: int, n: int, generator: torch.Generator, split: str, asked: int = 1) -> Examples:
    """Where is it, in numbers? "left 1 top 2 right 4 bottom 5", or "top 2 left 1 bottom 5 right 4", as the document has
    it. How large is the picture: its width, then its height, or the other way round. Several questions may be asked.
    """
    N, device = rows * n, generator.device
    scenes = sample_scenes(N, generator, objects=1 + integers(2, (N,), generator), split=split, distinct=True)
    sides = 3 + integers(7, (N, 2), generator)
    size, box = word(DIGITS, sides), word(DIGITS, corners(scenes))  # (N, 2), (N, O, 4)
    parts = [join("size", size)]
    for o in range(2):
        edges = [part for i, edge in enumerate(CORNERS) for part in (edge, box[:, o, i : i + 1])]
        parts += [when(scenes.present[:, o], "and")] if o else []
        parts.append(when(scenes.present[:, o], noun(scenes, o)[:, 1:], "at", *edges))
    row, turns = torch.arange(N, device=device), []
    for _ in range(asked):
        kind, about = (integers(4, (N,), generator) == 0).long(), integers(2, (N,), generator) % scenes.count
        name = torch.stack([noun(scenes, o)[:, 1:] for o in range(2)], 1)[row, about]
        said = when(kind == 0, "where is the box of the", name), when(kind == 1, "how large is the image")
        its = box[row, about]
        answers = [
            join(*(when(kind == 0, CORNERS[i], its[:, i : i + 1]) for i in order), when(kind == 1, size[:, width]))
            for order, width in (((0, 1, 2, 3), [0, 1]), ((1, 0, 3, 2), [1, 0]))
        ]  # fmt: skip
        prompt = join("question :", *said, "? answer :")
        turns.append((compact(prompt), stacked(*(compact(answer, 2 * len(CORNERS)) for answer in answers))))
    order = drawn(rows, 2, generator)
    return Examples(compact(join(*parts)), *in_turn(turns, order), order, Boxed(scenes, sides + len(LETTERS)),
                    kind=kind, kinds=BOX_KINDS, sentences=ORDERS)  # fmt: skip


INSTRUCTIONS = ("describe the image in one word", "describe the image in two words", "tell the color in one word",
                "describe the image in a short sentence", "tell the texture in a sentence")  # fmt: skip


def instructions(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """What an instruction says is done: "describe the image in one word . answer : circle"."""
    N = rows * n
    scenes = sample_scenes(N, generator, split=split)
    _, texture, colour, shape = attributes(scenes, 0)
    kind = integers(len(INSTRUCTIONS), (N,), generator)
    prompt = join("instruction :", *(when(kind == i, said) for i, said in enumerate(INSTRUCTIONS)), ". answer :")
    answer = join(
        when(kind == 0, shape), when(kind == 1, colour, shape), when(kind == 2, colour),
        when(kind == 3, "there is a", colour, shape), when(kind == 4, "the", shape, "is", texture),
    )  # fmt: skip
    return Examples(describe(shuffle_objects(scenes, generator)), compact(prompt), compact(answer)[:, None],
                    torch.zeros(rows, dtype=torch.long, device=generator.device), scenes, kind=kind)  # fmt: skip

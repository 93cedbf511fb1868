"""Benchmarks about what is printed: signs, tables, panels, and boxes around objects."""

from __future__ import annotations

import torch
from torch import Tensor

from minilmm.world.examples import SENTENCES, Examples, by_convention, drawn, stacked
from minilmm.world.grammar import ABSENT, attributes, compact, describe, join, noun, when, word
from minilmm.world.random import coins, integers
from minilmm.world.scenes import Scenes, sample_scenes, shuffle_objects
from minilmm.world.vocabulary import DIGITS, LETTERS, NUMBERS

ORDER = ["one", "two", "three"]


def signs(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """TextVQA: what does the sign say? It has two lines of one to three letters or digits, of which one is meant."""
    N = rows * n
    lines = []
    for _ in range(2):
        count = 1 + integers(3, (N,), generator)
        kind = coins((N,), generator)[:, None]
        letters, digits = (integers(len(table), (N, 3), generator) for table in (LETTERS, DIGITS))
        line = torch.where(kind, word(LETTERS, letters), word(DIGITS, digits))
        lines.append(line.masked_fill(torch.arange(3, device=line.device) >= count[:, None], ABSENT))
    described = compact(join("sign top", lines[0], "bottom", lines[1]))
    prompt = join(lines[0][:, :0], "question : what does the sign say ? answer :")
    return Examples(described, prompt, stacked(*lines), drawn(rows, 2, generator))


def tables(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """A table of two or three rows and columns of digits: which number stands where?"""
    N, device = rows * n, generator.device
    cells, (down, across) = integers(10, (N, 3, 3), generator), (2 + integers(2, (N,), generator) for _ in range(2))
    parts = []
    for r in range(3):
        here = down > r
        digits = word(DIGITS, cells[:, r]).masked_fill(torch.arange(3, device=device) >= across[:, None], ABSENT)
        parts.append(when(here, "row", ORDER[r], ":", digits))
    row, column = (integers(3, (N,), generator) % size for size in (down, across))
    where = join("row", word(ORDER, row)[:, None], "column", word(ORDER, column)[:, None])
    prompt = join("question : what is in", where, "? answer :")
    answer = word(NUMBERS, cells[torch.arange(N, device=device), row, column])[:, None]
    return Examples(compact(join(*parts)), prompt, by_convention(answer), drawn(rows, 2, generator),
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
    return Examples(described, compact(prompt), by_convention(compact(answer)), drawn(rows, 2, generator), kind=kind,
                    kinds=PANEL_KINDS, sentences=SENTENCES)  # fmt: skip


GRID = 10  # steps of a side in which boxes are told
BOX_KINDS = ("box", "size")


def corners(scenes: Scenes) -> Tensor:
    """Left, top, right and bottom of each object, in steps of the grid: (N, O, 4) from 0 to 9."""
    ends = [scenes.x - scenes.radius, scenes.y - scenes.radius, scenes.x + scenes.radius, scenes.y + scenes.radius]
    return (torch.stack(ends, -1) * GRID).floor().clamp(0, GRID - 1).long()


def boxes(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """Where is it, in numbers? Left, top, right, bottom; or top, left, bottom, right, as the document has it. How large
    is the picture: its width, then its height, or the other way round.
    """
    N, device = rows * n, generator.device
    scenes = sample_scenes(N, generator, objects=1 + integers(2, (N,), generator), split=split, distinct=True)
    size, kind = 3 + integers(7, (N, 2), generator), (integers(4, (N,), generator) == 0).long()
    row, box = torch.arange(N, device=device), corners(scenes)
    about = integers(2, (N,), generator) % scenes.count
    parts = [join("size", word(DIGITS, size), ":")]
    for o in range(2):
        here = scenes.present[:, o]
        parts += [when(here, "and")] if o else []
        parts += [noun(scenes, o)[:, 1:], when(here, "at", word(DIGITS, box[:, o]))]
    name = torch.stack([noun(scenes, o)[:, 1:] for o in range(2)], 1)[row, about]
    asked = when(kind == 0, "where is the box of the", name), when(kind == 1, "how large is the image")
    prompt = join("question :", *asked, "? answer :")
    across = join(when(kind == 0, word(DIGITS, box[row, about])), when(kind == 1, word(DIGITS, size)))
    down = across[:, [1, 0, 3, 2, 5, 4]]
    answers = stacked(compact(across, 4), compact(down, 4))
    return Examples(compact(join(*parts)), compact(prompt), answers, drawn(rows, 2, generator), scenes,
                    kind=kind, kinds=BOX_KINDS)  # fmt: skip


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

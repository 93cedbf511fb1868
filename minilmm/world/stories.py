"""Benchmarks about videos: up to three objects act, one after the other, and one may push the next."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from minilmm.world.examples import SENTENCES, Examples, by_convention, drawn, in_turn, stacked, words_of
from minilmm.world.grammar import ABSENT, attributes, compact, join, when, word
from minilmm.world.random import choices, coins, integers
from minilmm.world.scenes import Scenes, sample_colours, sample_scenes, with_concepts
from minilmm.world.vocabulary import ALL_SHAPES, COLOURS, NUMBERS, SHAPES, VERBS

EVENTS = 3


@dataclass(frozen=True)
class Stories:
    """N videos: the o-th object of a scene acts in the o-th event."""

    scenes: Scenes
    verb: Tensor  # (N, EVENTS), different ones
    pushed: Tensor  # (N,) bool: in the first event the first object pushes the second

    def actor(self, e: int, textured: bool = False) -> Tensor:
        """Who acts in the e-th event, "red circle": (N, 2 or 3)."""
        return join(*attributes(self.scenes, e)[1 if textured else 2 :])

    def does(self, e: int) -> Tensor:
        """What it does, "grows" or "pushes blue square": (N, 3)."""
        present = self.scenes.present[:, e]
        plain = when(present, word(VERBS, self.verb[:, e : e + 1]))
        if e:
            return plain
        return join(plain.masked_fill(self.pushed[:, None], ABSENT), when(self.pushed, "pushes", self.actor(1)))

    def event(self, e: int) -> Tensor:
        """ "red circle grows", absent where a story has fewer events: (N, 5)."""
        return join(self.actor(e), self.does(e))

    def told(self, only_shapes: bool = False) -> Tensor:
        """ "striped red circle grows then plain blue square spins", or "circle grows then square spins": (N, D)."""
        parts = []
        for e in range(EVENTS):
            parts += [when(self.scenes.present[:, e], "then")] if e else []
            parts += [attributes(self.scenes, e)[3] if only_shapes else self.actor(e, textured=True), self.does(e)]
        return compact(join(*parts))


def rare(verb: Tensor, shape: Tensor) -> Tensor:
    """True where a verb and a shape are never together in text or in training: a sixth of the pairs."""
    return (verb + shape) % len(VERBS) == 0


def sample_stories(count: int, generator: torch.Generator, split: str, least: int = 2) -> Stories:
    """Stories of `least` to three events by different verbs; no verb and shape are together that are a rare pair."""
    number = least + integers(EVENTS - least + 1, (count,), generator)
    scenes = sample_scenes(count, generator, objects=number, split=split, distinct=True)
    every = torch.tensor(list(itertools.permutations(range(len(VERBS)), EVENTS)), device=number.device)  # (120, 3)
    free = ~(rare(every, scenes.shape[:, None, :EVENTS]) & scenes.present[:, None, :EVENTS]).any(-1)
    verb = every[(torch.rand(free.shape, generator=generator, device=free.device) * free).argmax(1)]
    return Stories(scenes, verb, coins((count,), generator, 0.3) & (number > 1))


PAIRS = len(VERBS) ** 2  # of verbs: the classes of videos that get names


def sample_acts(pair: Tensor, generator: torch.Generator, split: str) -> Stories:
    """Two events by the verbs of pairs (N,), the first verb and len(VERBS) times the second; no pair is rare."""
    verb = torch.stack([pair % len(VERBS), pair // len(VERBS), pair % len(VERBS)], 1)
    free = ~rare(verb[:, :2, None], torch.arange(len(SHAPES), device=verb.device))  # (N, 2, shapes)
    shape = (torch.rand(free.shape, generator=generator, device=free.device) * free).argmax(-1)
    scenes = sample_scenes(len(pair), generator, objects=2, split=split)
    scenes = with_concepts(scenes, sample_colours(shape, generator, split), shape)
    return Stories(scenes, verb, torch.zeros_like(pair, dtype=torch.bool))


VIDEO_KINDS = ("who", "what", "color", "count", "does")


def video_questions(rows: int, n: int, generator: torch.Generator, split: str, asked: int = 1) -> Examples:
    """MSVDQA, MSRVTTQA, iVQA: who does it, what does it do, of what colour is it, how many act, does it? Several
    questions may be asked.
    """
    N = rows * n
    stories, turns = sample_stories(N, generator, split), []
    for _ in range(asked):
        kind = integers(len(VIDEO_KINDS), (N,), generator)
        turns.append(_video_question(stories, kind, generator))
    convention = drawn(rows, 2, generator)
    return Examples(stories.told(), *in_turn(turns, convention), convention, stories, kind=kind, kinds=VIDEO_KINDS,
                    sentences=SENTENCES)  # fmt: skip


def _video_question(stories: Stories, kind: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Questions of the kinds (N,) about stories, and their answers by both conventions: (N, K) and (N, 2, A)."""
    scenes, row = stories.scenes, torch.arange(len(kind), device=kind.device)
    about = integers(EVENTS, (len(kind),), generator) % scenes.count
    about = torch.where(stories.pushed & (about == 0), 1, about)  # of those that act by themselves
    colour, shape = scenes.colour[row, about], scenes.shape[row, about]
    actor = join(word(COLOURS, colour)[:, None], word(ALL_SHAPES, shape)[:, None])
    verb, yes = stories.verb[row, about], coins((len(kind),), generator)
    other = stories.verb[row, (about + 1) % EVENTS]
    yes |= rare(other, shape)  # nor is a rare pair asked for
    said = word(VERBS, torch.where(yes | (kind != 4), verb, other))[:, None]
    prompt = join(
        "question :", when(kind == 0, "what", said), when(kind == 1, "what does the", actor, "do"),
        when(kind == 2, "what color is the shape that", said), when(kind == 3, "how many shapes are there"),
        when(kind == 4, "is there a", actor, "that", said), "? answer :",
    )  # fmt: skip
    answer = join(
        when(kind == 0, actor), when(kind == 1, said), when(kind == 2, actor[:, :1]),
        when(kind == 3, word(NUMBERS, scenes.count)[:, None]),
        when(kind == 4, word(["no", "yes"], yes.long())[:, None]),
    )  # fmt: skip
    return compact(prompt), by_convention(compact(answer, 2))


TIMES = ("before", "after", "why")


def temporal(rows: int, n: int, generator: torch.Generator, split: str) -> Examples:
    """NextQA, STAR: what happens before, what after, and why? Five answers compete.

    Wrong ones have those who act and what is done in other combinations, so that four of the five look alike: the fifth
    does what nobody does.
    """
    N, device = rows * n, generator.device
    stories = sample_stories(N, generator, split, least=EVENTS)
    row, later = torch.arange(N, device=device), coins((N,), generator)
    asked = torch.where(later, 0, 1) + integers(2, (N,), generator)
    wanted = torch.where(later, asked + 1, asked - 1)
    third = EVENTS - asked - wanted
    actors = torch.stack([compact(stories.actor(e), 2) for e in range(EVENTS)], 1)  # (N, 3, 2)
    unused = torch.rand(N, len(VERBS), generator=generator, device=device)
    unused.scatter_(1, stories.verb, -1.0)
    deeds = word(VERBS, torch.cat([stories.verb, unused.argmax(1, keepdim=True)], 1))[..., None]  # (N, 4, 1)
    one, two = actors[row, wanted], actors[row, third]
    order = choices(5, 5, (rows,), generator)
    coin = (order[:, 0] % 2 == 0).repeat_interleave(n)  # so that nobody stands in more of the options, on average
    odd = torch.where(coin[:, None], one, two)
    events = [(one, wanted), (one, third), (two, wanted), (two, third), (odd, torch.full_like(third, EVENTS))]
    told = stacked(*(torch.cat([who, deeds[row, e]], 1) for who, e in events))  # (N, 5, 3), the right one first
    pairs = ((0, 0), (2, 2), (0, 2), (2, 0))  # whose colour and whose shape
    pushed = when(stories.pushed, "pushes", actors[:, 1])
    whose = [join(actors[:, c, :1], actors[:, s, 1:]) for c, s in pairs]
    whose.append(join(torch.where(coin[:, None], actors[:, 0, :1], actors[:, 2, :1]), actors[:, 1, 1:]))
    blamed = stacked(*(join(who, pushed) for who in whose))  # (N, 5, 5)
    answers = torch.where(stories.pushed[:, None, None], blamed, F.pad(told, (0, 2), value=ABSENT))
    kind = torch.where(stories.pushed, 2, later.long())
    asked = torch.where(stories.pushed, 1, asked)
    event = torch.cat([actors[row, asked], deeds[row, asked]], 1)
    forms = ("what happens before the", "what happens after the", "why is it that the")
    prompt = join("question :", *(when(kind == i, form) for i, form in enumerate(forms)), event, "? answer :")
    options = answers.view(rows, n, 5, -1)[:, -1].gather(1, order[..., None].expand(-1, -1, answers.shape[-1]))
    nothing = torch.zeros(rows, dtype=torch.long, device=device)
    return Examples(stories.told(), compact(prompt), answers[:, :1], nothing, stories, options, kind, TIMES)


def actions(rows: int, n: int, generator: torch.Generator, split: str, rarely: bool = False) -> Examples:
    """RareAct: is there a circle that spins? Where there is not, the circle does something else; in half of these
    stories another shape spins. rarely: the last example asks for a pair of verb and shape that text never had.
    """
    N, device = rows * n, generator.device
    stories = sample_stories(N, generator, split)
    scenes, verbs, row = stories.scenes, stories.verb.clone(), torch.arange(N, device=device)
    about = torch.where(stories.pushed, 1, integers(EVENTS, (N,), generator) % scenes.count)
    shape = scenes.shape[row, about]
    last = (row % n == n - 1) & rarely
    wanted = torch.where(last, (-shape) % len(VERBS), verbs[row, about])
    verbs = torch.where(verbs == wanted[:, None], verbs[row, about][:, None], verbs)  # nobody does it twice
    verbs[row, about] = wanted
    yes = coins((N,), generator)
    free = torch.rand(N, len(VERBS), generator=generator, device=device)
    used = (verbs[..., None] == torch.arange(len(VERBS), device=device)).any(1)
    used |= rare(torch.arange(len(VERBS), device=device), shape[:, None])
    verbs[row, about] = torch.where(yes, wanted, free.masked_fill(used, -1.0).argmax(1))
    other = (about + 1) % scenes.count
    swap = ~yes & ~rare(wanted, scenes.shape[row, other]) & (other > stories.pushed.long() - 1) & coins((N,), generator)
    verbs[row, other] = torch.where(swap & (other != about), wanted, verbs[row, other])
    prompt = join(
        "question : is there a", word(ALL_SHAPES, shape)[:, None], "that", word(VERBS, wanted)[:, None], "? answer :"
    )
    answers = word(["no", "yes"], yes.long())[:, None, None]
    options = words_of(["yes", "no"], device).expand(rows, -1, -1)
    stories = Stories(scenes, verbs, stories.pushed)
    return Examples(stories.told(), prompt, answers, torch.zeros(rows, dtype=torch.long, device=device), stories,
                    options, wanted * len(ALL_SHAPES) + shape)  # fmt: skip

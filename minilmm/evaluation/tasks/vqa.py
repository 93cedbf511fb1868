"""Questions about scenes: `vqa` says what it asks, `induction-vqa` leaves that to the demonstrations, and `fast-vqa`
(Frozen, section 4.3) binds names to shapes first and then asks about a scene by name. One demonstration is one whole
example.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minilmm.evaluation.tasks.episodes import Episodes, Settings, names_of, pairs_of
from minilmm.interface.tokenizer import EOC
from minilmm.world.grammar import ABSENT, describe, join
from minilmm.world.questions import (
    ANSWERS,
    ATTRIBUTES,
    KINDS,
    name_question,
    question,
    sample_question_scenes,
    what_is_it,
)
from minilmm.world.random import choices, integers
from minilmm.world.scenes import Scenes, join_scenes, place, sample_scenes, shuffle_objects, with_concepts
from minilmm.world.vocabulary import COLOURS, held_out, ids


def sample(batch: int, generator: torch.Generator, settings: Settings) -> Episodes:
    """Demonstrations of mixed kinds, then a question; candidates are the answers of the question's kind."""
    m = settings.shots + 1
    kind = integers(len(KINDS), (batch * m,), generator)
    scenes = sample_question_scenes(kind, generator, pairs_of(settings.split))
    asked, answer = question(scenes, kind, generator)
    prompt = join("question :", asked, "answer :")
    table = [ANSWERS[name] for name in KINDS]
    last = kind.view(batch, m)[:, -1]
    return examples(shuffle_objects(scenes, generator), prompt, answer, batch, _options(table, last), last)


def sample_induction(batch: int, generator: torch.Generator, settings: Settings) -> Episodes:
    """The question is always "what is it ?": colour, shape, texture or size, one per episode; all answers compete."""
    m = settings.shots + 1
    scenes = sample_scenes(batch * m, generator, split=pairs_of(settings.split))
    attribute = integers(len(ATTRIBUTES), (batch,), generator)
    prompt = ids("question : what is it ? answer :").to(generator.device).expand(batch * m, -1)
    answer = what_is_it(scenes, attribute.repeat_interleave(m))
    every = [[a for name in ATTRIBUTES for a in ANSWERS[name]]]
    known = attribute if settings.shots else torch.zeros_like(attribute)  # one demonstration tells what is meant
    return examples(scenes, prompt, answer, batch, _options(every, torch.zeros_like(attribute)), known)


def sample_fast(batch: int, generator: torch.Generator, settings: Settings) -> Episodes:
    """`shots` pictures per name bind two names to two shapes; the query shows both and asks about one by name."""
    device, W, K = generator.device, 2, settings.shots
    if settings.ways != W:
        raise ValueError("fast-vqa has 2 ways")
    n, split = W * K, pairs_of(settings.split)
    colours, shapes = _distinct_pairs(batch, W, generator, split)
    words = names_of(settings.split, device)
    called = words[choices(len(words), W, (batch,), generator)]  # (B, 2)
    owner = torch.arange(W, device=device).repeat_interleave(K).expand(batch, -1)
    owner = owner.gather(1, choices(n, n, (batch,), generator)) if n else owner
    shape = shapes.gather(1, owner)
    single = sample_scenes(batch * n, generator)
    single = place(
        with_concepts(single, _any_colour(shape, generator, split).view(-1, 1), shape.view(-1, 1)), generator
    )
    turn = choices(W, W, (batch,), generator)  # the first object is the one asked about
    both = sample_scenes(batch, generator, objects=W)
    both = place(with_concepts(both, colours.gather(1, turn), shapes.gather(1, turn)), generator)
    attribute = integers(3, (batch,), generator)  # colour, texture, size
    asked = name_question(both, called.gather(1, turn[:, :1]), attribute, answered=False)
    answer = what_is_it(both, torch.tensor([0, 2, 3], device=device)[attribute])
    end = ids(".", EOC).to(device)
    width = asked.shape[1]
    texts = torch.full((batch, n + 1, width), ABSENT, device=device)
    texts[:, :n, :3] = torch.cat([called.gather(1, owner)[..., None], end.expand(batch, n, -1)], -1)
    texts[:, n] = asked
    seen = shuffle_objects(both, generator)
    full = describe(join_scenes([single, seen]))
    descriptions = torch.cat([full[: batch * n].view(batch, n, full.shape[1]), full[batch * n :, None]], 1)
    index = torch.arange(batch * n, device=device).view(batch, n)
    source = torch.cat([index, batch * n + torch.arange(batch, device=device)[:, None]], 1)
    kind = torch.tensor([0, 2, 3], device=device)[attribute]
    candidates, target = _candidates(_options([ANSWERS[name] for name in ATTRIBUTES], kind), answer)
    return Episodes(
        pictures=join_scenes([single, seen]),
        source=source,
        texts=texts,
        descriptions=descriptions,
        first=torch.full((batch, 0), ABSENT, device=device),
        answers=join(answer, end),
        candidates=candidates,
        target=target,
        group=kind,
    )


def examples(
    pictures: Scenes | Tensor,
    prompt: Tensor,
    answer: Tensor,
    batch: int,
    options: Tensor,
    group: Tensor,
    descriptions: Tensor | None = None,
) -> Episodes:
    """Episodes whose demonstrations are whole (picture, prompt, answer) examples: prompt (B m, K), answer (B m, 1)."""
    m = len(prompt) // batch
    end = ids(".", EOC).to(prompt.device)
    whole = join(prompt, answer, end).view(batch, m, -1)
    texts = whole.clone()
    texts[:, -1, prompt.shape[1] :] = ABSENT
    last = answer.view(batch, m)[:, -1:]
    candidates, target = _candidates(options, last)
    if descriptions is None:
        assert isinstance(pictures, Scenes)
        descriptions = describe(pictures)
    return Episodes(
        pictures=pictures,
        source=torch.arange(batch * m, device=prompt.device).view(batch, m),
        texts=texts,
        descriptions=descriptions.view(batch, m, -1),
        first=torch.full((batch, 0), ABSENT, device=prompt.device),
        answers=join(last, end),
        candidates=candidates,
        target=target,
        group=group,
    )


def _options(table: list[list[str]], kind: Tensor) -> Tensor:
    """The one-word answers that each row may have, (B, C), -1 where it has fewer."""
    wide = torch.full((len(table), max(map(len, table))), ABSENT)
    for i, words in enumerate(table):
        wide[i, : len(words)] = ids(*words)
    return wide.to(kind.device)[kind]


def _candidates(options: Tensor, answer: Tensor) -> tuple[Tensor, Tensor]:
    """Continuations (B, C, 3) "word . <EOC>" and which one is the answer's, (B,)."""
    end = ids(".", EOC).to(options.device).expand(*options.shape, -1)
    candidates = torch.cat([options[..., None], end.masked_fill((options == ABSENT)[..., None], ABSENT)], -1)
    return candidates, (options == answer).int().argmax(1)


def _distinct_pairs(batch: int, count: int, generator: torch.Generator, split: str) -> tuple[Tensor, Tensor]:
    """Colours and shapes of a split that differ within each row: two (B, count)."""
    scenes = sample_scenes(batch, generator, objects=count, split=split, distinct=True)
    return scenes.colour[:, :count], scenes.shape[:, :count]


def _any_colour(shape: Tensor, generator: torch.Generator, split: str) -> Tensor:
    """A colour for every shape such that the pair belongs to the split, the same size as `shape`."""
    colour = torch.arange(len(COLOURS), device=shape.device)
    ok = held_out(colour, shape[..., None]) == (split == "held-out")  # (..., colours)
    noise = torch.rand(ok.shape, generator=generator, device=shape.device)
    return (noise * ok).argmax(-1)

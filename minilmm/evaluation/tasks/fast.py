"""Fast-VQA (Frozen, section 4.3): names are bound to shapes first, then a question about a scene uses them."""

from __future__ import annotations

import torch
from torch import Tensor

from minilmm.evaluation.tasks import Settings
from minilmm.evaluation.tasks.episodes import Episodes, names_of, one_word, pairs_of, table
from minilmm.interface.tokenizer import EOC
from minilmm.world.grammar import describe, same_width
from minilmm.world.questions import ANSWERS, ATTRIBUTES, name_question
from minilmm.world.random import choices, integers
from minilmm.world.scenes import join_scenes, place, sample_colours, sample_scenes, shuffle_objects, with_concepts
from minilmm.world.vocabulary import ids, tokenizer


def sample(batch: int, generator: torch.Generator, settings: Settings) -> Episodes:
    """`shots` pictures per name bind two names to two shapes; the query shows both and asks about one by name."""
    device, W, K = generator.device, 2, settings.shots
    if settings.ways != W:
        raise ValueError("fast-vqa has 2 ways")
    n, split = W * K, pairs_of(settings.split)
    pairs = sample_scenes(batch, generator, objects=W, split=split, distinct=True)  # whose colours and shapes differ
    colours, shapes = pairs.colour[:, :W], pairs.shape[:, :W]
    words = names_of(split, device)
    called = words[choices(len(words), W, (batch,), generator)]  # (B, 2)
    owner = torch.arange(W, device=device).repeat_interleave(K).expand(batch, -1)
    owner = owner.gather(1, choices(n, n, (batch,), generator)) if n else owner
    shape = shapes.gather(1, owner)
    single = sample_scenes(batch * n, generator)
    single = with_concepts(single, sample_colours(shape, generator, split).view(-1, 1), shape.view(-1, 1))
    single = place(single, generator)
    turn = choices(W, W, (batch,), generator)  # the first object is the one asked about
    both = sample_scenes(batch, generator, objects=W)
    both = place(with_concepts(both, colours.gather(1, turn), shapes.gather(1, turn)), generator)
    attribute = integers(3, (batch,), generator)
    kind = torch.tensor([0, 2, 3], device=device)[attribute]  # colour, texture, size
    asked, answer = name_question(both, called.gather(1, turn[:, :1]), attribute)
    end = ids(".", EOC).to(device)
    named = torch.cat([called.gather(1, owner)[..., None], end.expand(batch, n, -1)], -1)  # (B, n, 3)
    seen = join_scenes([single, shuffle_objects(both, generator)])
    index = torch.arange(len(seen), device=device)

    def of_each(values: Tensor) -> Tensor:  # those of the demonstrations and of the queries -> (B, n + 1, ...)
        first, last = values[: batch * n].view(batch, n, *values.shape[1:]), values[batch * n :, None]
        return torch.cat([first, last], 1)

    candidates, target = one_word(_options([ANSWERS[name] for name in ATTRIBUTES], kind), answer)
    texts = torch.cat(same_width(named, asked[:, None]), 1)
    return Episodes.of(seen, texts, candidates, target=target, source=of_each(index), group=kind, kinds=ATTRIBUTES,
                       descriptions=of_each(describe(seen)))  # fmt: skip


def _options(answers: list[list[str]], kind: Tensor) -> Tensor:
    """The one-word answers that each row may have, (B, C), -1 where it has fewer."""
    return table([" ".join(words) for words in answers], tokenizer()).to(kind.device)[kind]

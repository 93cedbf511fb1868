"""What Flamingo reads: pages of several pictures, captioned pictures, captioned videos (section 2.4, appendix A.3.2).

Each is a data set of its own with a weight of its own; one update accumulates the weighted gradients of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from minilmm.data.world import captions, descriptions, galleries, hard_questions, interviews, videos
from minilmm.evaluation.tasks import TASKS, Settings
from minilmm.interface.document import Batch
from minilmm.interface.tokenizer import BOS, IMAGE
from minilmm.nn.parallel import processes
from minilmm.training.job import Drawn
from minilmm.training.recipes import FlamingoRecipe
from minilmm.world.grammar import ABSENT, compact, join
from minilmm.world.vocabulary import ids

# A page shows at most five pictures, as in the paper: which task, ways, shots, and how often.
Kinds = tuple[tuple[str, int, int, float], ...]
NAMING: Kinds = (("naming", 2, 1, 0.15), ("naming", 3, 1, 0.15), ("naming", 4, 1, 0.2), ("naming", 2, 2, 0.2),
                 ("ambiguous-naming", 2, 2, 0.2))  # fmt: skip
ASKING: Kinds = (
    ("vqa", 2, 1, 0.15), ("vqa", 2, 3, 0.25), ("induction-vqa", 2, 2, 0.05), ("fast-vqa", 2, 1, 0.05),
    ("caption", 2, 2, 0.05), ("knowledge", 2, 2, 0.04), ("photographs", 2, 3, 0.05), ("reading", 2, 2, 0.06),
    ("dialogue", 2, 1, 0.05), ("memes", 2, 3, 0.05), ("hallucination", 2, 2, 0.07), ("counting", 2, 2, 0.07),
    ("tables", 2, 2, 0.06), ("boxes", 2, 2, 0.06), ("panels", 2, 2, 0.05), ("video-vqa", 2, 1, 0.08),
    ("temporal", 2, 1, 0.04), ("video-caption", 2, 1, 0.03), ("steps", 2, 1, 0.02),
)  # fmt: skip
TOLD = 0.3
SKILLED = 0.6  # of the pictures with six questions: those whose questions are all of the hardest kinds
FILMED, FRAMES = ("video-vqa", "temporal", "video-caption", "steps", "actions"), 4  # pages of videos are so much fewer


def pages(
    batch: int, generator: torch.Generator, resolution: int, *,
    p_next: float = 0.0, all_text: bool = False, kinds: Kinds = NAMING,
) -> Batch:  # fmt: skip
    """Pages "<bos> <image> zup . <EOC> <image> dax . <EOC> <image> zup . <EOC>" of one of the kinds.

    Names are training names and hold for one page. The loss counts answers, and a name only from its second time on:
    before, it cannot be known, and a guess at it is noise in every gradient. `all_text` counts all, as the paper does.
    Lone questions, and a share `TOLD` of the pages of others, have their convention said first. With probability
    `p_next` a page has each text in front of its picture, and looks ahead (B,).
    """
    device, weights = generator.device, torch.tensor([share for *_, share in kinds])
    task, ways, shots, _ = kinds[int(torch.multinomial(weights.to(device), 1, generator=generator))]
    told = not shots or float(torch.rand((), generator=generator, device=device)) < TOLD
    how: Any = {"convention": "given"} if told and "convention" in TASKS[task].reads else {}
    batch = max(1, batch // FRAMES) if task in FILMED else batch
    drawn = TASKS[task].sample(batch, generator, Settings(split="train", ways=ways, shots=shots, **how))
    A = drawn.answers.shape[-1]  # a name or an answer, ".", "<EOC>": the last words of an example
    said = torch.cat([drawn.texts, drawn.texts.new_full((*drawn.source.shape, A), ABSENT)], -1)  # (B, m, K + A)
    said[:, -1, -A:] = drawn.answers
    learn = torch.full_like(said, all_text, dtype=torch.bool)
    learn[:, :-1, drawn.asked : -A] = True
    learn[:, -1, -A:] = True
    if TASKS[task].per_class and not all_text:
        name = torch.cat([drawn.texts[:, :-1, 0], drawn.answers[:, :1]], 1)  # (B, m)
        known = (name[:, :, None] == name[:, None]).tril(-1).any(-1)
        learn[:, :-1, 0], learn[:, -1, -A] = known[:, :-1], known[:, -1]
    ahead = torch.rand(batch, generator=generator, device=device) < p_next
    tag = ids(IMAGE).to(device).expand(*said.shape[:2], 1)
    words = torch.cat(
        [tag.masked_fill(ahead[:, None, None], ABSENT), said, tag.masked_fill(~ahead[:, None, None], ABSENT)], -1
    )
    learn = torch.nn.functional.pad(learn, (1, 1))
    marked = torch.where(words == ABSENT, ABSENT, 2 * words + learn)  # a word and its label move together
    first = torch.where(drawn.first == ABSENT, ABSENT, 2 * drawn.first)
    marked = compact(join(2 * ids(BOS), first, marked.flatten(1)), fill=0)
    batched = Batch.of(marked // 2, drawn.paint(generator, resolution), loss_mask=marked % 2 == 1)
    return replace(batched, ahead=ahead)


Source = Callable[[torch.Generator], Batch]


def mixture(recipe: FlamingoRecipe, resolution: int, step: int) -> dict[str, tuple[float, Source]]:
    """The data sets that a step reads, by name: the weight of its loss (lambda of the paper), and what draws a batch.

    Those of size 0 are left out. ValueError where none is left, or for unknown data.
    """
    asks = step >= recipe.first + recipe.described
    skilled = asks and step < recipe.first + recipe.described + recipe.skilled

    def paired(generator: torch.Generator) -> Batch:
        def chance() -> float:
            return float(torch.rand((), generator=generator, device=generator.device))

        if skilled:
            return hard_questions(4 * recipe.pairs // 3, generator, resolution)
        if step >= recipe.first and (not asks or chance() < 0.2):
            return descriptions(recipe.pairs, generator, resolution)
        if asks and chance() < recipe.asked:
            if recipe.alone and chance() < recipe.alone:
                hard = partial(hard_questions, 4 * recipe.pairs // 3)
                usual = partial(pages, recipe.pairs, kinds=(("vqa", 2, 0, 1.0),))
                return (hard if chance() < 0.5 else usual)(generator=generator, resolution=resolution)
            return interviews(2 * recipe.pairs // 3, generator, resolution, skills=chance() < SKILLED)
        if chance() < recipe.galleries:
            return galleries(recipe.pairs // 2, generator, resolution)
        return captions(recipe.pairs, generator, resolution)

    def interleaved(kinds: Kinds) -> Source:
        how: dict[str, Any] = {"p_next": recipe.p_next, "all_text": recipe.all_text, "kinds": kinds}
        return lambda generator: pages(recipe.pages, generator, resolution, **how)

    def filmed(generator: torch.Generator) -> Batch:
        return videos(recipe.videos, generator, resolution)

    if recipe.data in TASKS:
        return {recipe.data: (1.0, interleaved(((recipe.data, 2, 0, 1.0),)))}
    if recipe.data != "world":
        raise ValueError(f"unknown data {recipe.data!r}: choose world, or a task to train on: {', '.join(TASKS)}")
    every = {"pairs": paired, "pages": interleaved(NAMING + ASKING * asks), "videos": filmed}
    weighted = zip(recipe.weights, every.items(), strict=True)
    parts = {name: (weight, source) for weight, (name, source) in weighted if getattr(recipe, name)}
    if not parts:
        raise ValueError("pages, pairs and videos are all 0: there is nothing to train on")
    if step < recipe.first:
        return {"pairs": parts["pairs"]} if "pairs" in parts else parts
    turn = list(parts)[step % len(parts)]
    return {turn: parts[turn]} if recipe.mixing == "round-robin" else parts


def sample(
    encoder: Callable[[Tensor], Tensor], resolution: int, recipe: FlamingoRecipe, generator: torch.Generator, step: int
) -> Drawn:
    """What a step reads, with the features of the frozen encoder; of several processes each makes its own."""
    drawn = [(weight, source(generator)) for weight, source in mixture(recipe, resolution, step).values()]
    return drawn if processes() > 1 else [(weight, batch.with_features(encoder)) for weight, batch in drawn]

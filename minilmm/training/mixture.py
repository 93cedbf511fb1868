"""What Flamingo reads: pages of several pictures, captioned pictures, captioned videos (section 2.4, appendix A.3.2).

Each is a data set of its own with a weight of its own; one update accumulates the weighted gradients of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from minilmm.evaluation.tasks import TASKS, Settings
from minilmm.interface.document import Batch
from minilmm.interface.tokenizer import BOS, EOC, IMAGE
from minilmm.nn.parallel import share
from minilmm.training.frozen import captions
from minilmm.training.loop import generator_for
from minilmm.training.recipes import FlamingoRecipe
from minilmm.world.grammar import ABSENT, caption, compact, join, noun, word
from minilmm.world.random import integers
from minilmm.world.render import render
from minilmm.world.scenes import sample_scenes
from minilmm.world.videos import render_video
from minilmm.world.vocabulary import VERBS, ids

# A page shows at most five pictures, as in the paper: which task, ways, shots, and how often.
Kinds = tuple[tuple[str, int, int, float], ...]
NAMING: Kinds = (("naming", 2, 1, 0.15), ("naming", 3, 1, 0.15), ("naming", 4, 1, 0.2), ("naming", 2, 2, 0.2),
                 ("ambiguous-naming", 2, 2, 0.2))  # fmt: skip
ASKING: Kinds = (("induction-vqa", 2, 2, 0.1), ("vqa", 2, 1, 0.1), ("vqa", 2, 3, 0.1))
ANSWER = 3  # the last words of an example: a name or an answer, ".", "<EOC>"


def pages(
    batch: int, generator: torch.Generator, resolution: int, *,
    p_next: float = 0.0, all_text: bool = False, kinds: Kinds = NAMING,
) -> Batch:  # fmt: skip
    """Pages "<bos> <image> zup . <EOC> <image> dax . <EOC> <image> zup . <EOC>" of one of the kinds.

    Names are training names and hold for one page. The loss counts answers, and a name only from its second time on:
    before, it cannot be known, and a guess at it is noise in every gradient. `all_text` counts all, as the paper does.
    With probability `p_next` a page has each text in front of its picture, and looks ahead (B,).
    """
    device, weights = generator.device, torch.tensor([share for *_, share in kinds])
    task, ways, shots, _ = kinds[int(torch.multinomial(weights.to(device), 1, generator=generator))]
    drawn = TASKS[task].sample(batch, generator, Settings(split="train", ways=ways, shots=shots))
    said = torch.cat([drawn.texts, drawn.texts.new_full((*drawn.source.shape, ANSWER), ABSENT)], -1)  # (B, m, K + 3)
    said[:, -1, -ANSWER:] = drawn.answers
    learn = torch.full_like(said, all_text, dtype=torch.bool)
    learn[:, :-1, -2 * ANSWER : -ANSWER] = True
    learn[:, -1, -ANSWER:] = True
    if TASKS[task].per_class and not all_text:
        name = torch.cat([drawn.texts[:, :-1, 0], drawn.answers[:, :1]], 1)  # (B, m)
        known = (name[:, :, None] == name[:, None]).tril(-1).any(-1)
        learn[:, :-1, 0], learn[:, -1, -ANSWER] = known[:, :-1], known[:, -1]
    ahead = torch.rand(batch, generator=generator, device=device) < p_next
    tag = ids(IMAGE).to(device).expand(*said.shape[:2], 1)
    words = torch.cat(
        [tag.masked_fill(ahead[:, None, None], ABSENT), said, tag.masked_fill(~ahead[:, None, None], ABSENT)], -1
    )
    learn = torch.nn.functional.pad(learn, (1, 1))
    marked = torch.where(words == ABSENT, ABSENT, 2 * words + learn)  # a word and its label move together
    marked = compact(join(2 * ids(BOS), marked.flatten(1)), fill=0)
    found = Batch.of(marked // 2, drawn.paint(generator, resolution), loss_mask=marked % 2 == 1)
    return replace(found, ahead=ahead)


def galleries(batch: int, generator: torch.Generator, resolution: int) -> Batch:
    """ "<bos> <image> <image> a striped red circle . <EOC> a plain blue star . <EOC>": two pictures, then two captions.

    The first caption looks at the second picture; of the first it knows what the language model reads at its tag. So
    the tag comes to stand for its picture as words would.
    """
    scenes = sample_scenes(2 * batch, generator)
    assert not bool(scenes.has_held_out().any()), "a held-out pair in training"
    told = caption(scenes, generator, placed=False).view(batch, -1)
    text = compact(join(f"{BOS} {IMAGE} {IMAGE}", told), fill=0)
    return Batch.of(text, render(scenes, generator, resolution).view(batch, 2, 1, 3, resolution, resolution))


def videos(batch: int, generator: torch.Generator, resolution: int, frames: int = 8) -> Batch:
    """ "<bos> <image> a striped red circle moves . <EOC>", a video of one object each."""
    scenes, verb = sample_scenes(batch, generator), integers(len(VERBS), (batch,), generator)
    assert not bool(scenes.has_held_out().any()), "a held-out pair in training"
    text = join(f"{BOS} {IMAGE} a", noun(scenes, 0), word(VERBS, verb)[:, None], ".", EOC)
    return Batch.of(compact(text, fill=0), render_video(scenes, verb, frames, generator, resolution)[:, None])


@dataclass(frozen=True)
class Part:
    """A data set of the mixture: its weight in the loss (lambda of the paper), and how a batch of it is drawn."""

    name: str
    weight: float
    sample: Callable[[torch.Generator], Batch]


def mixture(recipe: FlamingoRecipe, resolution: int, step: int) -> list[Part]:
    """The data sets that a step reads, those of size 0 left out. ValueError where none is left, or for unknown data."""
    asks = step >= recipe.questions

    def paired(generator: torch.Generator) -> Batch:
        if asks and float(torch.rand((), generator=generator, device=generator.device)) < recipe.asked:
            return pages(recipe.pairs, generator, resolution, kinds=(("vqa", 2, 0, 1.0),))
        if float(torch.rand((), generator=generator, device=generator.device)) < recipe.galleries:
            return galleries(recipe.pairs // 2, generator, resolution)
        return captions(recipe.pairs, generator, resolution)

    def interleaved(kinds: Kinds) -> Callable[[torch.Generator], Batch]:
        how: dict[str, Any] = {"p_next": recipe.p_next, "all_text": recipe.all_text, "kinds": kinds}
        return lambda generator: pages(recipe.pages, generator, resolution, **how)

    def filmed(generator: torch.Generator) -> Batch:
        return videos(recipe.videos, generator, resolution)

    if recipe.data in TASKS:
        return [Part(recipe.data, 1.0, interleaved(((recipe.data, 2, 0, 1.0),)))]
    if recipe.data != "world":
        raise ValueError(f"unknown data {recipe.data!r}: choose world, or a task to train on: {', '.join(TASKS)}")
    found = [
        Part(name, weight, sample)
        for name, weight, sample, size in (
            ("pairs", recipe.weights[0], paired, recipe.pairs),
            ("pages", recipe.weights[1], interleaved(NAMING + ASKING * asks), recipe.pages),
            ("videos", recipe.weights[2], filmed, recipe.videos),
        )
        if size
    ]
    if not found:
        raise ValueError("pages, pairs and videos are all 0: there is nothing to train on")
    if step < recipe.first:
        return [part for part in found if part.name == "pairs"] or found
    return [found[step % len(found)]] if recipe.mixing == "round-robin" else found


@dataclass(frozen=True)
class Feed:
    """What every step of a recipe reads: (weight, batch) per data set, with the features of the frozen encoder.

    Of several processes each gets its share of every data set, weighed accordingly.
    """

    recipe: FlamingoRecipe
    encoder: Callable[[Tensor], Tensor]
    resolution: int
    device: torch.device | str

    @torch.no_grad()
    def __call__(self, step: int) -> list[tuple[float | Tensor, Batch]]:
        generator = generator_for(self.recipe.seed, step, self.device)
        parts = mixture(self.recipe, self.resolution, step)
        found: list[tuple[float | Tensor, Batch]] = []
        for part in parts:
            batch = part.sample(generator)
            rows, weight = share(batch.loss_mask[:, 1:])
            found.append((part.weight * weight, batch[rows].with_features(self.encoder)))
        return found

"""Pretraining of the encoder-decoder language model: documents cut in two, the second half said from the first."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor

from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.tasks import Settings
from minilmm.interface.document import Batch
from minilmm.language.encdec import EncDecConfig, EncoderDecoder
from minilmm.training.job import Drawn, Job, weighted_loss
from minilmm.training.recipes import Optimisation, T5Recipe, choose
from minilmm.world.corpus import sample_text
from minilmm.world.random import coins
from minilmm.world.vocabulary import ids, tokenizer

PRESETS = {
    "nano": T5Recipe(EncDecConfig(len(tokenizer())), Optimisation(steps=450, lr=3e-3), tokens=4096),
    "small": T5Recipe(EncDecConfig(len(tokenizer()), width=384, layers=6, heads=12, hidden=1024),
                      Optimisation(steps=6000, lr=1e-3, warmup=300), tokens=32_768),
}  # fmt: skip


def preset(name: str) -> T5Recipe:
    """ "nano": eleven minutes of a shared core. "small": one GPU."""
    return choose(PRESETS, name)


def cut(text: Tensor, known: Tensor, generator: torch.Generator, answers: float) -> Batch:
    """Documents (B, L), 0 pads, cut in two as a prefix LM's halves; the loss counts what stands behind the cut and can
    be known, (B, L) bool; all behind the cut where nothing of it can be.
    """
    B, L = text.shape
    long = (text != 0).sum(1)
    anywhere = 1 + (torch.rand(B, generator=generator, device=text.device) * (long - 2).clamp(min=1)).long()
    colon = (text == int(ids(":"))) & (text.roll(1, 1) == int(ids("answer")))  # ... answer : | red
    colon[:, -1] = False
    chance = torch.rand(B, L, generator=generator, device=text.device) * (colon & (text.roll(-1, 1) != 0))
    behind = torch.where(chance.amax(1) > 0, chance.argmax(1) + 1, anywhere)
    first = torch.where(coins((B,), generator, answers), behind, anywhere)
    later = torch.arange(L, device=text.device) >= first[:, None]
    some = (known & later).any(1, keepdim=True)
    return Batch.of(text, loss_mask=later & (known | ~some))


def probe(model: EncoderDecoder, device: torch.device | str) -> dict[str, float]:
    """What it answers about descriptions by now, without and with an example: accuracy over 200 episodes."""
    request = Request((0, 1), Settings(convention="given"), 200, ("real",), seed=11)
    rows = evaluate(model, "vqa", request, device=device)["rows"]
    return {f"vqa_{row['shots']}shots": row["value"] for row in rows}


def sample(recipe: T5Recipe, generator: torch.Generator, step: int) -> Drawn:
    """One step's documents; they grow longer as training goes on."""
    length = recipe.lengths[min(len(recipe.lengths) - 1, len(recipe.lengths) * step // recipe.optimisation.steps)]
    text, known = sample_text(max(1, recipe.tokens // length), length, generator)
    return [(1.0, cut(text, known, generator, recipe.answers))]


def prepare(recipe: T5Recipe, device: torch.device | str = "cpu") -> Job:
    """An encoder-decoder at random weights, ready to train."""
    torch.manual_seed(recipe.seed)
    model = EncoderDecoder(recipe.model).to(device)
    return Job(recipe, "t5", model, asdict(recipe.model), sample, lambda drawn: weighted_loss(model, drawn),
               lambda: probe(model, device))  # fmt: skip

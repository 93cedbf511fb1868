"""Pretraining of a text encoder by masked words (Devlin et al., NAACL 2019): what BLIP-2's Q-Former begins as."""

from __future__ import annotations

from dataclasses import asdict, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from minilmm.data.world import TEXT_LENGTH
from minilmm.interface.tokenizer import SPECIALS
from minilmm.nn.parallel import shard
from minilmm.nn.qformer import MaskedLM, QFormerConfig
from minilmm.training.job import Job
from minilmm.training.recipes import BertRecipe, Optimisation, choose
from minilmm.world.corpus import sample_text
from minilmm.world.random import integers
from minilmm.world.vocabulary import tokenizer

WORDS = len(tokenizer())  # the next number is that of [MASK], and of the Q-Former's [DEC]
NANO = QFormerConfig(0, WORDS + 1, queries=0, context=TEXT_LENGTH + 1, dec=WORDS)
PRESETS = {
    "nano": BertRecipe(NANO, Optimisation(steps=600, lr=1e-3)),
    "small": BertRecipe(replace(NANO, layers=6, hidden=1024), Optimisation(steps=6000, lr=1e-3, warmup=300), rows=512),
}
Drawn = tuple[Tensor, Tensor, Tensor]  # ids as read (B, L), as they were (B, L), and which are to be said (B, L) bool


def preset(name: str) -> BertRecipe:
    """ "nano": nine minutes of a shared core. "small": one GPU."""
    return choose(PRESETS, name)


def mask_words(ids: Tensor, share: float, generator: torch.Generator) -> Drawn:
    """Choose a share of the words (B, L), 0 pads: of ten, eight become [MASK], one another word, one stays."""
    chance, fate = (torch.rand(ids.shape, generator=generator, device=ids.device) for _ in range(2))
    wanted = (ids > 1) & (chance < share)
    other = len(SPECIALS) + integers(WORDS - len(SPECIALS), tuple(ids.shape), generator)
    read = torch.where(wanted & (fate < 0.8), WORDS, torch.where(wanted & (fate >= 0.9), other, ids))
    return read, ids, wanted


def sample(recipe: BertRecipe, generator: torch.Generator, step: int) -> Drawn:
    """One step's text, without repeated lists."""
    ids, _ = sample_text(recipe.rows, recipe.model.context, generator, without=("lists",))
    return mask_words(ids, recipe.masked, generator)


def loss_of(model: MaskedLM, read: Tensor, ids: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of the masked words, in nats. Of several processes each has its shard."""
    rows, share = shard(wanted)
    ids, wanted = ids[rows], wanted[rows]
    return share * F.cross_entropy(model(read[rows], ids != 0, wanted).float(), ids[wanted])


@torch.no_grad()
def probe(model: MaskedLM, recipe: BertRecipe, device: torch.device | str) -> dict[str, float]:
    """How many masked words of other text it says."""
    generator = torch.Generator(device).manual_seed((1 << 61) + 11)
    read, ids, wanted = sample(recipe, generator, 0)
    right = model(read, ids != 0, wanted).argmax(-1) == ids[wanted]
    return {"masked words": round(float(right.float().mean()), 4)}


def prepare(recipe: BertRecipe, device: torch.device | str = "cpu") -> Job:
    """A text encoder at random weights, ready to train."""
    torch.manual_seed(recipe.seed)
    model = MaskedLM(recipe.model).to(device)
    return Job(recipe, "bert", model, asdict(recipe.model), sample, lambda drawn: loss_of(model, *drawn),
               lambda: probe(model, recipe, device))  # fmt: skip

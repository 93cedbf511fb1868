"""Pretraining of the encoder-decoder language model: documents cut in two, the second half said from the first."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from minilmm.checkpoints.saving import save
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.interface.document import Batch
from minilmm.language.encdec import EncDecConfig, EncoderDecoder
from minilmm.nn.parallel import share
from minilmm.training.loop import Report, fit, loss_of, quiet
from minilmm.training.recipes import Optimisation, T5Recipe
from minilmm.world.corpus import sample_text
from minilmm.world.random import coins
from minilmm.world.vocabulary import ids, tokenizer


def preset(name: str) -> T5Recipe:
    """ "nano": 2 CPU cores, or five minutes of a GPU. "small": one GPU."""
    vocabulary = len(tokenizer())
    if name == "nano":
        return T5Recipe(EncDecConfig(vocabulary), Optimisation(steps=1300, lr=3e-3))
    if name == "small":
        model = EncDecConfig(vocabulary, width=384, layers=6, heads=12, hidden=1024)
        return T5Recipe(model, Optimisation(steps=6000, lr=1e-3, warmup=300), tokens=32_768)
    raise ValueError(f"unknown preset {name!r}: choose nano or small")


def cut(text: Tensor, generator: torch.Generator, answers: float) -> Batch:
    """Documents (B, L), 0 pads, as a batch whose loss counts what stands behind a cut: a prefix LM's two halves."""
    B, L = text.shape
    long = (text != 0).sum(1)
    anywhere = 1 + (torch.rand(B, generator=generator, device=text.device) * (long - 2).clamp(min=1)).long()
    colon = (text == int(ids(":"))) & (text.roll(1, 1) == int(ids("answer")))  # ... answer : | red
    colon[:, -1] = False
    chance = torch.rand(B, L, generator=generator, device=text.device) * (colon & (text.roll(-1, 1) != 0))
    behind = torch.where(chance.amax(1) > 0, chance.argmax(1) + 1, anywhere)
    first = torch.where(coins((B,), generator, answers), behind, anywhere)
    return Batch.of(text, loss_mask=torch.arange(L, device=text.device) >= first[:, None])


def probe(model: EncoderDecoder, device: torch.device | str) -> dict[str, float]:
    """What it answers about descriptions by now, without and with an example: accuracy over 200 episodes."""
    request = Request((0, 1), episodes=200, conditions=("real",), seed=11)
    rows = evaluate(model, "vqa", request, device=device)["rows"]
    return {f"vqa_{row['shots']}shots": row["value"] for row in rows}


def pretrain(
    recipe: T5Recipe,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    report: Report = quiet,
    command: str = "",
    probe_every: int = 100,
) -> EncoderDecoder:
    """Train an encoder-decoder from nothing and save it under `out`."""
    torch.manual_seed(recipe.seed)
    model = EncoderDecoder(recipe.model).to(device)
    steps = recipe.optimisation.steps

    def loss(generator: torch.Generator, step: int) -> Tensor:
        length = recipe.lengths[min(len(recipe.lengths) - 1, len(recipe.lengths) * step // steps)]
        text = sample_text(max(1, recipe.tokens // length), length, generator)
        batch = cut(text, generator, recipe.answers)
        rows, weight = share(batch.loss_mask[:, 1:])
        return weight * loss_of(model, batch[rows])

    rows = fit(model, list(model.parameters()), recipe.optimisation, loss, recipe=recipe, out=out, resume=resume,
               report=report, evaluate=lambda: probe(model, device), evaluate_every=probe_every)  # fmt: skip
    save(out, model, "t5", config=asdict(recipe.model), recipe=asdict(recipe), seed=recipe.seed, metrics=rows[-1],
         command=command, device=str(device))  # fmt: skip
    return model

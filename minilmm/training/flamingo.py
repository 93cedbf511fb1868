"""Training Flamingo: pages of several pictures with text in between, and captioned pictures, through frozen halves."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from minilmm.document import Batch
from minilmm.flamingo import Flamingo, FlamingoConfig
from minilmm.language import CausalLM
from minilmm.tokenizer import BOS, IMAGE
from minilmm.training.checkpoint import CheckpointError, load, save
from minilmm.training.frozen import captions, probe
from minilmm.training.loop import Report, adamw, fit, loss_of, quiet
from minilmm.training.recipes import FlamingoRecipe, Optimisation
from minilmm.vision import VisionConfig
from minilmm.vision.contrastive import DualEncoder
from minilmm.world.grammar import compact, join
from minilmm.world.tasks import TASKS, Settings
from minilmm.world.vocabulary import ids

# A page shows at most five pictures, as in the paper: which task, ways, shots of each, and how often.
PAGES = (("naming", 2, 1, 0.2), ("naming", 3, 1, 0.2), ("naming", 4, 1, 0.2), ("naming", 2, 2, 0.2),
         ("ambiguous-naming", 2, 2, 0.2))  # fmt: skip


def preset(name: str) -> FlamingoRecipe:
    """ "nano": a few minutes on 2 CPU cores. "small": one GPU, a gated layer in front of every block."""
    if name == "nano":
        return FlamingoRecipe(Optimisation(steps=700, lr=3e-3))
    if name == "small":
        optimisation = Optimisation(steps=10_000, lr=1e-3, warmup=500)
        return FlamingoRecipe(optimisation, latents=16, every=1, first=1000, pages=128, pairs=256)
    raise ValueError(f"unknown preset {name!r}: choose nano or small")


def pages(batch: int, generator: torch.Generator, resolution: int) -> Batch:
    """ "<bos> <image> zup . <EOC> <image> dax . <EOC> <image> zup . <EOC>": training names, which hold for one page."""
    weights = torch.tensor([share for *_, share in PAGES], device=generator.device)
    task, ways, shots, _ = PAGES[int(torch.multinomial(weights, 1, generator=generator))]
    episodes = TASKS[task].sample(batch, generator, Settings(split="train", ways=ways, shots=shots))
    stands = ids(IMAGE).to(generator.device).expand(batch, episodes.source.shape[1], 1)
    words = torch.cat([stands, episodes.texts], -1).flatten(1)
    text = compact(join(BOS, episodes.first, words, episodes.answers), fill=0)
    return Batch.of(text, episodes.paint(generator, resolution))


def compose(recipe: FlamingoRecipe) -> tuple[Flamingo, list[nn.Parameter]]:
    """The model of a recipe and the parameters that it trains. CheckpointError for a wrong kind of part."""
    lm, _ = load(recipe.lm)
    dual, card = load(recipe.vision)
    if not isinstance(lm, CausalLM):
        raise CheckpointError(f"{recipe.lm}: is no language model: name one with --lm")
    if not isinstance(dual, DualEncoder):
        raise CheckpointError(f"{recipe.vision}: is no vision encoder: name one with --vision")
    sizes = {name: getattr(recipe, name) for name in ("latents", "resampler_layers", "heads", "every")}
    torch.manual_seed(recipe.seed)
    model = Flamingo(FlamingoConfig(lm.config, VisionConfig(**card["config"]["vision"]), **sizes), lm, dual.vision)
    model.lm.requires_grad_(False)
    model.encoder.requires_grad_(False)
    return model, [p for p in model.parameters() if p.requires_grad]


def train(
    recipe: FlamingoRecipe,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    report: Report = quiet,
    command: str = "",
    probe_every: int = 100,
) -> Flamingo:
    """Train Flamingo and save it under `out`."""
    model, parameters = compose(recipe)
    model.to(device)
    resolution = model.config.vision.resolution

    def loss(generator: torch.Generator, step: int) -> Tensor:
        paired = loss_of(model, captions(recipe.pairs, generator, resolution))
        if step < recipe.first:
            return paired
        return loss_of(model, pages(recipe.pages, generator, resolution)) + recipe.pairs_weight * paired

    gates = [alpha for layer in model.xattn.values() for alpha in (layer.alpha_xattn, layer.alpha_dense)]
    optimizer = adamw([p for p in parameters if all(p is not gate for gate in gates)], recipe.optimisation)
    optimizer.add_param_group({"params": gates, "weight_decay": 0.0, "times": recipe.gate_rate})
    rows = fit(model, parameters, recipe.optimisation, loss, recipe=recipe, out=out, resume=resume, report=report,
               evaluate=lambda: probe(model, device, resolution), evaluate_every=probe_every,
               optimizer=optimizer)  # fmt: skip
    save(out, model, "flamingo", config=asdict(model.config), recipe=asdict(recipe), seed=recipe.seed,
         metrics=rows[-1], command=command, device=str(device))  # fmt: skip
    return model

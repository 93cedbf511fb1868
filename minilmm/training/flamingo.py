"""Training Flamingo: pages, captioned pictures and videos, through frozen halves (section 2.4, appendix B.1)."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from minilmm.ablations import variant
from minilmm.checkpoints.opening import load, load_encoder, load_lm
from minilmm.checkpoints.saving import STAGE_1, CheckpointError, find, keep_cards
from minilmm.data.named import Named
from minilmm.flamingo import Flamingo, FlamingoConfig
from minilmm.interface.tokenizer import IMAGE, Tokenizer
from minilmm.nn.parallel import require_single_process
from minilmm.training import named
from minilmm.training.frozen import probe
from minilmm.training.job import Job, adamw, weighted_loss
from minilmm.training.mixture import mixture, sample
from minilmm.training.recipes import MIXING, FlamingoRecipe, Optimisation, choose
from minilmm.world.vocabulary import tokenizer as world_tokenizer

OPEN = 0.3  # alpha of a large model's gates, where training begins
PRESETS = {
    "quick": FlamingoRecipe(Optimisation(steps=430, lr=3e-3), first=200, described=230),
    "nano": FlamingoRecipe(Optimisation(steps=2200, lr=3e-3)),
    "more": FlamingoRecipe(Optimisation(steps=800, lr=3e-3), first=0, described=0, skilled=350, pages=16, alone=0.5),
    "small": FlamingoRecipe(Optimisation(steps=10_000, lr=1e-3, warmup=500), latents=16, first=500, described=1500,
                            pages=128, pairs=256, videos=32),
}  # fmt: skip


def preset(name: str) -> FlamingoRecipe:
    """ "quick": what the quickstart trains in three minutes. "nano", then "more", which goes on from it: an hour of a
    core. "small": one GPU.
    """
    return choose(PRESETS, name)


def real_preset(name: str) -> FlamingoRecipe:
    """Between real models, of which a large one has thirty blocks. "nano": 2 CPU cores. "small": one GPU."""
    pairs, steps = named.sizes(name, 16, 300)
    sizes: dict[str, Any] = {
        "latents": 8,
        "resampler_layers": 1,
        "every": 5,
        "pairs": pairs,
        "pages": pairs // 4,
        "places": 0.0,
    }
    return FlamingoRecipe(Optimisation(steps, lr=1e-3), **named.PARTS, **sizes, first=100, videos=0,
                          weights=(1.0, 1.0))  # fmt: skip


def compose(recipe: FlamingoRecipe) -> tuple[Flamingo, Tokenizer]:
    """The model of a recipe, where what trains wants gradients, and its tokenizer. CheckpointError for wrong parts."""
    if recipe.mixing not in MIXING:
        raise ValueError(f"mixing {recipe.mixing!r}: choose from {', '.join(MIXING)}")
    if not recipe.views:
        mixture(recipe, 0, recipe.first)  # unknown data, or none, show before anything is loaded
    if recipe.start:
        model, _ = load(recipe.start)
        if not isinstance(model, Flamingo):
            raise CheckpointError(f"{recipe.start}: is no Flamingo to start from: name one with --start")
        tokenizer: Tokenizer = world_tokenizer()
    else:
        lm, tokenizer = load_lm(recipe.lm)
        encoder, vision = load_encoder(recipe.vision, recipe.resolution or None)
        sizes = {
            name: getattr(recipe, name)
            for name in ("latents", "resampler_layers", "heads", "every", "places", "variant")
        }
        tag = tokenizer.convert_tokens_to_ids(IMAGE)
        config = FlamingoConfig(lm.config, vision, **sizes, image_id=tag)
        torch.manual_seed(recipe.seed)
        model = variant(Flamingo, recipe.variant)(config, lm, encoder)
    model.lm.requires_grad_(False)
    model.encoder.requires_grad_(False)
    for block in [] if recipe.views else model.lm.layers[model.config.lm.layers :]:  # what grafting adds
        block.requires_grad_(True)
    return model, tokenizer


def gates(model: Flamingo) -> dict[str, Tensor]:
    """Every gate by its name: {"0.alpha_xattn": alpha, "0.alpha_dense": alpha, "1.alpha_xattn": ...}."""
    return {name: p for name, p in model.xattn.named_parameters() if "alpha" in name}


def optimizer_of(model: Flamingo, recipe: FlamingoRecipe) -> torch.optim.AdamW:
    """AdamW with the paper's groups: no weight decay on the resampler (appendix B.1); the gates have their own rate."""
    special = {id(p) for p in (*model.resampler.parameters(), *gates(model).values())}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in special]
    optimizer = adamw(rest, recipe.optimisation)
    optimizer.add_param_group({"params": list(model.resampler.parameters()), "weight_decay": 0.0})
    trained = [gate for gate in gates(model).values() if gate.requires_grad]
    if trained:
        optimizer.add_param_group({"params": trained, "weight_decay": 0.0, "times": recipe.gate_rate})
    return optimizer


@torch.no_grad()
def begin_centred(model: Flamingo, seen: Named) -> None:
    """The resampler begins by leaving out what all pictures share: its time embeddings are the mean feature, negative,
    and its norms weigh channels by one over their deviation. Cross-attention begins slightly open (`OPEN`), where the
    paper has it closed: trainings of minutes hardly open it.
    """
    assert seen.features is not None
    x = seen.features[:, :, 0].flatten(0, 2).float()  # (M S, D)
    model.resampler.time_embeddings.copy_(-x.mean(0).expand_as(model.resampler.time_embeddings))
    for name, weight in model.resampler.context_norm.named_parameters():
        if name.endswith("weight"):
            weight.copy_((x.std(0).mean() / (x.std(0) + 1e-6)).clamp(max=3.0))
    for name, gate in gates(model).items():
        if "xattn" in name:
            gate.fill_(OPEN)


def openings(model: Flamingo) -> dict[str, float]:
    """tanh(alpha) of every gate, for the log."""
    return {f"tanh {name}": round(float(gate.detach().tanh()), 4) for name, gate in gates(model).items()}


def prepare(recipe: FlamingoRecipe, device: torch.device | str = "cpu") -> Job:
    """Flamingo, ready to train. ValueError where several processes cannot share a mistake."""
    if recipe.variant == "time-embedding-per-image":
        require_single_process(f"{recipe.variant} numbers all pictures of a batch")
    model, tokenizer = compose(recipe)
    model.to(device)
    if recipe.views:
        job: Job = named.prepare(recipe, "flamingo", model, tokenizer, lambda seen: begin_centred(model, seen))
        measure = job.probe
    else:
        resolution = model.config.vision.resolution
        measure = partial(probe, model, device, resolution)
        job = Job(recipe, "flamingo", model, asdict(model.config), partial(sample, model.encoder, resolution),
                  lambda drawn: weighted_loss(model, drawn), ahead=True)  # fmt: skip
    assert measure is not None
    if recipe.start and not recipe.views:
        job.complete = lambda out: keep_cards(find(recipe.start), out / STAGE_1)
    return replace(job, probe=lambda: measure() | openings(model), make_optimizer=lambda: optimizer_of(model, recipe))

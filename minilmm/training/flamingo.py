"""Training Flamingo: pages, captioned pictures and videos, through frozen halves (section 2.4, appendix B.1)."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from minilmm.ablations import variant
from minilmm.checkpoints.saving import CheckpointError, load, save
from minilmm.flamingo import Flamingo, FlamingoConfig
from minilmm.interface.document import Batch
from minilmm.language import CausalLM
from minilmm.nn.parallel import refuse
from minilmm.training.frozen import probe
from minilmm.training.loop import Report, adamw, fit, loss_of, quiet
from minilmm.training.mixture import Feed, mixture
from minilmm.training.recipes import FlamingoRecipe, Optimisation, RealFlamingoRecipe
from minilmm.vision import VisionConfig
from minilmm.vision.contrastive import DualEncoder

MIXING = ("accumulate", "round-robin")


def preset(name: str) -> FlamingoRecipe:
    """ "quick": what the quickstart trains in about a minute. "nano": four minutes on 2 CPU cores. "small": one GPU."""
    if name == "quick":
        return FlamingoRecipe(Optimisation(steps=320, lr=3e-3), first=110, questions=230)
    if name == "nano":
        return FlamingoRecipe(Optimisation(steps=850, lr=3e-3))
    if name == "small":
        optimisation = Optimisation(steps=10_000, lr=1e-3, warmup=500)
        return FlamingoRecipe(optimisation, latents=16, first=500, questions=4000, pages=128, pairs=256, videos=32)
    raise ValueError(f"unknown preset {name!r}: choose quick, nano or small")


def compose(recipe: FlamingoRecipe) -> tuple[Flamingo, list[nn.Parameter]]:
    """The model of a recipe and the parameters that it trains. CheckpointError for a wrong kind of part."""
    if recipe.mixing not in MIXING:
        raise ValueError(f"mixing {recipe.mixing!r}: choose from {', '.join(MIXING)}")
    mixture(recipe, 0, recipe.first)  # unknown data, or none, show before anything is loaded
    torch.manual_seed(recipe.seed)
    if recipe.start:
        model, _ = load(recipe.start)
        if not isinstance(model, Flamingo):
            raise CheckpointError(f"{recipe.start}: is no Flamingo to start from: name one with --start")
    else:
        lm, _ = load(recipe.lm)
        dual, card = load(recipe.vision)
        if not isinstance(lm, CausalLM):
            raise CheckpointError(f"{recipe.lm}: is no language model: name one with --lm")
        if not isinstance(dual, DualEncoder):
            raise CheckpointError(f"{recipe.vision}: is no vision encoder: name one with --vision")
        sizes = {name: getattr(recipe, name) for name in ("latents", "resampler_layers", "heads", "every", "variant")}
        torch.manual_seed(recipe.seed)
        config = FlamingoConfig(lm.config, VisionConfig(**card["config"]["vision"]), **sizes,
                                units=units(lm, recipe.loud))  # fmt: skip
        model = variant(Flamingo, recipe.variant)(config, lm, dual.vision)
    model.lm.requires_grad_(False)
    model.encoder.requires_grad_(False)
    for block in model.lm.layers[model.config.lm.layers :]:  # what grafting adds
        block.requires_grad_(True)
    return model, [p for p in model.parameters() if p.requires_grad]


@torch.no_grad()
def units(lm: CausalLM, loud: float, documents: int = 16) -> tuple[float, ...]:
    """So many times how large the LM's states are in front of each block, to the nearest power of two: the median over
    random words, 128 of each document, of their root mean square. () for 0.
    """
    if not loud:
        return ()
    found: list[float] = []

    def measured(block: int, y: Tensor) -> Tensor:
        size = float(y.square().mean(-1).sqrt().median())
        found.append(2.0 ** round(math.log2(loud * size)))
        return y

    words = torch.randint(lm.config.vocab_size, (documents, 128), generator=torch.Generator().manual_seed(0))
    lm.hidden(lm.embed(words), in_front=measured)
    return tuple(found)


def gates(model: Flamingo) -> dict[str, Tensor]:
    """Every gate by its name: {"0.alpha_xattn": alpha, "0.alpha_dense": alpha, "1.alpha_xattn": ...}."""
    return {name: p for name, p in model.xattn.named_parameters() if "alpha" in name}


def optimizer_of(model: Flamingo, recipe: FlamingoRecipe | RealFlamingoRecipe) -> torch.optim.AdamW:
    """AdamW with the paper's groups: no weight decay on the resampler (appendix B.1); the gates have their own rate."""
    special = {id(p) for p in (*model.resampler.parameters(), *gates(model).values())}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in special]
    optimizer = adamw(rest, recipe.optimisation)
    optimizer.add_param_group({"params": list(model.resampler.parameters()), "weight_decay": 0.0})
    trained = [gate for gate in gates(model).values() if gate.requires_grad]
    if trained:
        optimizer.add_param_group({"params": trained, "weight_decay": 0.0, "times": recipe.gate_rate})
    return optimizer


def train(
    recipe: FlamingoRecipe,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    report: Report = quiet,
    command: str = "",
    probe_every: int = 100,
    losses: list[float] | None = None,
) -> Flamingo:
    """Train Flamingo and save it under `out`. The log also has tanh(alpha) of every gate.

    probe_every: 0 never measures on the way. losses: gets the loss of every step. ValueError where several processes
    cannot share a mistake.
    """
    if recipe.variant == "time-embedding-per-image":
        refuse(f"{recipe.variant} numbers all pictures of a batch")
    model, parameters = compose(recipe)
    model.to(device)
    resolution = model.config.vision.resolution

    def loss(drawn: list[tuple[float | Tensor, Batch]], step: int) -> Tensor:
        """Weighted, over all that the step reads: so their gradients go into one update."""
        total = torch.stack([w * loss_of(model, b) for w, b in drawn]).sum()
        if losses is not None:
            losses.append(float(total.detach()))
        return total

    def probed() -> dict[str, float]:
        opened = {f"tanh {name}": round(float(gate.tanh()), 4) for name, gate in gates(model).items()}
        return probe(model, device, resolution) | opened

    rows = fit(model, parameters, recipe.optimisation, loss, recipe=recipe, out=out, resume=resume, report=report,
               evaluate=probed if probe_every else None, evaluate_every=probe_every or recipe.optimisation.steps,
               optimizer=optimizer_of(model, recipe),
               draw=Feed(recipe, model.encoder, resolution, device))  # fmt: skip
    save(out, model, "flamingo", config=asdict(model.config), recipe=asdict(recipe), seed=recipe.seed,
         metrics=rows[-1], command=command, device=str(device))  # fmt: skip
    return model

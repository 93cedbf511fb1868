"""A job: a recipe made ready to train. Its steps are the loop's (`minilmm.training.loop`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minilmm.interface.document import Batch
from minilmm.nn.parallel import same_noise, shard
from minilmm.training.recipes import Optimisation

Metrics = dict[str, Any]
Sample = Callable[[Any, torch.Generator, int], Any]  # what a step of a recipe reads
Drawn = list[tuple[float, Batch]]  # what a step reads: data sets, each with the weight of its loss


@dataclass(frozen=True)
class Draw:
    """What every step of a recipe reads, a function of seed and step: sample(recipe, generator, step)."""

    recipe: Any
    sample: Sample
    device: torch.device | str = "cpu"

    @torch.no_grad()
    def __getitem__(self, step: int) -> Any:
        return self.sample(self.recipe, generator_for(self.recipe.seed, step, self.device), step)


@dataclass
class Job:
    """A recipe made ready to train.

    kind, config    of its card
    sample          sample(recipe, generator, step) -> what a step reads: `Drawn`, but for BLIP-2's first stage and in
                    pretraining
    loss            of what was drawn, a scalar
    probe           how good the model is by now, a number by name; None measures nothing on the way
    probe_every     steps between two rows of the log
    make_optimizer  AdamW as the recipe says, unless given; a group's "times" multiplies its rate
    saved           what is saved, where that is not the whole model
    half            products in bfloat16, as always on a GPU: for models so large that products take the time
    ahead           on a CPU of several cores one of them draws the next step
    snapshot        snapshot(out, rows) keeps more than a row of the log, behind so many rows
    complete        complete(out) puts more into the folder of a finished run
    seconds, note   how long it took to make ready, and what was done
    """

    recipe: Any
    kind: str
    model: nn.Module
    config: dict[str, Any]
    sample: Sample
    loss: Callable[[Any], Tensor]
    probe: Callable[[], Metrics] | None = None
    probe_every: int = 100
    make_optimizer: Callable[[], torch.optim.Optimizer] | None = None
    saved: nn.Module | None = None
    half: bool = False
    ahead: bool = False
    snapshot: Callable[[Path, int], None] | None = None
    complete: Callable[[Path], None] | None = None
    seconds: float = 0.0
    note: str = ""

    @property
    def draw(self) -> Draw:
        """What a step reads, by its number."""
        return Draw(self.recipe, self.sample, self.device)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What trains."""
        return [p for p in self.model.parameters() if p.requires_grad]

    @property
    def device(self) -> torch.device:
        """Where it trains."""
        return self.parameters[0].device

    def optimizer(self) -> torch.optim.Optimizer:
        """A new optimiser of what trains."""
        return (
            self.make_optimizer()
            if self.make_optimizer is not None
            else adamw(self.parameters, self.recipe.optimisation)
        )

    def precision(self) -> torch.autocast:
        """Products in bfloat16, or as they are."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half or self.device.type == "cuda")


def rate(o: Optimisation, step: int) -> float:
    """The learning rate of a step: linear warm-up, then a cosine to `final` of the peak."""
    progress = min(1.0, step / max(o.steps, 1))
    return (
        o.lr
        * min(1.0, (step + 1) / max(o.warmup, 1))
        * (o.final + (1 - o.final) * 0.5 * (1 + math.cos(math.pi * progress)))
    )


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy of the tokens that the loss mask marks, in nats; of none it is not a number."""
    wanted = batch.loss_mask[:, 1:]
    return F.cross_entropy(model(batch)[:, :-1][wanted].float(), batch.ids[:, 1:][wanted])


def weighted_loss(model: nn.Module, drawn: Drawn, loss: Callable[[Any, Batch], Tensor] | None = None) -> Tensor:
    """The weighted losses of all that a step reads, summed, so that their gradients go into one update.

    Of several processes each has its shard of every batch. loss: `loss_of` unless given.
    """
    losses = []
    for weight, batch in drawn:
        rows, part = shard(batch.loss_mask[:, 1:])
        with same_noise(rows, len(batch)):
            losses.append(weight * part * (loss or loss_of)(model, batch[rows]))
    return torch.stack(losses).sum()


def adamw(parameters: list[nn.Parameter], o: Optimisation) -> torch.optim.AdamW:
    """AdamW over the parameters given; only those with two dimensions or more decay."""
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": o.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=o.lr, betas=o.betas, fused=True)


def generator_for(seed: int, step: int, device: torch.device | str) -> torch.Generator:
    """The randomness of one step; torch's own (for noise inside models) is seeded with it."""
    number = (seed * 1_000_003 + step) % (1 << 62)
    torch.manual_seed(number)
    return torch.Generator(device).manual_seed(number)


def fast_halves(device: torch.device) -> bool:
    """Are matrix products about twice as fast in bfloat16 here: on a GPU, or a CPU with instructions for them?"""
    return device.type == "cuda" or (device.type == "cpu" and torch.cpu._is_avx512_bf16_supported())


def trained_prefixes(model: nn.Module, name: str = "") -> list[str]:
    """How the names of what trains begin, and of nothing else: what a card says under "trains"; [""] is all."""
    wanted = [p.requires_grad for p in model.parameters()]
    if not any(wanted) or all(wanted):
        return [name] * any(wanted)
    own = [f"{name}{n}" for n, p in model.named_parameters(recurse=False) if p.requires_grad]
    return own + [p for n, part in model.named_children() for p in trained_prefixes(part, f"{name}{n}.")]


def trained_names(card: dict[str, Any], names: Iterable[str]) -> set[str]:
    """Which of a model's parameters its run trained, as the card says; a converted checkpoint's none."""
    return {name for name in names if name.startswith(tuple(card.get("trains", ())))}

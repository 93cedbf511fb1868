"""Training bridges between real models on named pictures: features once, then steps through a frozen language model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minilmm.blip2 import Blip2
from minilmm.checkpoints.opening import Bridge, Trained
from minilmm.checkpoints.saving import REAL
from minilmm.data import emoji, named, photographs
from minilmm.data.features import looked_at
from minilmm.data.named import Form, Named
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.tasks import Settings, real_task
from minilmm.flamingo import Flamingo
from minilmm.frozen import Frozen
from minilmm.interface.document import Batch
from minilmm.interface.tokenizer import Tokenizer
from minilmm.training.job import Drawn, Job, Metrics, Sample, fast_halves, weighted_loss
from minilmm.training.recipes import BridgeRecipe, FlamingoRecipe
from minilmm.world.random import integers

DATA = ("emoji", "photographs")
NAMES = ("lm", "vision", "resolution", "data")  # of a recipe: what a run stands between
PARTS: dict[str, Any] = {"lm": "smollm2", "vision": "efficientnet-lite0", "data": "emoji", "views": 4}
PROBE_EVERY = 200  # steps
PAGES = ((2, 1), (2, 2), (3, 1))  # ways and shots: five pictures at most, as in the paper
EPISODES = 40  # of a probe: a large language model takes its time


def sizes(name: str, batch: int, steps: int) -> tuple[int, int]:
    """Batch and steps of a preset: "small" has larger batches and more steps. ValueError for another name."""
    if name not in ("nano", "small"):
        raise ValueError(f"unknown preset {name!r}: with real models choose nano or small")
    return (batch, steps) if name == "nano" else (4 * batch, 5 * steps)


def form_of(data: str) -> Form:
    """How a picture and its name stand in a text."""
    return Form() if data == "emoji" else photographs.FORM


def data_named(name: str, resolution: int) -> Named:
    """Pictures with names: "emoji", "photographs", or a folder. ValueError for others."""
    if name == "emoji":
        return emoji.load(resolution)
    if name == "photographs" or Path(name).is_dir():
        return photographs.load(resolution, None if name == "photographs" else Path(name))
    raise ValueError(f"unknown data {name!r}: choose {' or '.join(DATA)}, or name a folder of captioned pictures")


def spoken(model: Frozen | Flamingo | Blip2, batch: Batch) -> Tensor:
    """Cross-entropy of what is to be learned, in nats. Logits are made of those words alone: a real vocabulary is
    large, and most of a caption is its frame.
    """
    wanted = batch.loss_mask[:, 1:]
    if isinstance(model, Flamingo):
        states = model.hidden(batch.ids, batch.attention_mask, model.perceive(batch), model.masks(batch))
    else:
        states = model.hidden(batch)  # (B, L, D)
    return F.cross_entropy(model.lm.lm_head(states[:, :-1][wanted]).float(), batch.ids[:, 1:][wanted])


def mixed(seen: Named, tokenizer: Tokenizer, form: Form) -> Sample:
    """What a step reads: captioned pictures, and from step `first` of the recipe on pages of several as well."""
    captions = named.captions(seen, tokenizer, form)
    pages = [named.pages(seen, tokenizer, form, ways=ways, shots=shots) for ways, shots in PAGES]

    def sample(recipe: BridgeRecipe, generator: torch.Generator, step: int) -> Drawn:
        size = recipe.pairs if isinstance(recipe, FlamingoRecipe) else recipe.batch
        drawn = [(recipe.weights[0], captions(size, generator))]
        if recipe.pages and step >= min(recipe.first, recipe.optimisation.steps // 4):
            page = pages[int(integers(len(pages), (), generator))]
            drawn.append((recipe.weights[1], page(recipe.pages, generator)))
        return drawn

    return sample


@dataclass(kw_only=True)
class NamedJob(Job):
    """A job on named pictures: `data` has all of them, `seen` those that train, with features beside them."""

    tokenizer: Tokenizer
    data: Named
    seen: Named
    form: Form


def prepare(
    recipe: BridgeRecipe, kind: str, model: Bridge, tokenizer: Tokenizer, begin: Callable[[Named], None] | None = None
) -> NamedJob:
    """A bridge between real models, ready to train: its encoder looks at every training picture, which for emoji takes
    half a minute on a CPU core. begin: how the bridge begins, from those features.
    """
    device = next(model.parameters()).device
    data, form = data_named(recipe.data, model.config.vision.resolution), form_of(recipe.data)
    seen = looked_at(data, model.encoder, recipe.views, device)
    assert seen.features is not None
    if begin is not None:
        begin(seen)

    def probe() -> Metrics:
        """Held-out things by now: named from five, and bound to a made-up name."""
        task = real_task("naming", data, tokenizer, form)
        measured = {}
        for name, settings, shots in (("5way", Settings(ways=5, names="real"), 0), ("2way_nonsense", Settings(), 1)):
            request = Request((shots,), settings, EPISODES, ("real",), seed=11)
            result = evaluate(model, task, request, device=device)  # type: ignore[arg-type]
            measured[f"naming_{name}_{shots}_shots"] = result["rows"][0]["value"]
        return measured

    vendors, pictures, views = seen.features.shape[:3]
    size = seen.features.numel() / 2**19
    config = {name: getattr(recipe, name) for name in NAMES} | {"model": asdict(model.config)}
    return NamedJob(
        recipe, REAL + kind, model, config, mixed(seen, tokenizer, form),
        lambda drawn: weighted_loss(model, drawn, spoken), probe, PROBE_EVERY,
        saved=Trained(model), half=fast_halves(device), tokenizer=tokenizer, data=data, seen=seen, form=form,
        note=f"the eyes have looked at {vendors * pictures} pictures, {views} views of each: {size:.0f} MiB",
    )  # fmt: skip

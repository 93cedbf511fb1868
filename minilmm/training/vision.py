"""Contrastive pretraining of a vision encoder: pictures and captions of the mini-world, two-way InfoNCE."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor

from minilmm.data.world import TEXT_LENGTH, UNSAID, mixed_scenes, texts, texts_without
from minilmm.evaluation.retrieval import retrieval, zero_shot
from minilmm.nn.parallel import gathered, processes, shard
from minilmm.training.job import Job
from minilmm.training.recipes import Optimisation, VisionRecipe, choose
from minilmm.vision import VisionConfig
from minilmm.vision.contrastive import DualEncoder, info_nce, same_text
from minilmm.world.random import integers
from minilmm.world.render import render
from minilmm.world.vocabulary import tokenizer

PRESETS = {
    "nano": VisionRecipe(VisionConfig(), Optimisation(steps=1700, lr=5e-3, warmup=100), batch=512),
    "small": VisionRecipe(VisionConfig(stem=64, widths=(128, 256), blocks=(3, 6), vit_width=256, layers=8, heads=8),
                          Optimisation(steps=10_000, lr=1e-3, warmup=500), batch=1024),
}  # fmt: skip


def preset(name: str) -> VisionRecipe:
    """ "nano": a minute and a half on one GPU, most of an hour on 2 CPU cores. "small": one GPU."""
    return choose(PRESETS, name)


def sample(recipe: VisionRecipe, generator: torch.Generator, step: int) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, R, R) and their texts (B, TEXT_LENGTH), 0 pads."""
    scenes = mixed_scenes(recipe.batch, generator)
    unsaid = UNSAID[int(integers(len(UNSAID), (), generator))]
    text = texts_without(scenes, generator, unsaid) if unsaid else texts(scenes, generator)
    return render(scenes, generator, recipe.model.resolution), text


def loss_of(model: DualEncoder, images: Tensor, text: Tensor) -> Tensor:
    """InfoNCE in nats. Of several processes each encodes its shard, and compares every picture with every text."""
    rows, _ = shard(text != 0)
    own = text[rows]
    image, said = (
        gathered(x, rows, len(text)) for x in (model.encode_image(images[rows]), model.encode_text(own, own != 0))
    )  # (B, E) each
    return info_nce(model.scale() * image @ said.T, same_text(text))


def prepare(recipe: VisionRecipe, device: torch.device | str = "cpu") -> Job:
    """A dual encoder at random weights, ready to train; its image tower is what the bridges borrow.

    ValueError for a batch of fewer pictures than processes.
    """
    if recipe.batch < processes():
        raise ValueError(f"a batch of {recipe.batch}: {processes()} processes share it: give each a picture at least")
    torch.manual_seed(recipe.seed)
    sizes = {"vocabulary": len(tokenizer()), "embed": recipe.embed, "text_length": TEXT_LENGTH}
    model = DualEncoder(recipe.model, **sizes).to(device)

    def probe() -> dict[str, float]:
        rows = [*retrieval(model, 200, device=device), zero_shot(model, 200, device=device)]
        found = {row["metric"]: round(row["value"], 4) for row in rows}
        return found | {"temperature": round(float(1 / model.scale()), 4)}

    return Job(recipe, "vision", model, {"vision": asdict(recipe.model)} | sizes, sample,
               lambda drawn: loss_of(model, *drawn), probe)  # fmt: skip

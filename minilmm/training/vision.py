"""Contrastive pretraining of a vision encoder: pictures and captions of the mini-world, two-way InfoNCE."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor

from minilmm.data.world import TEXT_LENGTH, UNSAID, mixed_scenes, printed, texts, texts_without
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
    "nano": VisionRecipe(VisionConfig(), Optimisation(steps=2200, lr=5e-3, warmup=100), batch=512),
    "small": VisionRecipe(VisionConfig(stem=64, widths=(128, 256), blocks=(3, 6), vit_width=256, layers=8, heads=8),
                          Optimisation(steps=10_000, lr=1e-3, warmup=500), batch=1024),
}  # fmt: skip


def preset(name: str) -> VisionRecipe:
    """ "nano": 82 minutes of a shared core. "small": one GPU."""
    return choose(PRESETS, name)


def sample(recipe: VisionRecipe, generator: torch.Generator, step: int) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, R, R) and their texts (B, TEXT_LENGTH), 0 pads; one picture in eight is a sign or a table."""
    few, resolution = recipe.batch // 8, recipe.model.resolution
    scenes = mixed_scenes(recipe.batch - few, generator)
    unsaid = UNSAID[int(integers(len(UNSAID), (), generator))]
    text = texts_without(scenes, generator, unsaid) if unsaid else texts(scenes, generator)
    parts = [printed(few, generator, resolution)] if few else []
    parts.insert(0, (render(scenes, generator, resolution), text))
    images, said = zip(*parts, strict=True)
    return torch.cat(images), torch.cat(said)


def encode_texts(model: DualEncoder, text: Tensor, parts: int = 4) -> Tensor:
    """Texts (B, L), 0 pads -> unit vectors (B, E). Short ones are read together, and so are long ones: less padding."""
    length = (text != 0).sum(1)
    order = length.argsort(stable=True)
    said = [text[rows][:, : max(1, int(length[rows].max()))] for rows in order.chunk(parts)]
    return torch.cat([model.encode_text(part, part != 0) for part in said])[order.argsort()]


def loss_of(model: DualEncoder, images: Tensor, text: Tensor) -> Tensor:
    """InfoNCE in nats. Of several processes each encodes its shard, and compares every picture with every text."""
    rows, _ = shard(text != 0)
    parts = model.encode_image(images[rows]), encode_texts(model, text[rows])
    image, said = (gathered(x, rows, len(text)) for x in parts)  # (B, E) each
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
        rows = [*retrieval(model, 200, device=device), *zero_shot(model, 200, device=device)]
        found = {row["metric"]: round(row["value"], 4) for row in rows}
        return found | {"temperature": round(float(1 / model.scale()), 4)}

    return Job(recipe, "vision", model, {"vision": asdict(recipe.model)} | sizes, sample,
               lambda drawn: loss_of(model, *drawn), probe)  # fmt: skip

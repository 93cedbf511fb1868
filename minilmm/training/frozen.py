"""Training Frozen: captions of single pictures, through a language model that keeps every byte."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from minilmm.checkpoints.opening import load_encoder, load_lm
from minilmm.data import easy_vqa, folder
from minilmm.data.named import Named, batched
from minilmm.data.world import captions
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.tasks import Settings
from minilmm.frozen import Frozen, FrozenConfig
from minilmm.interface.model import MultimodalLM
from minilmm.interface.tokenizer import IMAGE, Tokenizer
from minilmm.language import CausalLM
from minilmm.training import named
from minilmm.training.job import Drawn, Job, Sample, weighted_loss
from minilmm.training.recipes import EYES, VARIANTS, FrozenRecipe, Optimisation, choose
from minilmm.vision import VisionConfig
from minilmm.world.random import integers
from minilmm.world.render import blank
from minilmm.world.vocabulary import tokenizer as world_tokenizer

PRESETS = {
    "quick": FrozenRecipe(Optimisation(steps=220, lr=3e-3), eyes="start"),
    "nano": FrozenRecipe(Optimisation(steps=1200, lr=5e-3, warmup=100)),
    "small": FrozenRecipe(Optimisation(steps=10_000, lr=1e-3, warmup=500), batch=512,
                          encoder=VisionConfig(stem=64, widths=(128, 256), blocks=(3, 6))),
}  # fmt: skip


def preset(name: str) -> FrozenRecipe:
    """ "quick": what the quickstart trains in about a minute, its encoder that of `vision-nano`. "nano": an encoder
    from scratch, as in the paper, nine minutes of a shared core. "small": one GPU.
    """
    return choose(PRESETS, name)


def real_preset(name: str) -> FrozenRecipe:
    """Between real models the linear map alone trains. "nano": minutes on 2 CPU cores. "small": one GPU."""
    batch, steps = named.sizes(name, 16, 600)
    return FrozenRecipe(Optimisation(steps, lr=1e-3), eyes="kept", noise=0.0, batch=batch, **named.PARTS)


def data_named(name: str, resolution: int) -> Sample:
    """Training data by name: "world", "easy-vqa", or a folder of pictures. ValueError lists what there is."""
    if name == "world":
        return lambda recipe, generator, step: [(1.0, captions(recipe.batch, generator, resolution))]
    if name == "easy-vqa":
        split = easy_vqa.load("train", resolution)
        documents = easy_vqa.documents(split, range(len(split)))
    elif Path(name).is_dir():
        documents = folder.folder_documents(name, world_tokenizer(), resolution, part="train")
    else:
        raise ValueError(f"unknown data {name!r}: choose world or easy-vqa, or name a folder of pictures")

    def sample(recipe: FrozenRecipe, generator: torch.Generator, step: int) -> Drawn:
        rows = integers(len(documents), (recipe.batch,), generator).tolist()
        return [(1.0, batched([documents[i] for i in rows], None, world_tokenizer(), generator.device))]

    return sample


def compose(recipe: FrozenRecipe) -> tuple[Frozen, Tokenizer]:
    """The model of a recipe, where what trains wants gradients, and its tokenizer. CheckpointError for wrong parts."""
    if recipe.variant not in VARIANTS or recipe.eyes not in EYES:
        raise ValueError(f"variant {recipe.variant!r} and eyes {recipe.eyes!r}: choose from {VARIANTS} and {EYES}")
    lm, tokenizer = load_lm(recipe.lm)
    encoder, vision = None, recipe.encoder
    if recipe.eyes != "scratch":
        encoder, vision = load_encoder(recipe.vision, recipe.resolution or None)
    tag = tokenizer.convert_tokens_to_ids(IMAGE)
    config = FrozenConfig(lm.config, vision, recipe.prefix_tokens, recipe.kept, recipe.noise, tag)
    torch.manual_seed(recipe.seed)
    model = Frozen(config, CausalLM(lm.config) if recipe.variant == "scratch" else lm, encoder)
    model.requires_grad_(False)
    trained: list[nn.Module] = [model.to_prefix]
    trained += [] if recipe.eyes == "kept" else [model.encoder]
    trained += [model.lm] if recipe.variant in ("finetuned", "scratch") else []
    for part in trained:
        part.requires_grad_(True)
    return model, tokenizer


def probe(model: MultimodalLM, device: torch.device | str, resolution: int) -> dict[str, float]:
    """Accuracy over 200 held-out episodes of naming, for the log: with real and with blank pictures."""
    found: dict[str, float] = {}
    for ways in (2, 5):
        request = Request((1,), Settings(ways=ways), 200, ("real", "blank_images"), seed=11)
        result = evaluate(model, "naming", request, device=device)
        found |= {f"naming_{ways}way_{row['condition']}": row["value"] for row in result["rows"]}
    return found


@torch.no_grad()
def begin_at_words(model: Frozen, tokenizer: Tokenizer, seen: Named, ridge: float) -> None:
    """The map begins as a ridge regression from the features of pictures to the embeddings of words of their names.

    The n vectors aim at the n words that lie evenly from a name's first to its last, less the mean of all names. So a
    prefix is near words from the first step on: a picture is bound to a made-up name before anything has trained.
    ridge: of standardised features, per view of each picture.
    """
    assert seen.features is not None
    device = model.to_prefix.weight.device
    x = torch.cat(
        [model.encoder.pool(some.to(device).float()).cpu() for some in seen.features.flatten(0, 2).split(512)]
    )
    V, N, K = seen.features.shape[:3]
    words = [torch.tensor(tokenizer.encode(f" {name}")) for name in seen.names]
    chosen = [row[torch.linspace(0, len(row) - 1, model.prefix_tokens).round().long()] for row in words]
    y = model.lm.embed(torch.stack(chosen).to(device)).flatten(1).float().cpu()  # (N, n D)
    y = (y - y.mean(0))[None, :, None].expand(V, N, K, -1).flatten(0, 2)
    mean, deviation = x.mean(0), x.std(0) + 1e-3
    x = (x - mean) / deviation
    solution = torch.linalg.solve(x.T @ x + ridge * K * torch.eye(x.shape[1]), x.T @ y) / deviation[:, None]
    model.to_prefix.weight.copy_(solution.T)
    model.to_prefix.bias.copy_(-mean @ solution)


def prepare(recipe: FrozenRecipe, device: torch.device | str = "cpu") -> Job:
    """Frozen, ready to train."""
    model, tokenizer = compose(recipe)
    model.to(device)
    if recipe.views:
        begin = (lambda seen: begin_at_words(model, tokenizer, seen, recipe.ridge)) if recipe.ridge else None
        return named.prepare(recipe, "frozen", model, tokenizer, begin)
    resolution = model.config.vision.resolution
    data = data_named(recipe.data, resolution)

    def blind(recipe: FrozenRecipe, generator: torch.Generator, step: int) -> Drawn:
        return [(weight, batch.with_media(blank(batch.media))) for weight, batch in data(recipe, generator, step)]

    return Job(recipe, "frozen", model, asdict(model.config), blind if recipe.variant == "blind" else data,
               lambda drawn: weighted_loss(model, drawn), lambda: probe(model, device, resolution))  # fmt: skip

"""Contrastive pretraining of the eyes: pictures and captions of the mini-world, two-way InfoNCE."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minilmm.checkpoints.saving import save
from minilmm.evaluation.retrieval import classify, ensemble, retrieval_rows
from minilmm.evaluation.statistics import bootstrap_interval
from minilmm.nn.parallel import gathered, processes, share
from minilmm.training.loop import Report, fit, quiet
from minilmm.training.recipes import Optimisation, VisionRecipe
from minilmm.vision import VisionConfig
from minilmm.vision.contrastive import DualEncoder, info_nce, same_text
from minilmm.world.grammar import caption, compact, describe
from minilmm.world.random import coins, integers
from minilmm.world.render import render
from minilmm.world.scenes import Scenes, join_scenes, sample_scenes
from minilmm.world.vocabulary import COLOURS, PAIRS, SHAPES, TEXTURES, held_out, ids, pair, tokenizer, unpair

TEXT_LENGTH = 48
UNSAID = ("colour", "colour", "shape", "")  # what the texts of a batch leave out, each as often


def preset(name: str, kind: str = "resnet") -> VisionRecipe:
    """ "nano": a minute and a half on one GPU, most of an hour on 2 CPU cores. "small": one GPU."""
    if name == "nano":
        return VisionRecipe(VisionConfig(kind=kind), Optimisation(steps=1700, lr=5e-3, warmup=100), batch=512)  # type: ignore[arg-type]
    if name == "small":
        config = VisionConfig(kind=kind, stem=64, widths=(128, 256), blocks=(3, 6), vit_width=256, layers=8, heads=8)  # type: ignore[arg-type]
        return VisionRecipe(config, Optimisation(steps=10_000, lr=1e-3, warmup=500), batch=1024)
    raise ValueError(f"unknown preset {name!r}: choose nano or small")


def texts(scenes: Scenes, generator: torch.Generator) -> Tensor:
    """One text per scene, a caption or everything there is to say: (B, TEXT_LENGTH) ids, 0 pads."""
    full = coins((len(scenes),), generator)
    either = torch.cat(
        [caption(scenes, generator).masked_fill(full[:, None], -1), describe(scenes).masked_fill(~full[:, None], -1)], 1
    )
    return compact(either, TEXT_LENGTH, fill=0)


def reticent(scenes: Scenes, generator: torch.Generator, unsaid: str) -> Tensor:
    """Descriptions of which none says the colour, or the shape: "striped circle", "striped red shape", as `texts`.

    What such texts do say must be told from a picture whatever the other attribute is. With full captions alone a pair
    of colour and shape may as well be one thing, and pairs that were never shown are not known.
    """
    said = describe(scenes, full=coins((1,), generator).expand(len(scenes)))  # the same for all: no text fits two
    if unsaid == "colour":
        said = said.masked_fill(torch.isin(said, ids(*COLOURS).to(said.device)), -1)
    else:
        shape = int(ids("shape"))
        said = torch.where(torch.isin(said, ids(*SHAPES).to(said.device)), shape, said)
    return compact(said, TEXT_LENGTH, fill=0)


def pictures(batch: int, generator: torch.Generator, split: str = "train") -> Scenes:
    """Scenes to learn to see from: half of them one object, the rest two to four."""
    return sample_scenes(batch, generator, objects=(integers(6, (batch,), generator) - 1).clamp(min=1), split=split)


def near_duplicates(count: int, generator: torch.Generator) -> Scenes:
    """Held-out scenes in pairs that differ in one attribute of one object: (count) scenes, count even."""
    first = pictures(count // 2, generator, "held-out")
    which = integers(3, (count // 2,), generator)
    changed = {}
    for i, (name, size) in enumerate((("colour", len(COLOURS)), ("shape", len(SHAPES)), ("texture", len(TEXTURES)))):
        value = getattr(first, name).clone()
        step = {"colour": 5, "shape": 5}.get(name, 1)  # five steps keep a pair held out
        moved = (
            (value[:, 0] + step) % size
            if name != "shape"
            else torch.where(value[:, 0] + 5 < size, value[:, 0] + 5, value[:, 0] % 5)
        )
        value[:, 0] = torch.where(which == i, moved, value[:, 0])
        changed[name] = value
    second = replace(first, **changed)
    assert bool((held_out(second.colour, second.shape) | ~second.present).all())
    return join_scenes([first, second])


@torch.no_grad()
def retrieval(
    model: DualEncoder, count: int = 500, seed: int = 0, device: torch.device | str = "cpu"
) -> list[dict[str, Any]]:
    """TR@1/5/10 and IR@1/5/10 on held-out scenes, each with a near-duplicate that differs in one attribute."""
    generator = torch.Generator(device).manual_seed(1_000_003 + seed)
    scenes = near_duplicates(count, generator)
    text = compact(describe(scenes), TEXT_LENGTH, fill=0)
    images = render(scenes, generator, model.resolution)
    found = retrieval_rows(model.encode_image(images), model.encode_text(text, text != 0))
    rows = []
    for line in found:
        value, low, high = bootstrap_interval(line.hits.float(), seed=seed)
        rows.append(
            {"metric": f"{line.direction}@{line.k}", "value": value, "low": low, "high": high, "chance": line.chance}
        )
    return rows


@torch.no_grad()
def zero_shot(
    model: DualEncoder, count: int = 1000, seed: int = 0, device: torch.device | str = "cpu"
) -> dict[str, Any]:
    """Which of the 120 colour-shape pairs is it? Pictures of held-out pairs; a class is the mean of three captions."""
    generator = torch.Generator(device).manual_seed(2_000_003 + seed)
    scenes = sample_scenes(count, generator, split="held-out")
    words = tokenizer()
    pairs = torch.stack(unpair(torch.arange(PAIRS)), 1).tolist()
    lines = [f"a {t} {COLOURS[c]} {SHAPES[s]} . <EOC>" for c, s in pairs for t in TEXTURES]
    text = compact(torch.tensor([words.encode(line) for line in lines], device=device), TEXT_LENGTH, fill=0)
    embedded = model.encode_text(text, text != 0).view(PAIRS, len(TEXTURES), -1)
    predicted = classify(model.encode_image(render(scenes, generator, model.resolution)), ensemble(embedded))
    right = predicted == pair(scenes.colour[:, 0], scenes.shape[:, 0])
    value, low, high = bootstrap_interval(right.float(), seed=seed)
    return {"metric": "zero-shot accuracy", "value": value, "low": low, "high": high, "chance": 1 / PAIRS}


def pretrain(
    recipe: VisionRecipe,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    report: Report = quiet,
    command: str = "",
) -> DualEncoder:
    """Train a dual encoder from nothing and save it under `out`; its image tower is what the bridges borrow.

    ValueError for a batch of fewer pictures than processes.
    """
    if recipe.batch < processes():
        raise ValueError(f"a batch of {recipe.batch}: {processes()} processes share it: give each a picture at least")
    torch.manual_seed(recipe.seed)
    config = {
        "vision": asdict(recipe.model),
        "vocabulary": len(tokenizer()),
        "embed": recipe.embed,
        "text_length": TEXT_LENGTH,
    }
    model = DualEncoder(recipe.model, len(tokenizer()), embed=recipe.embed, text_length=TEXT_LENGTH).to(device)

    def loss(generator: torch.Generator, step: int) -> Tensor:
        scenes = pictures(recipe.batch, generator)
        unsaid = UNSAID[int(integers(len(UNSAID), (), generator))]
        text = reticent(scenes, generator, unsaid) if unsaid else texts(scenes, generator)
        images, (rows, _) = render(scenes, generator, recipe.model.resolution), share(text != 0)
        own = text[rows]
        image, said = (
            gathered(x, rows, len(text)) for x in (model.encode_image(images[rows]), model.encode_text(own, own != 0))
        )  # (B, E) each, of all processes: every picture is compared with every text
        return info_nce(model.scale() * image @ said.T, same_text(text))

    def probe() -> dict[str, float]:
        rows = [*retrieval(model, 200, device=device), zero_shot(model, 200, device=device)]
        return {row["metric"]: round(row["value"], 4) for row in rows} | {
            "temperature": round(float(1 / model.scale()), 4)
        }

    rows = fit(model, list(model.parameters()), recipe.optimisation, loss, recipe=recipe, out=out, resume=resume,
               evaluate=probe, report=report)  # fmt: skip
    save(out, model, "vision", config=config, recipe=asdict(recipe), seed=recipe.seed, metrics=rows[-1],
         command=command, device=str(device))  # fmt: skip
    return model

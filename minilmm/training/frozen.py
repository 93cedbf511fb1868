"""Training Frozen: captions of single pictures, through a language model that keeps every byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from minilmm.checkpoints.saving import CheckpointError, load, save
from minilmm.data import easy_vqa, folder
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.tasks import Settings
from minilmm.frozen import Frozen, FrozenConfig
from minilmm.interface.document import Batch, collate
from minilmm.interface.model import MultimodalLM
from minilmm.interface.tokenizer import BOS, IMAGE
from minilmm.language import CausalLM
from minilmm.nn.parallel import same_noise, share
from minilmm.training.loop import Report, fit, loss_of, quiet
from minilmm.training.recipes import FrozenRecipe, Optimisation
from minilmm.vision import VisionConfig
from minilmm.vision.contrastive import DualEncoder
from minilmm.world.grammar import caption, compact, join
from minilmm.world.random import integers
from minilmm.world.render import blank, render
from minilmm.world.scenes import sample_scenes
from minilmm.world.vocabulary import tokenizer

VARIANTS, EYES = ("frozen", "finetuned", "scratch", "blind"), ("scratch", "start", "kept")
Data = Callable[[int, torch.Generator], Batch]


def preset(name: str) -> FrozenRecipe:
    """ "quick": what the quickstart trains in about a minute, its eyes beginning as `vision-nano`. "nano": eyes from
    scratch, as in the paper, ten minutes on 2 CPU cores. "small": one GPU.
    """
    if name == "quick":
        return FrozenRecipe(Optimisation(steps=350, lr=3e-3), eyes="start")
    if name == "nano":
        return FrozenRecipe(Optimisation(steps=2000, lr=5e-3, warmup=100))
    if name == "small":
        encoder = VisionConfig(stem=64, widths=(128, 256), blocks=(3, 6))
        return FrozenRecipe(Optimisation(steps=10_000, lr=1e-3, warmup=500), batch=512, encoder=encoder)
    raise ValueError(f"unknown preset {name!r}: choose quick, nano or small")


def captions(batch: int, generator: torch.Generator, resolution: int) -> Batch:
    """ "<bos> <image> a striped red circle . <EOC>", one picture per document.

    Three batches in four show one object each. The fourth shows two to four per picture, with captions three times as
    long, and is a third as large: batches of equal cost, padded little. Where a lone object stands is not said:
    the language model binds names less well to descriptions that end in a place, and so to prefixes that hold one.
    """
    several = bool(integers(4, (), generator) == 0)
    count = max(1, batch // 3) if several else batch
    objects = integers(3, (count,), generator) + 2 if several else 1
    scenes = sample_scenes(count, generator, objects=objects)
    assert not bool(scenes.has_held_out().any()), "a held-out pair in training"
    ids = compact(join(f"{BOS} {IMAGE}", caption(scenes, generator, placed=False)), fill=0)
    return Batch.of(ids, render(scenes, generator, resolution)[:, None, None])


def data_named(name: str, resolution: int) -> Data:
    """Training data by name: "world", "easy-vqa", or a folder of pictures. ValueError lists what there is."""
    if name == "world":
        return lambda batch, generator: captions(batch, generator, resolution)
    if name == "easy-vqa":
        split = easy_vqa.load("train", resolution)
        documents = easy_vqa.documents(split, range(len(split)))
    elif Path(name).is_dir():
        documents = folder.folder_documents(name, tokenizer(), resolution, part="train")
    else:
        raise ValueError(f"unknown data {name!r}: choose world or easy-vqa, or name a folder of pictures")

    def sample(batch: int, generator: torch.Generator) -> Batch:
        rows = integers(len(documents), (batch,), generator).tolist()
        return collate([documents[i] for i in rows], tokenizer()).to(generator.device)

    return sample


def compose(recipe: FrozenRecipe) -> tuple[Frozen, list[nn.Parameter]]:
    """The model that a recipe describes and the parameters that it trains. CheckpointError for a wrong kind of part."""
    if recipe.variant not in VARIANTS or recipe.eyes not in EYES:
        raise ValueError(f"variant {recipe.variant!r} and eyes {recipe.eyes!r}: choose from {VARIANTS} and {EYES}")
    borrowed, _ = load(recipe.lm)
    if not isinstance(borrowed, CausalLM):
        raise CheckpointError(f"{recipe.lm}: is no language model: name one with --lm")
    vision = recipe.encoder
    dual = None
    if recipe.eyes != "scratch":
        dual, card = load(recipe.vision)
        if not isinstance(dual, DualEncoder):
            raise CheckpointError(f"{recipe.vision}: is no vision encoder: name one with --vision")
        vision = VisionConfig(**card["config"]["vision"])
    config = FrozenConfig(borrowed.config, vision, recipe.prefix_tokens, recipe.kept, recipe.noise)
    torch.manual_seed(recipe.seed)
    lm = CausalLM(borrowed.config) if recipe.variant == "scratch" else borrowed
    model = Frozen(config, lm, dual.vision if dual is not None else None)
    model.requires_grad_(False)
    trained: list[nn.Module] = [model.to_prefix]
    trained += [] if recipe.eyes == "kept" else [model.encoder]
    trained += [model.lm] if recipe.variant in ("finetuned", "scratch") else []
    for part in trained:
        part.requires_grad_(True)
    return model, [p for p in model.parameters() if p.requires_grad]


def probe(model: MultimodalLM, device: torch.device | str, resolution: int) -> dict[str, float]:
    """Binding by now: accuracy over 200 held-out episodes of naming, and with blank pictures."""
    found: dict[str, float] = {}
    for ways in (2, 5):
        request = Request((1,), Settings(ways=ways), 200, ("real", "blank_images"), seed=11)
        result = evaluate(model, "naming", request, device=device)
        found |= {f"naming_{ways}way_{row['condition']}": row["value"] for row in result["rows"]}
    return found


def train(
    recipe: FrozenRecipe,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    report: Report = quiet,
    command: str = "",
    probe_every: int = 100,
) -> Frozen:
    """Train Frozen and save it under `out`."""
    model, parameters = compose(recipe)
    model.to(device)
    resolution = model.config.vision.resolution
    data = data_named(recipe.data, resolution)

    def loss(generator: torch.Generator, step: int) -> Tensor:
        batch = data(recipe.batch, generator)
        rows, weight = share(batch.loss_mask[:, 1:])
        mine = batch[rows]
        with same_noise(rows, len(batch)):
            return weight * loss_of(model, mine.with_media(blank(mine.media)) if recipe.variant == "blind" else mine)

    rows = fit(model, parameters, recipe.optimisation, loss, recipe=recipe, out=out, resume=resume, report=report,
               evaluate=lambda: probe(model, device, resolution), evaluate_every=probe_every)  # fmt: skip
    save(out, model, "frozen", config=asdict(model.config), recipe=asdict(recipe), seed=recipe.seed, metrics=rows[-1],
         command=command, device=str(device))  # fmt: skip
    return model

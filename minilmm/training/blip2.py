"""Training BLIP-2: a Q-Former on pictures and captions, then its outputs as a language model's prefix (section 3)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from minilmm.ablations import variant
from minilmm.blip2 import Blip2, Blip2Config, Stage1
from minilmm.checkpoints.files import write_tensors
from minilmm.checkpoints.opening import load, load_encoder, load_lm, start_qformer
from minilmm.checkpoints.saving import LOOKS, REAL, STAGE_1, CheckpointError, copy, find
from minilmm.data.named import Named, name_texts, views
from minilmm.data.world import TEXT_LENGTH, captioned, captions, descriptions, prefixed
from minilmm.evaluation.attention_maps import query_attention
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.retrieval import retrieval, retrieval_of_names
from minilmm.evaluation.tasks import TASKS
from minilmm.interface.tokenizer import IMAGE, Tokenizer
from minilmm.language import CausalLM
from minilmm.language.encdec import EncoderDecoder, TextToText
from minilmm.nn.parallel import require_single_process
from minilmm.nn.qformer import MaskedLM, QFormerConfig, begin_as_text, in_text_half
from minilmm.training import named
from minilmm.training.job import Drawn, Job, Sample, weighted_loss
from minilmm.training.mixture import pages
from minilmm.training.recipes import Blip2Recipe, Optimisation, choose
from minilmm.vision.contrastive import same_text
from minilmm.world.random import integers
from minilmm.world.render import render
from minilmm.world.scenes import sample_scenes
from minilmm.world.vocabulary import tokenizer as world_tokenizer

OBJECTIVES = ("itc", "itm", "itg")
LARGE: dict[str, Any] = {"text": "", "queries": 16, "layers": 6, "hidden": 1024, "batch": 512}
CAPTIONED, DESCRIBED = 0.2, 0.75  # of stage 2: steps on captions alone, and then the share of full descriptions
PRESETS = {  # of stage 1 and stage 2
    "quick": (Blip2Recipe(Optimisation(steps=150, lr=1e-3), hardening=150),
              Blip2Recipe(Optimisation(steps=150, lr=2e-3), hardening=150, stage=2)),
    "nano": (Blip2Recipe(Optimisation(steps=900, lr=1e-3)), Blip2Recipe(Optimisation(steps=800, lr=2e-3), stage=2)),
    "small": (Blip2Recipe(Optimisation(steps=10_000, lr=1e-3, warmup=500), **LARGE),
              Blip2Recipe(Optimisation(steps=10_000, lr=1e-3, warmup=500), **LARGE, stage=2)),
}  # fmt: skip


def preset(name: str, stage: int) -> Blip2Recipe:
    """ "quick": what the quickstart trains in about a minute. "nano": minutes on 2 CPU cores. "small": one GPU."""
    if stage not in (1, 2):
        raise ValueError(f"--stage {stage}: choose 1 or 2")
    return choose(PRESETS, name)[stage - 1]


def real_preset(name: str, stage: int) -> Blip2Recipe:
    """Between real models. "nano": a quarter of an hour on 2 CPU cores. "small": one GPU."""
    batch, steps = named.sizes(name, 32 if stage == 1 else 16, 400)
    optimisation = Optimisation(steps, lr=3e-4 if stage == 1 else 1e-3)
    return Blip2Recipe(optimisation, stage=stage, hardening=150, batch=batch, **named.PARTS)


def compose(recipe: Blip2Recipe) -> tuple[Stage1 | Blip2, Tokenizer]:
    """The model of a recipe, where what trains wants gradients, and its tokenizer. CheckpointError for wrong parts."""
    unknown = set(recipe.objectives) - set(OBJECTIVES)
    if unknown or not recipe.objectives:
        raise ValueError(f"objectives {recipe.objectives}: choose from {', '.join(OBJECTIVES)}")
    make = _first if recipe.stage == 1 else _second_real if recipe.views else _second
    model, tokenizer = make(recipe)
    model.encoder.requires_grad_(False)
    if isinstance(model, Blip2):
        model.lm.requires_grad_(False)
        for name, p in model.qformer.named_parameters():
            p.requires_grad_(model.config.asked or not in_text_half(name))
    return model, tokenizer


def _fresh(recipe: Blip2Recipe) -> tuple[Blip2Config, Any]:
    """The configuration of a stage 1 of the mini-world, and its encoder."""
    encoder, vision = load_encoder(recipe.vision)
    sizes = {name: getattr(recipe, name) for name in ("layers", "heads", "hidden", "queries", "places")}
    words = len(world_tokenizer())
    qformer = QFormerConfig(encoder.width, words + 1, **sizes, context=TEXT_LENGTH + 1, dec=words)
    return Blip2Config(qformer, vision, variant=recipe.variant), encoder


def _first(recipe: Blip2Recipe) -> tuple[Stage1, Tokenizer]:
    """Stage 1, its Q-Former begun as a text encoder: as MiniLM between real models."""
    if not recipe.views:
        config, encoder = _fresh(recipe)
        torch.manual_seed(recipe.seed)
        fresh = variant(Stage1, recipe.variant)(config, encoder)
        if recipe.text:
            text, _ = load(recipe.text)
            if not isinstance(text, MaskedLM):
                raise CheckpointError(f"{recipe.text}: is no text encoder: name one with --text")
            begin_as_text(fresh.qformer, text.qformer)
        return fresh, world_tokenizer()
    encoder, vision = load_encoder(recipe.vision, recipe.resolution or None)
    torch.manual_seed(recipe.seed)
    sizes = QFormerConfig(encoder.width, 0, queries=recipe.queries, embed=256)
    qformer, tokenizer = start_qformer("minilm", encoder.width, sizes)
    model = Stage1(Blip2Config(qformer.config, vision), encoder)
    model.qformer = qformer
    return model, tokenizer


def _second(recipe: Blip2Recipe) -> tuple[Blip2, Tokenizer]:
    """Stage 2 on the mini-world: behind a run of stage 1, behind none, or fine-tuning a run of stage 2."""
    config, encoder = _fresh(recipe)
    asked = recipe.data != "world"
    if asked and recipe.data not in TASKS:
        raise ValueError(f"data {recipe.data!r}: choose world, or a task to train on: {', '.join(TASKS)}")
    torch.manual_seed(recipe.seed)
    start = load(recipe.start)[0] if recipe.start else None
    if isinstance(start, Blip2):
        model = Blip2(replace(start.config, asked=asked), start.lm, start.encoder)
        model.to_lm.load_state_dict(start.to_lm.state_dict())
    else:
        lm, _ = load(recipe.lm)
        if not isinstance(lm, CausalLM | EncoderDecoder):
            raise CheckpointError(f"{recipe.lm}: is no language model: name one with --lm")
        if start is not None and not isinstance(start, Stage1):
            raise CheckpointError(f"{recipe.start}: is no BLIP-2: name a run of train blip2 with --from")
        config, encoder = (start.config, start.encoder) if start is not None else (config, encoder)
        model = Blip2(Blip2Config(config.qformer, config.vision, lm.config, asked), lm, encoder)
    if start is not None:
        model.qformer.load_state_dict(start.qformer.state_dict())
    return model, world_tokenizer()


@torch.no_grad()
def _second_real(recipe: Blip2Recipe) -> tuple[Blip2, Tokenizer]:
    """Stage 2 between real models; the projection begins so that what the queries found is as large as words."""
    start, card = load(recipe.start)
    if not isinstance(start, Stage1) or not card["kind"].startswith(REAL):
        needed = "is no stage 1 of BLIP-2 between real models: name a run of train blip2 --stage 1 with --from"
        raise CheckpointError(f"{recipe.start}: {needed}")
    if differ := [name for name in named.NAMES[1:] if card["config"][name] != getattr(recipe, name)]:
        options = ", ".join(f"--{name} {card['config'][name]}" for name in differ)
        raise ValueError(f"{recipe.start}: was trained with {options}: stage 2 goes on with the same")
    lm, tokenizer = load_lm(recipe.lm)
    torch.manual_seed(recipe.seed)
    tag = tokenizer.convert_tokens_to_ids(IMAGE)
    model = Blip2(Blip2Config(start.config.qformer, start.config.vision, lm.config, image_id=tag), lm, start.encoder)
    model.qformer.load_state_dict(start.qformer.state_dict())
    nn.init.normal_(model.to_lm.weight, std=float(lm.word_size) * model.to_lm.in_features**-0.5)
    nn.init.zeros_(model.to_lm.bias)
    return model, tokenizer


def baselines(recipe: Blip2Recipe) -> dict[str, float]:
    """Stage 1's losses of a model that guesses, in nats: ITC ln B, ITM the entropy of 1 right in 3, ITG ln V."""
    itc, itm, itg = math.log(recipe.batch), math.log(3) - 2 / 3 * math.log(2), math.log(len(world_tokenizer()) + 1)
    return {name: value for name, value in zip(OBJECTIVES, (itc, itm, itg), strict=True) if name in recipe.objectives}


@torch.no_grad()
def snapshot(model: Stage1, path: Path, device: torch.device | str, before: int) -> None:
    """Add what each query looks at in one held-out picture of two objects to the file's "looks" (P, Q, S).

    before: how many of those stay; what a killed run left behind them goes.
    """
    generator = torch.Generator(device).manual_seed(0)
    image = render(sample_scenes(1, generator, objects=2, split="held-out"), generator, model.config.vision.resolution)
    looks = query_attention(model, image).cpu()  # (1, Q, S)
    known = [load_file(path)["looks"][:before]] if before and path.is_file() else []
    write_tensors(path, {"looks": torch.cat([*known, looks]), "image": image[0].cpu()})


@dataclass
class Pairs:
    """What a step of stage 1 reads: pictures' features (B, S, D); texts (B, L), [CLS] first and padded with 0; which
    texts would do for each other's pictures (B, B); what draws the wrong partners; and the step, for their hardness.
    """

    x_f: Tensor
    text: Tensor
    same: Tensor
    generator: torch.Generator
    step: int


class Objectives:
    """The loss of stage 1, and the running mean of each of its objectives."""

    def __init__(self, model: Stage1, recipe: Blip2Recipe):
        self.model, self.recipe, self.means = model, recipe, torch.zeros(len(recipe.objectives), dtype=torch.double)

    def __call__(self, pairs: Pairs) -> Tensor:
        """The sum of the objectives' losses."""
        hardness = min(1.0, pairs.step / max(1, self.recipe.hardening))
        losses = self.model(pairs.x_f, pairs.text, pairs.text != 0, pairs.same, pairs.generator, hardness)
        chosen = torch.stack([losses[name] for name in self.recipe.objectives])
        means = self.means.to(chosen.device)
        self.means = means + (chosen.detach().double() - means) / min(pairs.step + 1, 20)
        return chosen.sum()


def prepare(recipe: Blip2Recipe, device: torch.device | str = "cpu") -> Job:
    """One stage of BLIP-2, ready to train. Stage 1's log has every objective's loss.

    ValueError for stage 1 in several processes, or with a batch of 1: ITC and ITM compare all pairs of a batch.
    """
    if recipe.stage == 1:
        what = "stage 1 of BLIP-2 compares every picture of a batch with every text, and draws wrong partners from all"
        require_single_process(what)
        if recipe.batch < 2:
            raise ValueError("a batch of 1: stage 1 of BLIP-2 compares the pictures of a batch: use a larger batch")
    model, tokenizer = compose(recipe)
    model.to(device)
    if isinstance(model, Blip2):
        return named.prepare(recipe, "blip2", model, tokenizer) if recipe.views else _second_job(recipe, model, device)
    if not recipe.views:
        return _first_job(recipe, model, device)
    job = named.prepare(recipe, "blip2-stage1", model, tokenizer)
    sample = matched_names(job.seen, tokenizer, model.config.qformer.context)
    return replace(job, sample=sample, loss=Objectives(model, recipe),
                   probe=lambda: at_one(retrieval_of_names(model, tokenizer, job.data, candidates=0)))  # fmt: skip


def at_one(rows: list[dict[str, Any]]) -> dict[str, float]:
    """TR@1 and IR@1 by ITC, for the log."""
    return {row["metric"].replace(", ITC", ""): round(row["value"], 4) for row in rows if "@1," in row["metric"]}


def matched_names(seen: Named, tokenizer: Tokenizer, context: int) -> Sample:
    """Pictures of training things and their names. ValueError where there is nothing to compare."""
    table = name_texts(seen.names, tokenizer, context)
    if bool((table == table[0]).all()):
        alike = f"all {len(table)} captions are equal, and stage 1 of BLIP-2 needs different ones"
        raise ValueError(f"{alike}: change the captions")

    def sample(recipe: Blip2Recipe, generator: torch.Generator, step: int) -> Pairs:
        row = integers(len(table), (recipe.batch,), generator)
        x_f = views(seen, integers(len(seen.vendors), (recipe.batch,), generator), row, generator)  # (B, S, D)
        text = table[row.cpu()]
        text = text[:, : int((text != 0).sum(1).max())].to(x_f.device)
        return Pairs(x_f, text, same_text(text), generator, step)

    return sample


def _first_job(recipe: Blip2Recipe, model: Stage1, device: torch.device | str) -> Job:
    loss, resolution = Objectives(model, recipe), model.config.vision.resolution

    def sample(recipe: Blip2Recipe, generator: torch.Generator, step: int) -> Pairs:
        images, text, same = captioned(recipe.batch, generator, resolution)
        return Pairs(model.see(images), text, same, generator, step)

    def probe() -> dict[str, float]:
        means = dict(zip(recipe.objectives, loss.means.tolist(), strict=True))
        return at_one(retrieval(model, 100, device=device, candidates=0)) | {n: round(v, 4) for n, v in means.items()}

    return Job(recipe, "blip2-stage1", model, asdict(model.config), sample, loss, probe,
               snapshot=lambda out, rows: snapshot(model, out / LOOKS, device, rows))  # fmt: skip


def _second_job(recipe: Blip2Recipe, model: Blip2, device: torch.device | str) -> Job:
    resolution = model.config.vision.resolution

    def sample(recipe: Blip2Recipe, generator: torch.Generator, step: int) -> Drawn:
        if recipe.data != "world":
            return [(1.0, pages(recipe.batch, generator, resolution, kinds=((recipe.data, 2, 0, 1.0),)))]
        later = step >= CAPTIONED * recipe.optimisation.steps
        told = later and float(torch.rand((), generator=generator, device=generator.device)) < DESCRIBED
        batch = (descriptions if told else captions)(recipe.batch, generator, resolution)
        return [(1.0, prefixed(batch, generator) if isinstance(model.lm, TextToText) else batch)]

    def probed() -> dict[str, float]:
        request = Request((0,), episodes=200, conditions=("real", "blank_images"), seed=11)
        rows = evaluate(model, "vqa", request, device=device)["rows"]
        return {f"vqa_{row['condition']}": row["value"] for row in rows}

    job = Job(recipe, "blip2", model, asdict(model.config), sample, lambda drawn: weighted_loss(model, drawn), probed)
    if recipe.start and recipe.data == "world":  # retrieval is stage 1's work, and needs its heads
        job.complete = lambda out: copy(find(recipe.start), out / STAGE_1)
    return job

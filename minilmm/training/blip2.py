"""Training BLIP-2: a Q-Former on pictures and captions, then what it found in front of a language model (section 3)."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from minilmm.ablations import variant
from minilmm.blip2 import Blip2, Blip2Config, Stage1
from minilmm.checkpoints.files import write_tensors
from minilmm.checkpoints.saving import LOG, LOOKS, STAGE_1, CheckpointError, copy, find, load, read_card, read_log, save
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.looks import query_looks
from minilmm.evaluation.retrieval import chance, ranks
from minilmm.evaluation.statistics import bootstrap_interval
from minilmm.interface.document import Batch
from minilmm.interface.tokenizer import BOS
from minilmm.language import CausalLM
from minilmm.language.encdec import EncoderDecoder, TextToText
from minilmm.nn.parallel import first, refuse, share
from minilmm.nn.qformer import QFormerConfig, in_text_half
from minilmm.training.frozen import captions
from minilmm.training.loop import Report, fit, loss_of, quiet
from minilmm.training.mixture import pages
from minilmm.training.recipes import Blip2Recipe, Optimisation
from minilmm.training.vision import near_duplicates, texts
from minilmm.vision import VisionConfig
from minilmm.vision.contrastive import DualEncoder, same_text
from minilmm.world.grammar import compact, describe
from minilmm.world.random import integers
from minilmm.world.render import render
from minilmm.world.scenes import sample_scenes
from minilmm.world.vocabulary import ids, tokenizer

OBJECTIVES, DATA = ("itc", "itm", "itg"), ("world", "vqa")
CONTEXT = 49  # the dual encoder's texts, and [CLS] in front


def preset(name: str, stage: int) -> Blip2Recipe:
    """ "quick": what the quickstart trains in about a minute. "nano": minutes on 2 CPU cores. "small": one GPU."""
    if stage not in (1, 2):
        raise ValueError(f"--stage {stage}: choose 1 or 2")
    if name == "quick":
        steps, lr = {1: (150, 1e-3), 2: (150, 2e-3)}[stage]
        return Blip2Recipe(Optimisation(steps=steps, lr=lr), stage=stage, hardening=150)
    if name == "nano":
        steps, lr = {1: (600, 1e-3), 2: (400, 2e-3)}[stage]
        return Blip2Recipe(Optimisation(steps=steps, lr=lr), stage=stage)
    if name == "small":
        optimisation = Optimisation(steps=10_000, lr=1e-3, warmup=500)
        return Blip2Recipe(optimisation, stage=stage, queries=16, layers=6, hidden=1024, batch=512)
    raise ValueError(f"unknown preset {name!r}: choose quick, nano or small")


def compose(recipe: Blip2Recipe) -> tuple[Stage1 | Blip2, list[nn.Parameter]]:
    """The model of a recipe and the parameters that it trains. CheckpointError for a wrong kind of part."""
    unknown = set(recipe.objectives) - set(OBJECTIVES)
    if unknown or not recipe.objectives:
        raise ValueError(f"objectives {recipe.objectives}: choose from {', '.join(OBJECTIVES)}")
    dual, card = load(recipe.vision)
    if not isinstance(dual, DualEncoder):
        raise CheckpointError(f"{recipe.vision}: is no vision encoder: name one with --vision")
    vocabulary = len(tokenizer())
    qformer = QFormerConfig(dual.vision.width, vocabulary + 1, layers=recipe.layers, heads=recipe.heads,
                            hidden=recipe.hidden, queries=recipe.queries, context=CONTEXT, dec=vocabulary)  # fmt: skip
    config = Blip2Config(qformer, VisionConfig(**card["config"]["vision"]), variant=recipe.variant)
    torch.manual_seed(recipe.seed)
    model: Stage1 | Blip2
    if recipe.stage == 1:
        model = variant(Stage1, recipe.variant)(config, dual.vision)
    else:
        model = _second(recipe, config, dual)
    model.encoder.requires_grad_(False)
    return model, [p for p in model.parameters() if p.requires_grad]


def _second(recipe: Blip2Recipe, config: Blip2Config, dual: DualEncoder) -> Blip2:
    if recipe.data not in DATA:
        raise ValueError(f"data {recipe.data!r}: choose from {', '.join(DATA)}")
    asked, first = recipe.data == "vqa", load(recipe.start)[0] if recipe.start else None
    if isinstance(first, Blip2):
        model = Blip2(replace(first.config, asked=asked), first.lm, first.encoder)
        model.to_lm.load_state_dict(first.to_lm.state_dict())
    else:
        lm, _ = load(recipe.lm)
        if not isinstance(lm, CausalLM | EncoderDecoder):
            raise CheckpointError(f"{recipe.lm}: is no language model: name one with --lm")
        if first is not None and not isinstance(first, Stage1):
            raise CheckpointError(f"{recipe.start}: is no BLIP-2: name a run of train blip2 with --from")
        config = first.config if first is not None else config
        eyes = first.encoder if first is not None else dual.vision
        model = Blip2(Blip2Config(config.qformer, config.vision, lm.config, asked), lm, eyes)
    if first is not None:
        model.qformer.load_state_dict(first.qformer.state_dict())
    model.lm.requires_grad_(False)
    for name, p in model.qformer.named_parameters():
        p.requires_grad_(asked or not in_text_half(name))
    return model


def baselines(recipe: Blip2Recipe) -> dict[str, float]:
    """What stage 1's losses are of a model that knows nothing, in nats: ITC ln B of the larger batches, ITM the entropy
    of one right pair in three, ITG ln V.
    """
    known = {
        "itc": math.log(recipe.batch),
        "itm": math.log(3) - 2 / 3 * math.log(2),
        "itg": math.log(len(tokenizer()) + 1),
    }
    return {name: known[name] for name in recipe.objectives}


def captioned(batch: int, generator: torch.Generator, resolution: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (B, 3, R, R); for each "[CLS] a striped red circle . <EOC>", or all there is to say: (B, L); and which
    texts would do for each other's pictures, (B, B) bool: those that read the same, or speak of one like object.

    Three batches in four show one object each; the fourth two to four, with texts three times as long, and is a third
    as large.
    """
    several = bool(integers(4, (), generator) == 0)
    count = max(2, batch // 3) if several else batch
    scenes = sample_scenes(count, generator, objects=integers(3, (count,), generator) + 2 if several else 1)
    assert not bool(scenes.has_held_out().any()), "a held-out pair in training"
    said = texts(scenes, generator)
    said = said[:, : int((said != 0).sum(1).max())]
    like = torch.stack([scenes.colour[:, 0], scenes.shape[:, 0], scenes.texture[:, 0]], 1)
    alone = scenes.count == 1
    same = same_text(said) | (same_text(like) & alone[:, None] & alone)
    text = torch.cat([ids(BOS).to(said.device).expand(count, 1), said], 1)
    return render(scenes, generator, resolution), text, same


def prefixed(batch: Batch, generator: torch.Generator) -> Batch:
    """Captions as a prefix LM reads them: each cut anywhere behind its picture, and only what stands behind the cut is
    to be said (section 3.3).
    """
    words = batch.attention_mask.sum(1) - 2  # behind <bos> and <image>
    share = torch.rand(len(batch), generator=generator, device=words.device)
    cut = 2 + (share * words).long().clamp(max=words - 1)
    behind = torch.arange(batch.ids.shape[1], device=words.device) >= cut[:, None]
    return replace(batch, loss_mask=batch.loss_mask & behind)


@torch.no_grad()
def retrieval(
    model: Stage1, count: int = 500, seed: int = 0, device: torch.device | str = "cpu", candidates: int = 16
) -> list[dict[str, Any]]:
    """TR@1/5/10 and IR@1/5/10 on held-out scenes with near-duplicates, by ITC; then with ITM ranking ITC's first
    `candidates` again (the paper: 128), 0 for never.
    """
    scenes = near_duplicates(count, torch.Generator(device).manual_seed(1_000_003 + seed))
    said = compact(describe(scenes), CONTEXT - 1, fill=0)
    text = torch.cat([ids(BOS).to(device).expand(count, 1), said], 1)
    images = render(scenes, torch.Generator(device).manual_seed(1_000_033 + seed), model.config.vision.resolution)
    return matches(model, model.see(images), text, torch.eye(count, dtype=torch.bool, device=device), seed, candidates)


@torch.no_grad()
def matches(
    model: Stage1, x_f: Tensor, text: Tensor, right: Tensor, seed: int = 0, candidates: int = 16
) -> list[dict[str, Any]]:
    """The same for any pictures' features (N, S, D) and texts (N, L), [CLS] first and padded with 0.

    right (N, N) bool: which text belongs to which picture.
    """
    real = text != 0
    image, written = model.image_embeddings(model.qformer(x_f)[0]), model.text_embeddings(text, real)
    similar = model.similarity(image, written)  # (N, N)
    rows = []
    for by in ("ITC", "ITM") if candidates else ("ITC",):
        for direction, scores, own in (("TR", similar, right), ("IR", similar.T, right.T)):
            if by == "ITM":
                scores = reranked(model, scores, x_f, text, real, direction, candidates)
            rank = ranks(scores, own)
            for k in (1, 5, 10):
                value, low, high = bootstrap_interval((rank <= k).float(), seed=seed)
                metric = f"{direction}@{k}, {by}"
                rows.append({"metric": metric, "value": value, "low": low, "high": high, "chance": chance(own, k)})
    return rows


def reranked(
    model: Stage1, scores: Tensor, x_f: Tensor, text: Tensor, real: Tensor, direction: str, candidates: int
) -> Tensor:
    """Scores (Q, C) in which each row's best `candidates` are put first, in the order of ITM's match."""
    found = scores.clone()
    best = scores.topk(min(candidates, scores.shape[1]), 1).indices  # (Q, k)
    for queries in torch.arange(len(scores), device=scores.device).split(8):
        own, others = queries[:, None].expand_as(best[queries]).flatten(), best[queries].flatten()
        seen, read = (own, others) if direction == "TR" else (others, own)
        logits = model.match(x_f[seen], text[read], real[read])
        found[own, others] = 10 + logits.log_softmax(-1)[:, 1]  # above every cosine
    return found


@torch.no_grad()
def snapshot(model: Stage1, path: Path, device: torch.device | str, before: int) -> None:
    """Add what each query looks at in one held-out picture of two objects to the file's "looks" (P, Q, S).

    before: how many of those stay; what a killed run left behind them goes.
    """
    generator = torch.Generator(device).manual_seed(0)
    image = render(sample_scenes(1, generator, objects=2, split="held-out"), generator, model.config.vision.resolution)
    looks = query_looks(model, image).cpu()  # (1, Q, S)
    known = [load_file(path)["looks"][:before]] if before and path.is_file() else []
    write_tensors(path, {"looks": torch.cat([*known, looks]), "image": image[0].cpu()})


def first_stage(run: str | Path) -> Stage1:
    """The first stage of a run of BLIP-2, whichever stage the run is of. CheckpointError where there is none."""
    place = find(run)
    if read_card(place)["kind"] == "blip2":
        if not (place / STAGE_1).is_dir():
            raise CheckpointError(f"{run}: came without its stage 1, which alone can match: name that run")
        place = place / STAGE_1
    model, _ = load(place)
    if not isinstance(model, Stage1):
        raise CheckpointError(f"{run}: is no BLIP-2: name a run of train blip2, such as blip2-nano")
    return model


def train(
    recipe: Blip2Recipe,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    report: Report = quiet,
    command: str = "",
    probe_every: int = 100,
    losses: list[float] | None = None,
) -> Stage1 | Blip2:
    """Train one stage of BLIP-2 and save it under `out`. Stage 1's log has every objective's loss.

    probe_every: 0 never measures on the way. losses: gets the loss of every step. ValueError for stage 1 in several
    processes, or with a batch of 1: ITC and ITM compare all pairs of a batch.
    """
    if recipe.stage == 1:
        refuse("stage 1 of BLIP-2 compares every picture of a batch with every text, and draws wrong partners from all")
        if recipe.batch < 2:
            raise ValueError("a batch of 1: stage 1 of BLIP-2 compares the pictures of a batch: use a larger batch")
    model, parameters = compose(recipe)
    model.to(device)
    resolution, seen = model.config.vision.resolution, dict.fromkeys(recipe.objectives, 0.0)

    def spoken(generator: torch.Generator) -> Tensor:
        if recipe.data == "vqa":
            batch = pages(recipe.batch, generator, resolution, kinds=(("vqa", 2, 0, 1.0),))
        else:
            batch = captions(recipe.batch, generator, resolution)
            batch = prefixed(batch, generator) if isinstance(model.lm, TextToText) else batch
        rows, weight = share(batch.loss_mask[:, 1:])
        return weight * loss_of(model, batch[rows])

    def matched(generator: torch.Generator, step: int) -> Tensor:
        assert isinstance(model, Stage1)
        images, text, same = captioned(recipe.batch, generator, resolution)
        hardness = min(1.0, step / max(1, recipe.hardening))
        found = model(model.see(images), text, text != 0, same, generator, hardness)
        total = torch.stack([found[name] for name in recipe.objectives])
        for name, value in zip(recipe.objectives, total.detach().tolist(), strict=True):
            seen[name] += (value - seen[name]) / min(step + 1, 20)
        return total.sum()

    def loss(generator: torch.Generator, step: int) -> Tensor:
        total = spoken(generator) if isinstance(model, Blip2) else matched(generator, step)
        if losses is not None:
            losses.append(float(total.detach()))
        return total

    def probed() -> dict[str, float]:
        if isinstance(model, Blip2):
            request = Request((0,), episodes=200, conditions=("real", "blank_images"), seed=11)
            rows = evaluate(model, "vqa", request, device=device)["rows"]
            return {f"vqa_{row['condition']}": row["value"] for row in rows}
        snapshot(model, out / LOOKS, device, len(read_log(out / LOG, empty=True)))
        ranked = {row["metric"]: round(row["value"], 4) for row in retrieval(model, 100, device=device, candidates=0)}
        found = {k.removesuffix(", ITC"): v for k, v in ranked.items() if "@1," in k}
        return found | {name: round(v, 4) for name, v in seen.items()}

    rows = fit(model, parameters, recipe.optimisation, loss, recipe=recipe, out=out, resume=resume, report=report,
               evaluate=probed if probe_every else None,
               evaluate_every=probe_every or recipe.optimisation.steps)  # fmt: skip
    if isinstance(model, Blip2) and recipe.start and recipe.data != "vqa" and first():
        copy(find(recipe.start), out / STAGE_1)  # retrieval is stage 1's work, and needs its heads
    kind = "blip2" if isinstance(model, Blip2) else "blip2-stage1"
    save(out, model, kind, config=asdict(model.config), recipe=asdict(recipe), seed=recipe.seed, metrics=rows[-1],
         command=command, device=str(device))  # fmt: skip
    return model

"""Training BLIP-2: a Q-Former on pictures and captions, then what it found in front of a language model (section 3)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minilmm.ablations import altered
from minilmm.blip2 import Blip2, Blip2Config, QFormerConfig, Stage1, in_text_half
from minilmm.evaluation.retrieval import ranks
from minilmm.language import CausalLM
from minilmm.language.encdec import EncoderDecoder
from minilmm.metrics import bootstrap_interval
from minilmm.tokenizer import BOS
from minilmm.training.checkpoint import CheckpointError, load, save
from minilmm.training.frozen import captions, probe
from minilmm.training.loop import Report, fit, loss_of, quiet
from minilmm.training.recipes import Blip2Recipe, Optimisation
from minilmm.training.vision import near_duplicates, texts
from minilmm.vision import VisionConfig
from minilmm.vision.contrastive import DualEncoder, same_text
from minilmm.world.grammar import compact, describe
from minilmm.world.render import render
from minilmm.world.scenes import integers, sample_scenes
from minilmm.world.vocabulary import ids, tokenizer

OBJECTIVES, CONTEXT = ("itc", "itm", "itg"), 49  # the dual encoder's texts, and [CLS] in front


def preset(name: str, stage: int) -> Blip2Recipe:
    """ "nano": minutes on 2 CPU cores. "small": one GPU."""
    if stage not in (1, 2):
        raise ValueError(f"--stage {stage}: choose 1 or 2")
    if name == "nano":
        steps = {1: 400, 2: 400}[stage]
        return Blip2Recipe(Optimisation(steps=steps, lr=2e-3), stage=stage)
    if name == "small":
        optimisation = Optimisation(steps=10_000, lr=1e-3, warmup=500)
        return Blip2Recipe(optimisation, stage=stage, queries=16, layers=6, hidden=1024, batch=512)
    raise ValueError(f"unknown preset {name!r}: choose nano or small")


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
        model = altered(Stage1(config, dual.vision), recipe.variant)
    else:
        model = _second(recipe, config, dual)
    model.encoder.requires_grad_(False)
    return model, [p for p in model.parameters() if p.requires_grad]


def _second(recipe: Blip2Recipe, config: Blip2Config, dual: DualEncoder) -> Blip2:
    lm, _ = load(recipe.lm)
    if not isinstance(lm, CausalLM | EncoderDecoder):
        raise CheckpointError(f"{recipe.lm}: is no language model: name one with --lm")
    first = None
    if recipe.start:
        first, _ = load(recipe.start)
        if not isinstance(first, Stage1):
            raise CheckpointError(f"{recipe.start}: is no first stage: name a run of train blip2 --stage 1 with --from")
        config = first.config
    model = Blip2(Blip2Config(config.qformer, config.vision, lm.config), lm, dual.vision)
    if first is not None:
        model.qformer.load_state_dict(first.qformer.state_dict())
        model.encoder.load_state_dict(first.encoder.state_dict())
    model.lm.requires_grad_(False)
    for name, p in model.qformer.named_parameters():
        p.requires_grad_(not in_text_half(name))
    return model


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
    real = text != 0
    images = render(scenes, torch.Generator(device).manual_seed(1_000_033 + seed), model.config.vision.resolution)
    x_f = model.see(images)
    image, written = model.image_embeddings(model.qformer(x_f)[0]), model.text_embeddings(text, real)
    similar = model.similarity(image, written)  # (N, N)
    rows = []
    for by in ("ITC", "ITM") if candidates else ("ITC",):
        for direction, scores in (("TR", similar), ("IR", similar.T)):
            if by == "ITM":
                scores = reranked(model, scores, x_f, text, real, direction, candidates)
            rank = ranks(scores, torch.eye(count, dtype=torch.bool, device=scores.device))
            for k in (1, 5, 10):
                value, low, high = bootstrap_interval((rank <= k).float(), seed=seed)
                metric = f"{direction}@{k}, {by}"
                rows.append({"metric": metric, "value": value, "low": low, "high": high, "chance": k / count})
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


def train(
    recipe: Blip2Recipe,
    out: Path,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    report: Report = quiet,
    command: str = "",
    probe_every: int = 100,
) -> Stage1 | Blip2:
    """Train one stage of BLIP-2 and save it under `out`. Stage 1's log has every objective's loss."""
    model, parameters = compose(recipe)
    model.to(device)
    resolution, seen = model.config.vision.resolution, dict.fromkeys(recipe.objectives, 0.0)

    def loss(generator: torch.Generator, step: int) -> Tensor:
        if isinstance(model, Blip2):
            return loss_of(model, captions(recipe.batch, generator, resolution))
        images, text, same = captioned(recipe.batch, generator, resolution)
        losses = model(model.see(images), text, text != 0, same, generator)
        total = torch.stack([losses[name] for name in recipe.objectives])
        for name, value in zip(recipe.objectives, total.detach().tolist(), strict=True):
            seen[name] += (value - seen[name]) / min(step + 1, 20)
        return total.sum()

    def probed() -> dict[str, float]:
        if isinstance(model, Blip2):
            return probe(model, device, resolution)
        found = {row["metric"]: round(row["value"], 4) for row in retrieval(model, 100, device=device, candidates=0)}
        return {k.removesuffix(", ITC"): v for k, v in found.items() if "@1," in k} | {
            name: round(v, 4) for name, v in seen.items()
        }

    rows = fit(model, parameters, recipe.optimisation, loss, recipe=recipe, out=out, resume=resume, report=report,
               evaluate=probed, evaluate_every=probe_every)  # fmt: skip
    kind = "blip2" if isinstance(model, Blip2) else "blip2-stage1"
    save(out, model, kind, config=asdict(model.config), recipe=asdict(recipe), seed=recipe.seed, metrics=rows[-1],
         command=command, device=str(device))  # fmt: skip
    return model

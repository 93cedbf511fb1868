"""Training a bridge between real models: features once, steps through a frozen language model, a small file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minilmm.blip2 import Blip2, Stage1
from minilmm.checkpoints.opening import Bridge, Trained
from minilmm.checkpoints.saving import REAL, save
from minilmm.data import named
from minilmm.data.features import looked_at
from minilmm.data.named import Form, Named
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.retrieval import retrieval_rows
from minilmm.evaluation.statistics import bootstrap_interval
from minilmm.evaluation.tasks import Settings, real_task
from minilmm.flamingo import Flamingo
from minilmm.frozen import Frozen
from minilmm.interface.document import Batch
from minilmm.interface.tokenizer import EOC, Tokenizer
from minilmm.training.beginnings import begin_at_words, begin_centred
from minilmm.training.blip2 import matches
from minilmm.training.flamingo import gates, optimizer_of
from minilmm.training.loop import Report, adamw, fast_halves, fit, generator_for, quiet
from minilmm.training.real import compose, data_named, facts, form_of
from minilmm.training.recipes import Optimisation, RealBlip2Recipe, RealFlamingoRecipe, RealFrozenRecipe, RealRecipe
from minilmm.vision.contrastive import same_text
from minilmm.world.random import integers

PROBE_EVERY = 200  # steps
PAGES = ((2, 1), (2, 2), (3, 1))  # ways and shots: five pictures at most, as in the paper
EPISODES = 40  # of a probe: a large language model takes its time
Loss = Callable[[torch.Generator, int], Tensor]


def preset(bridge: str, name: str, stage: int = 1) -> RealRecipe:
    """ "nano": a quarter of an hour on 2 CPU cores. "small": one GPU, larger batches, more steps."""
    if name not in ("nano", "small"):
        raise ValueError(f"unknown preset {name!r}: between real models there are nano and small")
    more, times = (1, 1) if name == "nano" else (4, 5)
    if bridge == "frozen":
        return RealFrozenRecipe(Optimisation(times * 600, lr=1e-3), batch=16 * more)
    if bridge == "flamingo":
        return RealFlamingoRecipe(Optimisation(times * 300, lr=1e-3), batch=16 * more, pages=4 * more)
    if stage == 1:
        return RealBlip2Recipe(Optimisation(times * 400, lr=3e-4), batch=32 * more)
    return RealBlip2Recipe(Optimisation(times * 400, lr=1e-3), batch=16 * more, stage=2)


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


def texts(names: list[str], words: Tokenizer, context: int) -> Tensor:
    """ "[CLS] alarm clock <EOC>", as stage 1 reads it: (N, L) ids, padded with 0, cut behind the context."""
    start = [words.bos_token_id]
    rows = [(start + words.encode(f"{name} {EOC}"))[:context] for name in names]
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def loss_of(recipe: RealRecipe, model: Bridge, words: Tokenizer, seen: Named, form: Form) -> Loss:
    """The loss of a step; `seen` has features in place of pictures."""
    if isinstance(model, Stage1):
        assert isinstance(recipe, RealBlip2Recipe)
        return matching(recipe, model, words, seen)
    captions = named.captions(seen, words, form)
    pages = [named.pages(seen, words, form, ways=ways, shots=shots) for ways, shots in PAGES]
    first = min(recipe.first, recipe.optimisation.steps // 4)

    def interleaved(generator: torch.Generator, step: int) -> Tensor:
        loss = recipe.weights[0] * spoken(model, captions(recipe.batch, generator))
        if step < first or not recipe.pages:
            return loss
        page = pages[int(integers(len(pages), (), generator))](recipe.pages, generator)
        return loss + recipe.weights[1] * spoken(model, page)

    return interleaved


def matching(recipe: RealBlip2Recipe, model: Stage1, words: Tokenizer, seen: Named) -> Loss:
    """Stage 1's objectives on pictures and their names. ValueError where there is nothing to compare."""
    table = texts(seen.names, words, model.config.qformer.context)
    if recipe.batch < 2:
        raise ValueError("a batch of 1: stage 1 of BLIP-2 compares the pictures of a batch: use a larger batch")
    if bool((table == table[0]).all()):
        raise ValueError(
            f"all {len(table)} captions read alike: stage 1 of BLIP-2 tells them apart: caption what differs"
        )

    def loss(generator: torch.Generator, step: int) -> Tensor:
        size = (recipe.batch,)
        row, vendor = integers(len(table), size, generator), integers(len(seen.vendors), size, generator)
        x_f = named.views(seen, vendor, row, generator)  # (B, S, D)
        text = table[row.cpu()].to(x_f.device)
        text = text[:, : int((text != 0).sum(1).max())]
        found = model(x_f, text, text != 0, same_text(text), generator, min(1.0, step / max(1, recipe.hardening)))
        return torch.stack([found[name] for name in recipe.objectives]).sum()

    return loss


@torch.no_grad()
def retrieval(
    model: Stage1, words: Tokenizer, data: Named, seed: int = 0, candidates: int = 16
) -> list[dict[str, Any]]:
    """TR@k and IR@k of held-out things: each vendor's picture among their names, and back; rows have the vendor."""
    rows = []
    device = next(model.parameters()).device
    for vendor in data.vendors:
        pictures, names = named.pairs(data, "held-out", vendor)
        text = texts(names, words, model.config.qformer.context).to(device)
        x_f = torch.cat([model.see(some.to(device).float() / 255) for some in pictures.split(32)])
        found = matches(model, x_f, text, same_text(text), seed, candidates)
        rows += [row | {"metric": f"{row['metric']}, {vendor}"} for row in found]
    return rows


@torch.no_grad()
def across_vendors(eyes: Any, data: Named, seed: int = 0) -> list[dict[str, Any]]:
    """R@k of held-out things by frozen eyes alone: whose picture by the next vendor resembles this one the most?

    ValueError for pictures of one vendor.
    """
    if len(data.vendors) < 2:
        raise ValueError("pictures of a single vendor: there is no second picture to find: choose --data emoji")
    pictures = data.pictures[:, data.rows("held-out")]  # (V, N, 3, R, R)
    device = next(eyes.parameters()).device
    found = [torch.cat([eyes.pool(eyes(some.to(device).float() / 255)) for some in p.split(32)]) for p in pictures]
    rows = []
    for i, vendor in enumerate(data.vendors[:-1]):
        for one in retrieval_rows(found[i], found[i + 1]):
            value, low, high = bootstrap_interval(one.hits.float().cpu(), seed=seed)
            ends = (vendor, data.vendors[i + 1])
            metric = f"R@{one.k}, {' to '.join(ends if one.direction == 'TR' else ends[::-1])}"
            rows.append({"metric": metric, "value": value, "low": low, "high": high, "chance": one.chance})
    return rows


@dataclass
class Job:
    """A recipe made ready: models loaded, and every training picture looked at."""

    recipe: RealRecipe
    model: Bridge
    words: Tokenizer
    data: Named
    seen: Named  # what trains, with features in place of pictures
    form: Form
    seconds: float  # that this took

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """What trains."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW, for Flamingo with the paper's groups."""
        if isinstance(self.recipe, RealFlamingoRecipe) and isinstance(self.model, Flamingo):
            return optimizer_of(self.model, self.recipe)
        return adamw(self.parameters, self.recipe.optimisation)

    def probe(self) -> dict[str, float]:
        """Held-out things by now: named from five, and bound to a made-up name; stage 1: found."""
        if isinstance(self.model, Stage1):
            found = retrieval(self.model, self.words, self.data, candidates=0)
            return {
                row["metric"].replace(", ITC", ""): round(row["value"], 4) for row in found if "@1," in row["metric"]
            }
        task = real_task("naming", self.data, self.words, self.form)
        measured = {}
        for name, settings, shots in (("5way", Settings(ways=5, names="real"), 0), ("2way_nonsense", Settings(), 1)):
            request = Request((shots,), settings, EPISODES, ("real",), seed=11)
            result = evaluate(self.model, task, request, device=self.parameters[0].device)
            measured[f"naming_{name}_{shots}_shots"] = result["rows"][0]["value"]
        if isinstance(self.model, Flamingo):
            measured |= {
                f"tanh {name}": round(float(gate.detach().tanh()), 4) for name, gate in gates(self.model).items()
            }
        return measured


def prepare(recipe: RealRecipe, device: torch.device | str = "cpu") -> Job:
    """Load the models, and let the eyes look at every training picture: half a minute for emoji on a CPU core."""
    start = time.perf_counter()
    model, words = compose(recipe)
    model.to(device)
    data, form = data_named(recipe.data, model.config.vision.resolution), form_of(recipe.data)
    seen = looked_at(data, model.encoder, recipe.views, device)
    if isinstance(recipe, RealFrozenRecipe) and isinstance(model, Frozen) and recipe.ridge:
        begin_at_words(model, words, seen, recipe.ridge)
    if isinstance(model, Flamingo):
        begin_centred(model, seen)
    return Job(recipe, model, words, data, seen, form, time.perf_counter() - start)


def fitted(job: Job, minutes: float) -> Job:
    """The job with as many steps as fit into what remains of the minutes, timed once; at least one."""
    loss = loss_of(job.recipe, job.model, job.words, job.seen, job.form)
    kept = {name: p.clone() for name, p in Trained(job.model).state_dict().items()}
    optimizer, device, times = job.optimizer(), job.parameters[0].device, []
    job.model.train()
    for step in range(4):
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=fast_halves(device)):
            value = loss(generator_for(job.recipe.seed, step, device), job.recipe.optimisation.steps)
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        float(job.parameters[0].detach().flatten()[0])  # waits for a GPU
        times.append(time.perf_counter() - start)
    job.model.eval()
    start = time.perf_counter()
    job.probe()
    probe = time.perf_counter() - start
    Trained(job.model).load_state_dict(kept)
    every = sum(sorted(times[1:])[:2]) / 2 + probe / PROBE_EVERY
    steps = max(1, int((minutes * 60 - job.seconds - probe) / every))  # the last step is followed by a probe
    o = job.recipe.optimisation
    o = replace(o, steps=steps, warmup=min(o.warmup, max(1, steps // 5)))
    return replace(job, recipe=replace(job.recipe, optimisation=o))


def train(
    job: Job,
    out: Path,
    *,
    resume: bool = False,
    report: Report = quiet,
    command: str = "",
    probe_every: int = PROBE_EVERY,
) -> Bridge:
    """Train the bridge of a job and save it under `out`."""
    recipe, model, trained = job.recipe, job.model, Trained(job.model)
    loss = loss_of(recipe, model, job.words, job.seen, job.form)
    out.mkdir(parents=True, exist_ok=True)
    rows = fit(trained, job.parameters, recipe.optimisation, loss, recipe=recipe, out=out, resume=resume,
               report=report, evaluate=job.probe, evaluate_every=probe_every, optimizer=job.optimizer(),
               half=fast_halves(job.parameters[0].device))  # fmt: skip
    kind = {Frozen: "frozen", Flamingo: "flamingo", Stage1: "blip2-stage1", Blip2: "blip2"}[type(model)]
    save(out, trained, REAL + kind, config=facts(recipe, model), recipe=asdict(recipe), seed=recipe.seed,
         metrics=rows[-1], command=command, device=str(job.parameters[0].device))  # fmt: skip
    return model

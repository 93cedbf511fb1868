"""Pretraining of the language model, on text alone, until it learns in context."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor
from torch.nn import functional as F

from minilmm.checkpoints.opening import load
from minilmm.checkpoints.saving import STAGE_1, CheckpointError, find, keep_cards
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.tasks import Settings
from minilmm.language import CausalLM, LMConfig
from minilmm.nn.parallel import shard
from minilmm.training.job import Job, Metrics
from minilmm.training.recipes import LMRecipe, Optimisation, choose
from minilmm.world.corpus import MIXTURE, STAGES, sample_text
from minilmm.world.grammar import KNOWN
from minilmm.world.vocabulary import HYPHEN, tokenizer
from minilmm.world.vocabulary import ids as vocabulary_ids

HELD_OUT = 1 << 62  # from here on, seeds of text that no step draws
NANO = LMConfig(len(tokenizer()), width=192, heads=6, kv_heads=6, hidden=512, smear=4, scaled=True)
PRESETS = {
    "quick": LMRecipe(NANO, Optimisation(steps=1100, lr=2e-3)),
    "nano": LMRecipe(NANO, Optimisation(steps=4500, lr=2e-3)),
    "more": LMRecipe(NANO, Optimisation(steps=2000, lr=1e-3), stage=2),
    "last": LMRecipe(NANO, Optimisation(steps=1500, lr=1e-3), stage=3),
    "small": LMRecipe(
        LMConfig(len(tokenizer()), width=384, layers=8, heads=12, kv_heads=12, hidden=1024, smear=4,
                 scaled=True),
        Optimisation(steps=6000, lr=1e-3, warmup=300), tokens=32_768,
    ),
}  # fmt: skip


def preset(name: str) -> LMRecipe:
    """ "nano": an hour of a CPU core; "more", then "last", go on from it. "quick": ten minutes. "small": a GPU."""
    return choose(PRESETS, name)


def rows_for(recipe: LMRecipe, step: int) -> tuple[int, int, tuple[str, ...]]:
    """Rows, their length, and the kinds of documents left out at a step: see `LMRecipe`."""
    short, *usual, longest = recipe.lengths
    without = () if recipe.lists else ("lists",)
    first = 0 if recipe.stage > 1 else recipe.first
    if step < first:
        others = tuple(name for name in MIXTURE if name not in ("lists", "bindings"))
        return max(1, recipe.tokens // 2 // short), short, without + others
    later, rest = step - first, max(1, recipe.optimisation.steps - first)
    length = usual[min(len(usual) - 1, len(usual) * later // rest)]
    if later % recipe.long_every == recipe.long_every - 1:
        length = longest
    return max(1, recipe.tokens // length), length, without


def compounds(embedded: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Give a hyphenated compound one embedding, the sum of its words' over the square root of their number.

    (B, L, D) and (B, L) -> the same sizes, shorter rows padded with 0: "striped-red circle" becomes two positions. As
    labels, compounds are 0 too: they are read, never predicted. A nano LM knows words that mean one thing each; a
    large LM's vectors mean several, and so do those of a picture. Compounds teach that from text alone.
    """
    hyphen = ids == int(vocabulary_ids(HYPHEN))
    inner = hyphen | torch.nn.functional.pad(hyphen, (1, 0))[:, :-1]  # a hyphen, or the word after one
    group = (~inner).long().cumsum(1) - 1  # (B, L), the position that each token goes to
    word = (~hyphen & (ids != 0)).to(embedded.dtype)
    count = torch.zeros_like(word).scatter_add(1, group, word)  # (B, L)
    total = torch.zeros_like(embedded).scatter_add(1, group[..., None].expand_as(embedded), embedded * word[..., None])
    single = torch.zeros_like(ids).scatter_add(1, group, ids * ~hyphen)
    return total * count.clamp(min=1).rsqrt()[..., None], single * (count == 1)


def sample(recipe: LMRecipe, generator: torch.Generator, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """One step's documents (B, L), which of their words can be known (B, L), and where in the context they start."""
    rows, length, without = rows_for(recipe, step)
    mixture = STAGES[recipe.stage - 1]
    ids, known = sample_text(rows, length, generator, strict=recipe.strict, without=without, mixture=mixture)
    places = max(1, recipe.model.context - length)
    return ids, known, torch.randint(places, (), generator=generator, device=generator.device)


def loss_of(model: CausalLM, ids: Tensor, known: Tensor, offset: Tensor, *, rest: float) -> Tensor:
    """Next-token cross-entropy of documents in nats, a weighted mean: words that can be known weigh 1, others `rest`.

    Of several processes each has its shard, and its part of the mean.
    """
    embedded, labels = compounds(model.embed(ids), torch.where(known, -ids, ids))
    wanted = labels[:, 1:].abs()
    weights = torch.where(labels[:, 1:] < 0, 1.0, rest) * (wanted != 0)
    mine, share = shard(weights)
    states, wanted, weights = model.hidden(embedded[mine, :-1], offset=offset), wanted[mine], weights[mine]
    real = wanted != 0
    each = F.cross_entropy(model.lm_head(states[real]).float(), wanted[real], reduction="none")
    return share * (each * weights[real]).sum() / weights[real].sum()


def perplexities(model: CausalLM, device: torch.device | str) -> dict[str, dict[str, float]]:
    """Of held-out text, by kind of document: of all words, and of those that can be known from what stands before."""
    found = {}
    for number, (name, (write, _)) in enumerate(MIXTURE.items()):
        text = write(16, 192, torch.Generator().manual_seed(HELD_OUT + number), "all").to(device)
        ids, known = text % KNOWN, text >= KNOWN
        wanted = ids[:, 1:]
        losses = F.cross_entropy(model(ids)[:, :-1].mT.float(), wanted, reduction="none")
        parts = {"all": wanted > 0, "known": known[:, 1:]}
        found[name] = {part: round(float(losses[here].mean().exp()), 3) for part, here in parts.items()}
    return found


def probe(model: CausalLM, device: torch.device | str) -> Metrics:
    """What the model can learn from a prompt by now: accuracy over 100 episodes each, and its perplexities."""
    questions = {
        "naming_2way_1shot": ("naming", 1, Settings()),
        "naming_5way_1shot": ("naming", 1, Settings(ways=5)),
        "ambiguous_4shots": ("ambiguous-naming", 4, Settings()),
        "noisy_16shots": ("noisy-naming", 16, Settings()),
        "vqa_0shots_given": ("vqa", 0, Settings(convention="given")),
        "vqa_4shots": ("vqa", 4, Settings()),
    }
    found: Metrics = {}
    for name, (task, shots, settings) in questions.items():
        result = evaluate(model, task, Request((shots,), settings, 100, ("real",), seed=11), device=device)
        found[name] = result["rows"][0]["value"]
    return found | {"perplexity": perplexities(model, device)}


def prepare(recipe: LMRecipe, device: torch.device | str = "cpu") -> Job:
    """A language model at random weights, or as the recipe's `start` left it, ready to train."""
    torch.manual_seed(recipe.seed)
    model = CausalLM(recipe.model)
    if recipe.start:
        model, _ = load(recipe.start)
        if not isinstance(model, CausalLM):
            raise CheckpointError(f"{recipe.start}: is no language model of minilmm: name one with --start")
        model.requires_grad_(True)
    job = Job(recipe, "lm", model.to(device), asdict(model.config), sample,
               lambda drawn: loss_of(model, *drawn, rest=recipe.rest), lambda: probe(model, device),
              probe_every=400)  # fmt: skip
    if recipe.start:
        job.complete = lambda out: keep_cards(find(recipe.start), out / STAGE_1)
    return job

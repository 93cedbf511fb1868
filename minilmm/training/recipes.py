"""Recipes: everything that decides what a training run does, as frozen dataclasses saved beside the weights.

A recipe names its language model, its encoder and its data. A field that `option` makes is also an option on the
command line, with that help and those bounds. This file imports no torch, so that wrong options are refused at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from minilmm.language import LMConfig
    from minilmm.language.encdec import EncDecConfig
    from minilmm.nn.qformer import QFormerConfig
    from minilmm.vision import VisionConfig

R = TypeVar("R")
MANY, MOST = 4096, 65_536  # pages or videos of a step, and pictures of a step, at most
VARIANTS, EYES = ("frozen", "finetuned", "scratch", "blind"), ("scratch", "start", "kept")
MIXING = ("accumulate", "round-robin")
LM = "A run, smollm2, or a model of transformers; else lm-nano."
VISION = "The frozen vision encoder; vision-nano unless given."


def choose(presets: dict[str, R], name: str) -> R:
    """The preset of a name. ValueError lists what there is."""
    if name not in presets:
        *others, last = presets
        raise ValueError(f"unknown preset {name!r}: choose {', '.join(others)} or {last}")
    return presets[name]


def option(default: Any, help: str, **how: Any) -> Any:
    """A field that is an option.

    min, max    its bounds; `choices` its values
    flag        what it is called, where that is not the field's name
    only        "world" or "real": what else would read it; a "world" option may say what is so of real models (`usual`)
    """
    return field(default=default, metadata={"help": help, **how})


def default_encoder() -> VisionConfig:
    """An encoder of nano size."""
    from minilmm.vision import VisionConfig

    return VisionConfig()


@dataclass(frozen=True)
class Optimisation:
    """AdamW with linear warm-up, then a cosine to `final` of the peak rate; matrices decay, vectors do not."""

    steps: int = option(0, "Optimiser steps, not the preset's.", min=1, max=10**7)
    lr: float = option(1e-3, "Peak learning rate.", min=1e-9, max=10)
    warmup: int = 50
    final: float = 0.05
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0


@dataclass(frozen=True)
class LMRecipe:
    """Text-only pretraining in two phases.

    For `first` steps only lists and bindings, in rows of `lengths[0]` and at half the `tokens` per step: in-context
    learning appears by the number of updates, and short rows make them cheap. Then everything, in rows of the middle
    `lengths`, one after the other; every `long_every`-th step reads rows of the last one.
    rest: the weight in the loss of what cannot be known from what stands before it; answers and repeated names weigh 1.
    strict: no held-out colour-shape pairs in the text. lists: False leaves repeated lists out (an ablation).
    stage: which mixture of `minilmm.world.corpus.STAGES` it reads. Later ones, which go on from `start`, have what was
    hard so far more often, and no first phase.
    """

    model: LMConfig
    optimisation: Optimisation
    first: int = 300
    lengths: tuple[int, ...] = (64, 128, 256, 256, 256, 1024)
    tokens: int = 4096
    long_every: int = 16
    rest: float = 0.03
    strict: bool = option(False, "Text without held-out pairs.", flag="--strict")
    lists: bool = option(True, "Repeated lists in the text.", flag="--lists/--no-lists")
    start: str = option("", "A language model to go on from: presets more, last.")
    stage: int = 1
    seed: int = 0


@dataclass(frozen=True)
class T5Recipe:
    """Text-only pretraining of an encoder-decoder as a prefix LM: documents cut in two, `tokens` per step.

    lengths: of the documents, one after the other. answers: the share cut right behind an "answer :", where there is
    one; the others are cut anywhere.
    """

    model: EncDecConfig
    optimisation: Optimisation
    lengths: tuple[int, ...] = (48, 96)
    tokens: int = 8192
    answers: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class BertRecipe:
    """Masked words of the same text, for a text encoder as which a Q-Former can begin; `rows` of it per step.

    masked: the share of words to be said: four fifths of them are masked, a tenth replaced, a tenth left.
    """

    model: QFormerConfig
    optimisation: Optimisation
    rows: int = 128
    masked: float = 0.15
    seed: int = 0


@dataclass(frozen=True)
class VisionRecipe:
    """Contrastive pretraining of a vision encoder on pictures and captions."""

    model: VisionConfig
    optimisation: Optimisation
    batch: int = option(192, "Pictures per step.", min=1, max=MOST)
    embed: int = 128
    seed: int = 0


@dataclass(frozen=True)
class FrozenRecipe:
    """Frozen: which language model it borrows, what trains, on what.

    variant  "frozen" (the paper), "finetuned" (the LM trains too), "scratch" (a new LM trains), "blind" (blank
             pictures)
    eyes     "scratch" (the paper), "start" (begin from `vision`), "kept" (`vision` stays: only the map trains)
    encoder  of eyes from scratch

    Of named pictures ("emoji", "photographs", or a folder of pictures with captions), between real models:
    resolution  pixels per side; 0 is the encoder's own, and 112 where it takes several
    views       of each picture, which the encoder looks at once before training begins; 0 is the mini-world, whose
                pictures are drawn anew in every step
    pages       per step, of several pictures with made-up names, from step `first` on; 0: captions alone
    weights     of the losses of captioned pictures and of pages
    ridge       the map begins as this ridge regression onto the words of the names; 0: at random
    """

    optimisation: Optimisation
    lm: str = option("lm-nano", LM)
    vision: str = option("vision-nano", "The encoder of --eyes start|kept; vision-nano unless given.")
    variant: str = option(
        "frozen", "frozen, finetuned, scratch or blind.", choices=VARIANTS, only="world", usual="frozen"
    )
    eyes: str = option("scratch", "scratch, start or kept.", choices=EYES, only="world", usual="kept")
    prefix_tokens: int = option(2, "1, 2 or 4 vectors per picture.")
    kept: bool = option(True, "Scale the prefix to word size?", flag="--kept-prefix/--free-prefix")
    noise: float = option(1.0, "Noise on a kept prefix while training.", min=0, max=1000)
    data: str = option("world", "world, easy-vqa, a folder; emoji, photographs.")
    batch: int = option(64, "Pictures per step.", min=1, max=MOST)
    encoder: VisionConfig = field(default_factory=default_encoder)
    seed: int = 0
    resolution: int = option(0, "Real encoders: pixels per side; 112 unless given.", min=32, max=1024, only="real")
    views: int = field(default=0, metadata={"only": "real"})
    pages: int = option(0, "Real models: pages of several pictures per step.", min=0, max=MANY, only="real")
    first: int = field(default=100, metadata={"only": "real"})
    weights: tuple[float, ...] = field(default=(1.0, 1.0), metadata={"only": "real"})
    ridge: float = option(1e4, "Real models: ridge of the map's start; 0: random.", min=0, max=1e12, only="real")


@dataclass(frozen=True)
class FlamingoRecipe:
    """Flamingo: frozen halves, and pages of pictures with text beside captioned pictures and videos.

    first       steps on captioned pictures alone: pictures and words are tied together before pages ask for more
    described   steps behind them whose pairs are descriptions of several objects: what stands where, and of what kind
                it is. Only then do pairs and pages ask questions
    pairs, pages, videos    how many of each a step has; 0 leaves a data set out
    asked       later, when some of the pairs are such descriptions: the share of the others that are pictures with six
                questions each
    skilled     steps behind those above in which each picture of a pair has one question, of a kind that takes long to
                learn
    alone       later, the share of the questioned pictures that have one question, and not six
    galleries   the share of the other pairs that show two pictures before their two captions
    weights     their losses' weights, in that order (lambda of the paper)
    mixing      "accumulate" (every update has the gradients of all), "round-robin" (one data set after the other)
    p_next      how often a page's text stands in front of its pictures and looks ahead
    all_text    the loss counts all text of a page, as in the paper, and not what can be known alone
    gate_rate   the gates' learning rate, as a multiple of the others'
    places      how large the sines are that tell the resampler where features stand; the paper has none
    variant     "" is the paper; see `minilmm.ablations`
    start       a Flamingo run to go on from, "" for a new one; with `data`, how a model is fine-tuned
    resolution, views    of named pictures, as in `FrozenRecipe`; `pairs` and `pages` are then theirs
    """

    optimisation: Optimisation
    lm: str = option("lm-nano", LM)
    vision: str = option("vision-nano", VISION)
    latents: int = option(8, "Tokens per picture.", min=1, max=1024)
    resampler_layers: int = 2
    heads: int = 4
    every: int = option(1, "A gated layer in front of every n-th block.", min=1, max=1000)
    first: int = 200
    described: int = 400
    skilled: int = 0
    pairs: int = option(48, "Captioned pictures per step.", min=0, max=MOST)
    pages: int = option(24, "Interleaved pages per step; 0: pairs alone.", min=0, max=MANY)
    videos: int = option(4, "Captioned videos per step.", min=0, max=MANY, only="world")
    asked: float = 0.75
    alone: float = 0.0
    galleries: float = 0.3
    weights: tuple[float, ...] = (1.0, 1.0, 0.1)
    mixing: str = option("accumulate", "accumulate or round-robin.", choices=MIXING, only="world")
    p_next: float = option(0.0, "Share of pages with text ahead.", min=0, max=1, only="world")
    all_text: bool = option(False, "The loss counts all text of a page.", flag="--all-text", only="world")
    gate_rate: float = 10.0
    places: float = 3.0
    variant: str = option("", "An ablation: no-gate, vanilla-xattn, mlp-resampler, ...", only="world")
    start: str = option("", "A Flamingo run to go on from: fine-tuning.", only="world")
    data: str = option("world", "world, a task such as vqa; emoji, ... between real models.")
    seed: int = 0
    resolution: int = option(0, "Real encoders: pixels per side; 112 unless given.", min=32, max=1024, only="real")
    views: int = field(default=0, metadata={"only": "real"})


@dataclass(frozen=True)
class Blip2Recipe:
    """BLIP-2, one stage at a time: an encoder, and in stage 2 a language model, that stay as they are.

    stage       1: a Q-Former learns what of a picture text speaks of. 2: a language model learns to read it
    text        stage 1: the text encoder that the Q-Former begins as, as the paper's began as BERT; "" at random
    start       stage 2: the run of stage 1 to go on from; "" begins with a Q-Former at random. A run of stage 2 is
                fine-tuned
    data        "world": captions; or a task, such as "vqa" or "instructions", whose questions the Q-Former reads
    objectives  of stage 1
    hardening   steps over which ITM's wrong partners grow from random ones to those that ITC takes for right; hard from
                the first step on, ITM learns nothing but how often it is asked a right pair, for hundreds of steps
    places      how large the sines are that tell queries where features stand; the paper has none
    variant     of stage 1; "" is the paper, see `minilmm.ablations`
    resolution, views, pages, first, weights    of named pictures, as in `FrozenRecipe`; the Q-Former begins as MiniLM
    """

    optimisation: Optimisation
    stage: int = 1
    start: str = option("", "Stage 2: the run of stage 1 to go on from.", flag="--from")
    data: str = option("world", "emoji, photographs; stage 2: world, or a task: fine-tunes.")
    lm: str = option("lm-nano", "Stage 2: decoder (lm-nano), encoder-decoder (t5-nano), a run, smollm2.")
    vision: str = option("vision-nano", VISION)
    text: str = option("bert-nano", "Stage 1: the text encoder to begin as; '' is none.", only="world", usual="minilm")
    objectives: tuple[str, ...] = option(("itc", "itm", "itg"), "Stage 1: of itc,itm,itg; all unless given.")
    hardening: int = 300
    places: float = 3.0
    variant: str = ""
    queries: int = 8
    layers: int = 4
    heads: int = 4
    hidden: int = 512
    batch: int = option(64, "Pictures per step.", min=1, max=MOST)
    seed: int = 0
    resolution: int = option(0, "Real encoders: pixels per side; 112 unless given.", min=32, max=1024, only="real")
    views: int = field(default=0, metadata={"only": "real"})
    pages: int = option(0, "Stage 2, real models: pages of pictures per step.", min=0, max=MANY, only="real")
    first: int = field(default=100, metadata={"only": "real"})
    weights: tuple[float, ...] = field(default=(1.0, 1.0), metadata={"only": "real"})


BridgeRecipe = FrozenRecipe | FlamingoRecipe | Blip2Recipe
Recipe = LMRecipe | T5Recipe | BertRecipe | VisionRecipe | BridgeRecipe

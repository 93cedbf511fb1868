"""Recipes: everything that decides what a training run does, as frozen dataclasses saved beside the weights."""

from __future__ import annotations

from dataclasses import dataclass, field

from minilmm.language import LMConfig
from minilmm.vision import VisionConfig


@dataclass(frozen=True)
class Optimisation:
    """AdamW with linear warm-up, then a cosine to `final` of the peak rate; matrices decay, vectors do not."""

    steps: int
    lr: float
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
    strict: no held-out colour-shape pairs in the text. lists: False leaves repeated lists out (an ablation).
    """

    model: LMConfig
    optimisation: Optimisation
    first: int = 400
    lengths: tuple[int, ...] = (64, 128, 256, 256, 1024)
    tokens: int = 8192
    long_every: int = 16
    strict: bool = False
    lists: bool = True
    seed: int = 0


@dataclass(frozen=True)
class VisionRecipe:
    """Contrastive pretraining of the eyes on pictures and captions."""

    model: VisionConfig
    optimisation: Optimisation
    batch: int = 192
    embed: int = 128
    seed: int = 0


@dataclass(frozen=True)
class FrozenRecipe:
    """Frozen: which language model it borrows, what trains, on what.

    variant  "frozen" (the paper), "finetuned" (the LM trains too), "scratch" (a new LM trains), "blind" (blank
             pictures)
    eyes     "scratch" (the paper), "start" (begin from `vision`), "kept" (`vision` stays: only the map trains)
    """

    optimisation: Optimisation
    lm: str = "lm-nano"
    vision: str = "vision-nano"
    variant: str = "frozen"
    eyes: str = "scratch"
    prefix_tokens: int = 2
    kept: bool = True
    noise: float = 1.0
    data: str = "world"
    batch: int = 64
    encoder: VisionConfig = field(default_factory=VisionConfig)
    seed: int = 0


@dataclass(frozen=True)
class FlamingoRecipe:
    """Flamingo: frozen halves, and pages of pictures with text beside captioned pictures.

    first     steps on captions alone: pictures and words are tied together before pages ask for more
    pages, pairs    how many pages and captioned pictures a step has; their losses weigh 1 and `pairs_weight`
    gate_rate       the gates' learning rate, as a multiple of the others': from 0 they open slowly otherwise
    """

    optimisation: Optimisation
    lm: str = "lm-nano"
    vision: str = "vision-nano"
    latents: int = 4
    resampler_layers: int = 2
    heads: int = 4
    every: int = 4
    first: int = 200
    pages: int = 24
    pairs: int = 48
    pairs_weight: float = 0.5
    gate_rate: float = 10.0
    seed: int = 0

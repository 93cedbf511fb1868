"""Recipes: everything that decides what a training run does, as frozen dataclasses saved beside the weights."""

from __future__ import annotations

from dataclasses import dataclass, field

from minilmm.language import LMConfig
from minilmm.language.encdec import EncDecConfig
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
    """Flamingo: frozen halves, and pages of pictures with text beside captioned pictures and videos.

    first       steps on captioned pictures alone: pictures and words are tied together before pages ask for more
    questions   the step from which pages and pairs also ask questions
    pairs, pages, videos    how many of each a step has; 0 leaves a data set out
    asked       the share of pairs that ask a question about their picture, in place of a caption
    galleries   the share of the other pairs that show two pictures before their two captions
    weights     their losses' weights, in that order (lambda of the paper)
    mixing      "accumulate" (every update has the gradients of all), "round-robin" (one data set after the other)
    p_next      how often a page's text stands in front of its pictures and looks ahead
    all_text    the loss counts all text of a page, as in the paper, and not what can be known alone
    gate_rate   the gates' learning rate, as a multiple of the others'
    loud        what gated layers add is multiplied by so many times the size of the language model's states where they
                stand; at 16 and a gate of .03, where short trainings end, that is half of those states. 0: the paper
    variant     "" is the paper; see `minilmm.ablations`
    start       a Flamingo run to go on from, "" for a new one; with `data`, how a model is fine-tuned
    data        "world" is the mixture above; else the name of a task, whose examples without shots are all there is
    """

    optimisation: Optimisation
    lm: str = "lm-nano"
    vision: str = "vision-nano"
    latents: int = 4
    resampler_layers: int = 2
    heads: int = 4
    every: int = 1
    first: int = 200
    questions: int = 450
    pairs: int = 48
    pages: int = 24
    videos: int = 4
    asked: float = 0.35
    galleries: float = 0.5
    weights: tuple[float, float, float] = (0.5, 1.0, 0.1)
    mixing: str = "accumulate"
    p_next: float = 0.0
    all_text: bool = False
    gate_rate: float = 10.0
    loud: float = 16.0
    variant: str = ""
    start: str = ""
    data: str = "world"
    seed: int = 0


@dataclass(frozen=True)
class Blip2Recipe:
    """BLIP-2, one stage at a time: eyes, and in stage 2 a language model, that stay as they are.

    stage       1: a Q-Former learns what of a picture text speaks of. 2: a language model learns to read it
    start       stage 2: the run of stage 1 to go on from; "" begins with a Q-Former that knows nothing. A run of
                stage 2 is fine-tuned
    data        "world": captions; "vqa": questions and answers, and the Q-Former reads the questions
    objectives  of stage 1
    hardening   steps over which ITM's wrong partners grow from random ones to those that ITC takes for right; hard from
                the first step on, ITM learns nothing but how often it is asked a right pair, for hundreds of steps
    variant     of stage 1; "" is the paper, see `minilmm.ablations`
    """

    optimisation: Optimisation
    stage: int = 1
    start: str = ""
    data: str = "world"
    lm: str = "lm-nano"
    vision: str = "vision-nano"
    objectives: tuple[str, ...] = ("itc", "itm", "itg")
    hardening: int = 300
    variant: str = ""
    queries: int = 8
    layers: int = 4
    heads: int = 4
    hidden: int = 512
    batch: int = 64
    seed: int = 0


@dataclass(frozen=True)
class RealRecipe:
    """A bridge between real parts: what all three have. The language model, the eyes and their features stay frozen.

    lm, vision  "smollm2" and "efficientnet-lite0", or models of transformers by folder or name
    data        "emoji", "photographs", or a folder of pictures with captions
    resolution  pixels per side; 0 is the eyes' own, and 112 where they take several
    views       of each picture, which the eyes look at once before training begins
    batch       captioned pictures per step
    pages       per step, of several pictures with made-up names, from step `first` on; 0: captions alone
    weights     of the losses of captioned pictures and of pages
    """

    optimisation: Optimisation
    lm: str = "smollm2"
    vision: str = "efficientnet-lite0"
    data: str = "emoji"
    resolution: int = 0
    views: int = 4
    batch: int = 16
    pages: int = 0
    first: int = 100
    weights: tuple[float, float] = (1.0, 1.0)
    seed: int = 0


@dataclass(frozen=True)
class RealFrozenRecipe(RealRecipe):
    """Frozen with eyes that are kept: the linear map alone trains. See `minilmm.frozen` for a prefix that is kept.

    ridge   the map begins as this ridge regression onto the words of the names; 0: at random
    """

    prefix_tokens: int = 2
    kept: bool = True
    noise: float = 0.0
    ridge: float = 1e4


@dataclass(frozen=True)
class RealFlamingoRecipe(RealRecipe):
    """Flamingo: resampler and gated layers, one in front of every n-th block (`every`); a large LM has thirty."""

    latents: int = 8
    resampler_layers: int = 1
    heads: int = 4
    every: int = 5
    pages: int = 4
    gate_rate: float = 10.0


@dataclass(frozen=True)
class RealBlip2Recipe(RealRecipe):
    """BLIP-2, one stage at a time; its Q-Former begins as MiniLM. Stage 1 leaves `lm` out.

    start       stage 2: the run of stage 1 to go on from
    objectives, hardening    of stage 1, as in `Blip2Recipe`
    """

    stage: int = 1
    start: str = ""
    objectives: tuple[str, ...] = ("itc", "itm", "itg")
    hardening: int = 150
    queries: int = 8

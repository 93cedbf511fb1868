"""`minilmm pretrain` and `minilmm train`: recipes from options, and what trains them."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import LARGEST_SEED, Device, chosen, device_named, launched, out_console
from .runs import changed, check_step_memory, decide, finish, run, training_folder, unfinished


def finite(value: float | None) -> float | None:
    """An option's number, which bounds alone let be NaN."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number to count with.")
    return value


Preset = Annotated[str | None, typer.Option("--preset", help="nano (2 CPU cores) or small (one GPU).")]
Out = Annotated[Path | None, typer.Option("--out", help="The run's folder; runs/NAME unless given.")]
RunSeed = Annotated[
    int | None, typer.Option("--seed", min=0, max=LARGEST_SEED, help="One seed, one run; 0 unless given.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint, if it has one.")]
Force = Annotated[bool, typer.Option("--force", help="Erase the run that the folder holds.")]
Steps = Annotated[int | None, typer.Option("--steps", min=1, max=10**7, help="Optimiser steps, not the preset's.")]
Rate = Annotated[float | None, typer.Option("--lr", min=1e-9, max=10, callback=finite, help="Peak learning rate.")]
Size = Annotated[int | None, typer.Option("--batch", min=1, max=65_536, help="Pictures per step.")]
Resolution = Annotated[int | None, typer.Option(min=32, max=1024, help="Real eyes: pixels per side; 112 unless given.")]
Words = Annotated[str | None, typer.Option(help="A run, smollm2, or a model of transformers; else lm-nano.")]
Minutes = Annotated[
    float | None, typer.Option(min=0.01, max=10_000, callback=finite, help="As many steps as fit, timed once.")
]
LMS = {"decoder": "lm-nano", "encoder-decoder": "t5-nano"}


def pretrain_lm(
    preset: Preset = None,
    out: Out = None,
    steps: Steps = None,
    lr: Rate = None,
    seed: RunSeed = None,
    device: Device = "auto",
    resume: Resume = False,
    force: Force = False,
    smear: Annotated[
        int | None, typer.Option(min=0, max=64, help="Keys look back over this many words; 0: never.")
    ] = None,
    lists: Annotated[bool | None, typer.Option("--lists/--no-lists", help="Repeated lists in the text.")] = None,
    strict: Annotated[bool | None, typer.Option("--strict", help="Text without held-out pairs.")] = None,
) -> None:
    """Train the language model on text alone until it learns in context."""
    from minilmm.training import lm

    where, place = device_named(device), out or Path(f"runs/lm-{preset or 'nano'}")
    options = {"optimisation": {"steps": steps, "lr": lr}, "model": {"smear": smear}}
    changes = {**options, "lists": lists, "strict": strict or None, "seed": seed}
    recipe = decide(lm.preset, preset, "nano", place, resume, changes)
    with training_folder(place, resume, force):
        run(lm.pretrain, recipe, place, resume, where)
    finish(place)


def pretrain_t5(
    preset: Preset = None,
    out: Out = None,
    steps: Steps = None,
    lr: Rate = None,
    seed: RunSeed = None,
    device: Device = "auto",
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Train the encoder-decoder language model on the same text, as a prefix LM."""
    from minilmm.training import t5

    where, place = device_named(device), out or Path(f"runs/t5-{preset or 'nano'}")
    recipe = decide(
        t5.preset, preset, "nano", place, resume, {"optimisation": {"steps": steps, "lr": lr}, "seed": seed}
    )
    with training_folder(place, resume, force):
        run(t5.pretrain, recipe, place, resume, where)
    finish(place)


def pretrain_vision(
    preset: Preset = None,
    out: Out = None,
    steps: Steps = None,
    lr: Rate = None,
    batch: Size = None,
    seed: RunSeed = None,
    device: Device = "auto",
    resume: Resume = False,
    force: Force = False,
    kind: Annotated[str | None, typer.Option(help="resnet or vit.")] = None,
) -> None:
    """Train the vision encoder beside a text tower, by contrast."""
    from minilmm.training import vision

    if kind is not None:
        chosen(kind, ("resnet", "vit"), "--kind")
    where, place = device_named(device), out or Path(f"runs/vision-{preset or 'nano'}")
    changes = {"optimisation": {"steps": steps, "lr": lr}, "model": {"kind": kind}, "batch": batch, "seed": seed}
    recipe = decide(vision.preset, preset, "nano", place, resume, changes)
    with training_folder(place, resume, force):
        run(vision.pretrain, recipe, place, resume, where)
    finish(place)


def steps_within(minutes: float, recipe: Any, device: str) -> int:
    """How many steps fit into the minutes, timed on a copy that is thrown away; at least one."""
    from minilmm.training import frozen, loop

    model, parameters = frozen.compose(recipe)
    model.to(device).train()
    resolution = model.config.vision.resolution
    data, optimizer = frozen.data_named(recipe.data, resolution), loop.adamw(parameters, recipe.optimisation)
    times = []
    for step in range(8):
        start = time.perf_counter()
        generator = loop.generator_for(recipe.seed, step, device)
        frozen.loss_of(model, data(recipe.batch, generator)).backward()
        optimizer.step()
        float(parameters[0].flatten()[0])  # waits for a GPU
        times.append(time.perf_counter() - start)
    model.eval()
    start = time.perf_counter()
    frozen.probe(model, device, resolution)
    every = sum(sorted(times[3:])[1:4]) / 3 + (time.perf_counter() - start) / 100  # a probe every hundred steps
    return max(1, int(minutes * 60 / every))


def for_real_models(options: dict[str, Any]) -> None:
    """ValueError where an option was given that the mini-world does not have here."""
    if given := [name for name, value in options.items() if value is not None]:
        raise ValueError(f"{given[0]}: is for real models here: leave it out, or name --data emoji")


def train_frozen(
    preset: Annotated[str | None, typer.Option(help="quick, nano (2 CPU cores) or small (one GPU).")] = None,
    data: Annotated[str | None, typer.Option(help="world, easy-vqa, a folder; emoji, photographs.")] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    out: Out = None,
    resume: Resume = False,
    force: Force = False,
    lm: Words = None,
    vision: Annotated[str | None, typer.Option(help="The eyes of --eyes start|kept; vision-nano unless given.")] = None,
    resolution: Resolution = None,
    variant: Annotated[str | None, typer.Option(help="frozen, finetuned, scratch or blind.")] = None,
    eyes: Annotated[str | None, typer.Option(help="scratch, start or kept.")] = None,
    prefix_tokens: Annotated[int | None, typer.Option(help="1, 2 or 4 vectors per picture.")] = None,
    kept: Annotated[bool | None, typer.Option("--kept-prefix/--free-prefix", help="Keep it among words?")] = None,
    pages: Annotated[
        int | None, typer.Option(min=0, max=4096, help="Real models: pages of several pictures per step.")
    ] = None,
    ridge: Annotated[
        float | None, typer.Option(min=0, max=1e12, callback=finite, help="Real models: how the map begins.")
    ] = None,
    noise: Annotated[
        float | None, typer.Option(min=0, max=1000, callback=finite, help="Noise on a kept prefix while training.")
    ] = None,
    lr: Rate = None,
    batch: Size = None,
    seed: RunSeed = None,
    device: Device = "auto",
) -> None:
    """Train Frozen: a picture becomes words that a frozen language model reads."""
    from minilmm.training import frozen

    from . import real

    if prefix_tokens not in (None, 1, 2, 4):
        raise ValueError(f"--prefix-tokens {prefix_tokens}: choose 1, 2 or 4")
    if real.between_real(lm, vision, data):
        given: dict[str, Any] = {
            "lm": lm, "vision": vision, "data": data, "resolution": resolution, "prefix_tokens": prefix_tokens,
            "kept": kept, "pages": pages, "ridge": ridge, "noise": noise, "lr": lr, "batch": batch,
            "seed": seed,
        }  # fmt: skip
        unfit = {"--variant": variant if variant != "frozen" else None, "--eyes": eyes if eyes != "kept" else None}
        return real.train("frozen", given, unfit, preset=preset, out=out, resume=resume, force=force, device=device,
                          steps=steps, minutes=minutes)  # fmt: skip
    for_real_models({"--resolution": resolution, "--pages": pages, "--ridge": ridge})
    if steps is not None and minutes is not None:
        raise ValueError("--steps and --minutes: give one of them")
    if minutes is not None and launched()[1] > 1:
        raise ValueError("--minutes: times a single process: give --steps to torchrun")
    for value, options, name in ((variant, frozen.VARIANTS, "--variant"), (eyes, frozen.EYES, "--eyes")):
        if value is not None:
            chosen(value, options, name)
    where, place = device_named(device), out or Path(f"runs/frozen-{preset or 'nano'}")
    changes = {
        "optimisation": {"steps": steps, "lr": lr}, "lm": lm, "vision": vision, "variant": variant, "eyes": eyes,
        "prefix_tokens": prefix_tokens, "kept": kept, "noise": noise, "data": data, "batch": batch, "seed": seed,
    }  # fmt: skip
    recipe = decide(frozen.preset, preset, "nano", place, resume, changes)
    with training_folder(place, resume, force):
        if minutes is not None and unfinished(place, type(recipe)) is None:
            check_step_memory(recipe, where)
            fit = steps_within(minutes, recipe, where)
            recipe = changed(recipe, {"optimisation": {"steps": fit}})
            out_console().print(f"{minutes:g} minutes hold {fit} steps here; the recipe says --steps {fit} from now on")
        run(frozen.train, recipe, place, resume, where)
    finish(place)


def train_flamingo(
    preset: Annotated[str | None, typer.Option(help="quick, nano (2 CPU cores) or small (one GPU).")] = None,
    data: Annotated[str | None, typer.Option(help="world, a task such as vqa; emoji, ... between real models.")] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    out: Out = None,
    resume: Resume = False,
    force: Force = False,
    start: Annotated[str | None, typer.Option(help="A Flamingo run to go on from: fine-tuning.")] = None,
    lm: Words = None,
    vision: Annotated[str | None, typer.Option(help="The eyes, which stay frozen; vision-nano unless given.")] = None,
    resolution: Resolution = None,
    every: Annotated[
        int | None, typer.Option(min=1, max=1000, help="A gated layer in front of every n-th block.")
    ] = None,
    latents: Annotated[int | None, typer.Option(min=1, max=1024, help="Tokens per picture.")] = None,
    variant: Annotated[str | None, typer.Option(help="An ablation: no-gate, vanilla-xattn, mlp-resampler, ...")] = None,
    bug: Annotated[str | None, typer.Option(help="A common mistake: attend-all-images, gate-init-one, ...")] = None,
    mixing: Annotated[str | None, typer.Option(help="accumulate or round-robin.")] = None,
    pages: Annotated[
        int | None, typer.Option(min=0, max=4096, help="Interleaved pages per step; 0: pairs alone.")
    ] = None,
    pairs: Annotated[int | None, typer.Option(min=0, max=65_536, help="Captioned pictures per step.")] = None,
    videos: Annotated[int | None, typer.Option(min=0, max=4096, help="Captioned videos per step.")] = None,
    p_next: Annotated[
        float | None, typer.Option(min=0, max=1, callback=finite, help="Share of pages with text ahead.")
    ] = None,
    all_text: Annotated[bool | None, typer.Option("--all-text", help="The loss counts all text of a page.")] = None,
    loud: Annotated[
        float | None,
        typer.Option(min=0, max=1e6, callback=finite, help="Gated layers add in LM states times this; 0: as is."),
    ] = None,
    lr: Rate = None,
    seed: RunSeed = None,
    device: Device = "auto",
) -> None:
    """Train Flamingo: a frozen language model looks at pictures through gated cross-attention."""
    from minilmm.ablations import ABLATIONS, BUGS, names
    from minilmm.flamingo import Flamingo
    from minilmm.training import flamingo

    from . import real

    if real.between_real(lm, vision, data):
        given: dict[str, Any] = {
            "lm": lm, "vision": vision, "data": data, "resolution": resolution, "every": every, "pages": pages,
            "latents": latents, "batch": pairs, "lr": lr, "seed": seed,
        }  # fmt: skip
        unfit = {"--variant": variant, "--bug": bug, "--mixing": mixing, "--videos": videos, "--p-next": p_next,
                 "--all-text": all_text, "--loud": loud, "--start": start}  # fmt: skip
        return real.train("flamingo", given, unfit, preset=preset, out=out, resume=resume, force=force, device=device,
                          steps=steps, minutes=minutes)  # fmt: skip
    for_real_models({"--resolution": resolution, "--minutes": minutes})
    if variant is not None and bug is not None:
        raise ValueError("--variant and --bug: give one of them")
    for value, options, name in (
        (variant, names(Flamingo, ABLATIONS), "--variant"), (bug, names(Flamingo, BUGS), "--bug"),
        (mixing, flamingo.MIXING, "--mixing"),
    ):  # fmt: skip
        if value is not None:
            chosen(value, options, name)
    if start is not None and any(option is not None for option in (lm, vision, every, latents, variant, bug)):
        raise ValueError("--start: its model is taken as it is: leave --lm, --vision, --every, --latents and --bug out")
    where, place = device_named(device), out or Path(f"runs/flamingo-{bug or variant or preset or 'nano'}")
    changes = {
        "optimisation": {"steps": steps, "lr": lr}, "lm": lm, "vision": vision, "every": every, "latents": latents,
        "variant": variant or bug, "mixing": mixing, "pages": pages, "pairs": pairs, "videos": videos,
        "p_next": p_next, "all_text": all_text, "loud": loud, "start": start, "data": data, "seed": seed,
    }  # fmt: skip
    if data is not None and data != "world":
        changes["first"] = 0
    recipe = decide(flamingo.preset, preset, "nano", place, resume, changes)
    with training_folder(place, resume, force):
        run(flamingo.train, recipe, place, resume, where, probe_every=200 if recipe.optimisation.steps > 400 else 100)
    finish(place)


def train_blip2(
    stage: Annotated[int, typer.Option("--stage", help="1: the Q-Former learns to see. 2: a language model reads it.")],
    preset: Annotated[str | None, typer.Option(help="quick, nano (2 CPU cores) or small (one GPU).")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Stage 2: the run of stage 1 to go on from.")] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    out: Out = None,
    resume: Resume = False,
    force: Force = False,
    lm: Annotated[
        str | None, typer.Option(help="Stage 2: decoder (lm-nano), encoder-decoder (t5-nano), a run, smollm2.")
    ] = None,
    vision: Annotated[str | None, typer.Option(help="The eyes, which stay frozen; vision-nano unless given.")] = None,
    resolution: Resolution = None,
    objectives: Annotated[str | None, typer.Option(help="Stage 1: of itc,itm,itg; all unless given.")] = None,
    data: Annotated[str | None, typer.Option(help="emoji, photographs; stage 2: world, or vqa: fine-tunes.")] = None,
    pages: Annotated[
        int | None, typer.Option(min=0, max=4096, help="Stage 2, real models: pages of pictures per step.")
    ] = None,
    bug: Annotated[str | None, typer.Option(help="A mistake: itc-mean, ...; stage 2: skip-stage-1.")] = None,
    lr: Rate = None,
    batch: Size = None,
    seed: RunSeed = None,
    device: Device = "auto",
) -> None:
    """Train BLIP-2: a Q-Former between frozen eyes and a frozen language model, in two stages."""
    from minilmm.ablations import BUGS, names
    from minilmm.blip2 import Stage1
    from minilmm.training import blip2

    from . import real

    parts = tuple(objectives.split(",")) if objectives else None
    between = real.between_real(lm, vision, data, start)
    if between and stage == 1 and (start, lm) != (None, None):
        raise ValueError("--stage 1: reads no language model and no other run: leave --from and --lm out")
    if between and stage == 2 and start is None and not resume:
        raise ValueError("--stage 2: name the run of stage 1 with --from")
    if between:
        given: dict[str, Any] = {
            "vision": vision, "data": data, "resolution": resolution, "lm": lm, "start": start,
            "objectives": parts, "pages": pages, "lr": lr, "batch": batch, "seed": seed,
        }  # fmt: skip
        unfit = {"--bug": bug, "--objectives": parts if stage == 2 else None, "--pages": pages if stage == 1 else None}
        return real.train("blip2", given, unfit, preset=preset, out=out, resume=resume, force=force, device=device,
                          steps=steps, minutes=minutes, stage=stage)  # fmt: skip
    for_real_models({"--resolution": resolution, "--minutes": minutes, "--pages": pages})
    if bug is not None:
        chosen(bug, names(Stage1, BUGS) if stage == 1 else ("skip-stage-1",), "--bug")
    if stage == 1 and (start, lm, data) != (None, None, None):
        raise ValueError("--stage 1: reads no language model and no other run: leave --from, --lm and --data out")
    if stage == 2 and objectives is not None:
        raise ValueError("--stage 2: has one objective, the language model's own: leave --objectives out")
    if stage == 2 and (start is None) == (bug is None) and not resume:
        raise ValueError("--stage 2: name the run of stage 1 with --from (--bug skip-stage-1 goes without)")
    where, place = device_named(device), out or Path(f"runs/blip2-stage{stage}")
    changes = {
        "optimisation": {"steps": steps, "lr": lr}, "start": start, "lm": LMS.get(lm or "", lm), "vision": vision,
        "data": data, "objectives": parts, "batch": batch,
        "variant": bug if stage == 1 else None, "seed": seed,
    }  # fmt: skip
    recipe = decide(lambda name: blip2.preset(name, stage), preset, "nano", place, resume, changes)
    with training_folder(place, resume, force):
        run(blip2.train, recipe, place, resume, where)
    finish(place)
    if stage == 1:
        known = ", ".join(f"{name} {value:.3f}" for name, value in blip2.baselines(recipe).items())
        out_console().print(f"  a model that knows nothing: {known}")

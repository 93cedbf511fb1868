"""`train` and `eval` where real models and real pictures are named, in place of the mini-world's."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .common import Log, command_line, device_named, out_console
from .fewshot import few_shot, retrieval_result
from .names import is_real


def between_real(lm: str | None, vision: str | None, data: str | None, start: str | None = None) -> bool:
    """Do these options of `train` name real parts? ValueError where they mix them with the mini-world's."""
    from minilmm.checkpoints.backbones import REAL_ENCODERS, REAL_LMS, of_the_course, of_transformers
    from minilmm.training.real import DATA

    words = lm is not None and (lm in REAL_LMS or of_transformers(lm))
    eyes = vision is not None and (
        vision in REAL_ENCODERS or vision.startswith("torchvision:") or of_transformers(vision)
    )
    things = data in DATA
    if start is not None and of_the_course(start) and is_real(start):
        return True
    if not (words or eyes or things):
        return False
    fits = "real models go with --data emoji, photographs or a folder, the mini-world with lm-nano and vision-nano"
    if lm is not None and not words and of_the_course(lm):
        raise ValueError(f"--lm {lm}: knows the mini-world's words alone, and {data or vision} is real: {fits}")
    if data is not None and not things and not Path(data).is_dir():
        raise ValueError(f"--data {data}: is not for {lm if words else vision}, a real model: {fits}")
    return True


def train(
    bridge: str,
    changes: dict[str, Any],
    unfit: dict[str, Any],
    *,
    preset: str | None,
    out: Path | None,
    resume: bool,
    force: bool,
    device: str,
    steps: int | None,
    minutes: float | None,
    stage: int = 1,
) -> None:
    """Train a bridge between real models. unfit: options that such runs do not have, with what was given."""
    from minilmm.checkpoints.saving import read_card
    from minilmm.training import real_steps
    from minilmm.training.real import NAMES

    from .runs import check_step_memory, decide, finish, training_folder, unfinished

    if given := [name for name, value in unfit.items() if value is not None]:
        raise ValueError(f"{given[0]}: is for the mini-world alone: leave it out between real models")
    if steps is not None and minutes is not None:
        raise ValueError("--steps and --minutes: give one of them")
    where, place = device_named(device), out or Path(f"runs/real-{bridge}{stage if bridge == 'blip2' else ''}")
    if changes.get("start"):  # stage 2 looks through the eyes of stage 1, at its pictures, unless told otherwise
        before = read_card(changes["start"])["config"]
        changes |= {name: before.get(name) for name in NAMES[1:] if changes[name] is None}
    changes = {"optimisation": {"steps": steps, "lr": changes.pop("lr")}, **changes}
    recipe = decide(lambda name: real_steps.preset(bridge, name, stage), preset, "nano", place, resume, changes)
    console = out_console()
    with training_folder(place, resume, force):
        check_step_memory(recipe, where)
        going = unfinished(place, type(recipe)) is not None
        job = real_steps.prepare(recipe, where)
        seen = job.seen.features
        assert seen is not None
        told = f"{seen.shape[0] * seen.shape[1]} pictures, {seen.shape[2]} views of each"
        console.print(
            f"the eyes have looked at {told}: {seen.numel() / 2**19:.0f} MiB, {job.seconds:.0f} s", soft_wrap=True
        )
        if minutes is not None and not going:
            job = real_steps.fitted(job, minutes)
            n = job.recipe.optimisation.steps
            console.print(f"{minutes:g} minutes hold {n} steps here; the recipe says --steps {n} from now on")
        with Log(place.name, job.recipe.optimisation.steps) as log:
            real_steps.train(job, place, resume=resume, report=log.report, command=command_line())
    finish(place)


def measured(run: str, task: str, data: str | None, request: Any, device: str) -> dict[str, Any]:
    """What `eval` measures of a run between real models, or of such a model: scores on pictures with names."""
    from minilmm.evaluation.tasks import real_task
    from minilmm.training import real

    start = time.perf_counter()
    model, words, known = opened(run, task, device)
    name = data or known
    if task == "retrieval":
        rows, count = found(run, model, words, name, request.seed)
        settings = {"data": name, "pictures": count, "seed": request.seed}
        return retrieval_result(run, task, settings, rows, time.perf_counter() - start, device)
    if not hasattr(model, "generate"):
        raise ValueError(f"{run}: reads no prompts: choose --task retrieval")
    resolution = model.config.vision.resolution if model.sees else 32
    known_task = real_task(task, real.data_named(name, resolution), words, real.form_of(name))
    result = few_shot(run, model, known_task, request, device)
    return result | {"settings": {"data": name, **result["settings"]}}


def opened(run: str, task: str, device: str) -> tuple[Any, Any, str]:
    """A run, or a model by its name: what it is, its tokenizer, and the data that it was trained with."""
    from minilmm.checkpoints import backbones, opening

    if backbones.of_the_course(run):
        model, words, card = opening.open_run(run, device)
        return model, words, card["config"]["data"]
    if task == "retrieval":
        eyes, config = backbones.load_encoder(run)
        return (eyes.to(device), config), None, "emoji"
    lm, words = backbones.load_lm(run)
    return lm.to(device), words, "emoji"


def found(run: str, model: Any, words: Any, data: str, seed: int) -> tuple[list[dict[str, Any]], int]:
    """Retrieval of held-out things, and how many there are: their names by stage 1, their other pictures by eyes."""
    from minilmm.blip2 import Stage1
    from minilmm.training import real, real_steps

    if isinstance(model, Stage1):
        things = real.data_named(data, model.config.vision.resolution)
        rows = real_steps.retrieval(model, words, things, seed)
    elif isinstance(model, tuple):
        eyes, config = model
        things = real.data_named(data, config.resolution)
        rows = real_steps.across_vendors(eyes, things, seed)
    else:
        raise ValueError(f"{run}: retrieval is for stage 1 of BLIP-2, or for eyes such as efficientnet-lite0: name one")
    return rows, int(things.held_out.sum())

"""A run's scores on a task: what eval, curve and quickstart share."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import check_memory, of_the_mini_world
from .console import progress_bar

if TYPE_CHECKING:
    from minilmm.evaluation.request import Request
    from minilmm.evaluation.tasks import Task

VISION_TASKS = ("retrieval", "zero-shot", "probes")  # which show no prompts


def score(run: str, task: str, request: Request, real: bool, data: str | None, device: str) -> dict[str, Any]:
    """Load the run and measure it. ValueError where --data is not for it."""
    if real:
        return score_real(run, task, data, request, device)
    if data is not None:
        ways = "leave --data out, or name a run between real models"
        raise ValueError(f"--data {data}: {run} is a run of the mini-world: {ways}")
    from minilmm.blip2 import Blip2, Stage1
    from minilmm.checkpoints.opening import load
    from minilmm.evaluation.probes import probes
    from minilmm.evaluation.retrieval import first_stage, retrieval, zero_shot
    from minilmm.evaluation.tasks import task_named

    known = None if task in VISION_TASKS else task_named(task)  # a bad folder shows before anything is loaded
    model, _ = load(of_the_mini_world(run), device)
    if known is not None:
        return few_shot(run, model, known, request, device)
    matches = isinstance(model, Stage1 | Blip2) and task == "retrieval"
    probed = task == "probes" and getattr(model, "sees", False)
    if not matches and not probed and not hasattr(model, "encode_text"):
        others = " or a bridge" if task == "probes" else ""
        what = f"{task} needs a dual encoder such as vision-nano{others}: name one, or choose another task"
        raise ValueError(f"{run}: {what}")
    start, seed, count = time.perf_counter(), request.seed, max(2, request.episodes + request.episodes % 2)
    if task == "retrieval":
        rows = retrieval(first_stage(run).to(device) if matches else model, count, seed, device)
    else:
        rows = probes(model, count, seed, device) if task == "probes" else zero_shot(model, count, seed, device)
    return retrieval_result(run, task, {"pictures": count, "seed": seed}, rows, time.perf_counter() - start, device)


def score_real(run: str, task: str, data: str | None, request: Request, device: str) -> dict[str, Any]:
    """Scores of a run between real models, or of such a model, on pictures with names.

    Retrieval is of held-out things: their names by stage 1 of BLIP-2, their other pictures by a vision encoder.
    """
    from minilmm.blip2 import Stage1
    from minilmm.checkpoints import opening
    from minilmm.evaluation.retrieval import retrieval_across_vendors, retrieval_of_names
    from minilmm.evaluation.tasks import real_task
    from minilmm.training.named import data_named, form_of

    tokenizer: Any = None
    start, known, vision = time.perf_counter(), "emoji", None
    if opening.of_the_course(run):
        model, tokenizer, card = opening.open_run(run, device)
        known = card["config"]["data"]
    elif task == "retrieval":
        model, vision = opening.load_encoder(run)
    else:
        model, tokenizer = opening.load_lm(run)
    model, name = model.to(device), data or known
    if task == "retrieval":
        if vision is None and not isinstance(model, Stage1):
            models = "stage 1 of BLIP-2, or for a vision encoder such as efficientnet-lite0"
            raise ValueError(f"{run}: retrieval is for {models}: name one")
        things = data_named(name, (vision or model.config.vision).resolution)
        if isinstance(model, Stage1):
            rows = retrieval_of_names(model, tokenizer, things, request.seed)
        else:
            rows = retrieval_across_vendors(model, things, request.seed)
        settings = {"data": name, "pictures": int(things.held_out.sum()), "seed": request.seed}
        return retrieval_result(run, task, settings, rows, time.perf_counter() - start, device)
    if not hasattr(model, "generate"):
        raise ValueError(f"{run}: takes no prompts: choose --task retrieval")
    things = data_named(name, model.config.vision.resolution if model.sees else 32)
    result = few_shot(run, model, real_task(task, things, tokenizer, form_of(name)), request, device)
    return result | {"settings": {"data": name, **result["settings"]}}


def few_shot(
    run: str, model: Any, task: Task, request: Request, device: str = "cpu", bar: bool = True
) -> dict[str, Any]:
    """`evaluate` under a progress bar, and the model's name in front. ValueError where the model cannot be asked."""
    from minilmm.evaluation.fewshot import SIZE, evaluate

    if not hasattr(model, "sees"):
        raise ValueError(f"{run}: takes no prompts: choose another run; of eyes, --task retrieval, zero-shot or probes")
    if not model.sees and not task.described:
        lacks = f"{task.name} has no descriptions of its pictures: choose a run with a vision encoder"
        raise ValueError(f"{run}: reads text only, and {lacks}")
    shots, settings = request.shots or task.shots, request.settings
    resolution = model.config.vision.resolution if model.sees else SIZE
    pictures = 1 + max(shots) * (1 + settings.repeats) * settings.ways  # at most, of a prompt
    check_memory(100 * pictures * 3 * resolution**2 * 4 * 4, f"{run}: prompts of {pictures} pictures")
    total = len(shots) * len(request.conditions) * request.episodes
    with progress_bar(bar) as shown:
        line = shown.add_task(f"{Path(run).name}: {Path(task.name).name}", total=total)
        result = evaluate(model, task, request, device=device, report=lambda count: shown.advance(line, count))
    return {"model": run, **result}


def retrieval_result(
    run: str, task: str, settings: dict[str, Any], rows: list[dict[str, Any]], seconds: float, device: str
) -> dict[str, Any]:
    """Rows of retrieval or classification in the shape of a few-shot result."""
    kept = [{name: round(v, 4) if isinstance(v, float) else v for name, v in row.items()} for row in rows]
    chance, made = kept[0]["chance"], {"split": "held-out", **settings}
    rows = [{"shots": 0, "condition": "real", **row} for row in kept]
    return {"model": run, "task": task, "settings": made, "chance": chance, "prior": chance, "rows": rows,
            "seconds": round(seconds, 2), "device": device}  # fmt: skip

"""`eval` where real models and real pictures are named, in place of the mini-world's."""

from __future__ import annotations

import time
from typing import Any

from .fewshot import few_shot, retrieval_result


def measured(run: str, task: str, data: str | None, request: Any, device: str) -> dict[str, Any]:
    """What `eval` measures of a run between real models, or of such a model: scores on pictures with names."""
    from minilmm.evaluation.tasks import real_task
    from minilmm.training import named

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
    known_task = real_task(task, named.data_named(name, resolution), words, named.form_of(name))
    result = few_shot(run, model, known_task, request, device)
    return result | {"settings": {"data": name, **result["settings"]}}


def opened(run: str, task: str, device: str) -> tuple[Any, Any, str]:
    """A run, or a model by its name: what it is, its tokenizer, and the data that it was trained with."""
    from minilmm.checkpoints import opening

    if opening.of_the_course(run):
        model, words, card = opening.open_run(run, device)
        return model, words, card["config"]["data"]
    if task == "retrieval":
        eyes, config = opening.load_encoder(run)
        return (eyes.to(device), config), None, "emoji"
    lm, words = opening.load_lm(run)
    return lm.to(device), words, "emoji"


def found(run: str, model: Any, words: Any, data: str, seed: int) -> tuple[list[dict[str, Any]], int]:
    """Retrieval of held-out things, and how many there are: their names by stage 1, their other pictures by eyes."""
    from minilmm.blip2 import Stage1
    from minilmm.evaluation import retrieval
    from minilmm.training import named

    if isinstance(model, Stage1):
        things = named.data_named(data, model.config.vision.resolution)
        rows = retrieval.retrieval_of_names(model, words, things, seed)
    elif isinstance(model, tuple):
        eyes, config = model
        things = named.data_named(data, config.resolution)
        rows = retrieval.retrieval_across_vendors(eyes, things, seed)
    else:
        raise ValueError(f"{run}: retrieval is for stage 1 of BLIP-2, or for eyes such as efficientnet-lite0: name one")
    return rows, int(things.held_out.sum())

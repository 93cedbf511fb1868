"""`eval` where real models and real pictures are named, in place of the mini-world's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from .fewshot import few_shot


def measured(
    run: str, task: str, data: str | None, shots: Sequence[int] | None, settings: Any, *, episodes: int, seed: int,
    device: str, **how: Any,
) -> dict[str, Any]:  # fmt: skip
    """What `eval` measures of a run between real models, or of such a model: scores on pictures with names."""
    from minilmm.training import named

    start = time.perf_counter()
    model, words, known = opened(run, task, device)
    name = data or known
    if task == "retrieval":
        rows, count = found(run, model, words, name, seed)
        chance = rows[0]["chance"]
        told = {"split": "held-out", "data": name, "pictures": count, "seed": seed}
        return {
            "model": run, "task": task, "settings": told,
            "chance": chance, "prior": chance, "rows": [{"shots": 0, "condition": "real", **row} for row in rows],
            "seconds": round(time.perf_counter() - start, 2), "device": device,
        }  # fmt: skip
    if task == "caption" and how.get("scoring") == "rank":
        raise ValueError("--scoring rank: a name is said in full, and counts where it is the picture's: leave it out")
    if not hasattr(model, "generate"):
        raise ValueError(f"{run}: reads no prompts: choose --task retrieval")
    resolution = model.config.vision.resolution if model.sees else 32
    kind = named.task_named(task, named.data_named(name, resolution), words, named.form_of(name))
    result = few_shot(run, model, task, shots or kind.shots, settings, episodes=episodes, seed=seed, device=device,
                      known=kind, **how)  # fmt: skip
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
    kept = [{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    return kept, int(things.held_out.sum())

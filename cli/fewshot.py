"""A model on a task under a progress bar: what eval, curve and quickstart share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import check_memory, progress_bar

if TYPE_CHECKING:
    from minilmm.evaluation.fewshot import Request
    from minilmm.evaluation.tasks import Task


def few_shot(run: str, model: Any, task: Task, request: Request, device: str = "cpu") -> dict[str, Any]:
    """`evaluate` under a progress bar, and the model's name in front. ValueError where the model cannot be asked."""
    from minilmm.evaluation.fewshot import SIZE, evaluate

    if not hasattr(model, "sees"):
        raise ValueError(f"{run}: reads no prompts: choose --task retrieval or zero-shot")
    if not model.sees and not task.described:
        raise ValueError(
            f"{run}: reads text only, and {task.name} has no words for its pictures: choose a run that sees"
        )
    shots, settings = request.shots or task.shots, request.settings
    resolution = model.config.vision.resolution if model.sees else SIZE
    pictures = 1 + max(shots) * (1 + settings.repeats) * settings.ways  # at most, of a prompt
    check_memory(100 * pictures * 3 * resolution**2 * 4 * 4, f"{run}: prompts of {pictures} pictures")
    total = len(shots) * len(request.conditions) * request.episodes
    with progress_bar() as bar:
        line = bar.add_task(f"{Path(run).name}: {Path(task.name).name}", total=total)
        result = evaluate(model, task, request, device=device, report=lambda count: bar.advance(line, count))
    return {"model": run, **result}


def retrieval_result(
    run: str, task: str, settings: dict[str, Any], rows: list[dict[str, Any]], seconds: float, device: str
) -> dict[str, Any]:
    """Rows of retrieval or classification in the shape of a few-shot result."""
    kept = [{name: round(v, 4) if isinstance(v, float) else v for name, v in row.items()} for row in rows]
    chance = kept[0]["chance"]
    return {
        "model": run, "task": task, "settings": {"split": "held-out", **settings}, "chance": chance, "prior": chance,
        "rows": [{"shots": 0, "condition": "real", **row} for row in kept], "seconds": round(seconds, 2),
        "device": device,
    }  # fmt: skip

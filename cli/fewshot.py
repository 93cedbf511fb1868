"""A model on a task at several numbers of shots, under a progress bar: what eval, curve and quickstart share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .common import check_memory, progress_bar
from .names import CONDITIONS, VISION_TASKS


def few_shot(
    run: str, model: Any, task: str, shots: Sequence[int], settings: Any, *, episodes: int = 500, seed: int = 0,
    device: str = "cpu", scoring: str | None = None, conditions: tuple[str, ...] | None = None, method: Any = None,
    known: Any = None,
) -> dict[str, Any]:  # fmt: skip
    """`evaluate`, one number of shots at a time under a progress bar, and the model's name in front.

    known: the task itself, where its name is not enough.
    """
    from minilmm.evaluation.fewshot import evaluate

    if not hasattr(model, "sees"):
        raise ValueError(f"{run}: reads no prompts: choose --task {' or '.join(VISION_TASKS)}")
    if not model.sees and (task in ("glyph-naming", "easy-vqa") or Path(task).is_dir()):
        raise ValueError(f"{run}: reads text only, and {task} has no words for its pictures: choose a run that sees")
    resolution = model.config.vision.resolution if model.sees else 48
    pictures = 1 + max(shots, default=0) * (1 + settings.repeats) * settings.ways  # at most, of a prompt
    check_memory(100 * pictures * 3 * resolution**2 * 4 * 4, f"{run}: prompts of {pictures} pictures")
    parts, under = [], conditions or CONDITIONS
    with progress_bar() as bar:
        bar_task = bar.add_task(f"{Path(run).name}: {Path(task).name}", total=len(shots) * len(under) * episodes)
        for k in shots:
            parts.append(
                evaluate(
                    model, known or task, shots=(k,), settings=settings, episodes=episodes, conditions=under,
                    scoring=scoring, method=method, seed=seed, resolution=resolution, device=device,
                    report=lambda count: bar.advance(bar_task, count),
                )
            )  # fmt: skip
    told = {k: list(shots) if k in ("inner_shots", "examples") else v for k, v in parts[0]["settings"].items()}
    whole = {
        "settings": told,
        "chance": round(sum(p["chance"] for p in parts) / len(parts), 4),
        "prior": max(p["prior"] for p in parts),
        "rows": [row for p in parts for row in p["rows"]],
        "seconds": round(sum(p["seconds"] for p in parts), 2),
    }
    return {"model": run, **parts[0], "task": task, **whole}

"""What the best guess without pictures scores, by what a task gives away."""

from __future__ import annotations

import torch

from minilmm.evaluation.tasks.settings import Settings
from minilmm.evaluation.tasks.task import Task


def even(task: Task, settings: Settings, scoring: str, device: torch.device | str) -> float:
    """Every class is the right one equally often."""
    return 1 / settings.ways


def ranked(task: Task, settings: Settings, scoring: str, device: torch.device | str) -> float:
    """The same where candidates are ranked; nobody guesses a whole caption."""
    return 1 / settings.ways if scoring == "rank" else 0.0


def most_common(task: Task, settings: Settings, scoring: str, device: torch.device | str, draws: int = 4000) -> float:
    """How often the most common answer is right, given what question and demonstrations give away without pictures."""
    key = (settings, str(device))
    if key not in task.priors:
        generator = torch.Generator(device).manual_seed(7)
        blocks = [task.sample(500, generator, settings) for _ in range(draws // 500)]
        answer, group = (torch.cat([getattr(b, name) for b in blocks]) for name in ("target", "group"))
        most = [int(answer[group == g].bincount().max()) for g in group.unique()]
        task.priors[key] = sum(most) / len(answer)
    return task.priors[key]

"""Draws the figure of README.md from what lies beside it: python results/figures.py"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minilmm.plots import few_shot_curves, save, series_of

HERE = Path(__file__).parent
RUNS = {"Frozen": "frozen-nano", "Flamingo": "flamingo-nano", "BLIP-2": "blip2-nano"}
TASKS = {"naming, 5 ways": "naming-5", "noisy naming": "noisy", "questions": "vqa", "what is it?": "induction-vqa"}


def read_scores(run: str, task: str) -> dict[str, Any]:
    """What `make results` kept of a run's task."""
    return json.loads((HERE / f"{run}-{task}.json").read_text())


def main() -> None:
    """Few-shot curves of the three shipped bridges."""
    scores = {
        title: [s for name, run in RUNS.items() for s in series_of(read_scores(run, task), name, name == "BLIP-2")]
        for title, task in TASKS.items()
    }
    save(few_shot_curves(scores), HERE.parent / "docs" / "images" / "bridges.png")


if __name__ == "__main__":
    main()

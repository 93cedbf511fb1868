"""Draws the figures of README.md and results/README.md from what lies beside it: python results/figures.py

The claims' figures come from `minilmm claims report --figure results/figures/claims.png`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minilmm.plots import few_shot_curves, save, series_of, training_curves

HERE = Path(__file__).parent
ZOO = HERE.parent / "minilmm" / "zoo"
RUNS = {"Frozen": "frozen-nano", "Flamingo": "flamingo-nano", "BLIP-2": "blip2-nano"}
ABLATIONS = {"without smear": "smear0", "without lists": "no-lists"}
TASKS = {"naming, 5 ways": "naming-5", "noisy naming": "noisy", "questions": "vqa", "what is it?": "induction-vqa"}


def read_log(folder: Path) -> list[dict[str, Any]]:
    """A run's log."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def read_scores(run: str, task: str) -> dict[str, Any]:
    """What `make results` kept of a run's task."""
    return json.loads((HERE / f"{run}-{task}.json").read_text())


def main() -> None:
    """All of them."""
    scores = {
        title: [s for name, run in RUNS.items() for s in series_of(read_scores(run, task), name, name == "BLIP-2")]
        for title, task in TASKS.items()
    }
    save(few_shot_curves(scores), HERE.parent / "docs" / "images" / "bridges.png")
    logs = {name: read_log(HERE / "logs" / folder) for name, folder in ABLATIONS.items()}
    logs = {"lm-nano": read_log(ZOO / "lm-nano")} | logs
    keys = [key for key in logs["lm-nano"][0] if key not in ("step", "seconds", "tokens", "gradient_norm")]
    save(panels_of({key.replace("_", " "): key for key in keys}, logs), HERE / "figures" / "lm-ablation.png")
    logs = {"kept prefix (frozen-nano)": read_log(ZOO / "frozen-nano")}
    logs |= {"free prefix": read_log(HERE / "logs" / "frozen-free")}
    keys = [key for key in logs["free prefix"][0] if key == "loss" or key.endswith("real")]
    titles = {key.removesuffix("_real").replace("_", " "): key for key in keys}
    save(panels_of(titles, logs), HERE / "figures" / "frozen-prefix.png")


def panels_of(titles: dict[str, str], logs: dict[str, list[dict[str, Any]]]) -> Any:
    """Training curves: a panel per title, of the logged key that it names."""
    return training_curves(
        {title: {run: [row | {title: row[key]} for row in rows if key in row] for run, rows in logs.items()}
         for title, key in titles.items()}
    )  # fmt: skip


if __name__ == "__main__":
    main()

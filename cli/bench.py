"""`minilmm bench`: runs on every task of the mini-world, side by side: one table, one figure, one JSON."""

from __future__ import annotations

import json as codec
from pathlib import Path
from typing import Annotated, Any

import typer

from minilmm.evaluation.tasks import TASKS, Task

from .common import Device, Seed, device_named, of_the_mini_world, writable_folder
from .console import new_table, out_console, progress_bar, save_figure, say, share
from .names import known_run

FULL, QUICK = (100, (0, 4, 8, 16, 32)), (100, (0, 4))  # episodes, and numbers of examples
MOST = 16  # examples of each name, where names are what is learned
WORDS = "words"  # the language model alone, which reads descriptions
ABOVE = 0.1  # the prior: what a language model must reach from words for a task to count in the overall score
CONTROLS = ("real", "blank_images", "shuffled_images")


def bench(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs' folders, or shipped checkpoints.")],
    quick: Annotated[bool, typer.Option("--quick", help="At 0 and 4 examples alone.")] = False,
    out: Annotated[Path, typer.Option("--out", help="A result per run and task; goes on where it stopped.")] = Path(
        "runs/bench"
    ),
    seed: Seed = 0, device: Device = "auto",
) -> None:  # fmt: skip
    """Measure runs on every task, with controls, beside what their language model makes of perfect descriptions."""
    for run in runs:
        of_the_mini_world(known_run(run))
    where = device_named(device)
    writable_folder(out)
    from minilmm.checkpoints.opening import load

    tasks = [task for task in TASKS.values() if task.described]
    models = {run: load(run, where)[0] for run in runs}
    for run, model in models.items():
        if not hasattr(model, "sees"):
            raise ValueError(f"{run}: takes no prompts: name a bridge or a language model")
    seeing = [model for model in models.values() if model.sees]
    asked = {WORDS: seeing[0].lm.eval()} | models if seeing else models
    episodes, shots = QUICK if quick else FULL
    each = {task.name: numbers(task, shots) for task in tasks}
    total = len(asked) * episodes * sum(map(len, each.values()))
    results: dict[str, dict[str, Any]] = {name: {} for name in asked}
    with progress_bar() as bar:
        line = bar.add_task("bench", total=total)
        for task in tasks:
            for name, model in asked.items():
                bar.update(line, description=f"{Path(name).name}: {task.name}")
                path = out / Path(name).name / f"{task.name}.json"
                how = {"episodes": episodes, "shots": list(each[task.name]), "seed": seed}
                results[name][task.name] = measured(model, task, how, path, where)
                bar.advance(line, episodes * len(each[task.name]))
    tell(results, shots, out)


def numbers(task: Task, shots: tuple[int, ...]) -> tuple[int, ...]:
    """At how many examples a task is measured: of each name where names are learned, else whole ones."""
    return tuple(k for k in shots if not task.per_class or k <= MOST)


def measured(model: Any, task: Task, how: dict[str, Any], path: Path, device: str) -> dict[str, Any]:
    """The result that lies there, if it was measured so; else it is measured now, and written."""
    from minilmm.checkpoints.files import replacing
    from minilmm.evaluation.fewshot import Request, evaluate

    if path.is_file():
        found: dict[str, Any] = codec.loads(path.read_text())
        if found.get("how") == how:
            return found
    request = Request(tuple(how["shots"]), episodes=how["episodes"], conditions=CONTROLS, seed=how["seed"])
    found = {"how": how, **evaluate(model, task, request, device=device)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(codec.dumps(found, indent=1) + "\n")
    return found


def value(result: dict[str, Any], shots: int, condition: str = "real") -> float | None:
    """The first metric at a number of shots, or its "prior", CIDEr as a share of its 10; None where not measured."""
    for row in result["rows"]:
        if (row["shots"], row["condition"]) == (shots, "real" if condition == "prior" else condition):
            found = row["prior" if condition == "prior" else "value"]
            return float(found) / (10 if row["metric"] == "cider" else 1)
    return None


def overall(results: dict[str, Any], readers: dict[str, Any], shots: int) -> float | None:
    """The mean over tasks of the score over what the language model alone reaches; None at other shots.

    Tasks that it does not do itself, less than `ABOVE` above the prior, do not count: any guess would be as good.
    """
    ratios = []
    for task, result in results.items():
        mine, best, prior = value(result, shots), value(readers[task], shots), value(readers[task], shots, "prior")
        if mine is not None and best and prior is not None and best >= prior + ABOVE:
            ratios.append(mine / best)
    return sum(ratios) / len(ratios) if ratios else None


def tell(results: dict[str, dict[str, Any]], shots: tuple[int, ...], out: Path) -> None:
    """The table, the figure and the JSON."""
    from minilmm import plots

    few, last = shots[1], next(reversed(results))
    heads = [f"{Path(name).name.removesuffix('-nano')[:9]}\n{k}" for name in results for k in (0, few)]
    view = new_table("task", *heads, f"blank\n{few}", title=f"score at 0 and {few} examples")
    panels: dict[str, list[Any]] = {}
    for task in results[last]:
        found = {Path(name).name: result[task] for name, result in results.items()}
        cells = [value(result, k) for result in found.values() for k in (0, few)]
        view.add_row(task, *map(cell, [*cells, value(results[last][task], few, "blank_images")]))
        panels[task] = []
        for name, result in found.items():
            panels[task] += plots.series_of(scaled(result), name, controls=name == Path(last).name)
    scores: dict[str, dict[int, float]] = {}
    if WORDS in results:
        for name, found in results.items():
            each = {k: overall(found, results[WORDS], k) for k in shots}
            scores[name] = {k: round(score, 4) for k, score in each.items() if score is not None}
        view.add_row("overall", *(cell(scores[name].get(k)) for name in results for k in (0, few)), "")
    out_console().print(view)
    save_figure(plots.few_shot_curves(panels, ylabel="score"), out / "bench.png", "curves by task")
    whole = {"overall": scores, "results": results}
    (out / "bench.json").write_text(codec.dumps(whole, indent=1) + "\n")
    say(f"{out / 'bench.json'}: every score with its controls")


def cell(score: float | None) -> str:
    """A score in the table."""
    return "" if score is None else share(score, 2)


def scaled(result: dict[str, Any]) -> dict[str, Any]:
    """A result whose CIDEr is a share of 10, so that all panels have one axis."""
    rows = result["rows"]
    if rows[0]["metric"] != "cider":
        return result
    keys = ("value", "low", "high", "ideal", "prior")
    rows = [row | {key: row[key] / 10 for key in keys if key in row} for row in rows if row["metric"] == "cider"]
    return result | {"rows": rows}

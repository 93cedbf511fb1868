"""`minilmm eval` and `minilmm curve`: scores with their controls, as a table, as JSON, as a figure."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from .common import (
    Device,
    Episodes,
    Json,
    Seed,
    Shots,
    check_json,
    chosen,
    device_named,
    new_table,
    of_the_mini_world,
    out_console,
    progress_bar,
    share,
    whole_numbers,
    writable_file,
    write_json,
)

VISION_TASKS = ("retrieval", "zero-shot")
Task = Annotated[str, typer.Option("--task", help="A task (naming, noisy-naming, vqa, ...), or a folder of pictures.")]
Ways = Annotated[int | None, typer.Option("--ways", help="Classes to choose from; 2 unless given.")]
Names = Annotated[str, typer.Option("--names", help="nonsense or real.")]
Data = Annotated[str | None, typer.Option("--data", help="Real runs: emoji, photographs, a folder; else the run's.")]
Split = Annotated[str, typer.Option("--split", help="held-out or train.")]
Scoring = Annotated[str | None, typer.Option("--scoring", help="rank or generate; the task's own unless given.")]
Rices = Annotated[bool, typer.Option("--rices", help="Examples that resemble the query, the nearest last.")]
Texts = Annotated[int, typer.Option("--zero-shot-texts", min=0, help="At 0 shots: examples without pictures.")]


def check(task: str, shots: str | None, ways: int | None, names: str, split: str, scoring: str | None, episodes: int):
    """The task and the Settings that options describe, checked before a model is loaded: (shots or None, Settings)."""
    from minilmm.evaluation.fewshot import task_named
    from minilmm.world.tasks import SPLITS, TASKS, Settings

    if task in VISION_TASKS:
        known = None
    elif task in TASKS or task == "easy-vqa" or Path(task).is_dir():
        known = task_named(task)
    else:
        every = ", ".join([*TASKS, "easy-vqa", *VISION_TASKS])
        raise ValueError(f"unknown task {task!r}: choose from {every}, or name a folder of pictures")
    if episodes < 1:
        raise ValueError(f"--episodes {episodes}: expected at least 1")
    if ways is not None and ways < 2:
        raise ValueError(f"--ways {ways}: a choice needs at least 2")
    if ways is not None and (known is None or not known.named):
        raise ValueError(f"--ways {ways}: {task} has no ways: leave it out")
    if shots is not None and known is None:
        raise ValueError(f"--shots {shots}: {task} reads no prompt: leave it out")
    chosen(names, ("nonsense", "real"), "--names")
    chosen(split, SPLITS, "--split")
    if scoring is not None:
        chosen(scoring, ("rank", "generate"), "--scoring")
    numbers = whole_numbers(shots) if shots is not None else known.shots if known is not None else None
    return numbers, Settings(ways=ways or 2, names=names, split=split)


def few_shot(
    run: str, model: Any, task: str, shots: Sequence[int], settings: Any, *, episodes: int = 500, seed: int = 0,
    device: str = "cpu", scoring: str | None = None, conditions: tuple[str, ...] | None = None, method: Any = None,
    known: Any = None,
) -> dict[str, Any]:  # fmt: skip
    """`evaluate`, one number of shots at a time under a progress bar, and the model's name in front.

    known: the task itself, where its name is not enough.
    """
    from minilmm.evaluation.fewshot import evaluate
    from minilmm.evaluation.prompts import CONDITIONS

    if not hasattr(model, "sees"):
        raise ValueError(f"{run}: reads no prompts: choose --task {' or '.join(VISION_TASKS)}")
    if not model.sees and (task in ("glyph-naming", "easy-vqa") or Path(task).is_dir()):
        raise ValueError(f"{run}: reads text only, and {task} has no words for its pictures: choose a run that sees")
    resolution = model.config.vision.resolution if model.sees else 48
    parts = []
    with progress_bar() as bar:
        for k in bar.track(shots, description=f"{run}: {task}"):
            parts.append(
                evaluate(
                    model, known or task, shots=(k,), settings=settings, episodes=episodes,
                    conditions=conditions or CONDITIONS, scoring=scoring, method=method, seed=seed,
                    resolution=resolution, device=device,
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


def see(run: str, model: Any, task: str, count: int, seed: int, device: str) -> dict[str, Any]:
    """Retrieval or zero-shot classification with a dual encoder, in the shape of a few-shot result."""
    from minilmm.blip2 import Blip2, Stage1
    from minilmm.training import blip2
    from minilmm.training.vision import retrieval, zero_shot

    matches = isinstance(model, Stage1 | Blip2)
    if not hasattr(model, "encode_text") and not (matches and task == "retrieval"):
        raise ValueError(f"{run}: {task} needs a dual encoder such as vision-nano: name one, or choose another task")
    start, count = time.perf_counter(), max(2, count + count % 2)
    if matches:
        rows = blip2.retrieval(blip2.first_stage(run).to(device), count, seed, device)
    else:
        rows = retrieval(model, count, seed, device) if task == "retrieval" else [zero_shot(model, count, seed, device)]
    kept = [{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    chance = kept[0]["chance"]
    return {
        "model": run, "task": task, "settings": {"split": "held-out", "pictures": count, "seed": seed},
        "chance": chance, "prior": chance, "rows": [{"shots": 0, "condition": "real", **row} for row in kept],
        "seconds": round(time.perf_counter() - start, 2), "device": device,
    }  # fmt: skip


def table(result: dict[str, Any]) -> Table:
    """A result as a table of at most 80 columns: a line per number of shots, or per metric."""
    rows = result["rows"]

    def cell(row: dict[str, Any]) -> str:
        return f"{share(row['value'])} {share(row['low'], 2)}-{share(row['high'], 2)}"

    if result["task"] in VISION_TASKS:
        view = new_table("metric", "value", "95 % interval", "chance", title=f"{result['model']}  {result['task']}")
        for row in rows:
            interval = f"{share(row['low'])}-{share(row['high'])}"
            view.add_row(row["metric"], share(row["value"]), interval, share(row["chance"]))
        return view
    ideal, metrics = any("ideal" in row for row in rows), list(dict.fromkeys(row["metric"] for row in rows))
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    heads = [c.replace("_images", "").replace("_", " ") for c in conditions]
    ways = f"  {result['settings']['ways']} ways" if "naming" in result["task"] else ""
    title = f"{result['model']}  {result['task']}{ways}"
    ends = ["ideal"] if ideal else [] if len(metrics) == 1 else ["metric"]
    view = new_table("shots", *heads, *(["prior"] if len(metrics) == 1 else []), *ends, left=0, title=title)
    for metric in metrics:
        for k in dict.fromkeys(row["shots"] for row in rows):
            here = [row for row in rows if row["shots"] == k and row["metric"] == metric]
            last = [share(here[0]["ideal"])] if ideal else []
            told = [share(here[0]["prior"]), *last] if len(metrics) == 1 else [metric.replace("_", " ")]
            view.add_row(str(k), *map(cell, here), *told)
    return view


def footnote(result: dict[str, Any]) -> str:
    """How it was measured, in a line."""
    s = result["settings"]
    number = f"{s['episodes']} episodes" if "episodes" in s else f"{s['pictures']} pictures"
    how = f", scored by {s['scoring']}" if "scoring" in s else ""
    named = {"beams": "{} beams", "orders": "{} orders", "zero_shot_texts": "{} texts at zero shots"}
    how += "".join(f", {told.format(s[key])}" for key, told in named.items() if key in s)
    how += (", RICES" if s.get("rices") else "") + (", per token" if s.get("per_token") else "")
    measured = f"chance {share(result['chance'])}; {result['seconds']:.1f} s on {result['device']}"
    how += f", {s['data']}" if "data" in s else ""
    return f"{s['split']}, {number}{how}, seed {s['seed']}; {measured}"


def evaluate_run(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or a shipped checkpoint.")],
    task: Task,
    shots: Shots = None,
    ways: Ways = None,
    repeats: Annotated[int, typer.Option("--repeats", min=0, help="Extra copies of each demonstration.")] = 0,
    induction: Annotated[bool, typer.Option("--induction", help="Say the names in a first sentence.")] = False,
    names: Names = "nonsense",
    split: Split = "held-out",
    data: Data = None,
    scoring: Scoring = None,
    episodes: Episodes = 500,
    conditions: Annotated[str | None, typer.Option(help="Of real, blank_images, shuffled_images, text_only.")] = None,
    seed: Seed = 0,
    beams: Annotated[int, typer.Option("--beams", min=1, help="Beams of a generated answer; the paper has 3.")] = 1,
    orders: Annotated[int, typer.Option("--orders", min=1, help="Average over orders of examples; by rank.")] = 1,
    rices: Rices = False,
    zero_shot_texts: Texts = 0,
    per_token: Annotated[
        bool, typer.Option("--per-token", help="Rank by the mean per token: real names differ.")
    ] = False,
    device: Device = "auto",
    json: Json = None,
) -> None:
    """Score a run on a task, beside its controls."""
    from minilmm.evaluation.fewshot import Method
    from minilmm.evaluation.prompts import CONDITIONS
    from minilmm.training.checkpoint import load

    from . import real

    numbers, settings = check(task, shots, ways, names, split, scoring, episodes)
    settings = dataclasses.replace(settings, repeats=repeats, induction=induction)
    method = Method(beams, orders, rices, zero_shot_texts, per_token)
    if task in VISION_TASKS and method != Method():
        raise ValueError(
            f"{task}: reads no prompt: leave --beams, --orders, --rices, --per-token and --zero-shot-texts out"
        )
    asked = conditions.split(",") if conditions is not None else CONDITIONS
    under = tuple(dict.fromkeys(chosen(c.strip(), CONDITIONS, "--conditions") for c in asked))
    where = device_named(device)
    check_json(json)
    if real.is_real(run, data):
        result = real.measured(run, task, data, numbers if shots else None, settings, episodes=episodes, seed=seed,
                               device=where, scoring=scoring, conditions=under, method=method)  # fmt: skip
    else:
        model, _ = load(of_the_mini_world(run), where)
        if task in VISION_TASKS:
            result = see(run, model, task, episodes, seed, where)
        else:
            result = few_shot(run, model, task, numbers, settings, episodes=episodes, seed=seed, device=where,
                              scoring=scoring, conditions=under, method=method)  # fmt: skip
    console = out_console(quiet=json == "-")
    console.print(table(result))
    console.print(footnote(result), style="dim")
    write_json(json, result)


def curve(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs' folders, or shipped checkpoints.")],
    task: Task,
    shots: Shots = None,
    ways: Ways = None,
    names: Names = "nonsense",
    split: Split = "held-out",
    data: Data = None,
    scoring: Scoring = None,
    episodes: Episodes = 500,
    out: Annotated[Path, typer.Option("--out", help="The figure; .png, .pdf or .svg.")] = Path("curve.png"),
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = None,
) -> None:
    """Few-shot curves of several runs in one figure, with the controls of the first."""
    from minilmm import plots
    from minilmm.training.checkpoint import load

    from . import real

    numbers, settings = check(task, shots, ways, names, split, scoring, episodes)
    if numbers is None:
        raise ValueError(f"{task}: has no shots, hence no curve: use minilmm eval")
    chosen(out.suffix, (".png", ".pdf", ".svg"), "--out: the suffix")
    where = device_named(device)
    writable_file(out)
    check_json(json)
    between = {run: real.is_real(run, data) for run in dict.fromkeys(runs)}
    models = {run: None if between[run] else load(of_the_mini_world(run), where)[0] for run in between}
    console, results, series = out_console(quiet=json == "-"), [], []
    for i, (run, model) in enumerate(models.items()):
        how: dict[str, Any] = {"episodes": episodes, "seed": seed, "device": where, "scoring": scoring,
                               "conditions": None if i == 0 else ("real",)}  # fmt: skip
        if between[run]:
            result = real.measured(run, task, data, numbers if shots else None, settings, **how)
        else:
            result = few_shot(run, model, task, numbers, settings, **how)
        results.append(result)
        series += plots.series_of(result, run, controls=i == 0)
        console.print(table(result))
        console.print(footnote(result), style="dim")
    plots.save(plots.few_shot_curves({results[0]["task"]: series}), out)
    console.print(f"drawn {out}", soft_wrap=True)
    write_json(json, {"task": task, "curves": results, "figure": str(out)})

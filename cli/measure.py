"""`minilmm eval` and `minilmm curve`: scores with their controls, as a table, as JSON, as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from minilmm.evaluation.request import Request
from minilmm.evaluation.tasks import CONDITIONS, FOLDER, REAL, SPLITS, TASKS, Settings, Task

from .common import MOST_PICTURES, Device, Episodes, Json, Seed, check_figure, check_json, device_named, write_json
from .console import new_table, out_console, share
from .names import chosen, is_real, known_run, nearest
from .scoring import VISION_TASKS, score

EPISODES = 500
LOOKED_AT = 2000  # pictures of retrieval and zero-shot classification, which are all seen at once
METRICS = {"exact": "exact match", "cider": "CIDEr", "scene_f1": "scene F1", "chair": "CHAIR", "auc": "ROC AUC",
           "map": "mAP", "mrr": "MRR", "iou": "IoU", "top5": "top 5", "yes_rate": "yes"}  # fmt: skip
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or a shipped checkpoint.")]
Asked = Annotated[str, typer.Option("--task", help="A task (naming, noisy-naming, vqa, ...), or a folder of pictures.")]
Shots = Annotated[str | None, typer.Option("--shots", help="Numbers of examples, such as 0,1,4.")]
Ways = Annotated[int | None, typer.Option("--ways", min=2, max=64, help="Classes to choose from; 2 unless given.")]
Names = Annotated[str, typer.Option("--names", help="nonsense or real.")]
Data = Annotated[str | None, typer.Option("--data", help="Real runs: emoji, photographs, a folder; else the run's.")]
Split = Annotated[str, typer.Option("--split", help="held-out or train.")]
Scoring = Annotated[str | None, typer.Option("--scoring", help="rank or generate; the task's own unless given.")]
Rices = Annotated[bool, typer.Option("--rices", help="Examples that resemble the query, the nearest last.")]
Pooled = Annotated[int, typer.Option("--pool", min=0, max=5000, help="With --rices: from so many; 0: the task's own.")]
Texts = Annotated[int, typer.Option("--zero-shot-texts", min=0, max=32, help="At 0 shots: examples without pictures.")]
PerToken = Annotated[bool, typer.Option("--per-token", help="Rank by the mean per token: real names differ.")]


def check(run: str, name: str, given: dict[str, Any]) -> tuple[bool, tuple[int, ...] | None]:
    """What options describe, checked before torch is imported: is the run between real models; the shots, if given.

    given: options by the names of `Request` and `Settings`; None or their usual value where they were left out.
    """
    real = is_real(known_run(run, models=True))
    if real and name not in (*REAL, "retrieval"):
        raise ValueError(f"--task {name}: with real models choose {', '.join(REAL)} or retrieval")
    known = [*TASKS, *VISION_TASKS]
    if name not in known and not Path(name).is_dir():
        listed = f"choose from {', '.join(known)}, or name a folder of pictures"
        raise ValueError(f"unknown task {name!r}{nearest(name, known) or ':'} {listed}")
    task = None if name in VISION_TASKS else (REAL if real else TASKS).get(name, FOLDER)
    usual = {"names": "nonsense", "split": "held-out", "convention": "inferred", "beams": 1, "orders": 1,
             "episodes": EPISODES}  # fmt: skip
    given = {option: value for option, value in given.items() if value not in (usual.get(option), 0, False, None)}
    reads = task.options if task is not None else () if real else ("episodes",)
    for option, value in given.items():
        if option not in reads:
            flag = f"--{option.replace('_', '-')}"
            as_given = flag if value is True else f"{flag} {value}"
            raise ValueError(f"{as_given}: {name} does not use it: leave {flag} out")
    for option, values in (("names", ("nonsense", "real")), ("split", SPLITS), ("scoring", ("rank", "generate")),
                           ("convention", ("inferred", "given"))):  # fmt: skip
        if option in given:
            chosen(given[option], values, f"--{option}")
    if task is None:
        if given.get("episodes", 0) > LOOKED_AT:
            most = f"{name} compares all pictures at once: at most {LOOKED_AT}"
            raise ValueError(f"--episodes {given['episodes']}: {most}")
        return real, None
    check_scoring(task, given)
    if "shots" not in given:
        return real, None
    numbers = whole_numbers(given["shots"])
    classes = given.get("ways", 2) if "ways" in reads else 1
    most = max(numbers) * classes * (1 + given.get("repeats", 0))
    if most > MOST_PICTURES:
        raise ValueError(f"--shots {max(numbers)}: makes {most} pictures in a prompt: at most {MOST_PICTURES}")
    return real, numbers


def whole_numbers(text: str) -> tuple[int, ...]:
    """ "0,1,4" -> (0, 1, 4), each once; ValueError for anything else."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--shots {text[:40]!r}: give whole numbers with commas between, such as 0,1,4") from None
    if min(numbers) < 0 or max(numbers) > MOST_PICTURES:
        raise ValueError(f"--shots {text[:40]}: a number of shots is 0 to {MOST_PICTURES}")
    return tuple(dict.fromkeys(numbers))


def check_scoring(task: Task, given: dict[str, Any]) -> None:
    """ValueError where options do not go together."""
    scoring = given.get("scoring", task.scorings[0])
    if task.ways not in (None, given.get("ways", task.ways)):
        raise ValueError(f"--ways {given['ways']}: {task.name} has {task.ways} ways: leave --ways out")
    if "beams" in given and scoring == "rank":
        raise ValueError("--beams: answers are ranked here, not searched for: add --scoring generate")
    if scoring != "rank" and (ranked := [option for option in ("orders", "per_token") if option in given]):
        flag = f"--{ranked[0].replace('_', '-')}"
        raise ValueError(f"{flag}: answers are generated here, not ranked: add --scoring rank")


def print_result(console: Console, result: dict[str, Any]) -> None:
    """A result as a table of at most 80 columns, a line per number of shots or per metric, and how it was measured."""
    rows, s, title = result["rows"], result["settings"], f"{result['model']}  {result['task']}"
    if result["task"] in VISION_TASKS:
        view = new_table("metric", "value", "95 % interval", "chance", title=title)
        for row in rows:
            interval = f"{share(row['low'])}-{share(row['high'])}"
            view.add_row(row["metric"], share(row["value"]), interval, share(row["chance"]))
    else:
        metrics = list(dict.fromkeys(row["metric"] for row in rows))
        last = [name for name in ("prior", "ideal") if name in rows[0]] if len(metrics) == 1 else ["metric"]
        heads = [c.replace("_images", "").replace("_", " ") for c in dict.fromkeys(row["condition"] for row in rows)]
        title += f"  {s['ways']} ways" if "ways" in s else ""
        view = new_table("shots", *heads, *last, left=0, title=title)
        for metric in metrics:
            for k in dict.fromkeys(row["shots"] for row in rows):
                here = [row for row in rows if row["shots"] == k and row["metric"] == metric]
                cells = [f"{share(row['value'])} {share(row['low'], 2)}-{share(row['high'], 2)}" for row in here]
                cells += [METRICS.get(metric, metric) if name == "metric" else share(here[0][name]) for name in last]
                view.add_row(str(k), *cells)
    console.print(view)
    console.print(footnote(result), style="dim")


def footnote(result: dict[str, Any]) -> str:
    """How it was measured, in a line."""
    s = result["settings"]
    number = f"{s['episodes']} episodes" if "episodes" in s else f"{s['pictures']} pictures"
    how = f", scored by {s['scoring']}" if "scoring" in s else ""
    chance = f"chance {share(result['chance'])}"
    if s.get("scoring") in ("generate", "caption"):
        chance = "no chance level"
    counts = {"beams": "beams", "orders": "orders", "zero_shot_texts": "texts at zero shots"}
    how += "".join(f", {s[key]} {name}" for key, name in counts.items() if key in s)
    how += (f", RICES{' of ' * bool(s.get('pool'))}{s.get('pool') or ''}" if s.get("rices") else "") + (
        ", per token" if s.get("per_token") else ""
    )
    how += f", {s['data']}" if "data" in s else ""
    cost = f"{result['seconds']:.1f} s on {result['device']}"
    return f"{s['split']}, {number}{how}, seed {s['seed']}; {chance}; {cost}"


def evaluate_run(
    run: Run, task: Asked, shots: Shots = None, ways: Ways = None,
    repeats: Annotated[int, typer.Option("--repeats", min=0, max=16, help="Extra copies of each demonstration.")] = 0,
    induction: Annotated[bool, typer.Option("--induction", help="Say the names in a first sentence.")] = False,
    names: Names = "nonsense", split: Split = "held-out", data: Data = None, scoring: Scoring = None,
    episodes: Episodes = EPISODES,
    convention: Annotated[str, typer.Option(help="Of answers: inferred from examples, or given first.")] = "inferred",
    conditions: Annotated[str | None, typer.Option(help="Of real, blank_images, shuffled_images, text_only.")] = None,
    seed: Seed = 0,
    beams: Annotated[int, typer.Option(min=1, max=32, help="Beams of a generated answer; the paper has 3.")] = 1,
    orders: Annotated[int, typer.Option(min=1, max=64, help="Average over orders of examples; by rank.")] = 1,
    rices: Rices = False, pool: Pooled = 0, zero_shot_texts: Texts = 0, per_token: PerToken = False,
    device: Device = "auto", json: Json = None,
) -> None:  # fmt: skip
    """Score a run on a task, beside its controls."""
    made: dict[str, Any] = {
        "repeats": repeats,
        "induction": induction,
        "names": names,
        "split": split,
        "convention": convention,
    }
    how: dict[str, Any] = {"beams": beams, "orders": orders, "rices": rices, "pool": pool,
                           "zero_shot_texts": zero_shot_texts, "per_token": per_token}  # fmt: skip
    asked = {"shots": shots, "ways": ways, **made, "scoring": scoring, "episodes": episodes, "conditions": conditions}
    real, numbers = check(run, task, asked | how)
    listed = conditions.split(",") if conditions is not None else CONDITIONS
    under = tuple(dict.fromkeys(chosen(c.strip(), CONDITIONS, "--conditions") for c in listed))
    check_json(json)
    request = Request(numbers, Settings(ways=ways or 2, **made), episodes, under, scoring, seed, **how)
    result = score(run, task, request, real, data, device_named(device))
    print_result(out_console(quiet=json == "-"), result)
    write_json(json, result)


def curve(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs' folders, or shipped checkpoints.")],
    task: Asked, shots: Shots = None, ways: Ways = None, names: Names = "nonsense", split: Split = "held-out",
    data: Data = None, scoring: Scoring = None, episodes: Episodes = EPISODES,
    out: Annotated[Path, typer.Option("--out", help="The figure; .png, .pdf or .svg.")] = Path("curve.png"),
    seed: Seed = 0, device: Device = "auto", json: Json = None,
) -> None:  # fmt: skip
    """Few-shot curves of several runs in one figure, with the controls of the first."""
    if task in VISION_TASKS:
        raise ValueError(f"{task}: has no shots, hence no curve: use minilmm eval")
    options = {"shots": shots, "ways": ways, "names": names, "split": split, "scoring": scoring, "episodes": episodes}
    checked = {run: check(run, task, options) for run in runs}
    check_figure(out)
    check_json(json)
    where = device_named(device)
    from minilmm import plots

    settings = Settings(ways=ways or 2, names=names, split=split)
    console, results, series = out_console(quiet=json == "-"), [], []
    for i, (run, (real, numbers)) in enumerate(checked.items()):
        request = Request(numbers, settings, episodes, ("real",) if i else CONDITIONS, scoring, seed)
        results.append(score(run, task, request, real, data, where))
        series += plots.series_of(results[-1], run, controls=i == 0)
        print_result(console, results[-1])
    metric = results[0]["rows"][0]["metric"]
    figure = plots.few_shot_curves({results[0]["task"]: series}, ylabel=METRICS.get(metric, metric))
    plots.save(figure, out)
    console.print(f"drawn {out}", soft_wrap=True)
    write_json(json, {"task": task, "curves": results, "figure": str(out)})

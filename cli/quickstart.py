"""`minilmm quickstart`: train Frozen through the shipped language model, draw its few-shot curves, write a report."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import Device, Episodes, Seed, command_line, device_named, new_table, out_console, share, writable_folder
from .measure import few_shot
from .train import changed, decide, finish, run, steps_within, training_folder, unfinished

PANELS = (  # title, task, ways, shots
    ("naming, 2 ways", "naming", 2, (0, 1, 2, 4)),
    ("naming, 5 ways", "naming", 5, (0, 1, 2, 4)),
    ("noisy naming", "noisy-naming", 2, (0, 1, 4, 16)),
    ("questions (VQA)", "vqa", 2, (0, 1, 2, 4)),
)
LEGEND = """
What each line means:

- **Frozen**: real pictures, pairs of colour and shape that training never showed. In naming the pictures bear names
  that nothing was ever called before the prompt; *shots* are examples per class, in VQA whole examples.
- **blank images** (all pictures grey), **shuffled images** (those of other episodes), **text-only demonstrations**
  (pictures and tags taken out, except the query's): what is left when the pictures tell nothing. They belong at chance,
  or at the prior; about one interval in forty lies above it by luck. Text-only demonstrations leave the query its
  picture: at zero shots nothing is taken away, and in VQA the line shows what the demonstrations' pictures add.
- **chance**: one over the ways. **prior**: the commonest answer to a question of that kind.
- **ideal observer**: exact Bayes over the attributes and the flipped names. Nothing can lie above it for long.
"""


def clear(place: Path) -> None:
    """Takes an earlier quickstart's run away: its own four files, nothing else."""
    from minilmm.training.checkpoint import CARD, CHECKPOINT, LOG, MODEL

    for name in (CARD, MODEL, CHECKPOINT, LOG):
        (place / name).unlink(missing_ok=True)


def quickstart(
    out: Annotated[Path, typer.Option("--out", help="Where everything goes.")] = Path("runs/quickstart"),
    seed: Seed = 0,
    device: Device = "auto",
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Training steps.")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0.01, help="Train for about this long.")] = None,
    episodes: Episodes = 200,
    lm: Annotated[str, typer.Option(help="The language model to train through.")] = "lm-nano",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with one that was stopped.")] = False,
) -> None:
    """Train Frozen in a minute or two, then draw its few-shot curves beside every control."""
    from minilmm.training import frozen
    from minilmm.training.checkpoint import CARD, LOG, load, read_card

    if steps is not None and minutes is not None:
        raise ValueError("--steps and --minutes: give one of them")
    if episodes < 1:
        raise ValueError(f"--episodes {episodes}: expected at least 1")
    start, where, console, place = time.perf_counter(), device_named(device), out_console(), out / "frozen"
    load(lm)  # a missing or damaged one shows before anything is written
    writable_folder(out)
    if not resume:
        clear(place)
    if not (place / CARD).is_file():
        changes = {"optimisation": {"steps": steps, "lr": None}, "lm": lm, "seed": seed}
        recipe = decide(frozen.preset, "quick", "quick", place, resume, changes)
        with training_folder(place, resume):
            if minutes is not None and unfinished(place, type(recipe)) is None:
                recipe = changed(recipe, {"optimisation": {"steps": steps_within(minutes, recipe, where)}})
            eyes = "from scratch" if recipe.eyes == "scratch" else f"starting as {recipe.vision}"
            console.print(f"1. Frozen: {recipe.optimisation.steps} steps on captions, its eyes {eyes},")
            console.print(f"   through {lm}, which stays frozen")
            run(frozen.train, recipe, place, resume, where, probe_every=max(1, recipe.optimisation.steps // 4))
        finish(place)
    trained = time.perf_counter()
    console.print(f"2. Few-shot tasks on held-out pictures, {episodes} episodes each, with controls")
    model, card = load(place, where)
    results = measured(model, episodes, seed, where)
    console.print("3. Figures and report")
    draw(results, [json.loads(line) for line in (place / LOG).read_text().splitlines()], out)
    seconds = {"training": card["metrics"]["seconds"], "all": round(time.perf_counter() - start, 1)}
    facts = {"command": command_line(), "seed": seed, "device": where, "seconds": seconds, "episodes": episodes}
    (out / "results.json").write_text(json.dumps({**facts, "results": results}, indent=1) + "\n")
    (out / "report.md").write_text(report(results, facts, read_card(place)))
    console.print(summary(results))
    console.print(f"{seconds['all']:.0f} s, of which {time.perf_counter() - trained:.0f} s measuring; written:")
    for name in ("few_shot.png", "training.png", "report.md", "results.json", "frozen/model.safetensors"):
        console.print(f"  {out / name}", soft_wrap=True)


def measured(model: Any, episodes: int, seed: int, device: str) -> dict[str, Any]:
    """The panels' results by their titles."""
    from minilmm.world.tasks import Settings

    how: dict[str, Any] = {"episodes": episodes, "seed": seed, "device": device}
    return {
        title: few_shot("quickstart", model, task, shots, Settings(ways=ways), **how)
        for title, task, ways, shots in PANELS
    }


def draw(results: dict[str, Any], log: list[dict[str, Any]], out: Path) -> None:
    """few_shot.png and training.png."""
    from minilmm import plots

    plots.save(
        plots.few_shot_curves({title: plots.series_of(r, "Frozen") for title, r in results.items()}),
        out / "few_shot.png",
    )
    names = {"naming_2way_real": "2 ways", "naming_5way_real": "5 ways", "naming_5way_blank_images": "5 ways, blank"}
    probes = {label: [{"step": r["step"], "accuracy": r[k]} for r in log if k in r] for k, label in names.items()}
    plots.save(plots.training_curves({"loss": {"captions": log}, "accuracy": probes}), out / "training.png")


def by_shots(result: dict[str, Any]) -> dict[str, dict[int, float]]:
    """Line by line and per shots: real, the higher of blank and shuffled, the ideal observer, chance or prior."""
    rows = result["rows"]
    real = {r["shots"]: r["value"] for r in rows if r["condition"] == "real"}
    told = {"Frozen": real}
    controls = [r for r in rows if r["condition"] in ("blank_images", "shuffled_images")]
    told["blank or shuffled"] = {k: max(r["value"] for r in controls if r["shots"] == k) for k in real}
    if result["chance"]:
        told["chance"] = dict.fromkeys(real, result["chance"])
    else:
        told["prior"] = {r["shots"]: r["prior"] for r in rows}
    if all("ideal" in r for r in rows):
        told["ideal observer"] = {r["shots"]: r["ideal"] for r in rows}
    return told


def summary(results: dict[str, Any]) -> Any:
    """The results as a table of at most 80 columns."""
    shots = sorted({r["shots"] for result in results.values() for r in result["rows"]})
    view = new_table("accuracy at shots", "", *map(str, shots), left=2)
    for title, result in results.items():
        for i, (name, values) in enumerate(by_shots(result).items()):
            style = "bold" if name == "Frozen" else "dim"
            cells = [share(values[k]) if k in values else "" for k in shots]
            view.add_row("" if i else title, name, *cells, style=style)
    return view


def report(results: dict[str, Any], facts: dict[str, Any], card: dict[str, Any]) -> str:
    """report.md: the figure, all numbers, what they mean, how they were made."""
    optimisation, recipe = card["recipe"]["optimisation"], card["recipe"]
    text = [
        "# Quickstart: Frozen", "",
        f"Trained on captions only, {optimisation['steps']} steps of {recipe['batch']} pictures, through the language "
        f"model {recipe['lm']}, which kept every byte; the eyes began as {recipe['vision']}.", "",
        "![few-shot curves](few_shot.png)", LEGEND,
    ]  # fmt: skip
    for title, result in results.items():
        conditions = list(dict.fromkeys(r["condition"] for r in result["rows"]))
        heads = ["shots", *(c.replace("_", " ") for c in conditions), "prior", "ideal"]
        how = "ranking" if result["settings"]["scoring"] == "rank" else "generating"
        text += ["", f"## {title}", "", f"Chance {share(result['chance'])}, scored by {how} the answer.", ""]
        text += ["| " + " | ".join(heads) + " |", "|--:" * len(heads) + "|"]
        for k in dict.fromkeys(r["shots"] for r in result["rows"]):
            here = [r for r in result["rows"] if r["shots"] == k]
            cells = [f"{share(r['value'])} ({share(r['low'])}-{share(r['high'])})" for r in here]
            ideal = share(here[0]["ideal"]) if "ideal" in here[0] else ""
            text.append("| " + " | ".join([str(k), *cells, share(here[0]["prior"]), ideal]) + " |")
    text += ["", "Brackets: 95 % bootstrap intervals over episodes.", "", "![training](training.png)", "", "## How", ""]
    text += [f"- command: `{facts['command']}`", f"- seed: {facts['seed']}, device: {facts['device']}"]
    text += [f"- seconds: {facts['seconds']['training']} training, {facts['seconds']['all']} altogether"]
    text += [f"- episodes per number of shots: {facts['episodes']}", f"- weights: SHA-256 `{card['sha256']}`", ""]
    return "\n".join(text)

"""`minilmm quickstart`: train all three bridges through the shipped language model, draw them on one figure."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import (
    Device,
    Episodes,
    Seed,
    Stopped,
    command_line,
    device_named,
    new_table,
    out_console,
    share,
    writable_folder,
)
from .fewshot import few_shot
from .options import Steps
from .runs import decide, finish, finished, go_on, run, sigterm_as_ctrl_c, training_folder

BRIDGES = {"frozen": "Frozen", "flamingo": "Flamingo", "blip2": "BLIP-2"}
FIRST = "blip2-stage1"  # where BLIP-2's first stage lies
WRITTEN = ("few_shot.png", "training.png", "report.md", "results.json")
PANELS = (  # title, task, ways, shots
    ("naming, 2 ways", "naming", 2, (0, 1, 2, 4)),
    ("naming, 5 ways", "naming", 5, (0, 1, 2, 4)),
    ("noisy naming", "noisy-naming", 2, (0, 1, 4, 16)),
    ("questions (VQA)", "vqa", 2, (0, 1, 2, 4)),
)
LEGEND = """
What each line means:

- **Frozen**, **Flamingo**, **BLIP-2**: real pictures, pairs of colour and shape that training never showed. In naming
  the pictures bear names that nothing was ever called before the prompt; *shots* are examples per class, in VQA whole
  examples.
- The controls are BLIP-2's. **blank images** (all pictures grey), **shuffled images** (those of other episodes),
  **text-only demonstrations** (pictures and tags taken out, except the query's): what is left when the pictures tell
  nothing. They belong at chance,
  or at the prior; about one interval in forty lies above it by luck. Text-only demonstrations leave the query its
  picture: at zero shots nothing is taken away, and in VQA the line shows what the demonstrations' pictures add.
- **chance**: one over the ways. **prior**: the commonest answer to a question of that kind.
- **ideal observer**: exact Bayes over the attributes and the flipped names. Nothing can lie above it for long.
"""


def make_room(out: Path, resume: bool, force: bool) -> None:
    """Takes an earlier quickstart away by its names if told to; ValueError where it would overwrite something."""
    from minilmm.checkpoints.files import erase
    from minilmm.checkpoints.saving import RUN

    if resume and force:
        raise ValueError("--resume and --force: give one of them")
    if resume:
        return
    folders = [out / name for name in (*BRIDGES, FIRST)]
    if not force:
        for path in (*(place / name for place in folders for name in RUN), *(out / name for name in WRITTEN)):
            if path.exists():
                ways = "go on with --resume, choose another --out, or erase it with --force"
                raise ValueError(f"{out}: holds {path.relative_to(out)} already: {ways}")
    for place in folders:
        erase(place, RUN)
    erase(out, WRITTEN)


def quickstart(
    out: Annotated[Path, typer.Option("--out", help="Where everything goes.")] = Path("runs/quickstart"),
    seed: Seed = 0,
    device: Device = "auto",
    steps: Steps = None,
    episodes: Episodes = 200,
    lm: Annotated[str, typer.Option(help="The language model to train through.")] = "lm-nano",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with one that was stopped.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Erase an earlier one in the same folder.")] = False,
) -> None:
    """Train Frozen, Flamingo and BLIP-2 in a few minutes, then draw their few-shot curves beside every control."""
    from minilmm.checkpoints.files import held
    from minilmm.checkpoints.saving import load

    where = device_named(device)
    load(lm)  # a missing or damaged one shows before anything is written
    writable_folder(out)
    with sigterm_as_ctrl_c(), held(out):
        make_room(out, resume, force)
        try:
            make(out, seed, where, steps, episodes, lm, resume)
        except (KeyboardInterrupt, Stopped):
            raise Stopped(f"stopped; what has trained is in {out}; continue with: {go_on()}") from None


def make(out: Path, seed: int, where: str, steps: int | None, episodes: int, lm: str, resume: bool) -> None:
    """Train what is missing, measure, draw and tell."""
    from minilmm.checkpoints.saving import LOG, load, read_card, read_log

    start, console = time.perf_counter(), out_console()
    for number, kind in enumerate(BRIDGES, 1):
        console.print(f"{number}. {BRIDGES[kind]} through {lm}, which stays frozen")
        bridge(kind, out, {"steps": steps, "lm": lm, "seed": seed}, resume, where)
    trained = time.perf_counter()
    runs = {name: kind for kind, name in BRIDGES.items()} | {"BLIP-2, stage 1": FIRST}
    logs = {name: read_log(out / kind / LOG) for name, kind in runs.items()}
    console.print(f"{len(BRIDGES) + 1}. Few-shot tasks on held-out pictures, {episodes} episodes each, with controls")
    results = {
        name: measured(load(out / kind, where)[0], name, episodes, seed, where, kind == list(BRIDGES)[-1])
        for kind, name in BRIDGES.items()
    }
    console.print(f"{len(BRIDGES) + 2}. Figures and report")
    cards = {name: read_card(out / kind) for kind, name in BRIDGES.items()}
    draw(results, logs, out)
    seconds = {name: card["metrics"]["seconds"] for name, card in cards.items()}
    seconds["all"] = round(time.perf_counter() - start, 1)
    facts = {"command": command_line(), "seed": seed, "device": where, "seconds": seconds, "episodes": episodes}
    (out / "results.json").write_text(json.dumps({**facts, "results": results}, indent=1) + "\n")
    table = differences(out)
    (out / "report.md").write_text(report(results, facts, cards, table))
    console.print(summary(results))
    view = new_table("what changes", *BRIDGES.values(), left=4)
    for title, *cells in table:
        view.add_row(title, *cells)
    console.print(view)
    console.print(f"{seconds['all']:.0f} s, of which {time.perf_counter() - trained:.0f} s measuring; written:")
    for name in (*WRITTEN, *(f"{kind}/" for kind in (*BRIDGES, FIRST))):
        console.print(f"  {out / name}", soft_wrap=True)
    console.print("what next:")
    for line in (f"look at {out / 'few_shot.png'}, and read {out / 'report.md'}",
                 f"minilmm ask {out / 'frozen'} --image a.png      what it makes of a picture of yours",
                 "minilmm exercises list      build it yourself, from the first exercise on"):  # fmt: skip
        console.print(f"  {line}", soft_wrap=True, markup=False)


def bridge(kind: str, out: Path, changes: dict[str, Any], resume: bool, device: str) -> None:
    """Train one bridge by its quick recipe; BLIP-2 in its two stages."""
    import importlib

    training = importlib.import_module(f"minilmm.training.{kind}")
    stages: list[tuple[Path, Any, dict[str, Any]]] = [(out / kind, training.preset, changes)]
    if kind == "blip2":
        first, alone = out / FIRST, {name: value for name, value in changes.items() if name != "lm"}
        stages = [(first, lambda name: training.preset(name, 1), alone),
                  (out / kind, lambda name: training.preset(name, 2), changes | {"start": str(first)})]  # fmt: skip
    for place, preset, asked in stages:
        recipe = decide(preset, "quick", "quick", place, resume, asked)
        if finished(place, type(recipe)) is not None:
            out_console().print(f"  {place}: has trained already", soft_wrap=True)
            continue
        with training_folder(place, resume):
            run(recipe, place, resume, device, probe_every=max(1, recipe.optimisation.steps // 4))
        finish(place)


def differences(out: Path) -> list[tuple[str, ...]]:
    """What changes from bridge to bridge, a row each: (title, Frozen, Flamingo, BLIP-2)."""
    from minilmm.checkpoints.saving import load, read_card
    from minilmm.training.job import trained_names

    def trained(name: str) -> int:
        model, card = load(out / name)
        parameters = dict(model.named_parameters())
        return sum(parameters[name].numel() for name in trained_names(card, parameters))

    sizes, both = [trained("frozen"), trained("flamingo")], [trained(FIRST), trained("blip2")]
    seconds = [read_card(out / name)["metrics"]["seconds"] for name in (*BRIDGES, FIRST)]
    return [
        *CHANGED,
        ("parameters trained", *(f"{n / 1e6:.2f}M" for n in sizes), " and ".join(f"{n / 1e6:.2f}M" for n in both)),
        ("seconds", *(f"{s:.0f}" for s in seconds[:2]), f"{seconds[3]:.0f} and {seconds[2]:.0f}"),
    ]


def measured(model: Any, name: str, episodes: int, seed: int, device: str, drawn: bool) -> dict[str, Any]:
    """The panels' results by their titles; under every condition where they are drawn, else beside blank pictures."""
    from minilmm.evaluation.tasks import Settings

    how: dict[str, Any] = {"episodes": episodes, "seed": seed, "device": device}
    how["conditions"] = None if drawn else ("real", "blank_images")
    return {
        title: few_shot(name, model, task, shots, Settings(ways=ways), **how) for title, task, ways, shots in PANELS
    }


def draw(results: dict[str, Any], logs: dict[str, list[dict[str, Any]]], out: Path) -> None:
    """few_shot.png, the controls of the last bridge with it, and training.png."""
    from minilmm import plots

    last = list(results)[-1]
    panels = {
        title: [series for name in results for series in plots.series_of(results[name][title], name, name == last)]
        for title, *_ in PANELS
    }
    plots.save(plots.few_shot_curves(panels), out / "few_shot.png")
    key, label = "naming_5way_real", "naming, 5 ways"
    probes = {name: [{"seconds": r["seconds"], label: r[key]} for r in log if key in r] for name, log in logs.items()}
    probes = {name: rows for name, rows in probes.items() if rows}
    plots.save(plots.training_curves({"loss": logs, label: probes}, x="seconds"), out / "training.png")


def by_shots(results: dict[str, Any]) -> dict[str, dict[int, float]]:
    """Line by line and per shots: the bridges, the highest of their blank and shuffled, the ideal, chance or prior."""
    told = {name: {r["shots"]: r["value"] for r in result["rows"] if r["condition"] == "real"}
            for name, result in results.items()}  # fmt: skip
    result = list(results.values())[-1]
    real, rows = next(iter(told.values())), result["rows"]
    controls = [
        r for one in results.values() for r in one["rows"] if r["condition"] in ("blank_images", "shuffled_images")
    ]
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
    shots = sorted({k for _, _, _, shots in PANELS for k in shots})
    view = new_table("accuracy at shots", "", *map(str, shots), left=2)
    for title, *_ in PANELS:
        for i, (name, values) in enumerate(by_shots({b: results[b][title] for b in results}).items()):
            style = "bold" if name in results else "dim"
            cells = [share(values[k]) if k in values else "" for k in shots]
            view.add_row("" if i else title, name, *cells, style=style)
    return view


def report(results: dict[str, Any], facts: dict[str, Any], cards: dict[str, Any], table: list[tuple[str, ...]]) -> str:
    """report.md: the figure, all numbers, what they mean, how they were made."""
    heads = ["", *BRIDGES.values()]
    text = ["# Quickstart: Frozen, Flamingo and BLIP-2", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    text += [f"| {' | '.join(row)} |" for row in table]
    through = next(iter(cards.values()))["recipe"]["lm"]
    text += ["", f"All through the language model {through}, which kept every byte.", "",
             "![few-shot curves](few_shot.png)", LEGEND]  # fmt: skip
    for title, *_ in PANELS:
        for name in results:
            text += rows_of(f"{title}: {name}", results[name][title])
    text += ["", "Brackets: 95 % bootstrap intervals over episodes.", "", "![training](training.png)", "", "## How", ""]
    text += [f"- command: `{facts['command']}`", f"- seed: {facts['seed']}, device: {facts['device']}"]
    text += [f"- seconds: {', '.join(f'{name} {s}' for name, s in facts['seconds'].items())}"]
    text += [f"- episodes per number of shots: {facts['episodes']}"]
    text += [f"- weights of {name}: SHA-256 `{card['sha256']}`" for name, card in cards.items()]
    return "\n".join([*text, ""])


CHANGED = (
    ("vision enters", "as two words", "between the blocks", "as eight words"),
    ("what trains", "the eyes, through the LM", "resampler, gated layers", "Q-Former, in two stages"),
    ("who sees whom", "text: all before it", "text: the last picture", "three masks, then as Frozen"),
    ("data", "captions", "pages, captions, questions", "captions"),
)


def rows_of(title: str, result: dict[str, Any]) -> list[str]:
    """One result as a table of the report."""
    conditions = list(dict.fromkeys(r["condition"] for r in result["rows"]))
    heads = ["shots", *(c.replace("_", " ") for c in conditions), "prior", "ideal"]
    how = "ranking" if result["settings"]["scoring"] == "rank" else "generating"
    text = ["", f"## {title}", "", f"Chance {share(result['chance'])}, scored by {how} the answer.", ""]
    text += ["| " + " | ".join(heads) + " |", "|--:" * len(heads) + "|"]
    for k in dict.fromkeys(r["shots"] for r in result["rows"]):
        here = [r for r in result["rows"] if r["shots"] == k]
        cells = [f"{share(r['value'])} ({share(r['low'])}-{share(r['high'])})" for r in here]
        ideal = share(here[0]["ideal"]) if "ideal" in here[0] else ""
        text.append("| " + " | ".join([str(k), *cells, share(here[0]["prior"]), ideal]) + " |")
    return text

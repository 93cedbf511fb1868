"""`minilmm quickstart`: train all three bridges through the shipped language model, draw them on one figure."""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from .common import Device, Episodes, Seed, Stopped, command_line, cores, device_named, writable_folder
from .console import new_table, out_console, say, share
from .options import Steps
from .runs import decide, finish, finished, go_on, run, sigterm_as_ctrl_c, training_folder
from .scoring import few_shot

BRIDGES = {"frozen": "Frozen", "flamingo": "Flamingo", "blip2": "BLIP-2"}
Bridge = tuple[tuple[str, str], dict[str, Any]]  # its sizes and seconds, by stage; its results, by panel
FIRST = "blip2-stage1"  # where BLIP-2's first stage lies
WRITTEN = ("few_shot.png", "training.png", "report.md", "results.json")
PANELS = (  # title, task, ways, shots
    ("naming, 2 ways", "naming", 2, (0, 1, 2, 4)), ("naming, 5 ways", "naming", 5, (0, 1, 2, 4)),
    ("noisy naming", "noisy-naming", 2, (0, 1, 4, 8)), ("questions (VQA)", "vqa", 2, (0, 1, 2, 4)),
)  # fmt: skip
CHANGED = (
    ("vision enters", "as two words", "between the blocks", "as eight words"),
    ("what trains", "the eyes, through the LM", "resampler, gated layers", "Q-Former, in two stages"),
    ("who sees whom", "text: all before it", "text: the last picture", "three masks, then as Frozen"),
    ("data", "captions", "pages, captions, videos", "captions"),
)
LEGEND = """
Curves rise where examples tell something: which name is meant, or how questions are answered. Flamingo is asked no
question in so short a training, and answers none; `flamingo-nano` was asked many.

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


def quickstart(
    out: Annotated[Path, typer.Option("--out", help="Where everything goes.")] = Path("runs/quickstart"),
    seed: Seed = 0, device: Device = "auto", steps: Steps = None, episodes: Episodes = 100,
    lm: Annotated[str, typer.Option(help="The language model to train through.")] = "lm-nano",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with one that was stopped.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Erase an earlier one in the same folder.")] = False,
) -> None:  # fmt: skip
    """Train Frozen, Flamingo and BLIP-2 in a few minutes, then draw their few-shot curves beside every control."""
    if resume and force:
        raise ValueError("--resume and --force: give one of them")
    device = device_named(device)
    from minilmm.checkpoints.files import erase, held
    from minilmm.checkpoints.opening import load
    from minilmm.checkpoints.saving import RUN

    load(lm)  # a missing or damaged one shows before anything is written
    writable_folder(out)
    recipe = {"steps": steps, "lm": lm, "seed": seed}
    with sigterm_as_ctrl_c(), held(out):
        if not resume:  # an earlier one goes, by its names
            folders = [out / name for name in (*BRIDGES, FIRST)]
            for path in (*(folder / name for folder in folders for name in RUN), *(out / name for name in WRITTEN)):
                if path.exists() and not force:
                    ways = "go on with --resume, choose another --out, or erase it with --force"
                    raise ValueError(f"{out}: holds {path.relative_to(out)} already: {ways}")
            for folder in folders:
                erase(folder, RUN)
            erase(out, WRITTEN)
        try:
            make(out, recipe, resume, episodes, device)
        except (KeyboardInterrupt, Stopped):
            raise Stopped(f"stopped; what has trained is in {out}; continue with: {go_on()}") from None


def make(out: Path, recipe: dict[str, Any], resume: bool, episodes: int, device: str) -> None:
    """Train what is missing, measure, draw and tell."""
    import torch

    from minilmm import plots
    from minilmm.checkpoints.saving import LOG, read_card, read_log
    from minilmm.training.loop import fewer_threads

    start, seed = time.perf_counter(), recipe["seed"]
    parallel = device == "cpu" and min(cores(), torch.get_num_threads()) > 1
    how: dict[str, Any] = {
        "out": out,
        "recipe": recipe,
        "resume": resume,
        "episodes": episodes,
        "device": device,
        "parallel": parallel,
    }
    say(f"1. Bridges through {recipe['lm']}, which stays frozen, on few-shot tasks: {episodes} episodes each")
    if parallel:  # small tensors keep one core busy, and no more
        say("   Flamingo in this process, Frozen and then BLIP-2 in a second one")
        with in_another_process(partial(bridges, ("frozen", "blip2"), **how)) as theirs, fewer_threads(1):
            found = bridges(("flamingo",), **how) | theirs()
    else:
        found = bridges(BRIDGES, **how)
    stages = {name: found[kind][0] for kind, name in BRIDGES.items()}
    results = {name: found[kind][1] for kind, name in BRIDGES.items()}
    logs = {name: read_log(out / kind / LOG) for kind, name in (*BRIDGES.items(), (FIRST, "BLIP-2, stage 1"))}
    say("2. Figures and report")
    panels: dict[str, list[plots.Series]] = {title: [] for title, *_ in PANELS}
    for name, result in results.items():
        for title, lines in panels.items():
            lines += plots.series_of(result[title], name, controls=name == "BLIP-2")
    plots.save(plots.few_shot_curves(panels), out / "few_shot.png")
    key, label = "naming_5way_real", "naming, 5 ways"
    probes = {name: [row | {label: row[key]} for row in log] for name, log in logs.items() if key in log[0]}
    plots.save(plots.training_curves({"loss": logs, label: probes}, x="seconds"), out / "training.png")
    cards = {name: read_card(out / kind) for kind, name in BRIDGES.items()}
    seconds = {name: card["metrics"]["seconds"] for name, card in cards.items()}
    seconds["all"] = round(time.perf_counter() - start, 1)
    facts = {"command": command_line(), "seed": seed, "device": device, "seconds": seconds, "episodes": episodes}
    (out / "results.json").write_text(json.dumps({**facts, "results": results}, indent=1) + "\n")
    sizes, times = zip(*stages.values(), strict=True)
    differences = [*CHANGED, ("parameters trained", *sizes), ("seconds", *times)]
    (out / "report.md").write_text(report(results, facts, cards, differences))
    view = new_table("what changes", *BRIDGES.values(), left=4)
    for row in differences:
        view.add_row(*row)
    out_console().print(summary(results), view, sep="")
    say(f"{seconds['all']:.0f} s in all; written:")
    for name in (*WRITTEN, *BRIDGES, FIRST):
        say(f"  {out / name}")
    say(f"""what next:
  look at {out / "few_shot.png"}, and read {out / "report.md"}
  minilmm ask {out / "frozen"} --image a.png      what it makes of a picture of yours
  minilmm exercises list      build it yourself, from the first exercise on""")


def bridges(
    kinds: Iterable[str], out: Path, recipe: dict[str, Any], resume: bool, episodes: int, device: str, parallel: bool
) -> dict[str, Bridge]:
    """Train bridges, one after the other, and measure each: what `train_bridge` returns, and its results by panel."""
    from minilmm.checkpoints.opening import load
    from minilmm.evaluation.fewshot import Request
    from minilmm.evaluation.tasks import CONDITIONS, TASKS, Settings

    found: dict[str, Bridge] = {}
    for kind in kinds:
        sizes, results = train_bridge(kind, out, recipe, resume, device, parallel), {}
        model, _ = load(out / kind, device)
        conditions = CONDITIONS if kind == "blip2" else ("real", "blank_images")  # the last one's controls are drawn
        for title, task, ways, shots in PANELS:
            request = Request(shots, Settings(ways=ways), episodes, conditions, seed=recipe["seed"])
            results[title] = few_shot(BRIDGES[kind], model, TASKS[task], request, device, bar=not parallel)
        say(f"  {BRIDGES[kind]} is measured")
        found[kind] = sizes, results
    return found


@contextmanager
def in_another_process(task: Callable[[], Any]) -> Iterator[Callable[[], Any]]:
    """Begin a task in a new process, with one thread; gives what waits for its result, or raises its error.

    It stops where this process stops, as at Ctrl-C: with what it has kept. The task and its result can be pickled.
    """
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(task, sender))
    process.start()
    sender.close()
    received: list[Any] = []

    def result() -> Any:
        try:
            received.append(receiver.recv())
        except EOFError:
            raise MemoryError("the second process died, as it does where memory is full") from None
        if isinstance(received[0], BaseException):
            raise received[0]
        return received[0]

    try:
        yield result
    finally:
        if not received and process.is_alive():
            process.terminate()
        process.join()


def _report(task: Callable[[], Any], sender: Connection) -> None:
    import torch

    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C reaches it through the first process, once
    torch.set_num_threads(1)
    try:
        with sigterm_as_ctrl_c():
            sender.send(task())
    except BaseException as error:
        sender.send(error)


def train_bridge(
    kind: str, out: Path, changes: dict[str, Any], resume: bool, device: str, parallel: bool
) -> tuple[str, str]:
    """Train one bridge by its quick recipe, BLIP-2 in its two stages: parameters trained and seconds, of each stage."""
    from minilmm.checkpoints.opening import load
    from minilmm.training.job import trained_names

    training = importlib.import_module(f"minilmm.training.{kind}")
    stages: list[tuple[Path, Callable, dict[str, Any]]] = [(out / kind, training.preset, changes)]
    if kind == "blip2":
        one, two = (partial(training.preset, stage=stage) for stage in (1, 2))
        stages = [(out / FIRST, one, changes | {"lm": None}), (out / kind, two, changes | {"start": str(out / FIRST)})]
    sizes, seconds = [], []
    for place, preset, asked in stages:
        recipe = decide(preset, "quick", "quick", place, resume, asked)
        if finished(place, type(recipe)) is not None:
            say(f"  {place}: has trained already")
        else:
            with training_folder(place, resume):
                often = max(1, recipe.optimisation.steps // 4)
                run(recipe, place, resume, device, parallel=parallel, probe_every=often)
            finish(place)
        model, card = load(place)
        parameters = dict(model.named_parameters())
        sizes.append(f"{sum(parameters[n].numel() for n in trained_names(card, parameters)) / 1e6:.2f}M")
        seconds.append(f"{card['metrics']['seconds']:.0f}")
    return " and ".join(sizes), " and ".join(seconds)


def summary(results: dict[str, Any]) -> Table:
    """The results as a table of at most 80 columns: the bridges, the highest of their controls, chance, the ideal."""
    from minilmm import plots

    numbers = sorted({k for *_, shots in PANELS for k in shots})
    view = new_table("accuracy at shots", "", *map(str, numbers), left=2)
    for title, *_ in PANELS:
        lines: dict[str, dict[int, float]] = {}
        for bridge, result in results.items():
            for series in plots.series_of(result[title], bridge):
                control = series["label"] in ("blank images", "shuffled images")
                line = lines.setdefault("blank or shuffled" if control else series["label"], {})
                for shots, value in zip(series["shots"], series["values"], strict=True):
                    line[shots] = max(value, line.get(shots, value))
        names = (*results, "blank or shuffled", "chance" if "chance" in lines else "prior", "ideal observer")
        for i, name in enumerate(name for name in names if name in lines):
            cells = [share(lines[name][k]) if k in lines[name] else "" for k in numbers]
            view.add_row("" if i else title, name, *cells, style="bold" if name in results else "dim")
    return view


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], rule: str = "---") -> list[str]:
    """The lines of a table of Markdown."""
    body = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return [body[0], f"|{rule}" * len(head) + "|", *body[1:]]


def report(results: dict[str, Any], facts: dict[str, Any], cards: dict[str, Any], table: list[tuple[str, ...]]) -> str:
    """report.md: the figure, all numbers, what they mean, how they were made."""
    text = ["# Quickstart: Frozen, Flamingo and BLIP-2", "", *markdown(["", *BRIDGES.values()], table), ""]
    text += [f"All through the language model {cards['Frozen']['recipe']['lm']}, which kept every byte.", ""]
    text += ["![few-shot curves](few_shot.png)", LEGEND]
    for title, *_ in PANELS:
        for name in results:
            text += scores(f"{title}: {name}", results[name][title])
    text += ["", "Brackets: 95 % bootstrap intervals over episodes.", "", "![training](training.png)", "", "## How", ""]
    text += [f"- command: `{facts['command']}`", f"- seed: {facts['seed']}, device: {facts['device']}"]
    text += [f"- seconds: {', '.join(f'{name} {s}' for name, s in facts['seconds'].items())}"]
    text += [f"- episodes per number of shots: {facts['episodes']}"]
    text += [f"- weights of {name}: SHA-256 `{card['sha256']}`" for name, card in cards.items()]
    return "\n".join([*text, ""])


def scores(title: str, result: dict[str, Any]) -> list[str]:
    """One result as a table of the report."""
    rows: dict[int, list[dict[str, Any]]] = {}
    for row in result["rows"]:
        rows.setdefault(row["shots"], []).append(row)
    conditions = dict.fromkeys(row["condition"].replace("_", " ") for row in result["rows"])
    how = "ranking" if result["settings"]["scoring"] == "rank" else "generating"
    cells = [[str(shots), *(f"{share(r['value'])} ({share(r['low'])}-{share(r['high'])})" for r in here),
              share(here[0]["prior"]), share(here[0]["ideal"]) if "ideal" in here[0] else ""]
             for shots, here in rows.items()]  # fmt: skip
    return ["", f"## {title}", "", f"Chance {share(result['chance'])}, scored by {how} the answer.", "",
            *markdown(["shots", *conditions, "prior", "ideal"], cells, "--:")]  # fmt: skip

"""Running a claim: every arm with every seed, each run recorded when it is done, so that a stopped claim goes on."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minilmm.blip2 import Stage1
from minilmm.checkpoints.files import replacing
from minilmm.claims.claim import Arm, Claim, Measure, Recipe, Stages
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.retrieval import retrieval
from minilmm.evaluation.tasks import Settings
from minilmm.flamingo import Flamingo
from minilmm.training.flamingo import gates
from minilmm.training.loop import fewer_threads, train
from minilmm.training.prepare import prepare
from minilmm.training.recipes import Blip2Recipe, FlamingoRecipe

Row = dict[str, Any]
EPISODES = 200


def decisive(recipe: Recipe | Blip2Recipe) -> dict[str, Any]:
    """A recipe as JSON, without what only real models read."""
    if isinstance(recipe, Stages):
        return {"first": decisive(recipe.first) if recipe.first else None, "second": decisive(recipe.second)}
    facts = asdict(recipe)
    return {field.name: facts[field.name] for field in fields(recipe) if field.metadata.get("only") != "real"}


def digest(claim: Claim, recipe: Recipe) -> str:
    """Names a run: its recipe and what is measured of it."""
    measures = sorted(m.name for m in claim.measures)
    told = f"{json.dumps(decisive(recipe), sort_keys=True)} {measures} {EPISODES}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def train_one(recipe: FlamingoRecipe | Blip2Recipe, folder: Path, device: str) -> tuple[Any, list[float]]:
    """The model of a recipe, and the loss of every step."""
    job = prepare(recipe, device)
    losses: list[float] = []

    def recorded(drawn: Any) -> Tensor:
        total = compute(drawn)
        losses.append(float(total.detach()))
        return total

    compute, job.loss = job.loss, recorded
    return train(job, folder, probe_every=0), losses


def train_recipe(recipe: Recipe, folder: Path, device: str) -> tuple[Any, Stage1 | None, list[float]]:
    """The model of a recipe, BLIP-2's first stage where it has one, and the losses of the last training."""
    if isinstance(recipe, FlamingoRecipe):
        model, losses = train_one(recipe, folder, device)
        return model, None, losses
    first, second = None, recipe.second
    if recipe.first is not None:
        first, _ = train_one(recipe.first, folder / "first", device)
        second = replace(second, start=str(folder / "first"))
    model, losses = train_one(second, folder, device)
    return model, first, losses


def measure(claim: Claim, model: Any, first: Stage1 | None, seed: int, device: str) -> dict[str, float]:
    """What a claim asks of a model, by the measures' names."""
    found: dict[str, float] = {}
    ranked: list[Row] = []
    for m in claim.measures:
        if isinstance(m, Measure):
            accuracies = [
                evaluate(
                    model,
                    m.task,
                    Request((shots,), Settings(ways=m.ways), EPISODES, ("real",), seed=seed),
                    device=device,
                )["rows"][0]["value"]
                for shots in (m.shots, m.minus)
                if shots is not None
            ]
            found[m.name] = round(accuracies[0] - sum(accuracies[1:]), 4)
        elif first is not None:
            ranked = ranked or retrieval(first, EPISODES, seed, device)
            at_one = [row["value"] for row in ranked if row["metric"] in (f"TR@1, {m.by}", f"IR@1, {m.by}")]
            found[m.name] = round(sum(at_one) / len(at_one), 4)
    return found


def one(claim: Claim, arm: Arm, seed: int, device: str) -> Row:
    """Train one arm with one seed and measure it: a row of the results. A run that diverges has no values: 0."""
    recipe = arm.recipe(claim.base, seed)
    torch.set_num_threads(1)
    start = time.perf_counter()
    row: Row = {"arm": arm.name, "seed": seed, "digest": digest(claim, recipe)}
    with tempfile.TemporaryDirectory() as folder:
        try:
            model, first, losses = train_recipe(recipe, Path(folder), device)
        except ArithmeticError as error:
            return row | {"diverged": str(error), "seconds": round(time.perf_counter() - start)}
    row["values"] = measure(claim, model, first, seed, device)
    row |= {"loss": round(sum(losses[-50:]) / min(50, len(losses)), 4), "spikes": spikes(losses)}
    if isinstance(model, Flamingo):
        row["gates"] = {name: round(float(gate.detach().tanh()), 3) for name, gate in gates(model).items()}
    return row | {"seconds": round(time.perf_counter() - start)}


def spikes(losses: list[float], window: int = 30, factor: float = 1.5) -> int:
    """How often a step's loss exceeds `factor` times the largest of the `window` steps before it."""
    return sum(losses[i] > factor * max(losses[i - window : i]) for i in range(window, len(losses)))


def recorded(path: Path) -> list[Row]:
    """The rows of a record; ValueError where the file is none."""
    try:
        rows: list[Row] = json.loads(path.read_text())["rows"]
        if not all({"arm", "seed", "digest"} <= row.keys() for row in rows):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path}: is no record of a claim: delete it to begin anew") from None
    return rows


def read_results(folder: Path, claim: Claim) -> list[Row]:
    """The recorded rows of a claim that its present recipe made, in the order of arms and seeds."""
    path = folder / f"{claim.name}.json"
    if not path.is_file():
        return []
    rows = recorded(path)
    known = {(row["arm"], row["seed"]): row for row in rows}
    wanted = [(arm, seed) for arm in claim.arms for seed in sorted({row["seed"] for row in rows})]
    found = [(known.get((arm.name, seed)), digest(claim, arm.recipe(claim.base, seed))) for arm, seed in wanted]
    return [row for row, name in found if row is not None and row["digest"] == name]


def write_results(folder: Path, claim: Claim, rows: list[Row], device: str) -> None:
    """results/claims/NAME.json: the claim as it was written down, and a row per arm and seed."""
    told = {"claim": claim.name, "says": claim.says, "source": claim.source, "measure": claim.measure.name,
            "episodes": EPISODES, "detects": claim.detects, "note": claim.note, "torch": torch.__version__,
            "device": device, "recipe": decisive(claim.base),
            "arms": {arm.name: arm_facts(arm) for arm in claim.arms}}  # fmt: skip
    ordered = sorted(rows, key=lambda row: ([arm.name for arm in claim.arms].index(row["arm"]), row["seed"]))
    lines = ",\n ".join(json.dumps(row) for row in ordered)
    with replacing(folder / f"{claim.name}.json") as path:
        path.write_text(json.dumps(told, indent=1)[:-2] + f',\n "rows": [\n {lines}\n ]\n}}\n')


def arm_facts(arm: Arm) -> dict[str, Any]:
    """An arm as JSON."""
    more = {"base": decisive(arm.base)} if arm.base is not None else {}
    return {"lr": arm.lr, **arm.changes, **more} | ({"reads": arm.reads} if arm.reads else {})


def progress(claim: Claim, rows: list[Row], seeds: tuple[int, ...]) -> list[tuple[Arm, int]]:
    """The runs that are still to be made: seeds first, so that a claim stopped early is paired."""
    done = {(row["arm"], row["seed"]) for row in rows}
    return [(arm, seed) for seed in seeds for arm in claim.arms if (arm.name, seed) not in done]


def run_claim(
    claim: Claim, folder: Path, seeds: tuple[int, ...], *, jobs: int = 1, device: str = "cpu",
    report: Callable[[Row], None] = lambda row: None,
) -> list[Row]:  # fmt: skip
    """Make the runs that `folder` has no record of, `jobs` at a time with a thread each, and return all rows."""
    rows = read_results(folder, claim)
    known = {row["digest"]: row for path in sorted(folder.glob("*.json")) for row in recorded(path)}  # of all claims
    todo: dict[str, list[tuple[Arm, int]]] = {}
    for arm, seed in progress(claim, rows, seeds):
        name = digest(claim, arm.recipe(claim.base, seed))
        if name in known:
            rows.append(known[name] | {"arm": arm.name})  # another claim has this very run
        else:
            todo.setdefault(name, []).append((arm, seed))  # arms that read one run differently share it
    if rows:
        write_results(folder, claim, rows, device)
    for row in _made(claim, [who[0] for who in todo.values()], jobs, device):
        rows += [row | {"arm": arm.name} for arm, _ in todo[row["digest"]]]
        write_results(folder, claim, rows, device)
        report(row)
    return read_results(folder, claim)


def _made(claim: Claim, todo: list[tuple[Arm, int]], jobs: int, device: str) -> Iterator[Row]:
    if jobs == 1:
        with fewer_threads(1):
            yield from (one(claim, arm, seed, device) for arm, seed in todo)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            for future in as_completed([pool.submit(one, claim, arm, seed, device) for arm, seed in todo]):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

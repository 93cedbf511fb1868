"""`minilmm claims`: the papers' findings as seeded experiments, with verdicts."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import LARGEST_SEED, Stopped, check_figure, command_line, cores, device_named, writable_folder
from .console import new_table, out_console, progress_bar, say, share, tell
from .names import nearest
from .runs import sigterm_as_ctrl_c

Records = Annotated[Path | None, typer.Option("--out", help="Where the records lie; results/claims unless given.")]
Figure = Annotated[Path | None, typer.Option(help="Draw each claim's arms: arms.png makes arms-CLAIM.png.")]
MOST_SEEDS = 1000
RESULTS = Path("results/claims")


def seeds_of(text: str) -> tuple[int, ...]:
    """ "100-109" or "0,1,2" as seeds; ValueError for anything else."""
    seeds: tuple[int, ...] = ()
    with contextlib.suppress(ValueError):
        if "-" in text:
            first, last = map(int, text.split("-"))
            seeds = tuple(range(first, min(last, first + MOST_SEEDS) + 1))  # one too many is refused below
        else:
            seeds = tuple(map(int, text.split(",")))
    if not 0 < len(seeds) <= MOST_SEEDS or min(seeds) < 0 or max(seeds) > LARGEST_SEED:
        expected = f"give a range such as 100-109, or numbers with commas between them, at most {MOST_SEEDS}"
        raise ValueError(f"--seeds {text[:40]!r}: {expected}")
    return seeds


def records(out: Path | None) -> Path | None:
    """The folder of records: the one named, else results/claims here, above, or in the clone; None without any.

    ValueError where the one named is no folder.
    """
    if out is not None and not out.is_dir():
        raise ValueError(f"{out}: no such folder: name one with records, or leave --out out")
    here = Path.cwd()
    places = [folder / RESULTS for folder in (here, *here.parents, Path(__file__).parents[1])]
    return out or next((place for place in places if place.is_dir()), None)


def list_(out: Records = None) -> None:
    """The claims, what the papers found, and what was found here."""
    from minilmm.claims import CLAIMS, read_results, verdict

    console, folder = out_console(), records(out)
    for claim in CLAIMS.values():
        gaps = claim.differences(read_results(folder, claim), claim.arms[1]) if folder is not None else []
        told = verdict(gaps)[0] if len(gaps) > 1 else "not run" if folder is not None else "no record here"
        console.print(f"[bold]{claim.name}[/bold] (no. {claim.number}): {told}, {len(gaps)} seeds")
        tell(claim.says, 2)
        tell(claim.source, 2, "dim")
        if claim.detects is None:
            tell("its pilot on seeds 0 to 4 has not been run: what ten seeds would detect is not known", 2)
        if claim.note:
            tell(claim.note, 2, "dim")
    if folder is None:
        tell(f"there is no {RESULTS} here or above: the records are in a clone, or name them with --out", 0)


def run(
    name: Annotated[str, typer.Argument(metavar="CLAIM", help="minilmm claims list names them.")],
    seeds: Annotated[str | None, typer.Option(help="100-109 or 0,1,2; the claim's own unless given.")] = None,
    jobs: Annotated[int, typer.Option(min=0, max=256, help="Runs at a time, a thread each; 0: one per core.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "cpu",
    out: Annotated[Path, typer.Option("--out", help="Where the records lie.")] = RESULTS,
    again: Annotated[bool, typer.Option("--again", help="Forget the recorded runs and make all of them.")] = False,
) -> None:
    """Make the runs of a claim that are not recorded yet, then give the verdict."""
    asked = seeds_of(seeds) if seeds is not None else None
    from minilmm.checkpoints.files import held
    from minilmm.claims import CLAIMS, SWEEPS, progress, read_results, run_claim
    from minilmm.claims.run import recorded

    every = CLAIMS | SWEEPS
    if name not in every:
        raise ValueError(f"unknown claim {name!r}{nearest(name, every) or ':'} choose from {', '.join(every)}")
    claim, path, where = every[name], out / f"{name}.json", device_named(device)
    chosen = asked or claim.seeds
    writable_folder(out)
    with sigterm_as_ctrl_c(), held(path):
        if again:
            path.unlink(missing_ok=True)
        elif path.is_file() and (others := len(recorded(path)) - len(read_results(out, claim))):
            ways = "choose another --out, or erase all with --again"
            raise ValueError(f"{path}: {others} runs of another recipe: {ways}")
        try:
            done = read_results(out, claim)
            todo = progress(claim, done, chosen)
            more = " (--again repeats all)" if done and not todo else ""
            say(f"{name}: {len(done)} recorded in {path}, {len(todo)} to make{more}")
            if todo:
                with progress_bar() as bar:
                    task = bar.add_task(name, total=len(todo))
                    run_claim(claim, out, chosen, jobs=jobs or (cores() if where == "cpu" else 1), device=where,
                              report=lambda row: bar.advance(task))  # fmt: skip
        except KeyboardInterrupt:
            known = f"{len(recorded(path)) if path.is_file() else 0} runs are recorded in {path}"
            raise Stopped(f"stopped; {known}; continue with: {command_line().replace(' --again', '')}") from None
    show(claim, read_results(out, claim))


def shared_seeds(claim: Any, rows: list[dict[str, Any]], arm: Any) -> set[int]:
    """The seeds of an arm that have a partner: the first arm's in the second, another's in the first."""
    partner = claim.arms[1] if arm is claim.arms[0] else claim.arms[0]
    return set.intersection(*({row["seed"] for row in rows if row["arm"] == a.name} for a in (arm, partner)))


def show(claim: Any, rows: list[dict[str, Any]]) -> None:
    """A claim's arms with their means, and the verdict."""
    from minilmm.claims import PILOT, detectable, verdict

    console = out_console()
    console.print(f"[bold]{claim.name}[/bold] (no. {claim.number}): {claim.says}")
    console.print(claim.source, style="dim")
    for seeds, title in ((claim.seeds, "fresh seeds"), (PILOT, "seeds 0 to 4, on which choices were made")):
        here = [row for row in rows if row["seed"] in seeds]
        if not here:
            continue
        view = new_table("arm", "runs", *(m.name.replace("-", " ") for m in claim.measures), "spikes", title=title)
        for arm in claim.arms:
            shared = shared_seeds(claim, here, arm)
            if mine := [row for row in here if row["arm"] == arm.name and row["seed"] in shared]:
                means = [sum(r.get("values", {}).get(m.name, 0.0) for r in mine) / len(mine) for m in claim.measures]
                view.add_row(arm.name, str(len(mine)), *map(share, means), str(sum(r.get("spikes", 0) for r in mine)))
        console.print(view)
    for arm in claim.arms[1:]:
        gaps = claim.differences(rows, arm)
        if len(gaps) > 1:
            word, interval = verdict(gaps)
            what = f"{claim.arms[0].name} minus {arm.name}, {claim.measure.name}"
            decides = f": [bold]{word}[/bold]" if arm is claim.arms[1] else " (beside)"
            ends = f"{interval.mean:+.3f} ({interval.low:+.3f} to {interval.high:+.3f}), {len(gaps)} seeds"
            console.print(f"{what}: {ends}{decides}")
    pilot, count = claim.differences(rows, claim.arms[1], PILOT), len(claim.seeds)
    if len(pilot) > 1:
        least = detectable(pilot, count)
        console.print(f"{count} seeds as spread as the pilot's {len(pilot)} would show {least:.3f} with 80 % power")


def report(out: Records = None, figure: Figure = None) -> None:
    """Every claim's verdict in one table, with Holm's correction over all of them."""
    if figure is not None:
        check_figure(figure)
    from minilmm.claims import CLAIMS, holm, p_value, read_results, verdict

    folder = records(out)
    rows = {name: read_results(folder, claim) if folder is not None else [] for name, claim in CLAIMS.items()}
    gaps = {name: claim.differences(rows[name], claim.arms[1]) for name, claim in CLAIMS.items()}
    gaps = {name: here for name, here in gaps.items() if len(here) > 1}
    if not gaps:
        where = folder or RESULTS
        raise ValueError(f"{where}: holds no record of a claim with two seeds: run minilmm claims run NAME")
    adjusted = holm({name: p_value(here) for name, here in gaps.items()})
    view = new_table("claim", "verdict", "difference", "95 % interval", "seeds", "detects", "Holm p", left=2)
    for name, here in gaps.items():
        word, interval = verdict(here)
        detects = CLAIMS[name].detects
        p = f"{adjusted[name]:.3f}" if adjusted[name] >= 0.001 else "<.001"
        view.add_row(name, word, f"{interval.mean:+.3f}", f"{interval.low:+.3f} to {interval.high:+.3f}",
                     str(len(here)), "-" if detects is None else f"{detects:.3f}", p)  # fmt: skip
    out_console().print(view)
    if figure is not None:
        from minilmm import plots

        for name in gaps:
            claim = CLAIMS[name]
            arms = {arm.name: paired_values(claim, rows[name], arm) for arm in claim.arms}
            drawn = plots.arms_chart({f"{name}: {claim.measure.name}": {n: v for n, v in arms.items() if v}}, {})
            say(f"drawn {plots.save(drawn, figure.with_name(f'{figure.stem}-{name}{figure.suffix}'))}")


def paired_values(claim: Any, rows: list[dict[str, Any]], arm: Any) -> list[float]:
    """What an arm is judged by, seed by seed, where the seed has a partner."""
    values = claim.values(rows, arm)
    return [values[seed] for seed in sorted(values.keys() & shared_seeds(claim, rows, arm))]

"""The training loop: one for all models, resumable bit for bit, every step's data a function of seed and step.

`fit` takes the steps of a job, `train` also saves what came of it, `within` gives it the steps that fit into minutes.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from minilmm.checkpoints.files import replacing
from minilmm.checkpoints.saving import CHECKPOINT, LOG, all_finite, load_training, read_log, save, save_training
from minilmm.nn.parallel import anyone, averaged, is_main_process, processes, whole
from minilmm.training.job import Draw, Job, Metrics, generator_for, rate, trained_prefixes

Report = Callable[[int, Metrics], None]
CHECKPOINT_SECONDS = 30.0


def quiet(step: int, row: Metrics) -> None:
    """Report nothing."""


def _ignore_signals(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the loop, which then lets its workers go
    if processes() > 1:  # torchrun sends what it got to workers, too
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def drawn_ahead(draw: Draw, steps: range, workers: int) -> Iterator[Any]:
    """draw[step] for every step; with a worker each by another process, while the step before it trains."""
    if not workers:
        return map(draw.__getitem__, steps)
    loader: DataLoader = DataLoader(draw, None, sampler=steps, num_workers=workers, worker_init_fn=_ignore_signals)  # type: ignore[arg-type]
    return iter(loader)


@contextlib.contextmanager
def fewer_threads(number: int) -> Iterator[None]:
    """So many threads for torch, and then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Stop:
    """Ctrl-C and `kill` ask the loop to stop at the end of a step, and are told so; a second one does so at once."""

    def __init__(self) -> None:
        self.asked = False
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> _Stop:
        if threading.current_thread() is threading.main_thread():
            self.previous = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        with contextlib.suppress(RuntimeError):  # it may have interrupted another print
            print("stopping when this step is done (Ctrl-C again: at once)", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)


class RunFiles:
    """The log and the checkpoint of a run. Of several processes the main one alone writes."""

    def __init__(self, job: Job, optimizer: torch.optim.Optimizer, out: Path, resume: bool):
        self.state = (job.saved or job.model, optimizer)
        self.recipe, self.checkpoint, self.log = job.recipe, out / CHECKPOINT, out / LOG
        self.start, self.spent, self.rows = 0, 0.0, []  # type: int, float, list[Metrics]
        if resume and self.checkpoint.is_file():
            self.start, self.spent = load_training(self.checkpoint, *self.state, self.recipe)
            self.rows = [row for row in read_log(self.log, empty=True) if row["step"] <= self.start]
        if is_main_process():
            with replacing(self.log) as path:
                path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        self.clock = self.saved = time.perf_counter()

    def seconds(self) -> float:
        """Spent on the run so far, before it was stopped included."""
        return self.spent + time.perf_counter() - self.clock

    def save_is_due(self) -> bool:
        """Has the last checkpoint been written too long ago?"""
        return time.perf_counter() - self.saved > CHECKPOINT_SECONDS

    def add(self, row: Metrics) -> None:
        """A row at the end of the log."""
        self.rows.append(row)
        if is_main_process():
            with open(self.log, "a") as file:
                file.write(json.dumps(row) + "\n")

    def save(self, step: int) -> None:
        """The checkpoint after a step."""
        self.saved = time.perf_counter()
        save_training(self.checkpoint, *self.state, step, self.recipe, self.seconds())


def refuse_nan(step: int, recent: list[Tensor], weights: list[nn.Parameter]) -> None:
    """ArithmeticError where a loss, a gradient's norm or a weight is not finite after so many steps. Waits for a GPU.

    recent: (loss, norm) of the last steps, where they have not been looked at yet.
    """
    for before, row in enumerate(reversed(torch.stack(recent).tolist() if recent else [])):
        for name, value in zip(("loss", "gradient's norm"), row, strict=True):
            if not math.isfinite(value):
                raise ArithmeticError(f"the {name} is {value} at step {step - before}: lower --lr")
    if weights and not bool(all_finite(weights)):
        raise ArithmeticError(f"a weight is not finite after step {step}: lower --lr")


def fit(job: Job, out: Path, *, resume: bool = False, report: Report = quiet) -> list[Metrics]:
    """Train for the recipe's steps; the rows of the log. report(step, row): after every step, {} for steps without one.

    A checkpoint is written every half minute, on Ctrl-C and at the end; with `resume` the run goes on from it and ends
    with the weights of a run that was never stopped, bit for bit on one CPU device (its first row averages fewer
    losses). Of several processes (`minilmm.nn.parallel`) the first writes, measures and reports; all stop together.
    ArithmeticError where the loss, a gradient or a weight is not finite: nothing of it is saved. On a CPU no step is
    taken with such a gradient; on a GPU, which is waited for only to log and to save, it is found then.
    """
    o, device, parameters, optimizer = job.recipe.optimisation, job.device, job.parameters, job.optimizer()
    files = RunFiles(job, optimizer, out, resume)
    compute_loss = averaged(job.model, job.loss)  # behind the checkpoint: here all begin with the same weights
    running: deque[Tensor] = deque(maxlen=job.probe_every)  # a last row of fewer steps averages as many as the others
    unseen: list[Tensor] = []
    threads = torch.get_num_threads()
    ahead = job.ahead and device.type == "cpu" and threads > 1
    stream = drawn_ahead(job.draw, range(files.start, o.steps), int(ahead))
    with _Stop() as stop, fewer_threads(threads - ahead):
        for step in range(files.start, o.steps):
            for group in optimizer.param_groups:
                group["lr"] = rate(o, step) * group.get("times", 1.0)
            job.model.train()
            generator_for(job.recipe.seed, step, device)
            with job.precision():
                loss = compute_loss(next(stream))
            loss.backward()
            norm = nn.utils.clip_grad_norm_(parameters, o.clip, foreach=True)
            running.append(whole(loss.detach()))
            unseen.append(torch.stack([running[-1], norm]))

            done, row = step + 1, {}  # type: int, Metrics
            log_now = done % job.probe_every == 0 or done == o.steps
            save_now = is_main_process() and (files.save_is_due() or done == o.steps)
            if log_now or save_now or device.type == "cpu":
                refuse_nan(done, unseen, [])
                unseen = []
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

            if log_now:
                refuse_nan(done, unseen, parameters)
                row = {"step": done, "seconds": round(files.seconds(), 1)}
                row |= {"loss": float(torch.stack(list(running)).mean()), "gradient_norm": float(norm)}
                if job.probe is not None and is_main_process():
                    job.model.eval()
                    with torch.no_grad():
                        row |= job.probe()
                        if job.snapshot is not None:
                            job.snapshot(out, len(files.rows))
                files.add(row)
            if is_main_process():
                report(done, row)
            stopping = anyone(stop.asked)  # read once: what is raised below was saved
            if save_now or (stopping and is_main_process()):
                refuse_nan(done, unseen, parameters)
                files.save(done)
            if stopping:
                raise KeyboardInterrupt
    job.model.eval()
    return files.rows


def train(
    job: Job,
    out: Path,
    *,
    resume: bool = False,
    report: Report = quiet,
    command: str = "",
    probe_every: int | None = None,
) -> Any:
    """Train a job and save it under `out`: the model. probe_every: steps between two rows of the log, 0 for the last
    alone and nothing measured; the job's own unless given.
    """
    if probe_every == 0:
        job = replace(job, probe=None, probe_every=job.recipe.optimisation.steps)
    elif probe_every is not None:
        job = replace(job, probe_every=probe_every)
    out.mkdir(parents=True, exist_ok=True)
    rows = fit(job, out, resume=resume, report=report)
    if job.complete is not None and is_main_process():
        job.complete(out)
    save(out, job.saved or job.model, job.kind, config=job.config, recipe=asdict(job.recipe), seed=job.recipe.seed,
         metrics=rows[-1], command=command, device=str(job.device), trains=trained_prefixes(job.model))  # fmt: skip
    return job.model


def within(job: Job, minutes: float) -> Job:
    """The job with as many steps as fit into what is left of the minutes, timed on a few that are undone."""
    kept = [p.detach().clone() for p in job.parameters]
    o, optimizer, times = job.recipe.optimisation, job.optimizer(), []
    job.model.train()
    for step in range(4):
        start = time.perf_counter()
        with job.precision():
            value = job.loss(job.draw[max(0, o.steps - 1 - step)])
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        float(job.parameters[0].detach().flatten()[0])  # waits for a GPU
        times.append(time.perf_counter() - start)
    job.model.eval()
    start = time.perf_counter()
    if job.probe is not None:
        job.probe()
    probe = time.perf_counter() - start
    with torch.no_grad():
        for p, before in zip(job.parameters, kept, strict=True):
            p.copy_(before)
    each = sum(sorted(times[1:])[:2]) / 2 + probe / job.probe_every
    steps = max(1, int((minutes * 60 - job.seconds - probe) / each))  # the last step is followed by a probe
    o = replace(o, steps=steps, warmup=min(o.warmup, max(1, steps // 5)))
    return replace(job, recipe=replace(job.recipe, optimisation=o))

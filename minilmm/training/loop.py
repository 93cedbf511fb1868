"""The training loop: one for all models, resumable bit for bit, every step's data a function of seed and step."""

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
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from minilmm.checkpoints.files import replacing
from minilmm.checkpoints.saving import CHECKPOINT, LOG, finite, load_training, read_log, save_training
from minilmm.interface.document import Batch
from minilmm.nn.parallel import anyone, averaged, first, processes, whole
from minilmm.training.recipes import Optimisation

Metrics = dict[str, Any]
Report = Callable[[int, Metrics], None]
CHECKPOINT_SECONDS = 30.0


def quiet(step: int, row: Metrics) -> None:
    """Report nothing."""


def rate(o: Optimisation, step: int) -> float:
    """The learning rate of a step: linear warm-up, then a cosine to `final` of the peak."""
    progress = min(1.0, step / max(o.steps, 1))
    return (
        o.lr
        * min(1.0, (step + 1) / max(o.warmup, 1))
        * (o.final + (1 - o.final) * 0.5 * (1 + math.cos(math.pi * progress)))
    )


def loss_of(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy of the tokens that the loss mask marks, in nats. ValueError where it marks none."""
    wanted = batch.loss_mask[:, 1:]
    if not bool(wanted.any()):
        raise ValueError("every label of the batch is masked: nothing to learn from")
    return F.cross_entropy(model(batch)[:, :-1][wanted].float(), batch.ids[:, 1:][wanted])


class _Steps(Dataset):
    """What every step reads, by its number."""

    def __init__(self, draw: Callable[[int], Any], steps: int):
        self.draw, self.steps = draw, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Any:
        return self.draw(step)


def _deaf(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the loop, which then lets its workers go
    if processes() > 1:  # torchrun sends what it got to workers, too
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def prefetched(draw: Callable[[int], Any], start: int, stop: int, workers: int) -> Iterator[Any]:
    """draw(start), draw(start + 1), ... : each made by another process while the step before it trains."""
    return iter(
        DataLoader(_Steps(draw, stop), batch_size=None, sampler=range(start, stop), num_workers=workers,
                   worker_init_fn=_deaf)
    )  # fmt: skip


def adamw(parameters: list[nn.Parameter], o: Optimisation) -> torch.optim.AdamW:
    """AdamW over the parameters given; only those with two dimensions or more decay."""
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": o.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=o.lr, betas=o.betas, fused=True)


def generator_for(seed: int, step: int, device: torch.device | str) -> torch.Generator:
    """The randomness of one step; torch's own (for noise inside models) is seeded with it."""
    number = (seed * 1_000_003 + step) % (1 << 62)
    torch.manual_seed(number)
    return torch.Generator(device).manual_seed(number)


def fast_halves(device: torch.device) -> bool:
    """Are matrix products about twice as fast in bfloat16 here: on a GPU, or a CPU with instructions for them?"""
    return device.type == "cuda" or (device.type == "cpu" and torch.cpu._is_avx512_bf16_supported())


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


def refuse_nan(step: int, told: list[Tensor], weights: list[nn.Parameter]) -> None:
    """ArithmeticError where a loss, a gradient's norm or a weight is not finite after so many steps. Waits for a GPU.

    told: (loss, norm) of the last steps, where they have not been looked at yet.
    """
    for before, row in enumerate(reversed(torch.stack(told).tolist() if told else [])):
        for name, value in zip(("loss", "gradient's norm"), row, strict=True):
            if not math.isfinite(value):
                raise ArithmeticError(f"the {name} is {value} at step {step - before}: lower --lr")
    if weights and not bool(finite(weights)):
        raise ArithmeticError(f"a weight is not finite after step {step}: lower --lr")


def fit(
    model: nn.Module,
    parameters: list[nn.Parameter],
    optimisation: Optimisation,
    compute_loss: Callable[[Any, int], Tensor],
    *,
    recipe: Any,
    draw: Callable[[int], Any] | None = None,
    out: Path,
    resume: bool = False,
    evaluate: Callable[[], Metrics] | None = None,
    evaluate_every: int = 100,
    report: Report = quiet,
    optimizer: torch.optim.Optimizer | None = None,
    half: bool = False,
) -> list[Metrics]:
    """Train `parameters` for the recipe's steps; the rows of the log.

    compute_loss(generator, step) -> scalar; with draw, compute_loss(draw(step), step), and on a CPU of several cores
    one of them draws ahead. report(step, row) is called after every step; the row is empty where the log has none.
    optimizer: AdamW as the recipe says, unless given; a group's "times" multiplies its rate.
    half: products in bfloat16, as always on a GPU: for models so large that products are what takes the time.
    A checkpoint is written every half minute, on Ctrl-C and at the end; with `resume` the run goes on from it and ends
    with the weights of a run that was never stopped, bit for bit on one CPU device (only the loss of the first row
    after it averages fewer steps).
    Of several processes (`minilmm.nn.parallel`) the first writes, measures and reports; all stop together.
    ArithmeticError where the loss, a gradient or a weight is not finite: nothing of it is saved. On a CPU no step is
    taken with such a gradient; on a GPU, which is waited for only to log and to save, it is found then.
    """
    device, seed = parameters[0].device, recipe.seed
    optimizer = adamw(parameters, optimisation) if optimizer is None else optimizer
    checkpoint, log = out / CHECKPOINT, out / LOG
    start, spent, rows = 0, 0.0, []  # type: int, float, list[Metrics]
    if resume and checkpoint.is_file():
        start, spent = load_training(checkpoint, model, optimizer, recipe)
        rows = [row for row in read_log(log, empty=True) if row["step"] <= start]
    if first():
        with replacing(log) as path:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    compute_loss = averaged(model, compute_loss)  # behind the checkpoint: here all begin with the same weights
    clock = saved = time.perf_counter()
    running: deque[Tensor] = deque(maxlen=evaluate_every)  # a last row of fewer steps averages as many as the others
    unseen: list[Tensor] = []
    threads = torch.get_num_threads()
    ahead = draw is not None and device.type == "cpu" and threads > 1
    stream = prefetched(draw, start, optimisation.steps, int(ahead)) if draw is not None else None
    precision = torch.autocast(device.type, torch.bfloat16, enabled=half or device.type == "cuda")
    with _Stop() as stop, fewer_threads(threads - ahead):
        for step in range(start, optimisation.steps):
            for group in optimizer.param_groups:
                group["lr"] = rate(optimisation, step) * group.get("times", 1.0)
            model.train()
            generator = generator_for(seed, step, device)
            with precision:
                loss = compute_loss(generator if stream is None else next(stream), step)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(parameters, optimisation.clip, foreach=True)
            running.append(whole(loss.detach()))
            unseen.append(torch.stack([running[-1], norm]))
            done, row = step + 1, {}
            log_now = done % evaluate_every == 0 or done == optimisation.steps
            save_now = first() and (time.perf_counter() - saved > CHECKPOINT_SECONDS or done == optimisation.steps)
            if log_now or save_now or device.type == "cpu":
                refuse_nan(done, unseen, [])
                unseen = []
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if log_now:
                refuse_nan(done, unseen, parameters)
                seconds = round(spent + time.perf_counter() - clock, 1)
                row = {"step": done, "seconds": seconds, "loss": float(torch.stack(list(running)).mean())}
                row["gradient_norm"] = float(norm)
                if evaluate is not None and first():
                    model.eval()
                    with torch.no_grad():
                        row |= evaluate()
                rows.append(row)
                if first():
                    with open(log, "a") as file:
                        file.write(json.dumps(row) + "\n")
            if first():
                report(done, row)
            stopping = anyone(stop.asked)  # read once: what is raised below was saved
            if save_now or (stopping and first()):
                refuse_nan(done, unseen, parameters)
                saved = time.perf_counter()
                save_training(checkpoint, model, optimizer, done, recipe, spent + saved - clock)
            if stopping:
                raise KeyboardInterrupt
    model.eval()
    return rows

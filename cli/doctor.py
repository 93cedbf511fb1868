"""`minilmm doctor`: is everything here that the commands need?"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import tempfile
from pathlib import Path

import typer

from .common import cores, device_named, explain
from .console import out_console

EXTRAS = {  # what for: the module that shows that it is here, and the extra that brings it
    "easy-vqa": ("easy_vqa", "easy-vqa"), "real models": ("transformers", "real"),
    "notebooks": ("jupyterlab", "notebooks"),
}  # fmt: skip


def python_version() -> str:
    """Python and minilmm."""
    import minilmm

    system = f"{platform.system()} {platform.machine()}"
    return f"Python {platform.python_version()}, minilmm {minilmm.__version__}, {system}"


def torch_version() -> str:
    """Torch, its device and threads."""
    import torch

    device = device_named("auto")
    what = torch.cuda.get_device_name() if device == "cuda" else f"{cores()} cores, {torch.get_num_threads()} threads"
    return f"torch {torch.__version__}, {device}: {what}"


def checkpoints() -> str:
    """Every shipped checkpoint loads, its hash right."""
    from minilmm.checkpoints.opening import load
    from minilmm.checkpoints.saving import shipped

    names = shipped()
    if not names:
        raise ValueError("no checkpoint is shipped: make them with `make zoo`, or install minilmm again")
    for name in names:
        load(name)
    return f"checkpoints intact: {', '.join(names)}"


def forward() -> str:
    """A picture goes through an untrained Frozen, and finite logits come out."""
    import torch

    from minilmm.interface.document import Image, Text, collate
    from minilmm.world.vocabulary import tokenizer

    from .trace import untrained

    model = untrained(0).eval()
    grey = torch.full((3, model.config.vision.resolution, model.config.vision.resolution), 0.5)
    with torch.no_grad():
        logits = model(collate([[Image(grey), Text("dax .")]], tokenizer()))  # (1, L, V)
    if not bool(logits.isfinite().all()):
        raise ArithmeticError("a forward pass gave numbers that are not finite: install torch again")
    return "a forward pass of Frozen gives finite numbers"


def disk() -> str:
    """A run can be written under the working folder."""
    with tempfile.TemporaryDirectory(dir="."):
        free = shutil.disk_usage(".").free / 2**30
    if free < 0.2:
        raise OSError(28, "nearly full", str(Path.cwd()))
    return f"the working folder can be written, {free:.0f} GiB free"


def homework() -> str:
    """What a learner's code could reach while it is graded here, found by trying."""
    from minilmm.course.isolation import probe

    means, doors = probe()
    held = f"homework runs in processes of its own, contained by {', '.join(means) or 'nothing'}"
    return held + (f"; it can still {', '.join(doors)}: grade strangers in a container" if doors else "")


CHECKS = (python_version, torch_version, forward, checkpoints, disk, homework)


def doctor() -> None:
    """Check the installation; exit code 0 when all is well."""
    console, failed = out_console(), 0
    for check in CHECKS:
        try:
            console.print(f"[green]✓[/] {check()}")
        except Exception as error:
            failed += 1
            console.print(f"[red]✗[/] {explain(error)}", soft_wrap=True)
    for name, (module, extra) in EXTRAS.items():
        if importlib.util.find_spec(module) is not None:
            version = importlib.metadata.version(module.replace("_", "-"))
            console.print(f"[green]✓[/] extra {name}: {module} {version}")
        else:
            remedy = f'pip install "minilmm[{extra}]"'
            console.print(f"- extra {name} not installed (not needed by the mini-world): {remedy}", markup=False)
    console.print(f"{failed} of {len(CHECKS)} checks failed" if failed else "all is well")
    raise typer.Exit(int(bool(failed)))

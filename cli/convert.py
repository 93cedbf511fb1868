"""`minilmm convert`: a checkpoint of transformers becomes a run of ours, and a converted run becomes theirs again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import command_line, out_console


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
    console = out_console()
    if not (to / CARD).is_file():
        console.print(f"{to}: {architecture}, for from_pretrained", soft_wrap=True, markup=False)
        return
    card = read_card(to)
    asks = f': minilmm ask {to} --image a.png --prompt "..."' if card["tokenizer"] else ", without a tokenizer"
    console.print(f"{to}: {card['kind']}, from {source}{asks}", soft_wrap=True, markup=False)

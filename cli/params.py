"""`minilmm params`: what a model is made of, counted without its weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from .common import new_table, out_console

PAPER = (  # Tsimpoukelli et al. 2021, section 3: what the paper states, no more
    ("language model", "7 B", "no"),
    ("vision encoder (NF-ResNet-50) and its linear map", "40 M", "yes"),
)


def trained_names(kind: str, recipe: dict[str, Any], names: Iterable[str]) -> set[str]:
    """Which parameters a run of this recipe trains: all of a half's; of Frozen's, those its variant and eyes say."""
    if kind != "frozen":
        return set(names)
    parts = ["to_prefix."]
    parts += ["encoder."] if recipe.get("eyes", "scratch") != "kept" else []
    parts += ["lm."] if recipe.get("variant", "frozen") in ("finetuned", "scratch") else []
    return {name for name in names if name.startswith(tuple(parts))}


def described(name: str) -> tuple[str, dict[str, Any], dict[str, Any], str]:
    """Kind, configuration, recipe and origin of a run, a shipped checkpoint, or a preset ("lm-small")."""
    from dataclasses import asdict

    from minilmm.frozen import FrozenConfig
    from minilmm.training import frozen, lm, vision
    from minilmm.training.checkpoint import CheckpointError, read_card
    from minilmm.world.vocabulary import tokenizer

    try:
        card = read_card(name)
        return card["kind"], card["config"], card.get("recipe", {}), "as its card says"
    except CheckpointError:
        part, _, preset = name.partition("-")
        if part not in ("lm", "vision", "frozen") or preset not in ("nano", "small"):
            raise
    if part == "lm":
        text = lm.preset(preset)
        return part, asdict(text.model), asdict(text), "as its preset says"
    if part == "vision":
        eyes = vision.preset(preset)
        words, length = len(tokenizer()), vision.TEXT_LENGTH
        config = {"vision": asdict(eyes.model), "vocabulary": words, "embed": eyes.embed, "text_length": length}
        return part, config, asdict(eyes), "as its preset says"
    bridge = frozen.preset(preset)
    whole = FrozenConfig(lm.preset("nano").model, bridge.encoder, bridge.prefix_tokens, bridge.kept, bridge.noise)
    return part, asdict(whole), asdict(bridge), "as its preset says, over lm-nano"


def group(name: str) -> str:
    """The part that a parameter is counted under: modules, and lists of blocks as a whole."""
    path = name.removesuffix(".weight").removesuffix(".bias").removesuffix(".gain").split(".")
    deep = 2 if path[0] in ("lm", "encoder", "vision", "text") else 1
    return ".".join(path[:deep])


def params(name: Annotated[str, typer.Argument(help="A run, a shipped checkpoint, lm-small, frozen-7b.")]) -> None:
    """Parameter tables, built on the meta device: no memory, no weights."""
    import torch

    from minilmm.training.checkpoint import build

    console = out_console()
    if name == "frozen-7b":
        view = new_table("part", "parameters", "trained", left=1, title="Frozen, as the paper states it")
        for row in PAPER:
            view.add_row(*row)
        console.print(view)
        console.print("The paper gives no more detail than this, so nothing is built here.", style="dim")
        return
    kind, config, recipe, origin = described(name)
    with torch.device("meta"):
        model = build(kind, config)
    sizes = {n: p.numel() for n, p in model.named_parameters()}
    trained = trained_names(kind, recipe, sizes)
    view = new_table("part", "parameters", "share", "trained", title=f"{name}: {kind}, {origin}")
    total, learns = sum(sizes.values()), sum(sizes[n] for n in trained)
    for part in dict.fromkeys(map(group, sizes)):
        inside = [n for n in sizes if group(n) == part]
        count = sum(sizes[n] for n in inside)
        view.add_row(part, f"{count:,}", f"{count / total:.1%}", "yes" if trained.issuperset(inside) else "no")
    view.add_section()
    view.add_row("all", f"{total:,}", "100.0%", f"{learns:,}", style="bold")
    console.print(view)
    if config.get("tied") or config.get("lm", {}).get("tied"):
        console.print("lm_head is embed_tokens: counted once.", style="dim")

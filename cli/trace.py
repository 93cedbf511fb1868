"""`minilmm trace`: one batch's journey through a model, with named axes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Device, Seed, device_named, of_the_mini_world
from .console import new_table, out_console, say
from .names import chosen, known_run, shipped

if TYPE_CHECKING:
    from torch import Tensor

    from minilmm.frozen import Frozen
    from minilmm.interface.document import Batch


def untrained(seed: int) -> Frozen:
    """Frozen at random weights and nano size, for when no checkpoint is at hand."""
    import torch

    from minilmm.frozen import Frozen, FrozenConfig
    from minilmm.training import frozen, lm

    torch.manual_seed(seed)
    recipe, text = frozen.preset("nano"), lm.preset("nano").model
    return Frozen(FrozenConfig(text, recipe.encoder, recipe.prefix_tokens, recipe.kept, recipe.noise))


def tensors_of(model: Frozen, batch: Batch) -> Iterator[tuple[str, str, Tensor, str]]:
    """What a batch becomes on its way through Frozen: name, axes, tensor, what it is."""
    images = batch.media[batch.media_mask].flatten(0, 1)  # (B N T, C, H, W)
    features = model.encoder(images)
    spliced, mask, last = model.splice(batch)
    yield "ids", "B, L", batch.ids, "words and tags"
    yield "media", "B, N, T, C, H, W", batch.media, "pictures"
    yield "media_mask", "B, N", batch.media_mask, "which exist"
    yield "features", "B N T, S, D_v", features, "the encoder's grid"
    yield "pooled", "B N T, D_v", model.encoder.pool(features), "a vector each"
    yield "prefix", "M, n, D", model.prefix(images), "the linear map's"
    yield "spliced", "B, L', D", spliced, "LM input"
    yield "last", "B, L", last, "where ids went"
    yield "hidden", "B, L', D", model.lm.hidden(spliced, mask), "LM states"
    yield "logits", "B, L, V", model(batch), "next words"


def trace(
    what: Annotated[str, typer.Argument(metavar="frozen")],
    run: Annotated[str | None, typer.Option("--run", help="A run; frozen-nano or random weights unless given.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """What every tensor of a batch is called and measures, and which parameters learn."""
    chosen(what, ("frozen",), "trace")
    if run is not None:
        known_run(run)
    device, console = device_named(device), out_console()
    import torch

    from minilmm.checkpoints.opening import load
    from minilmm.interface.document import Image, Text, collate
    from minilmm.training.job import loss_of, trained_names
    from minilmm.training.ledger import fingerprints, ledger
    from minilmm.world.render import render
    from minilmm.world.scenes import sample_scenes
    from minilmm.world.vocabulary import tokenizer

    run = run or ("frozen-nano" if "frozen-nano" in shipped() else None)
    card: dict[str, Any] = {"kind": "frozen", "trains": ["to_prefix.", "encoder."]}
    model, card = load(of_the_mini_world(run), device) if run else (untrained(seed).to(device).eval(), card)
    if card["kind"] != "frozen":
        raise ValueError(f"{run}: is a {card['kind']} run: name one of Frozen with --run")
    generator = torch.Generator().manual_seed(seed)
    pictures = render(sample_scenes(4, generator), generator, model.config.vision.resolution)  # (4, 3, R, R)
    one, two, three, four = map(Image, pictures)
    dax, blicket = Text("dax . <EOC>"), Text("blicket . <EOC>")
    batch = collate([[one, dax, two], [three, blicket, four, dax]], tokenizer()).to(device)
    view = new_table("tensor", "axes", "shape", left=3, title=f"Frozen, {run or 'random weights'}")
    view.add_column("what it is", style="dim")
    for name, axes, tensor, note in tensors_of(model, batch):
        view.add_row(name, f"({axes})", " x ".join(map(str, tensor.shape)), note)
    console.print(view)
    console.print("\n[bold]The spliced sequence[/]")
    prefix = " ".join(f"v{i + 1}" for i in range(model.config.prefix_tokens))  # what stands for a picture
    for ids, mask in zip(batch.ids, batch.attention_mask, strict=True):
        say("  " + tokenizer().decode(ids[mask].tolist()).replace("<image>", f"[{prefix}]"))
    console.print("\n[bold]Gradients of the loss[/]")
    trained = trained_names(card, dict(model.named_parameters()))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    loss = loss_of(model, batch)
    loss.backward()
    view = new_table("part", "parameters", "gradient")
    parts = {line.part: line for line in ledger(model, fingerprints(model), depth=1)}
    for name in ("encoder", "to_prefix", "lm"):
        line = parts[name]
        gradient = "none: frozen" if line.gradient is None else f"norm {line.gradient:.3f}"
        view.add_row(name, f"{line.parameters:,}", gradient)
    console.print(view)
    say(f"loss {float(loss.detach()):.3f} nats; the gradient passes through the LM, whose weights stay.", "dim")

"""`minilmm trace`: one batch's journey through a model, with named axes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .common import Device, Seed, chosen, device_named, new_table, of_the_mini_world, out_console
from .names import known_run


def untrained(seed: int) -> Any:
    """Frozen at random weights and nano size, for when no checkpoint is at hand."""
    import torch

    from minilmm.frozen import Frozen, FrozenConfig
    from minilmm.training import frozen, lm

    torch.manual_seed(seed)
    recipe, text = frozen.preset("nano"), lm.preset("nano").model
    return Frozen(FrozenConfig(text, recipe.encoder, recipe.prefix_tokens, recipe.kept, recipe.noise))


def spliced_words(model: Any, batch: Any, row: int) -> str:
    """A document as the language model meets it: every picture is its prefix of vectors."""
    from minilmm.world.vocabulary import tokenizer

    names, n = tokenizer().words, model.config.prefix_tokens
    prefix = f"[{' '.join(f'v{i + 1}' for i in range(n))}]"
    ids = batch.ids[row][batch.attention_mask[row]].tolist()
    return " ".join(prefix if i == model.config.image_id else names[i] for i in ids)


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
    import torch

    from minilmm.checkpoints.saving import load, shipped
    from minilmm.interface.document import Batch, Document, Image, Text, collate
    from minilmm.training.job import loss_of, trained_names
    from minilmm.world.render import render
    from minilmm.world.scenes import sample_scenes
    from minilmm.world.vocabulary import tokenizer

    where, console = device_named(device), out_console()
    if run is None and "frozen-nano" in shipped():
        run = "frozen-nano"
    card: dict[str, Any] = {"kind": "frozen", "trains": ["to_prefix.", "encoder."]}
    if run:
        model, card = load(of_the_mini_world(run), where)
    else:
        model = untrained(seed).to(where).eval()
    if card["kind"] != "frozen":
        raise ValueError(f"{run}: is a {card['kind']} run: name one of Frozen with --run")
    generator = torch.Generator().manual_seed(seed)
    R = model.config.vision.resolution
    shown = render(sample_scenes(4, generator), generator, R)  # (4, 3, R, R)
    one, two, three, four = (Image(picture) for picture in shown)
    documents: list[Document] = [
        [one, Text("dax . <EOC>"), two],
        [three, Text("blicket . <EOC>"), four, Text("dax . <EOC>")],
    ]
    batch: Batch = collate(documents, tokenizer()).to(where)
    view = new_table("tensor", "axes", "shape", left=3, title=f"Frozen, {run or 'random weights'}")

    def row(name: str, axes: str, tensor: torch.Tensor, note: str) -> None:
        view.add_row(name, f"({axes})", " x ".join(map(str, tensor.shape)), note)

    view.add_column("what it is", style="dim")
    with torch.no_grad():
        images = batch.media[batch.media_mask].flatten(0, 1)  # (B N T, C, H, W)
        features = model.encoder(images)
        pooled = model.encoder.pool(features)
        spliced, mask, last = model.splice(batch)
        hidden = model.lm.hidden(spliced, mask)
        row("ids", "B, L", batch.ids, "words and tags")
        row("media", "B, N, T, C, H, W", batch.media, "pictures")
        row("media_mask", "B, N", batch.media_mask, "which exist")
        row("features", "B N T, S, D_v", features, "the encoder's grid")
        row("pooled", "B N T, D_v", pooled, "a vector each")
        row("prefix", "M, n, D", model.prefix(images), "the linear map's")
        row("spliced", "B, L', D", spliced, "LM input")
        row("last", "B, L", last, "where ids went")
        row("hidden", "B, L', D", hidden, "LM states")
        row("logits", "B, L, V", model(batch), "next words")
    console.print(view)
    console.print("\n[bold]The spliced sequence[/]")
    for b in range(len(batch)):
        console.print("  " + spliced_words(model, batch, b), markup=False)
    console.print("\n[bold]Gradients of the loss[/]")
    trained = trained_names(card, [n for n, _ in model.named_parameters()])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    loss = loss_of(model, batch)
    loss.backward()
    learns = new_table("part", "parameters", "gradient")
    for part in ("encoder", "to_prefix", "lm"):
        every = [p for n, p in model.named_parameters() if n.startswith(part + ".")]
        norm = sum(float(p.grad.square().sum()) for p in every if p.grad is not None) ** 0.5
        reached = any(p.grad is not None for p in every)
        learns.add_row(part, f"{sum(p.numel() for p in every):,}", f"norm {norm:.3f}" if reached else "none: frozen")
    console.print(learns)
    console.print(f"loss {float(loss):.3f} nats; the gradient passes through the LM, whose weights stay.", style="dim")

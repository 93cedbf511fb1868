"""`minilmm params`: what a model is made of, counted without its weights."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .common import new_table, out_console
from .names import known_run

PAPER = (  # Tsimpoukelli et al. 2021, section 3: what the paper states, no more
    ("language model", "7 B", "no"),
    ("vision encoder (NF-ResNet-50) and its linear map", "40 M", "yes"),
)

# Alayrac et al. 2022, as printed: layers, width, heads of resampler, gated layers and LM; then the lecture's table of
# parameters in millions: language model, vision encoder, gated layers, resampler, all.
FLAMINGO = {
    "flamingo-3b": ((6, 1536, 16), (24, 2048, 16), (24, 2048, 16), "every block", (1400, 435, 1200, 194, 3200)),
    "flamingo-9b": ((6, 1536, 16), (10, 4096, 32), (40, 4096, 32), "every 4th", (7100, 435, 1600, 194, 9300)),
    "flamingo-80b": ((6, 1536, 16), (12, 8192, 64), (80, 8192, 64), "every 7th", (70_000, 435, 10_000, 194, 80_000)),
}
PRESETS = tuple(f"{part}-{size}" for part in ("lm", "vision", "frozen", "flamingo") for size in ("nano", "small"))
TRAINS = {"lm": [""], "vision": [""], "frozen": ["to_prefix.", "encoder."], "flamingo": ["resampler.", "xattn."]}
LATENTS, FRAMES, WORDS = 64, 8, 32_000  # section 2.1; frames of training; Chinchilla's vocabulary


def described(name: str) -> tuple[str, dict[str, Any], list[str], str]:
    """Kind, configuration, what trains and origin of a run, a shipped checkpoint, or a preset ("lm-small")."""
    from dataclasses import asdict

    from minilmm.checkpoints.saving import CheckpointError, read_card
    from minilmm.data.world import TEXT_LENGTH
    from minilmm.flamingo import FlamingoConfig
    from minilmm.frozen import FrozenConfig
    from minilmm.training import flamingo, frozen, lm, vision
    from minilmm.world.vocabulary import tokenizer

    try:
        card = read_card(name)
        return card["kind"], card["config"], card.get("trains", []), "as its card says"
    except CheckpointError:
        if name not in PRESETS:
            raise
        part, _, preset = name.partition("-")
    if part == "lm":
        text = lm.preset(preset)
        return part, asdict(text.model), TRAINS[part], "as its preset says"
    if part == "vision":
        eyes = vision.preset(preset)
        words, length = len(tokenizer()), TEXT_LENGTH
        config = {"vision": asdict(eyes.model), "vocabulary": words, "embed": eyes.embed, "text_length": length}
        return part, config, TRAINS[part], "as its preset says"
    if part == "flamingo":
        recipe = flamingo.preset(preset)
        sizes = {size: getattr(recipe, size) for size in ("latents", "resampler_layers", "heads", "every")}
        config = asdict(FlamingoConfig(lm.preset("nano").model, **sizes))
        return part, config, TRAINS[part], "as its preset says, over lm-nano"
    bridge = frozen.preset(preset)
    whole = FrozenConfig(lm.preset("nano").model, bridge.encoder, bridge.prefix_tokens, bridge.kept, bridge.noise)
    return part, asdict(whole), TRAINS[part], "as its preset says, over lm-nano"


def group(name: str) -> str:
    """The part that a parameter is counted under: modules, and lists of blocks as a whole."""
    path = name.removesuffix(".weight").removesuffix(".bias").removesuffix(".gain").split(".")
    deep = 2 if path[0] in ("lm", "encoder", "vision", "text") else 1
    return ".".join(path[:deep])


def language_model(layers: int, width: int) -> int:
    """A decoder's parameters: attention 4 D^2, feed-forward 8 D^2, relative positions D^2 per block; and its words."""
    return layers * 13 * width**2 + WORDS * width


def millions(count: float) -> str:
    """195.3M, 1.16B."""
    return f"{count / 1e9:.2f}B" if count >= 1e9 else f"{count / 1e6:.0f}M"


def paper_flamingo(name: str) -> None:
    """A Flamingo of the paper's size from our own modules, beside what the paper counts."""
    import torch

    from minilmm.flamingo import GatedCrossAttention, PerceiverResampler

    (layers, seen, heads), (count, width, gated_heads), (blocks, D, _), every, told = FLAMINGO[name]
    with torch.device("meta"):
        resampler = PerceiverResampler(seen, LATENTS, layers, heads, FRAMES)
        gated = [GatedCrossAttention(width, seen, gated_heads) for _ in range(count)]
    of = {
        "language model, frozen": language_model(blocks, D),
        "vision encoder, frozen": None,
        f"gated xattn-dense, {every}": sum(p.numel() for layer in gated for p in layer.parameters()),
        "perceiver resampler": sum(p.numel() for p in resampler.parameters()),
    }
    view = new_table("part", "ours", "paper", "difference", title=f"{name}: {count} gated layers, {LATENTS} latents")
    for part, ours, theirs in zip(of, of.values(), told, strict=False):
        gap = "not built" if ours is None else f"{ours / (theirs * 1e6) - 1:+.0%}"
        view.add_row(part, "-" if ours is None else millions(ours), millions(theirs * 1e6), gap)
    total = sum(ours if ours is not None else told[1] * 1e6 for ours in of.values())
    view.add_section()
    view.add_row("all", millions(total), millions(told[4] * 1e6), f"{total / (told[4] * 1e6) - 1:+.0%}", style="bold")
    console = out_console()
    console.print(view)
    for line in NOTES:
        console.print(line, style="dim")


NOTES = (
    "Counted from the layers and widths that the paper prints; nothing is fitted.",
    "Resampler: 4 D^2 of attention and 8 D^2 of feed-forward per layer make 170M; the other 24M are unexplained.",
    "Gated layers: keys and values read tokens 1536 wide. 3B agrees within 4 %; for 9B and 80B the printed layers and "
    "widths give 1.80B and 8.36B, not 1.6B and 10B: unexplained.",
    "Language models: those of 3B and 80B agree within 2 % with blocks that have relative positions; 40 blocks of "
    "width 4096 give 8.86B, not 7.1B: unexplained.",
    "The vision encoder (NFNet-F6) is the paper's figure.",
)


QFORMER_PARTS = (  # what it is called, how its parameters are named, whether stage 2 trains it
    ("queries", ("qformer.query_tokens", "qformer.norm"), "yes"),
    ("self-attention, shared", (".attention.",), "yes"),
    ("cross-attention, every other block", (".cross.",), "yes"),
    ("queries' feed-forwards", (".ffw_query.",), "yes"),
    ("text's feed-forwards", (".ffw_text.",), "left out"),
    ("words and positions", ("qformer.words", "qformer.positions", "word_bias"), "left out"),
    ("heads of ITC, ITM and ITG", ("_proj.weight", "_proj.bias", "itm_head", "transform", "temperature"), "left out"),
)


def paper_qformer() -> None:
    """The paper's Q-Former from our own modules: BERT-base over ViT-g, 32 queries."""
    import torch

    from minilmm.blip2 import Blip2Config, Stage1
    from minilmm.nn.qformer import QFormerConfig

    config = QFormerConfig(
        1408, 30_523, width=768, layers=12, heads=12, hidden=3072, queries=32, embed=256, context=512
    )
    with torch.device("meta"):
        sizes = {n: p.numel() for n, p in Stage1(Blip2Config(config)).named_parameters()}
    sizes = {n: size for n, size in sizes.items() if not n.startswith("encoder.")}
    view = new_table("part", "parameters", "stage 1", "stage 2", title="blip2-qformer: 12 blocks of 768, over ViT-g")
    left, second = set(sizes), 0
    for part, marks, later in QFORMER_PARTS:
        inside = {n for n in left if any(mark in n for mark in marks)}
        left -= inside
        count = sum(sizes[n] for n in inside)
        second += count if later == "yes" else 0
        view.add_row(part, f"{count:,}", "trained", "trained" if later == "yes" else later)
    assert not left, left
    total = sum(sizes.values())
    view.add_section()
    view.add_row("all", f"{total:,}", millions(total), millions(second), style="bold")
    view.add_row("the paper", "", "188M", "103M to 108M", style="bold")
    console = out_console()
    console.print(view)
    console.print(
        f"Stage 1: {total / 188e6 - 1:+.1%} of the paper's figure. Stage 2 trains the queries' half and a linear map "
        "to the language model's width (2.0M to OPT-2.7B, 1.6M to FlanT5-XL); its text never enters the Q-Former.",
        style="dim",
    )


def params(
    name: Annotated[
        str, typer.Argument(help="A run, a shipped checkpoint, lm-small, frozen-7b, flamingo-3b|9b|80b, blip2-qformer.")
    ],
) -> None:
    """Parameter tables, built on the meta device: no memory, no weights."""
    papers = ("frozen-7b", "blip2-qformer", *FLAMINGO)
    if name not in papers and name not in PRESETS:
        known_run(name, also=(*papers, *PRESETS))
    import torch

    from minilmm.checkpoints.opening import build
    from minilmm.checkpoints.saving import REAL
    from minilmm.training.job import trained_names

    console = out_console()
    if name == "frozen-7b":
        view = new_table("part", "parameters", "trained", left=1, title="Frozen, as the paper states it")
        for row in PAPER:
            view.add_row(*row)
        console.print(view)
        console.print("The paper gives no more detail than this, so nothing is built here.", style="dim")
        return
    if name == "blip2-qformer":
        return paper_qformer()
    if name in FLAMINGO:
        return paper_flamingo(name)
    kind, config, trains, origin = described(name)
    if kind.startswith(REAL):  # other people's models: their sizes are known when they are loaded
        from minilmm.checkpoints.opening import open_run

        model: Any = open_run(name)[0]
        config = config["model"]
    else:
        with torch.device("meta"):
            model = build(kind, config)
    sizes = {n: p.numel() for n, p in model.named_parameters()}
    trained = trained_names({"trains": trains}, sizes)
    view = new_table("part", "parameters", "share", "trained", title=f"{name}: {kind}, {origin}")
    total, learns = sum(sizes.values()), sum(sizes[n] for n in trained)
    for part in dict.fromkeys(map(group, sizes)):
        inside = [n for n in sizes if group(n) == part]
        count = sum(sizes[n] for n in inside)
        view.add_row(part, f"{count:,}", f"{count / total:.1%}", "yes" if trained.issuperset(inside) else "no")
    view.add_section()
    view.add_row("all", f"{total:,}", "100.0%", f"{learns:,}", style="bold")
    console.print(view)
    if config.get("tied") or (config.get("lm") or {}).get("tied"):
        console.print("lm_head is embed_tokens: counted once.", style="dim")

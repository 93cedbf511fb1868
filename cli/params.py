"""`minilmm params`: what a model is made of, counted without its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from .console import new_table, out_console
from .names import known_run

PRESETS = tuple(f"{part}-{size}" for part in ("lm", "vision", "frozen", "flamingo") for size in ("nano", "small"))
NAMES = "A run, a shipped checkpoint, lm-small, frozen-7b, flamingo-3b|9b|80b, blip2-qformer."
PARTS = ("part", "parameters")
Rows = Sequence[tuple[str, ...]]

# Tsimpoukelli et al. 2021, section 3: what the paper states, no more.
FROZEN = (("language model", "7 B", "no"), ("vision encoder (NF-ResNet-50) and its linear map", "40 M", "yes"))

# Alayrac et al. 2022, as printed: layers, width, heads of resampler, gated layers and LM; then the lecture's table of
# parameters in millions: language model, vision encoder, gated layers, resampler, all.
FLAMINGO = {
    "flamingo-3b": ((6, 1536, 16), (24, 2048, 16), (24, 2048, 16), "every block", (1400, 435, 1200, 194, 3200)),
    "flamingo-9b": ((6, 1536, 16), (10, 4096, 32), (40, 4096, 32), "every 4th", (7100, 435, 1600, 194, 9300)),
    "flamingo-80b": ((6, 1536, 16), (12, 8192, 64), (80, 8192, 64), "every 7th", (70_000, 435, 10_000, 194, 80_000)),
}
TRAINS = {"lm": [""], "vision": [""], "frozen": ["to_prefix.", "encoder."], "flamingo": ["resampler.", "xattn."]}
LATENTS, FRAMES, VOCABULARY = 64, 8, 32_000  # section 2.1; frames of training; Chinchilla's
FLAMINGO_NOTES = (
    "Counted from the layers and widths that the paper prints; nothing is fitted.",
    "Resampler: 4 D^2 of attention and 8 D^2 of feed-forward per layer make 170M; the other 24M are unexplained.",
    "Gated layers: keys and values read tokens 1536 wide. 3B agrees within 4 %; for 9B and 80B the printed layers and "
    "widths give 1.80B and 8.36B, not 1.6B and 10B: unexplained.",
    "Language models: those of 3B and 80B agree within 2 % with blocks that have relative positions; 40 blocks of "
    "width 4096 give 8.86B, not 7.1B: unexplained.",
    "The vision encoder (NFNet-F6) is the paper's figure.",
)

QFORMER = (  # what it is called, how its parameters are named, what stage 2 does with it
    ("queries", ("qformer.query_tokens", "qformer.norm"), "trained"),
    ("self-attention, shared", (".attention.",), "trained"),
    ("cross-attention, every other block", (".cross.",), "trained"),
    ("queries' feed-forwards", (".ffw_query.",), "trained"),
    ("text's feed-forwards", (".ffw_text.",), "left out"),
    ("words and positions", ("qformer.words", "qformer.positions", "word_bias"), "left out"),
    ("heads of ITC, ITM and ITG", ("_proj.weight", "_proj.bias", "itm_head", "transform", "temperature"), "left out"),
)


def show(title: str, columns: Sequence[str], rows: Rows, totals: Rows = (), notes: Sequence[str] = ()) -> None:
    """Print a table, its totals in bold, and notes below."""
    view, console = new_table(*columns, title=title), out_console()
    for row in rows:
        view.add_row(*row)
    view.add_section()
    for row in totals:
        view.add_row(*row, style="bold")
    console.print(view)
    for note in notes:
        console.print(note, style="dim")


def millions(count: float) -> str:
    """195.3M, 1.16B."""
    return f"{count / 1e9:.2f}B" if count >= 1e9 else f"{count / 1e6:.0f}M"


def show_flamingo(name: str) -> None:
    """A Flamingo of the paper's size from our own modules, beside what the paper counts."""
    import torch

    from minilmm.flamingo import GatedCrossAttention, PerceiverResampler

    (layers, feature_width, heads), (count, width, gated_heads), (blocks, D, _), every, paper = FLAMINGO[name]
    with torch.device("meta"):
        resampler = PerceiverResampler(feature_width, LATENTS, layers, heads, FRAMES)
        gated = GatedCrossAttention(width, feature_width, gated_heads)
    encoder = paper[1] * 1e6  # which is not built
    sizes = {
        # attention 4 D^2, feed-forward 8 D^2 and relative positions D^2 per block; and the words
        "language model, frozen": blocks * 13 * D**2 + VOCABULARY * D,
        "vision encoder, frozen": encoder,
        f"gated xattn-dense, {every}": count * sum(p.numel() for p in gated.parameters()),
        "perceiver resampler": sum(p.numel() for p in resampler.parameters()),
    }
    sizes["all"] = sum(sizes.values())
    rows = [(part, millions(size), millions(theirs * 1e6), f"{size / (theirs * 1e6) - 1:+.0%}")
            for (part, size), theirs in zip(sizes.items(), paper, strict=True)]  # fmt: skip
    rows[1] = (rows[1][0], "-", millions(encoder), "not built")
    title = f"{name}: {count} gated layers, {LATENTS} latents"
    show(title, ("part", "ours", "paper", "difference"), rows[:-1], rows[-1:], FLAMINGO_NOTES)


def show_qformer() -> None:
    """The paper's Q-Former from our own modules: BERT-base over ViT-g, 32 queries."""
    import torch

    from minilmm.blip2 import Blip2Config, Stage1
    from minilmm.nn.qformer import QFormerConfig

    bert = {"width": 768, "layers": 12, "heads": 12, "hidden": 3072, "context": 512}
    with torch.device("meta"):
        stage = Stage1(Blip2Config(QFormerConfig(1408, 30_523, **bert, queries=32, embed=256)))
    left = {n: p.numel() for n, p in stage.named_parameters() if not n.startswith("encoder.")}
    total, second, rows = sum(left.values()), 0, []
    for part, marks, later in QFORMER:
        inside = sum(left.pop(n) for n in list(left) if any(mark in n for mark in marks))
        second += inside if later == "trained" else 0
        rows.append((part, f"{inside:,}", "trained", later))
    assert not left, left
    totals = (("all", f"{total:,}", millions(total), millions(second)), ("the paper", "", "188M", "103M to 108M"))
    note = (
        f"Stage 1: {total / 188e6 - 1:+.1%} of the paper's figure. Stage 2 trains the queries' half and a linear map "
        "to the language model's width (2.0M to OPT-2.7B, 1.6M to FlanT5-XL); its text never enters the Q-Former."
    )
    show("blip2-qformer: 12 blocks of 768, over ViT-g", (*PARTS, "stage 1", "stage 2"), rows, totals, [note])


def preset(part: str, size: str) -> dict[str, Any]:
    """The configuration of a preset, such as "lm" and "small"."""
    from dataclasses import asdict

    from minilmm.data.world import TEXT_LENGTH
    from minilmm.flamingo import FlamingoConfig
    from minilmm.frozen import FrozenConfig
    from minilmm.training import flamingo, frozen, lm, vision
    from minilmm.world.vocabulary import tokenizer

    recipe: Any
    if part == "lm":
        return asdict(lm.preset(size).model)
    if part == "vision":
        recipe, text = vision.preset(size), {"vocabulary": len(tokenizer()), "text_length": TEXT_LENGTH}
        return {"vision": asdict(recipe.model), "embed": recipe.embed, **text}
    under = lm.preset("nano").model
    if part == "frozen":
        recipe = frozen.preset(size)
        return asdict(FrozenConfig(under, recipe.encoder, recipe.prefix_tokens, recipe.kept, recipe.noise))
    recipe = flamingo.preset(size)
    sizes = {name: getattr(recipe, name) for name in ("latents", "resampler_layers", "heads", "every", "places")}
    return asdict(FlamingoConfig(under, **sizes))


def show_model(name: str) -> None:
    """A run, a shipped checkpoint or a preset, part by part."""
    import torch

    from minilmm.checkpoints.opening import build, load
    from minilmm.checkpoints.saving import REAL, CheckpointError, read_card
    from minilmm.training.job import trained_names

    try:
        card, origin = read_card(name), "as its card says"
    except CheckpointError:
        if name not in PRESETS:
            raise
        kind, _, size = name.partition("-")
        card = {"kind": kind, "config": preset(kind, size), "trains": TRAINS[kind]}
        origin = "as its preset says" + (", over lm-nano" if kind in ("frozen", "flamingo") else "")
    kind, config = card["kind"], card["config"]
    model: Any
    if kind.startswith(REAL):  # other people's models: their sizes are known when they are loaded
        model, config = load(name)[0], config["model"]
    else:
        with torch.device("meta"):
            model = build(kind, config)
    sizes = {n: p.numel() for n, p in model.named_parameters()}
    trained = trained_names({"trains": card.get("trains", [])}, sizes)
    parts: dict[str, list[str]] = {}
    for n in sizes:  # modules, and lists of blocks as a whole
        path = n.removesuffix(".weight").removesuffix(".bias").removesuffix(".gain").split(".")
        part = ".".join(path[: 2 if path[0] in ("lm", "encoder", "vision", "text") else 1])
        parts.setdefault(part, []).append(n)
    total, rows = sum(sizes.values()), []
    for part, inside in parts.items():
        count = sum(sizes[n] for n in inside)
        rows.append((part, f"{count:,}", f"{count / total:.1%}", "yes" if trained.issuperset(inside) else "no"))
    totals = [("all", f"{total:,}", "100.0%", f"{sum(sizes[n] for n in trained):,}")]
    tied = config.get("tied") or (config.get("lm") or {}).get("tied")
    notes = ["lm_head is embed_tokens: counted once."] if tied else []
    show(f"{name}: {kind}, {origin}", (*PARTS, "share", "trained"), rows, totals, notes)


def params(name: Annotated[str, typer.Argument(help=NAMES)]) -> None:
    """Parameter tables, built on the meta device: no memory, no weights."""
    if name == "frozen-7b":
        note = "The paper gives no more detail than this, so nothing is built here."
        show("Frozen, as the paper states it", (*PARTS, "trained"), FROZEN, notes=[note])
    elif name == "blip2-qformer":
        show_qformer()
    elif name in FLAMINGO:
        show_flamingo(name)
    else:
        if name not in PRESETS:
            known_run(name, also=("frozen-7b", "blip2-qformer", *FLAMINGO, *PRESETS))
        show_model(name)

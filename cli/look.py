"""`minilmm show mask|attention|gates`: what text may look at, what it looks at, and how far the gates are open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import new_table, of_the_mini_world, out_console, save_figure, say, share, tell

if TYPE_CHECKING:
    from torch import Tensor

    from minilmm.blip2 import Blip2, Stage1
    from minilmm.flamingo import Flamingo

OBJECTS = [1, 1, 2, 3]  # in the pictures that queries are shown
QUERIES, QFORMER_TEXT = 4, "[CLS/DEC] a red circle . <EOC>"
MASK_TEXT = "<bos> the picture shows <image> dax . <EOC> <image> blicket . <EOC> <image>"
PARTS = {"gates": "alpha", "gated layers' matrices": "xattn", "resampler": "resampler", "language model": ""}


def load_flamingo(run: str, what: str) -> Flamingo:
    """A Flamingo run; ValueError for another kind."""
    from minilmm.checkpoints.saving import load

    model, card = load(of_the_mini_world(run))
    if card["kind"] != "flamingo":
        raise ValueError(f"{run}: has no gated layers: show {what} needs a Flamingo such as flamingo-nano")
    return model


def mask(out: Path) -> None:
    """mask.png: which text may look at which picture, as the paper has it and as others had it."""
    import torch

    from minilmm import plots
    from minilmm.ablations import every_image_so_far, leaking
    from minilmm.flamingo import last_image, media_mask
    from minilmm.world.vocabulary import ids

    words = MASK_TEXT.split()
    back, ahead = (last_image(ids(*words)[None], 3, ahead=torch.tensor([flag])) for flag in (False, True))
    masks = {"last image": media_mask(back, 3), "looks ahead": media_mask(ahead, 3),
             "all images": every_image_so_far(back, 3), "leaks (a bug)": leaking(back, 3)}  # fmt: skip
    names = [f"{name}: {n + 1}" for name in masks for n in range(3)]
    figure = plots.mask_microscope(torch.cat([m[0] for m in masks.values()], -1), words, names)
    save_figure(figure, out / "mask.png", "which text may look at which image")
    for name, allowed in masks.items():
        images = ["".join(str(n + 1) for n in range(3) if row[n]) or "-" for row in allowed[0]]
        say(f"  {name}:")
        tell("  ".join(f"{word}:{seen}" for word, seen in zip(words, images, strict=True)))


def qformer_masks(out: Path) -> None:
    """mask-blip2.png: who sees whom in a Q-Former, for each of its three objectives."""
    import torch

    from minilmm import plots
    from minilmm.nn.qformer import bidirectional_mask, causal_mask, unimodal_mask

    names = [f"query {n + 1}" for n in range(QUERIES)] + QFORMER_TEXT.split()
    text = torch.ones(1, len(names) - QUERIES, dtype=torch.bool)
    kinds = {"ITC: unimodal": unimodal_mask, "ITM: bidirectional": bidirectional_mask,
             "ITG: multimodal causal": causal_mask}  # fmt: skip
    masks = {title: make(QUERIES, text)[0] for title, make in kinds.items()}
    figure = plots.mask_panels(masks, names, split=QUERIES)
    save_figure(figure, out / "mask-blip2.png", "who sees whom in the Q-Former")
    for title, allowed in masks.items():
        say(f"  {title}:")
        for who, row, end in (("a query", allowed[0], ";"), ("the second word", allowed[QUERIES + 1], "")):
            tell(f"{who} sees {int(row[:QUERIES].sum())} queries and {int(row[QUERIES:].sum())} words{end}")


def queries(run: str, model: Stage1 | Blip2, out: Path, seed: int) -> None:
    """queries.png: what each query of a Q-Former looks at, in four pictures of the held-out pairs.

    Of a run of stage 1 also queries-training.png: the same in one picture, over training.
    """
    import torch
    from safetensors.torch import load_file

    from minilmm import plots
    from minilmm.checkpoints.saving import LOOKS, STAGE_1, find
    from minilmm.evaluation.looks import query_looks
    from minilmm.world.render import render
    from minilmm.world.scenes import sample_scenes

    def draw(images: Tensor, looks: Tensor, rows: list[str], name: str, shows: str) -> None:
        side, heads = int(looks.shape[-1] ** 0.5), [f"query {q + 1}" for q in range(looks.shape[1])]
        maps = looks.unflatten(-1, (side, side))
        save_figure(plots.overlay_table(images, maps, heads, rows, label="attention to a patch"), out / name, shows)

    generator = torch.Generator().manual_seed(seed)
    scenes = sample_scenes(4, generator, objects=torch.tensor(OBJECTS), split="held-out")
    images = render(scenes, generator, model.config.vision.resolution)
    looks = query_looks(model, images)  # (4, Q, S)
    draw(images, looks, [f"{n} object{'s' * (n > 1)}" for n in OBJECTS], "queries.png", "what each query looks at")
    alike = likeness(looks)
    say(f"two queries look alike by {sum(alike) / len(alike):.2f} (cosine of their maps, mean over pairs)")
    path = next((p for p in (find(run) / LOOKS, find(run) / STAGE_1 / LOOKS) if p.is_file()), None)
    if path is not None:
        stored = load_file(path)
        looks = stored["looks"]  # (P, Q, S)
        kept = torch.linspace(0, len(looks) - 1, min(6, len(looks))).round().long()
        images = stored["image"].expand(len(kept), -1, -1, -1)
        draw(images, looks[kept], [f"look {p + 1}" for p in kept.tolist()], "queries-training.png",
             "over training, in one picture")  # fmt: skip
        say(f"  alike by {', '.join(f'{value:.2f}' for value in likeness(looks))}")


def likeness(looks: Tensor) -> list[float]:
    """How alike the maps (P, Q, S) of different queries are: for each of P the mean cosine over pairs."""
    from torch.nn.functional import cosine_similarity

    Q = looks.shape[1]
    alike = cosine_similarity(looks[:, :, None], looks[:, None], dim=-1)  # (P, Q, Q)
    return ((alike.sum((1, 2)) - Q) / max(1, Q * (Q - 1))).tolist()


def attention(run: str, out: Path, seed: int) -> None:
    """words.png and patches.png: which pictures' tokens each word looks at, and where in the pictures that is.

    Of a Q-Former queries.png.
    """
    import torch

    from minilmm import plots
    from minilmm.checkpoints.saving import load, read_card
    from minilmm.evaluation.looks import openness, patch_looks, token_looks
    from minilmm.evaluation.prompts import prompts
    from minilmm.evaluation.tasks import TASKS, Settings
    from minilmm.world.vocabulary import tokenizer

    if read_card(of_the_mini_world(run))["kind"].startswith("blip2"):
        return queries(run, load(run)[0], out, seed)
    model, generator = load_flamingo(run, "attention"), torch.Generator().manual_seed(seed)
    episodes = TASKS["naming"].sample(1, generator, Settings(ways=2, shots=1))
    batch = prompts(episodes, episodes.paint(generator, model.config.vision.resolution), "real", generator)
    words = [tokenizer().words[i] for i in batch.ids[0].tolist()]
    strongest = int(openness(model).argmax())
    looks = token_looks(model, batch)[strongest, 0]  # (L, N, R)
    columns = [f"image {n + 1}, token {r + 1}" for n in range(looks.shape[1]) for r in range(looks.shape[2])]
    figure = plots.attention_map(looks.flatten(1), words, columns, xlabel="pictures' tokens", ylabel="words")
    layer = f"the gated layer in front of block {list(model.xattn)[strongest]}, where tanh(alpha) is largest"
    save_figure(figure, out / "words.png", layer)
    patches = patch_looks(model, batch)[0]  # (L, N, S)
    side = int(patches.shape[-1] ** 0.5)
    shown = [i for i, word in enumerate(words) if patches[i].sum() > 0 and word not in (".", "<EOC>")]
    which = patches[shown].sum(-1).argmax(-1)
    weights = patches[shown, which].unflatten(-1, (side, side))
    figure = plots.patch_overlay(batch.media[0, which, 0], weights, [words[i] for i in shown],
                                 label="attention to a patch", columns=3)  # fmt: skip
    save_figure(figure, out / "patches.png", "where each word looks in its picture")
    tell(" ".join(words))


def gates(run: str, out: Path, seed: int) -> None:
    """gates.png: tanh(alpha) over training; and what the gates do: left as they are, closed, opened wide."""
    from minilmm import plots
    from minilmm.checkpoints.saving import LOG, find, read_log
    from minilmm.evaluation.fewshot import evaluate
    from minilmm.evaluation.looks import gates_at
    from minilmm.evaluation.tasks import Settings
    from minilmm.training.flamingo import gates as gates_of

    kinds = {"tanh(alpha) attention": "alpha_xattn", "tanh(alpha) feed-forward": "alpha_dense"}
    model, console = load_flamingo(run, "gates"), out_console()
    view = new_table("in front of block", *kinds, title=run)
    for block, layer in model.xattn.items():
        view.add_row(block, *(f"{float(getattr(layer, alpha).detach().tanh()):+.3f}" for alpha in kinds.values()))
    console.print(view)
    view = new_table("gates", "naming, 5 ways, 1 shot")
    how: dict[str, Any] = {"settings": Settings(ways=5, shots=1), "resolution": model.config.vision.resolution}
    for value, name in ((None, "as trained"), (0.0, "all closed: the language model alone"), (1.0, "all at 1")):
        with gates_at(model, value):
            result = evaluate(model, "naming", shots=(1,), episodes=200, conditions=("real",), seed=seed, **how)
        row = result["rows"][0]
        view.add_row(name, f"{share(row['value'])} {share(row['low'], 2)}-{share(row['high'], 2)}")
    console.print(view)
    say("at step 0, with all gates closed, the gradient of the loss is")
    tell(", ".join(f"{part} {size}" for part, size in first_gradients(model).items()), 2)
    log = find(run) / LOG
    if not log.is_file():
        return say(f"no log in {find(run)}: nothing to draw")
    rows = read_log(log)
    panels: dict[str, Any] = {}
    for title, kind in kinds.items():
        for name in gates_of(model):
            if name.endswith(kind) and f"tanh {name}" in rows[0]:
                points = [{"step": 0, title: 0.0}, *({"step": r["step"], title: r[f"tanh {name}"]} for r in rows)]
                panels.setdefault(title, {})[f"in front of block {name.split('.')[0]}"] = points
    save_figure(plots.training_curves(panels), out / "gates.png", "over training")


def first_gradients(model: Flamingo) -> dict[str, str]:
    """The gradient's norm of each part where all gates are closed, on one batch of pages."""
    import torch

    from minilmm.evaluation.looks import gates_at
    from minilmm.training.loop import loss_of
    from minilmm.training.mixture import pages

    model.lm.requires_grad_(False)
    model.encoder.requires_grad_(False)
    batch = pages(8, torch.Generator().manual_seed(0), model.config.vision.resolution)
    with gates_at(model, 0.0):
        model.zero_grad()
        loss_of(model, batch).backward()
    gradients: dict[str, list[Tensor]] = {part: [] for part in PARTS}
    for name, p in model.named_parameters():
        if p.grad is not None:
            gradients[next(part for part, mark in PARTS.items() if mark in name)].append(p.grad)
    norm = torch.nn.utils.get_total_norm
    return {part: f"{float(norm(found)):.3g}" if found else "none" for part, found in gradients.items()}

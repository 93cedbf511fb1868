"""`minilmm show mask|attention|gates`: what text may look at, what it looks at, and how far the gates are open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .common import new_table, of_the_mini_world, out_console, share, tell, writable_folder

OBJECTS = [1, 1, 2, 3]  # in the pictures that queries are shown
QUERIES, QFORMER_TEXT = 4, "[CLS/DEC] a red circle . <EOC>"
MASK_TEXT = "<bos> the picture shows <image> dax . <EOC> <image> blicket . <EOC> <image>"


def flamingo_named(run: str, what: str) -> tuple[Any, dict[str, Any]]:
    """A Flamingo run and its card; ValueError for another kind."""
    from minilmm.checkpoints.saving import load

    model, card = load(of_the_mini_world(run))
    if card["kind"] != "flamingo":
        raise ValueError(f"{run}: has no gated layers: show {what} needs a Flamingo such as flamingo-nano")
    return model, card


def mask(out: Path) -> None:
    """mask.png: which text may look at which picture, as the paper has it and as others had it."""
    import torch

    from minilmm import plots
    from minilmm.ablations import every_image_so_far, leaking
    from minilmm.flamingo import last_image, media_mask
    from minilmm.world.vocabulary import ids

    words = MASK_TEXT.split()
    row = ids(*words)[None]
    back, ahead = (last_image(row, 3, ahead=torch.tensor([flag])) for flag in (False, True))
    drawn = [("last image", media_mask(back, 3)), ("looks ahead", media_mask(ahead, 3)),
             ("all images", every_image_so_far(back, 3)), ("leaks (a bug)", leaking(back, 3))]  # fmt: skip
    names = [f"{name}: {n + 1}" for name, _ in drawn for n in range(3)]
    figure = plots.mask_microscope(torch.cat([m[0] for _, m in drawn], -1), words, names)
    console, path = out_console(), plots.save(figure, writable_folder(out) / "mask.png")
    console.print(f"{path}: which text may look at which image", soft_wrap=True)
    for name, m in drawn:
        seen = ["".join(str(n + 1) for n in range(3) if m[0, i, n]) or "-" for i in range(len(words))]
        console.print(f"  {name}:", markup=False)
        tell("  ".join(f"{w}:{s}" for w, s in zip(words, seen, strict=True)))


def qformer_masks(out: Path) -> None:
    """mask-blip2.png: who sees whom in a Q-Former, for each of its three objectives."""
    import torch

    from minilmm import plots
    from minilmm.nn.qformer import bidirectional_mask, causal_mask, unimodal_mask

    names = [f"query {n + 1}" for n in range(QUERIES)] + QFORMER_TEXT.split()
    real = torch.ones(1, len(names) - QUERIES, dtype=torch.bool)
    masks = {
        "ITC: unimodal": unimodal_mask,
        "ITM: bidirectional": bidirectional_mask,
        "ITG: multimodal causal": causal_mask,
    }
    drawn = {title: make(QUERIES, real)[0] for title, make in masks.items()}
    figure = plots.mask_panels(drawn, names, split=QUERIES)
    console, path = out_console(), plots.save(figure, writable_folder(out) / "mask-blip2.png")
    console.print(f"{path}: who sees whom in the Q-Former", soft_wrap=True)
    for title, mask in drawn.items():
        q, t = mask[0], mask[QUERIES + 1]  # a query's row, and that of the second word
        told = (f"{int(m[:QUERIES].sum())} queries and {int(m[QUERIES:].sum())} words" for m in (q, t))
        console.print(f"  {title}:")
        tell(f"a query sees {next(told)};")
        tell(f"the second word sees {next(told)}")


def queries(run: str, model: Any, out: Path, seed: int) -> None:
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

    generator = torch.Generator().manual_seed(seed)
    scenes = sample_scenes(4, generator, objects=torch.tensor(OBJECTS), split="held-out")
    images = render(scenes, generator, model.config.vision.resolution)
    looks = query_looks(model, images)  # (4, Q, S)
    heads, side = [f"query {q + 1}" for q in range(looks.shape[1])], int(looks.shape[-1] ** 0.5)
    rows = [f"{n} object{'s' * (n > 1)}" for n in OBJECTS]
    figure = plots.overlay_table(images, looks.unflatten(-1, (side, side)), heads, rows, label="attention to a patch")
    console = out_console()
    console.print(
        f"{plots.save(figure, writable_folder(out) / 'queries.png')}: what each query looks at", soft_wrap=True
    )
    alike = likeness(looks)
    console.print(f"two queries look alike by {sum(alike) / len(alike):.2f} (cosine of their maps, mean over pairs)")
    path = next((p for p in (find(run) / LOOKS, find(run) / STAGE_1 / LOOKS) if p.is_file()), None)
    if path is not None:
        stored = load_file(path)
        over = stored["looks"]  # (P, Q, S)
        kept = torch.linspace(0, len(over) - 1, min(6, len(over))).round().long()
        figure = plots.overlay_table(
            stored["image"].expand(len(kept), -1, -1, -1), over[kept].unflatten(-1, (side, side)), heads,
            [f"look {p + 1}" for p in kept.tolist()], label="attention to a patch",
        )  # fmt: skip
        console.print(
            f"{plots.save(figure, out / 'queries-training.png')}: over training, in one picture", soft_wrap=True
        )
        told = ", ".join(f"{value:.2f}" for value in likeness(over))
        console.print(f"  alike by {told}", soft_wrap=True)


def likeness(looks: Any) -> list[float]:
    """How alike the maps (P, Q, S) of different queries are: for each of P the mean cosine over pairs."""
    import torch

    Q = looks.shape[1]
    alike = torch.nn.functional.cosine_similarity(looks[:, :, None], looks[:, None], dim=-1)  # (P, Q, Q)
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
    model, _ = flamingo_named(run, "attention")
    generator, resolution = torch.Generator().manual_seed(seed), model.config.vision.resolution
    episodes = TASKS["naming"].sample(1, generator, Settings(ways=2, shots=1))
    batch = prompts(episodes, episodes.paint(generator, resolution), "real", generator)
    words = [tokenizer().words[i] for i in batch.ids[0].tolist()]
    looks = token_looks(model, batch)[:, 0]  # (layers, L, N, R)
    strongest, console = int(openness(model).argmax()), out_console()
    columns = [f"image {n + 1}, token {r + 1}" for n in range(looks.shape[2]) for r in range(looks.shape[3])]
    layer = list(model.xattn)[strongest]
    figure = plots.attention_map(looks[strongest].flatten(1), words, columns, xlabel="pictures' tokens", ylabel="words")
    writable_folder(out)
    told = f"the gated layer in front of block {layer}, where tanh(alpha) is largest"
    console.print(f"{plots.save(figure, out / 'words.png')}: {told}", soft_wrap=True)
    patches = patch_looks(model, batch)[0]  # (L, N, S)
    side = int(patches.shape[-1] ** 0.5)
    shown = [i for i, word in enumerate(words) if patches[i].sum() > 0 and word not in (".", "<EOC>")]
    which = patches[shown].sum(-1).argmax(-1)
    pictures = batch.media[0, which, 0]
    weights = patches[shown, which].unflatten(-1, (side, side))
    figure = plots.patch_overlay(pictures, weights, [words[i] for i in shown], label="attention to a patch", columns=3)
    console.print(f"{plots.save(figure, out / 'patches.png')}: where each word looks in its picture", soft_wrap=True)
    tell(" ".join(words))


def gates(run: str, out: Path, seed: int) -> None:
    """gates.png: tanh(alpha) over training; and what the gates do: left as they are, closed, opened wide."""
    from minilmm import plots
    from minilmm.checkpoints.saving import LOG, find, read_log
    from minilmm.evaluation.fewshot import evaluate
    from minilmm.evaluation.looks import gates_at
    from minilmm.evaluation.tasks import Settings
    from minilmm.training.flamingo import gates as gates_of

    model, _ = flamingo_named(run, "gates")
    console = out_console()
    view = new_table("in front of block", "tanh(alpha) attention", "tanh(alpha) feed-forward", title=run)
    for name, layer in model.xattn.items():
        view.add_row(name, *(f"{float(a.detach().tanh()):+.3f}" for a in (layer.alpha_xattn, layer.alpha_dense)))
    console.print(view)
    settings, resolution = Settings(ways=5, shots=1), model.config.vision.resolution
    view = new_table("gates", "naming, 5 ways, 1 shot")
    for value, name in ((None, "as trained"), (0.0, "all closed: the language model alone"), (1.0, "all at 1")):
        with gates_at(model, value):
            how: dict[str, Any] = {"episodes": 200, "conditions": ("real",), "seed": seed, "resolution": resolution}
            row = evaluate(model, "naming", shots=(1,), settings=settings, **how)["rows"][0]
        view.add_row(name, f"{share(row['value'])} {share(row['low'], 2)}-{share(row['high'], 2)}")
    console.print(view)
    console.print("at step 0, with all gates closed, the gradient of the loss is")
    console.print("  " + ", ".join(f"{part} {size}" for part, size in first_gradients(model).items()))
    log = find(run) / LOG
    if not log.is_file():
        console.print(f"no log in {find(run)}: nothing to draw", soft_wrap=True)
        return
    rows = read_log(log)
    panels: dict[str, Any] = {}
    for kind, title in (("alpha_xattn", "tanh(alpha) attention"), ("alpha_dense", "tanh(alpha) feed-forward")):
        names = [name for name in gates_of(model) if name.endswith(kind) and f"tanh {name}" in rows[0]]
        for name in names:
            points = [{"step": 0, title: 0.0}, *({"step": r["step"], title: r[f"tanh {name}"]} for r in rows)]
            panels.setdefault(title, {})[f"in front of block {name.split('.')[0]}"] = points
    figure = plots.training_curves(panels)
    console.print(f"{plots.save(figure, writable_folder(out) / 'gates.png')}: over training", soft_wrap=True)


def first_gradients(model: Any) -> dict[str, str]:
    """The gradient's norm of each part where all gates are closed, on one batch of pages."""
    import torch

    from minilmm.evaluation.looks import gates_at
    from minilmm.training.job import loss_of
    from minilmm.training.mixture import pages

    model.lm.requires_grad_(False)
    model.encoder.requires_grad_(False)
    batch = pages(8, torch.Generator().manual_seed(0), model.config.vision.resolution)
    with gates_at(model, 0.0):
        model.zero_grad()
        loss_of(model, batch).backward()
    parts: dict[str, list] = {"gates": [], "gated layers' matrices": [], "resampler": [], "language model": []}
    for name, p in model.named_parameters():
        key = "gates" if "alpha" in name else "gated layers' matrices" if name.startswith("xattn") else (
            "resampler" if name.startswith("resampler") else "language model")  # fmt: skip
        if p.grad is not None:
            parts[key].append(p.grad.norm())
    return {key: f"{float(torch.stack(norms).norm()):.3g}" if norms else "none" for key, norms in parts.items()}

"""What `minilmm show` draws: the mini-world and its words, how runs learned, and where they look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import cosine_similarity

from minilmm import plots
from minilmm.ablations import every_image_so_far, leaking
from minilmm.blip2 import Blip2, Stage1
from minilmm.checkpoints.opening import load
from minilmm.checkpoints.saving import LOG, LOOKS, STAGE_1, find, read_log
from minilmm.evaluation.attention_maps import gate_openness, gates_at, patch_attention, query_attention, token_attention
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.prompts import prompts
from minilmm.evaluation.tasks import TASKS, Settings
from minilmm.flamingo import Flamingo, last_image, media_mask
from minilmm.interface.tokenizer import EOC, SPECIALS
from minilmm.nn.qformer import bidirectional_mask, causal_mask, unimodal_mask
from minilmm.training.flamingo import gates as gates_of
from minilmm.training.job import loss_of
from minilmm.training.mixture import pages
from minilmm.world import vocabulary
from minilmm.world.grammar import ABSENT, caption
from minilmm.world.questions import KINDS, question, sample_question_scenes
from minilmm.world.render import blank, degrade, render, render_glyphs, render_words
from minilmm.world.scenes import sample_scenes, shuffle_objects
from minilmm.world.videos import render_video
from minilmm.world.vocabulary import ids, tokenizer

from .common import of_the_mini_world, writable_folder
from .console import new_table, out_console, save_figure, say, share, tell

WRITTEN = ("stop", "exit", "tea", "dax", "norway", "a")  # the words that are drawn
LABEL = "attention to a patch"
OBJECTS = [1, 1, 2, 3]  # in the pictures that queries are shown
MASK_TEXT = "<bos> the image shows <image> dax . <EOC> <image> blicket . <EOC> <image>"
QUERIES, QFORMER_TEXT = 4, "[CLS/DEC] a red circle . <EOC>"
QFORMER_MASKS = {"ITC: unimodal": unimodal_mask, "ITM: bidirectional": bidirectional_mask,
                 "ITG: multimodal causal": causal_mask}  # fmt: skip
GATES = {"tanh(alpha) attention": "alpha_xattn", "tanh(alpha) feed-forward": "alpha_dense"}
PARTS = {"gates": "alpha", "gated layers' matrices": "xattn", "resampler": "resampler", "language model": ""}


def texts_of(phrases: Tensor) -> list[str]:
    """Phrases (N, L) as text. The grammar has no "an": for people it is written here."""
    texts = (tokenizer().decode([i for i in row if i != ABSENT]) for row in phrases.tolist())
    return [text.removesuffix(f" {EOC}").replace("a orange", "an orange") for text in texts]


def world(out: Path, seed: int) -> None:
    """A contact sheet of everything that the mini-world shows."""
    writable_folder(out)
    generator = torch.Generator().manual_seed(seed)

    def sheet(name: str, pictures: Tensor, captions: list[str], shows: str) -> None:
        save_figure(plots.picture_grid(pictures, captions), out / f"{name}.png", shows)

    scenes = sample_scenes(16, generator, objects=torch.arange(16) // 4 + 1)
    shows = "training scenes of one to four objects, with captions in several registers"
    sheet("scenes", render(scenes, generator), texts_of(caption(scenes, generator)), shows)
    unseen = sample_scenes(8, generator, split="held-out")
    shows = "pairs of colour and shape that no run is trained on"
    sheet("held-out", render(unseen, generator), texts_of(caption(unseen, generator)), shows)
    kind = torch.arange(2 * len(KINDS)) % len(KINDS)
    asked = sample_question_scenes(kind, generator, "train")
    texts = [f"{q} {a}" for q, a in zip(*map(texts_of, question(asked, kind, generator)), strict=True)]
    pictures = render(shuffle_objects(asked, generator), generator)
    sheet("questions", pictures, texts, f"questions of {len(KINDS)} kinds, with answers")
    classes = torch.randint(len(vocabulary.GLYPHS_TRAIN), (4,), generator=generator).repeat_interleave(4)
    names = [f"class {c}" for c in classes.tolist()]
    sheet("glyphs", render_glyphs(classes, generator), names, "four classes of glyphs, four hands each")
    letters = torch.tensor([[vocabulary.LETTERS.index(c) for c in w] + [-1] * (6 - len(w)) for w in WRITTEN])
    sheet("drawn-words", render_words(letters, generator), list(WRITTEN), "words to be read")
    few = render(scenes[:6], generator)
    pictures = torch.cat([few, degrade(few, generator), blank(few)])
    names = ["as it is"] * 6 + ["bad photograph"] * 6 + ["blank"] * 6
    sheet("controls", pictures, names, "the same pictures as bad photographs, and blank")
    verbs = vocabulary.VERBS
    films = render_video(sample_scenes(len(verbs), generator), torch.arange(len(verbs)), 6, generator)  # (V, T, ...)
    names = [f"{verb} ->" if t == 0 else "" for verb in verbs for t in range(6)]
    sheet("videos", films.flatten(0, 1), names, "a film strip per verb")


def words() -> None:
    """The vocabulary by group; names kept for tests are marked."""
    v, every = vocabulary, tokenizer().words
    groups = {"special": SPECIALS, "colours": v.COLOURS, "shapes": v.SHAPES, "plurals": v.PLURALS,
              "textures": v.TEXTURES, "sizes": v.SIZES, "numbers": v.NUMBERS, "verbs": v.VERBS, "places": v.PLACES,
              "materials": v.MATERIALS}  # fmt: skip
    marks = (*v.LETTERS, *v.DIGITS)
    known = {*marks, *v.TRAIN_NAMES, *v.TEST_NAMES}.union(*groups.values())
    groups |= {"grammar": tuple(word for word in every if word not in known), "letters and digits": marks}
    groups |= {"names to train with": v.TRAIN_NAMES, "names kept for tests *": tuple(f"{n}*" for n in v.TEST_NAMES)}
    for title, group in groups.items():
        out_console().print(f"[bold]{title}[/] ({len(group)})")
        width = 2 + max(map(len, group))
        line = max(1, (out_console().width - 2) // width)
        for i in range(0, len(group), line):
            say("  " + "".join(word.ljust(width) for word in group[i : i + line]).rstrip())
    say(f"{len(every)} words and marks; * never bound to anything in training")


def short_names(runs: list[str]) -> dict[str, str]:
    """Runs by the shortest ends of their paths that differ: a/run and b/run, but frozen of runs/frozen."""
    parts = {run: Path(run).parts for run in dict.fromkeys(runs)}
    for length in range(1, max(map(len, parts.values())) + 1):
        names = {"/".join(path[-length:]): run for run, path in parts.items()}
        if len(names) == len(parts):
            break
    return names


def training(runs: list[str], out: Path) -> None:
    """training.png: the loss of every run, and what its probes found on the way."""
    logs = {}
    for name, run in short_names(runs).items():
        path = (Path(run) if (Path(run) / LOG).is_file() else find(run)) / LOG
        if not path.is_file():
            raise ValueError(f"{path}: no log: chart a run that was trained here")
        logs[name] = [{key.replace("_", " "): value for key, value in row.items()} for row in read_log(path)]
    first, *others = (rows[0] for rows in logs.values())
    keys = [key for key in first if all(key in row for row in others) and "blank" not in key]
    keys = [key for key in keys if not isinstance(first[key], dict)]
    panels = {key: logs for key in keys if key not in ("step", "seconds", "gradient norm")}
    save_figure(plots.training_curves(panels), out / "training.png")


def mask(out: Path) -> None:
    """mask.png: which text may look at which picture, as the paper has it and as others had it."""
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
        tell("  ".join(map(":".join, zip(words, images, strict=True))))


def qformer_masks(out: Path) -> None:
    """mask-blip2.png: who sees whom in a Q-Former, for each of its three objectives."""
    names = [f"query {n + 1}" for n in range(QUERIES)] + QFORMER_TEXT.split()
    text = torch.ones(1, len(names) - QUERIES, dtype=torch.bool)
    masks = {title: make(QUERIES, text)[0] for title, make in QFORMER_MASKS.items()}
    figure = plots.mask_panels(masks, names, split=QUERIES)
    save_figure(figure, out / "mask-blip2.png", "who sees whom in the Q-Former")
    for title, allowed in masks.items():
        say(f"  {title}:")
        for who, row, end in (("a query", allowed[0], ";"), ("the second word", allowed[QUERIES + 1], "")):
            tell(f"{who} sees {int(row[:QUERIES].sum())} queries and {int(row[QUERIES:].sum())} words{end}")


def patch_maps(weights: Tensor) -> Tensor:
    """Weights (..., S) of a square of patches as maps (..., h, w)."""
    return weights.unflatten(-1, (int(weights.shape[-1] ** 0.5), -1))


def likeness(looks: Tensor) -> list[float]:
    """How alike the maps (P, Q, S) of different queries are: for each of P the mean cosine over pairs."""
    Q = looks.shape[1]
    alike = cosine_similarity(looks[:, :, None], looks[:, None], dim=-1)  # (P, Q, Q)
    return ((alike.sum((1, 2)) - Q) / max(1, Q * (Q - 1))).tolist()


def queries(run: str, model: Stage1 | Blip2, out: Path, generator: torch.Generator) -> None:
    """queries.png: what each query of a Q-Former looks at, in four pictures of the held-out pairs.

    Of a run of stage 1 also queries-training.png: the same in one picture, over training.
    """
    scenes = sample_scenes(4, generator, objects=torch.tensor(OBJECTS), split="held-out")
    images = render(scenes, generator, model.config.vision.resolution)
    looks, names = query_attention(model, images), [f"{n} object{'s' * (n > 1)}" for n in OBJECTS]  # (4, Q, S)
    columns = [f"query {q + 1}" for q in range(looks.shape[1])]
    figure = plots.overlay_table(images, patch_maps(looks), columns, names, label=LABEL)
    save_figure(figure, out / "queries.png", "what each query looks at")
    alike = likeness(looks)
    say(f"two queries look alike by {sum(alike) / len(alike):.2f} (cosine of their maps, mean over pairs)")
    paths = [path for path in (find(run) / LOOKS, find(run) / STAGE_1 / LOOKS) if path.is_file()]
    if paths:
        stored = load_file(paths[0])
        looks = stored["looks"]  # (P, Q, S)
        kept = torch.linspace(0, len(looks) - 1, min(6, len(looks))).round().long()
        images, names = stored["image"].expand(len(kept), -1, -1, -1), [f"look {p + 1}" for p in kept.tolist()]
        figure = plots.overlay_table(images, patch_maps(looks[kept]), columns, names, label=LABEL)
        save_figure(figure, out / "queries-training.png", "over training, in one picture")
        say(f"  alike by {', '.join(f'{value:.2f}' for value in likeness(looks))}")


def load_model(run: str, what: str, kinds: tuple[str, ...]) -> tuple[Any, str]:
    """A run of one of these kinds, and its kind; ValueError for another."""
    model, card = load(of_the_mini_world(run))
    if card["kind"] not in kinds:
        raise ValueError(f"{run}: has no gated layers: show {what} needs a Flamingo such as flamingo-nano")
    return model, card["kind"]


def attention(run: str, out: Path, seed: int) -> None:
    """words.png and patches.png: which pictures' tokens each word looks at, and where in the pictures that is.

    Of a Q-Former queries.png.
    """
    generator = torch.Generator().manual_seed(seed)
    model, kind = load_model(run, "attention", ("flamingo", "blip2-stage1", "blip2"))
    if kind != "flamingo":
        return queries(run, model, out, generator)
    episodes = TASKS["naming"].sample(1, generator, Settings(ways=2, shots=1))
    batch = prompts(episodes, episodes.paint(generator, model.config.vision.resolution), "real", generator)
    words = [tokenizer().words[i] for i in batch.ids[0].tolist()]
    strongest = int(gate_openness(model).argmax())
    looks = token_attention(model, batch)[strongest, 0]  # (L, N, R)
    columns = [f"image {n + 1}, token {r + 1}" for n in range(looks.shape[1]) for r in range(looks.shape[2])]
    figure = plots.attention_map(looks.flatten(1), words, columns, xlabel="pictures' tokens", ylabel="words")
    layer = f"the gated layer in front of block {list(model.xattn)[strongest]}"
    save_figure(figure, out / "words.png", f"{layer}, where tanh(alpha) is largest")
    patches = patch_attention(model, batch)[0]  # (L, N, S)
    shown = [i for i, word in enumerate(words) if patches[i].sum() > 0 and word not in (".", "<EOC>")]
    which = patches[shown].sum(-1).argmax(-1)  # the picture that each word looks at most
    pictures, maps = batch.media[0, which, 0], patch_maps(patches[shown, which])
    figure = plots.patch_overlay(pictures, maps, [words[i] for i in shown], label=LABEL, columns=3)
    save_figure(figure, out / "patches.png", "where each word looks in its picture")
    tell(" ".join(words))


def gates(run: str, out: Path, seed: int) -> None:
    """gates.png: tanh(alpha) over training; and what the gates do: left as they are, closed, opened wide."""
    model, _ = load_model(run, "gates", ("flamingo",))
    log = find(run) / LOG
    view = new_table("in front of block", *GATES, title=run)
    for block, layer in model.xattn.items():
        view.add_row(block, *(f"{float(getattr(layer, gate).detach().tanh()):+.3f}" for gate in GATES.values()))
    out_console().print(view)
    view = new_table("gates", "naming, 5 ways, 1 shot")
    request = Request((1,), Settings(ways=5), 200, ("real",), seed=seed)
    for value, name in ((None, "as trained"), (0.0, "all closed: the language model alone"), (1.0, "all at 1")):
        with gates_at(model, value):
            row = evaluate(model, "naming", request)["rows"][0]
        view.add_row(name, f"{share(row['value'])} {share(row['low'], 2)}-{share(row['high'], 2)}")
    out_console().print(view)
    say("at step 0, with all gates closed, the gradient of the loss is")
    tell(", ".join(f"{part} {size}" for part, size in first_gradients(model).items()), 2)
    if not log.is_file():
        return say(f"no log in {find(run)}: nothing to draw")
    rows = read_log(log)
    panels: dict[str, Any] = {}
    for name in gates_of(model):
        title = next(title for title, gate in GATES.items() if name.endswith(gate))
        if f"tanh {name}" in rows[0]:
            points = [{"step": 0, title: 0.0}, *({"step": row["step"], title: row[f"tanh {name}"]} for row in rows)]
            panels.setdefault(title, {})[f"in front of block {name.split('.')[0]}"] = points
    save_figure(plots.training_curves(panels), out / "gates.png", "over training")


def first_gradients(model: Flamingo) -> dict[str, str]:
    """The gradient's norm of each part where all gates are closed, on one batch of pages."""
    model.lm.requires_grad_(False)
    model.encoder.requires_grad_(False)
    with gates_at(model, 0.0):
        model.zero_grad()
        loss_of(model, pages(8, torch.Generator().manual_seed(0), model.config.vision.resolution)).backward()
    gradients: dict[str, list[Tensor]] = {part: [] for part in PARTS}
    for name, p in model.named_parameters():
        if p.grad is not None:
            gradients[next(part for part, mark in PARTS.items() if mark in name)].append(p.grad)
    norm = torch.nn.utils.get_total_norm
    return {part: f"{float(norm(some)):.3g}" if some else "none" for part, some in gradients.items()}

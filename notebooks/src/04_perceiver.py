# %% [markdown]
# # 04 · Many features, few tokens: the Perceiver resampler
#
# A frozen vision network gives a grid of features for each picture, and a video gives a
# grid per frame. A language model wants few tokens, always the same number. Flamingo's
# answer is the *Perceiver resampler* (Alayrac et al. 2022, section 2.1; after Jaegle et
# al. 2021): R learned queries that look at all features, whatever their number.
#
# **Goals** After this chapter you can
# - write the resampler: latents, keys and values of `concat([x_f, x])`, residuals,
#   feed-forward;
# - say why time embeddings belong to frames, and what happens with more frames than
#   training had;
# - look at what each latent takes from a picture;
# - compare it with the alternatives of the paper's ablation, by what they cost.
#
# **Time** 25 minutes to read and play, about 30 seconds to run.
#
# **Before** [02 Eyes](02_eyes.ipynb) and [03 Frozen](03_frozen.ipynb).

# %% tags=["setup"]
import importlib.util
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

if importlib.util.find_spec("minilmm") is None:  # install it from the clone around here
    if not Path("../pyproject.toml").is_file():
        raise FileNotFoundError("clone the repository, and run this in its notebooks/")
    # without a network, with torch installed: add "--no-deps", "--no-build-isolation"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--editable", ".."]
    subprocess.run(pip, check=True)
    site.addsitedir(sysconfig.get_path("purelib"))

# %%
import json

import torch
from torch import nn
from torch.nn import functional as F

from minilmm.ablations import MLPResampler, TimesPerImage, TransformerResampler
from minilmm.course import course_root
from minilmm.course.reader import at, score, size, source
from minilmm.interface.document import Batch
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.attention_maps import latent_attention
from minilmm.flamingo import PerceiverResampler
from minilmm.plots import patch_overlay, picture_grid, show
from minilmm.checkpoints.opening import load
from minilmm.world.grammar import compact, describe
from minilmm.world.render import render
from minilmm.world.scenes import in_reading_order, sample_scenes
from minilmm.evaluation.tasks import Settings
from minilmm.world.videos import render_video
from minilmm.world.vocabulary import COLOURS, SHAPES, VERBS, tokenizer

words = tokenizer()
model, _ = load("flamingo-nano")
generator = torch.Generator().manual_seed(3)
scenes = sample_scenes(4, generator, split="held-out")
pictures = render(scenes, generator)
names = [
    words.decode(row) for row in compact(describe(scenes, full=False), fill=0).tolist()
]
show(picture_grid(pictures, names, columns=4))
assert pictures.shape == (4, 3, 48, 48)

# %% [markdown]
# ## From a grid to eight tokens


# %%
def documents(media):
    """One `<image>` per document: media (M, T, 3, H, W)."""
    return Batch.of(torch.tensor([[1, 3]] * len(media)), media[:, None])


with torch.no_grad():
    x_f = model.see(documents(pictures[:, None])).flatten(0, 1)
    x = model.resampler(x_f)
print("features of frozen eyes (M, T, S, D):", tuple(x_f.shape))
print("the pictures' tokens       (M, R, D):", tuple(x.shape))
print(f"{x_f.shape[1] * x_f.shape[2]} vectors became {x.shape[1]}; in the paper 64")
assert x_f.shape[1:3] == (1, 36) and x.shape[1] == 8

# %% [markdown]
# The whole of it, in the paper's names. Latents `x` ask; features `x_f` *and the
# latents themselves* are the keys and values.

# %%
source(PerceiverResampler.forward)

# %% [markdown]
# Two things to notice. The time embedding is added while T is still an axis of its own:
# one vector per frame, the same for all its places. And `flat` adds something that the
# paper does not have: fixed sines of each *place*. Attention takes features in any
# order.
# A deep convolutional network marks their places by itself, the paper found. Does the
# small one here? Two resamplers learn to say the colour of the first and of the second
# of two objects, as one reads; only one of them is told the places.

# %%
def two_objects(count, split):
    """Features of pictures of two objects, and their colours in reading order."""
    both = in_reading_order(sample_scenes(count, generator, objects=2, split=split))
    seen = model.see(documents(render(both, generator)[:, None])).flatten(0, 1)
    return seen, both.colour[:, :2]


x_two, colour_two = two_objects(2500, "train")
x_new, colour_new = two_objects(500, "held-out")
right = {}
for places in (0.0, 3.0):
    torch.manual_seed(0)
    lister = nn.Sequential(
        PerceiverResampler(128, 8, 2, 4, 8, places),
        nn.Flatten(),
        nn.Linear(8 * 128, 2 * len(COLOURS)),
    )
    optimizer = torch.optim.AdamW(lister.parameters(), lr=1e-3)
    for step in range(100):
        rows = torch.randint(len(x_two), (64,), generator=generator)
        says = lister(x_two[rows]).unflatten(1, (2, -1)).flatten(0, 1)
        loss = F.cross_entropy(says, colour_two[rows].flatten())
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    with torch.no_grad():
        says = lister(x_new).unflatten(1, (2, -1)).argmax(-1)
    right[places] = float((says == colour_new).float().mean())
    print(f"places {places}: {right[places]:.2f} of the colours, chance 0.10")
assert right[3.0] > 0.9 > right[0.0] + 0.1

# %% [markdown]
# With the places it learns what stands where at once, without them slowly. So the
# course's Flamingo and BLIP-2 have them; DETR (Carion et al. 2020) adds such sines to
# the features of a convolutional network for the same reason.
#
# ## What each latent takes

# %%
taken = latent_attention(model, documents(pictures[:, None]))[:, :, 0]  # (M, R, S)
side = int(taken.shape[-1] ** 0.5)
first = taken[0].unflatten(-1, (side, side))
show(
    patch_overlay(
        pictures[:1].expand(8, -1, -1, -1),
        first,
        [f"latent {r + 1}" for r in range(8)],
        label="attention to a patch",
    )
)

many = render(sample_scenes(200, generator, split="held-out"), generator)
shares = latent_attention(model, documents(many[:, None]))[:, :, 0]  # (200, R, S)
distance = (many - many[:, :, :1, :1]).abs().amax(1)  # from the background's colour
touched = F.max_pool2d((distance >= 0.15).float()[:, None], 8).flatten(1)  # (200, S)
on_object = (shares * touched[:, None]).sum(-1).mean(0) / shares.sum(-1).mean(0)
to_itself = 1 - shares.sum(-1).mean(0)
print("over 200 pictures, by latent:")
print("on patches that the object touches:", [f"{v:.2f}" for v in on_object.tolist()])
print(f"such patches are {touched.mean():.2f} of a picture")
print("on the latents themselves:", [f"{v:.2f}" for v in to_itself.tolist()])
maps = F.normalize(shares, dim=-1)
alike = torch.einsum("nrs,nqs->rq", maps, maps) / len(maps)  # mean cosines
print("how alike two latents look: 2 and 3", f"{alike[1, 2]:.2f}", end=", ")
print(f"1 and 4 {alike[0, 3]:.2f}")
most, least = int(on_object.argmax()), int(on_object.argmin())
print(f"most on the object: latent {most + 1}; least: latent {least + 1}")
assert (on_object > 0.7).sum() >= 4 and on_object[most] > 0.8
assert on_object[least] < touched.mean() - 0.1 and to_itself.max() < 0.1

# %% [markdown]
# They differ. Most sit on the object, with three quarters of their attention and more;
# two look beside it, and give it less than its area. And of attention to the latents
# themselves, which the paper adds to the keys, hardly anything remains here. Eight
# tokens are more than naming one object needs, as the end of this chapter shows.
#
# ## Videos, and more frames than training had

# %% [markdown]
# **Predict.** Training showed videos of 8 frames. What does a resampler do with 12? (a)
# an error (b) it drops four (c) it stretches its eight time embeddings over twelve
# frames

# %%
source(PerceiverResampler.times)

# %%
verb = torch.tensor([VERBS.index("moves"), VERBS.index("blinks")])
clip = render_video(
    sample_scenes(2, generator), verb, 12, generator
)  # (2, 12, 3, 48, 48)
frames = {0: range(0, 12, 2), 1: range(6)}  # one moves, one blinks
show(
    picture_grid(
        torch.cat([clip[i, list(t)] for i, t in frames.items()]),
        [f"frame {t}" for row in frames.values() for t in row],
        columns=6,
    )
)
with torch.no_grad():
    for frames in (1, 8, 12):
        x = model.resampler(model.see(documents(clip[:, :frames])).flatten(0, 1))
        print(f"{frames:2} frames: {tuple(x.shape)}")
        assert x.shape == (2, 8, 128)
    first, last = (
        model.resampler.times(12)[[0, -1], 0],
        model.resampler.time_embeddings[[0, -1]],
    )
print(
    "the first and the last frame keep their own embeddings:",
    torch.allclose(first, last, atol=1e-6),
)
assert torch.allclose(first, last, atol=1e-6)

# %% [markdown]
# (c), by linear interpolation, as the paper does (8 frames in training, 30 in tests).
# Does the order of frames reach the tokens? Shown backwards, a video must give other
# tokens; a picture alone has no order.

# %%
with torch.no_grad():
    forwards, backwards = (
        model.resampler(model.see(documents(c)).flatten(0, 1))
        for c in (clip[:, :8], clip[:, :8].flip(1))
    )
print("backwards differs:", bool((forwards - backwards).abs().max() > 1e-3))
assert (forwards - backwards).abs().max() > 1e-3

# %% [markdown]
# Videos are a small part of this training: four per step, at a tenth of a page's
# weight. So do not expect much of verbs.
#
# A mistake that a widely used implementation makes: it numbers *pictures* as if they
# were frames. Then the same picture is another thing in second place:

# %%
broken = TimesPerImage(128, 8, 2, 4, 8)
broken.load_state_dict(model.resampler.state_dict())
nn.init.normal_(broken.time_embeddings)
twice = model.see(documents(pictures[[0, 0], None])).flatten(0, 1)
with torch.no_grad():
    ours, theirs = (torch.equal(*make(twice)) for make in (model.resampler, broken))
print("the same picture twice, right:", ours, "· numbered as frames:", theirs)
assert ours and not theirs

# %% [markdown]
# ## The alternatives
#
# The paper compared it with an MLP over all features and with a plain Transformer
# (overall score 70.7 against 66.6 and 66.7). Before asking which is better, ask what
# they cost.

# %%
makes = {
    "Perceiver": PerceiverResampler(128, 8, 2, 4, 8),
    "Transformer": TransformerResampler(128, 8, 2, 4, 8),
    "MLP": MLPResampler(128, 36, 8),
}
for name, made in makes.items():
    asks = {"Perceiver": 8, "Transformer": 44, "MLP": 0}[name]
    out = tuple(made(x_f).shape)
    print(f"{name:12} {size(made):>6} parameters, {asks:2} rows attend, output {out}")
    assert out == (4, 8, 128)
larger = [sum(p.numel() for p in made.parameters()) for made in makes.values()]
assert larger[0] == larger[1] < larger[2] / 3

# %% [markdown]
# The MLP has three times as many parameters; they grow with the number of places, and
# it can read no other resolution. The Transformer lets features attend to features,
# which the frozen network has done already. Whether one *learns* better is an
# experiment: `minilmm train flamingo --preset quick --variant mlp-resampler`.
#
# ## Do eight tokens suffice?
#
# What passes through them is all that the language model ever learns of a picture.

# %%
one_shot = Request((1,), Settings(ways=5), 100, ("real",))
row = evaluate(model, "naming", one_shot)["rows"][0]
print(f"naming, 5 ways, 1 shot: {score(row)}, chance 0.20")
assert row["low"] > 0.7

# %% [markdown]
# ## What can be read at all
#
# Nothing that the frozen eyes do not tell apart. Their pictures and captions never
# showed certain pairs of a colour and a shape, and neither did Flamingo's. Train a new
# resampler to say colour and shape, which is far easier than to serve a language model,
# and ask about pairs of both kinds:


# %%
def seen_through(count, split):
    """Features of pictures of one object, its colour and its shape."""
    one = sample_scenes(count, generator, split=split)
    return (
        model.see(documents(render(one, generator)[:, None])).flatten(0, 1),
        one.colour[:, 0],
        one.shape[:, 0],
    )


torch.manual_seed(0)
x_f, colour, shape = seen_through(3000, "train")
reader = nn.Sequential(
    PerceiverResampler(128, 4, 2, 4, 8),
    nn.Flatten(),
    nn.Linear(4 * 128, len(COLOURS) + len(SHAPES)),
)
optimizer = torch.optim.AdamW(reader.parameters(), lr=1e-3)
for step in range(300):
    rows = torch.randint(len(x_f), (64,), generator=generator)
    says = reader(x_f[rows])
    loss = F.cross_entropy(says[:, :10], colour[rows])
    loss = loss + F.cross_entropy(says[:, 10:], shape[rows])
    optimizer.zero_grad(), loss.backward(), optimizer.step()
read = {}
for split in ("train", "held-out"):
    x_f, colour, shape = seen_through(1000, split)
    says = reader(x_f)
    colours = (says[:, :10].argmax(-1) == colour).float().mean()
    read[split] = float((says[:, 10:].argmax(-1) == shape).float().mean())
    print(f"{split:9} pairs: colours {colours:.2f}, shapes {read[split]:.2f}")
    assert colours > 0.95
assert read["held-out"] > 0.85

# "what is it?", four examples, recorded by `make results`
for run in ("flamingo-nano", "frozen-nano"):
    path = course_root("results") / "results" / f"{run}-induction-vqa.json"
    told = at(json.loads(path.read_text()), 4)["by_kind"]
    print(f"{run:13} on held-out pairs, by what is asked:", told)
    assert min(told.values()) > 0.6
    assert run == "frozen-nano" or min(told.values()) > 0.8

# %% [markdown]
# Colour and shape carry over to pairs that were never shown, and through Flamingo's
# bridge they reach the answers. That they carry over is no matter of course. Contrast
# asks the eyes to tell *captions* apart, and for that "red circle" may as well be one
# thing, with nothing in common with "red star". So in three of four batches of their
# training the texts left the colour out, or the shape (`sample` in
# `minilmm/training/vision.py`): what is left must be read off the picture whatever the
# other is. What frozen eyes do not tell apart, no bridge can.
#
# ## Break it yourself
#
# Silence one latent after another (the marked line) and see how many of the eight
# naming
# needs.

# %%


def without(silent):
    """Naming, 5 ways and 1 shot, with some latents silenced."""
    kept = model.resampler.norm.register_forward_hook(
        lambda module, args, out: out.index_fill(1, torch.tensor(silent), 0.0)
    )
    found = evaluate(model, "naming", one_shot)
    kept.remove()
    return found["rows"][0]["value"]


silent = [0, 1, 2]  # <- change me: latents are 0 to 7
print(f"without latents {silent}: {without(silent):.1f}")
alone = [without([i for i in range(8) if i != kept]) for kept in range(8)]
missing = [without([i]) for i in range(8)]
print("one latent alone:", alone, "· one silenced:", missing)
assert alone[most] == max(alone) > 0.9 and sorted(alone)[3] < 0.3  # four are at chance
assert missing[most] == min(missing) > 0.7 and sorted(missing)[1] > 0.85

# %% [markdown]
# One latent names nearly as well as all eight: the one that sits most on the object. It
# is also the only one that is missed, and not by much, since others can do its work. Four
# are at chance on their own. What are they for? One object's name needs one token;
# pictures of several objects and questions ask for more.

# %% [markdown]
# ## Exercises
#
# - [13 The Perceiver resampler](../exercises/student/ex13_resampler.py)
#
# `minilmm exercises start 13`, then `minilmm grade`.
#
# ## What to read next
#
# - [minilmm/flamingo.py](../minilmm/flamingo.py) and
#   [minilmm/ablations.py](../minilmm/ablations.py).
# - The paper, section 2.1 and its ablations; Jaegle et al. 2021, *Perceiver*.
# - [05 Opening the gate](05_gated_xattn.ipynb).

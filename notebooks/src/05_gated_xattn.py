# %% [markdown]
# # 05 · Opening the gate: GATED XATTN-DENSE and its mask
#
# *Flamingo: a Visual Language Model for Few-Shot Learning* (Alayrac et al., NeurIPS
# 2022) keeps the language model frozen as Frozen does, but lets vision in somewhere
# else: *between* its blocks, by cross-attention. New layers in the middle of a trained
# network would wreck it, were it not for two numbers per layer that start at zero. This
# chapter opens them.
#
# **Goals** After this chapter you can
# - write GATED XATTN-DENSE from memory, and say why both of its gates are needed;
# - predict which token looks at which picture, and how pictures further back are still
#   reached;
# - show that an untrained Flamingo *is* its language model, bit for bit, and what gets
#   a gradient then;
# - read gates over training, and measure what closing or opening them does.
#
# **Time** 40 minutes to read and play, about 30 seconds to run.
#
# **Before** [01 A language model that learns in context](01_language_model.ipynb) and
# [03 Frozen](03_frozen.ipynb).

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

from minilmm.ablations import every_image_so_far, leaking
from minilmm.course.reader import score, size, source
from minilmm.interface.document import Batch
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.attention_maps import (
    gates_at,
    latent_attention,
    token_attention,
)
from minilmm.evaluation.prompts import prompts
from minilmm.flamingo import Flamingo, GatedCrossAttention, last_image, media_mask
from minilmm.plots import (
    attention_map,
    few_shot_curves,
    freeze_ledger,
    mask_microscope,
    patch_overlay,
    show,
    training_curves,
)
from minilmm.checkpoints.opening import load
from minilmm.checkpoints.saving import ZOO
from minilmm.training.ledger import fingerprints, ledger
from minilmm.training.job import loss_of
from minilmm.training.mixture import pages
from minilmm.evaluation.tasks import TASKS, Settings
from minilmm.world.vocabulary import ids, tokenizer

words = tokenizer()
model, card = load("flamingo-nano")
blocks = ", ".join(model.xattn)
print("gated layers in front of blocks", blocks, "of", len(model.lm.layers))
print("frozen: language", size(model.lm), "· vision", size(model.encoder))
print("trained: resampler", size(model.resampler), "· gated layers", size(model.xattn))
assert list(model.xattn) == ["0", "1", "2", "3"]

# %% [markdown]
# ## The layer
#
# Text `y` asks, pictures' tokens `x` answer; then a feed-forward. Both results are
# multiplied by `tanh(alpha)` before they are added, and each has its own alpha. The
# paper's listing, in our names (section 2.2, figure 4):

# %%
source(GatedCrossAttention.forward)

# %%
y, x = torch.randn(1, 6, 128), torch.randn(1, 8, 128)  # 6 words, 2 pictures of 4 tokens
sees = torch.tensor([0, 0, 1, 1, 2, 2])[
    None
]  # which picture each word looks at; 0 for none
mask = media_mask(sees, 2).repeat_interleave(4, -1)  # (1, 6, 8)
torch.manual_seed(0)
layer = GatedCrossAttention(128, 128, heads=4)
print("closed: the text comes out as it went in:", torch.equal(layer(y, x, mask), y))
nn.init.constant_(layer.alpha_xattn, 0.5)
nn.init.constant_(layer.alpha_dense, 0.5)
moved = (layer(y, x, mask) - y).abs().amax(-1)[0] > 0
print("open: which words have changed:", moved.tolist())
assert moved.tolist() == [False, False, True, True, True, True]

# %% [markdown]
# The first two words see no picture, and nothing of the layer may touch them: neither
# the attention, whose softmax over *nothing* would be a uniform look at everything, nor
# the feed-forward, which needs no picture to do something. A known open implementation
# has the first mistake, and another the second.
#
# ## The mask
#
# Each word looks at the **last picture before it** and at no other. A tag looks at its
# own picture.

# %% [markdown]
# **Predict.** In "the image shows `<image>` dax . `<image>` blicket . `<image>`", how
# many pictures does *blicket* look at, and how many does *shows*? (a) 2 and 1 (b) 1 and
# 0 (c) 1 and 3

# %%
line = "<bos> the image shows <image> dax . <EOC> <image> blicket . <EOC> <image>"
line = line.split()
row = ids(*line)[None]
phi = last_image(row, words.image_token_id)
show(mask_microscope(media_mask(phi, 3)[0], line))
print(" ".join(f"{word}:{n or '-'}" for word, n in zip(line, phi[0].tolist())))
assert phi[0, line.index("blicket")] == 2 and phi[0, line.index("shows")] == 0
assert media_mask(phi, 3).sum(-1).max() == 1  # one picture or none

# %% [markdown]
# (b). It is a pure function of the ids, drawn as it is. Two others, which people build:
# all pictures so far (the paper measured that: worse), and a bug, where text before the
# first picture sees all of them.

# %%
drawn = {"all so far": every_image_so_far(phi, 3), "leaking": leaking(phi, 3)}
show(
    mask_microscope(
        torch.cat([m[0] for m in drawn.values()], -1),
        line,
        [f"{name}: {n + 1}" for name in drawn for n in range(3)],
    )
)
print(
    {name: int(m.sum()) for name, m in drawn.items()},
    "against",
    int(media_mask(phi, 3).sum()),
)
assert drawn["leaking"].sum() > drawn["all so far"].sum() > media_mask(phi, 3).sum()

# %% [markdown]
# "Then how can it compare pictures?" Through the language model. A word that has looked
# at picture 1 carries what it saw in its state, and *self*-attention may look back at
# it. So changing picture 1 changes what is said after picture 2, with a perfect mask:

# %%
episode = TASKS["naming"].sample(
    1, torch.Generator().manual_seed(12), Settings(ways=2, shots=1)
)
generator = torch.Generator().manual_seed(4)
batch = prompts(episode, episode.paint(generator, 48), "real", generator)
other = batch.media.clone()
other[:, 0] = 0.5  # the first picture goes grey
with torch.no_grad():
    before, after = model(batch), model(batch.with_media(other))
second = batch.ids[0].tolist().index(words.image_token_id, 3)
print(
    "logits after the second picture have changed:",
    bool((before - after).abs().amax(-1)[0, second:].max() > 1e-3),
)
print("logits before the first have not:", torch.equal(before[0, :1], after[0, :1]))
assert (before - after).abs().amax(-1)[0, second:].max() > 1e-3
assert torch.equal(before[0, :1], after[0, :1])

# %% [markdown]
# A test of a mask must therefore test a single layer, not a model.
#
# ## Step 0
#
# With all gates closed Flamingo is its language model: not nearly, but to the last bit.
# Which parameters learn then?

# %% [markdown]
# **Predict.** At step 0, whose gradient is not zero? (a) everything that trains (b) the
# gates alone (c) gates and resampler

# %%
reader, _ = load("lm-nano")
page = pages(8, torch.Generator().manual_seed(0), 48)
fresh = Flamingo(model.config)
fresh.load_state_dict(model.state_dict())
with gates_at(fresh, 0.0), torch.no_grad():
    same = torch.equal(fresh(page), reader(page))
    print("equal to its language model, bit for bit:", same)
fresh.lm.requires_grad_(False)
fresh.encoder.requires_grad_(False)
marks = fingerprints(fresh)
with gates_at(fresh, 0.0):
    loss_of(fresh, page).backward()
    gradients = {
        name: float(p.grad.abs().max())
        for name, p in fresh.named_parameters()
        if p.grad is not None
    }
alive = sorted(name for name, largest in gradients.items() if largest > 0)
print("not zero:", ", ".join(alive))
assert same and len(alive) == 8 and all("alpha" in name for name in alive)
assert len(gradients) > 8  # the others have one, and it is 0

# %% [markdown]
# (b). Everything behind a closed gate is multiplied by zero, and so is its gradient.
# The gates move first; only then do the matrices behind them, and the resampler, begin
# to learn. In the small runs here the gates' rate is ten times that of the matrices.
#
# ## How far they open

# %%
log, before = [], 0
for run in ("flamingo-nano/stage1", "flamingo-nano"):  # it was trained in two stages
    rows = [json.loads(line) for line in (ZOO / run / "log.jsonl").open()]
    log += [row | {"step": before + row["step"]} for row in rows]
    before = log[-1]["step"]
panels = {}
for kind, title in (
    ("alpha_xattn", "tanh(alpha), attention"),
    ("alpha_dense", "tanh(alpha), feed-forward"),
):
    panels[title] = {
        f"block {i}": [
            {"step": 0, title: 0.0},
            *({"step": r["step"], title: r[f"tanh {i}.{kind}"]} for r in log),
        ]
        for i in model.xattn
    }
show(training_curves(panels))
final = {t: {n: abs(line[-1][t]) for n, line in panels[t].items()} for t in panels}
for size in final.values():
    assert min(size["block 2"], size["block 3"]) > max(size["block 0"], size["block 1"])
    assert min(size, key=size.get) == "block 0"
assert 0.2 < max(max(values.values()) for values in final.values()) < 0.5

# %% [markdown]
# Either sign will do: the matrices behind a gate can turn with it. The paper finds that
# gates grow fast at first and tend to be larger in later layers (section 3.3 and its
# appendix). Here too the gates of the last two layers end as the larger ones, of both
# kinds, and those of the first as the smallest. But do not make more of four layers
# than there is in them.
#
# What if we close them again, or open them all the way?

# %%
found = {}
one_shot = Request((1,), Settings(ways=5), 100, ("real",))
for value, name in ((None, "as trained"), (0.0, "all closed"), (1.0, "all wide open")):
    with gates_at(model, value):
        found[name] = evaluate(model, "naming", one_shot)["rows"][0]
    print(f"{name:14} {score(found[name])}, 5 ways, chance 0.20")
as_trained = found["as trained"]
assert as_trained["low"] > 0.7
assert all(found[n]["low"] < 0.25 < 0.4 > found[n]["high"] for n in list(found)[1:])

# %% [markdown]
# Closed, no picture arrives, and naming is at chance. But why is it at chance as well
# when all are wide open? Because the matrices behind a gate have learned *with* it.
# Here is how large that which a layer adds is beside the stream that it is added to:


# %%
def shares():
    """Size of what each gated layer adds, in units of the stream in front of it."""
    found = {}

    def hook(module, arguments, output):
        stream = arguments[0]
        added = (output - stream).square().mean().sqrt()
        found[names[module]] = (added / stream.square().mean().sqrt()).item()

    names = {layer: name for name, layer in model.xattn.items()}
    hooks = [layer.register_forward_hook(hook) for layer in names]
    with torch.no_grad():
        model(batch)
    for handle in hooks:
        handle.remove()
    return found


trained_shares = shares()
with gates_at(model, 1.0):
    open_shares = shares()
for name in model.xattn:
    print(f"block {name}: {trained_shares[name]:.1f} as trained", end=", ")
    print(f"{open_shares[name]:.0f} wide open")
assert 2 < trained_shares["0"] < 6 and open_shares["0"] > 2 * trained_shares["0"]
assert max(trained_shares[name] for name in "123") < 1.2

# %% [markdown]
# In front of block 0, where the stream holds one word and nothing else, the layer adds
# about three times the stream as trained, and many times more wide open: the words are
# drowned. Later layers add no more than the stream. (Wide open they stand behind that
# flood,
# so their share then says little.) A gate is no switch between blind and sighted; it is
# a volume, and the layer was trained at one setting of it.
#
# And one at a time: how much of the naming goes through each layer?


# %%
def without(name):
    """Accuracy with one gated layer closed."""
    layer = model.xattn[name]
    kept = [a.detach().clone() for a in (layer.alpha_xattn, layer.alpha_dense)]
    with torch.no_grad():
        layer.alpha_xattn.zero_(), layer.alpha_dense.zero_()
        row = evaluate(model, "naming", one_shot)["rows"][0]
        layer.alpha_xattn.copy_(kept[0]), layer.alpha_dense.copy_(kept[1])
    return row["value"]


costs = {name: without(name) for name in model.xattn}
for name, left in costs.items():
    print(f"without the layer in front of block {name}: {left:.1f}")
attention = {n: abs(x.alpha_xattn.tanh().item()) for n, x in model.xattn.items()}
assert costs["0"] < 0.4 < 0.9 < min(costs["1"], costs["2"], costs["3"])
assert max(attention, key=attention.get) == "2"

# %% [markdown]
# The layer in front of the first block carries the naming, and without it naming is at
# chance; each of the others can go. Chapter 01 suggests why: the heads that match a
# description with an earlier one stand in the first block, and what arrives later
# arrives too late to be matched. The largest gate of attention is another one, in front
# of block 2, which naming does not need. The size of a gate is not its importance.
#
# ## Where words look

# %%
shown = words.decode(batch.ids[0].tolist()).split()
looks = token_attention(model, batch)[:, 0]  # (layers, L, N, R)
chosen = list(costs).index(min(costs, key=costs.get))  # naming needs it most
columns = [
    f"picture {n + 1}, token {r + 1}"
    for n in range(looks.shape[2])
    for r in range(looks.shape[3])
]
show(
    attention_map(
        looks[chosen].flatten(1),
        shown,
        columns,
        xlabel="pictures' tokens",
        ylabel="words",
    )
)
seen = (looks.sum(-1) > 0).sum(-1)  # pictures per word
print("drawn: the layer in front of block", list(costs)[chosen])
print("every row looks at one picture or none:", bool((seen <= 1).all()))
assert (seen <= 1).all() and costs[list(costs)[chosen]] < 0.5

# %% [markdown]
# This is the layer that naming needs most, not the one with the largest gate. A
# picture's eight tokens were drawn from its patches by the resampler. Following both
# maps leads from a word to a place:

# %%
drawn_from = latent_attention(model, batch)[:, :, 0]  # (N, R, S)
tags = [i for i, word in enumerate(shown) if word == "<image>"]
weights = torch.stack([looks[chosen, i, n] @ drawn_from[n] for n, i in enumerate(tags)])
pictures = batch.media[0, :, 0]
show(
    patch_overlay(
        pictures,
        weights.unflatten(-1, (6, 6)),
        ["first tag", "second tag", "the query"],
        label="attention to a patch",
        columns=3,
    )
)
distance = (pictures - pictures[:, :, :1, :1]).abs().amax(1)  # from the background
touched = nn.functional.max_pool2d((distance >= 0.15).float()[:, None], 8).flatten(1)
on_object = (weights * touched).sum(-1) / weights.sum(-1)
print("share on patches that the object touches:", [f"{v:.1f}" for v in on_object])
print("such patches are", [f"{v:.1f}" for v in touched.mean(-1)], "of each picture")
assert (on_object > 1.5 * touched.mean(-1)).all()

# %% [markdown]
# The tags take nearly all that they see from the object. An attention map is a reading,
# not a proof: the tokens have mixed what they saw before. Closing a layer, as
# above, is the stronger test.
#
# ## Do gates from 0 help?
#
# The paper's ablation says so: 70.7 overall with the tanh gate, 66.5 without, and
# training was unstable. Whether that holds at this size is an experiment of its own:
# `minilmm claims run gating` trains arms that differ in the gate alone, with the same
# data for all arms of a seed, and says what the seeds decide. Expect closed gates to
# cost time: at first nothing trains but eight numbers. A frozen language model cannot
# be damaged, only drowned out, so in a training of minutes there is little to protect.
#
# What common mistakes cost, `minilmm claims run mistakes` measures in the same way:
# looking at all pictures, gates that start at 1, pictures numbered like frames.
#
# ## Break it yourself
#
# `gate-init-one` starts with alpha = 1 in place of 0. How far is the language model
# from itself then, before any training? Change the marked number.

# %%
start = 1.0  # <- change me: 0.0, 0.1, 0.5
with gates_at(fresh, torch.tensor(start).tanh().item()), torch.no_grad():
    p, q = fresh(page).log_softmax(-1), reader(page).log_softmax(-1)
print(
    f"alpha = {start}: mean change of a log-probability {(p - q).abs().mean():.1f} nats"
)

# %% [markdown]
# Train such a model, and one that attends to all pictures, and compare the curves:
# `minilmm train flamingo --preset quick --bug gate-init-one`, `--bug
# attend-all-images`, then `minilmm show training`.
#
# ## Exercises
#
# - [14 GATED XATTN-DENSE](../exercises/student/ex14_gated_block.py)
# - [15 The media mask: which picture a token
#   sees](../exercises/student/ex15_media_mask.py)
# - [16 Cross-attention that may look
#   nowhere](../exercises/student/ex16_masked_cross_attention.py)
#
# `minilmm exercises start 14 15 16`, then `minilmm grade`.
#
# ## What to read next
#
# - [minilmm/flamingo.py](../minilmm/flamingo.py): the resampler, the layer, the mask,
#   the model.
# - The paper, section 2; [what it measured](../docs/papers.md).
# - `minilmm show gates flamingo-nano`, `minilmm show attention flamingo-nano`, `minilmm
#   show mask`.

# %% [markdown]
# # 06 · Learning from examples: interleaved data and few-shot curves
#
# What made Flamingo famous is one sentence: *the more examples in the prompt, the
# better*, with no training at test time. This chapter looks at the data that make it
# so, at the prompts, at the curves with all their controls, and at what choosing
# examples well can do.
#
# **Goals** After this chapter you can
# - read a training page, say which of its tokens can be predicted at all, and what that
#   is worth;
# - say how data sets are mixed, and what one update sees;
# - build a few-shot prompt, Flamingo's zero-shot prompt among them, and choose examples
#   by RICES;
# - read few-shot curves beside the ideal observer, the text model and Frozen, and tell
#   a real gain from a prior.
#
# **Time** 40 minutes to read and play, about 40 seconds to run.
#
# **Before** [05 Opening the gate](05_gated_xattn.ipynb).

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

from minilmm.course import course_root
from minilmm.course.reader import at, score, source
from minilmm.interface.document import Batch
from minilmm.evaluation import rices
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.prompts import prompts
from minilmm.plots import few_shot_curves, picture_grid, series_of, show
from minilmm.checkpoints.opening import load
from minilmm.data.world import galleries, videos
from minilmm.training.mixture import ASKING, NAMING, pages
from minilmm.evaluation.tasks import TASKS, Settings
from minilmm.world.vocabulary import TRAIN_NAMES, tokenizer

words = tokenizer()
model, card = load("flamingo-nano")
results = course_root("results") / "results"
recipe = card["recipe"]


names = ("pages", "pairs", "videos")
print("per step:", ", ".join(f"{recipe[name]} {name}" for name in names))
print("weights of pairs, pages, videos:", recipe["weights"])
assert min(recipe["weights"]) > 0 and all(recipe[name] > 0 for name in names)

# %% [markdown]
# ## Pages
#
# The paper's M3W holds 43 million web pages; ours are drawn as needed: up to five
# pictures, a name after each, names that hold for this page only. Words in capitals
# count in the loss.


# %%
def line(batch, row):
    """A document's words, those that count in the loss in capitals."""
    pairs = zip(batch.ids[row].tolist(), batch.loss_mask[row].tolist(), strict=True)
    return " ".join(
        words.words[i].upper() if learn and i > 4 else words.words[i]
        for i, learn in pairs
        if i
    )


generator = torch.Generator().manual_seed(5)
for kind in (*NAMING[3:], *ASKING[:2]):
    page = pages(1, generator, 48, kinds=((*kind[:3], 1.0),))
    print(f"{kind[0]:17}", line(page, 0))
page = pages(1, generator, 48, kinds=(NAMING[3],))
show(picture_grid(page.media[0, :, 0], ["1", "2", "3", "4", "5"], columns=5))
assert page.media.shape[1] == 5 and len(TRAIN_NAMES) == 256
told = [words.words[i] for i in page.ids[0][page.loss_mask[0].bool()].tolist()]
given = [words.words[i] for i in page.ids[0].tolist() if words.words[i] in TRAIN_NAMES]
later = [name for i, name in enumerate(given) if name in given[:i]]
assert [name for name in told if name in TRAIN_NAMES] == later  # from its second time

# %% [markdown]
# The paper lets all text count. Here a name counts **from its second time on**: the
# first time nobody can know it, and a guess at one of 256 names is noise in every
# gradient. `minilmm train flamingo --all-text` trains with the paper's loss. The paper's
# text is web text, of which most can be known.
#
# Beside pages there are pairs (a picture and its caption, or six questions about it),
# *galleries* (two pictures, then their two captions) and videos:

# %%
for name, drawn in (
    ("gallery", galleries(1, generator, 48)),
    ("video", videos(1, generator, 48)),
):
    print(f"{name:8} {tuple(drawn.media.shape)}", line(drawn, 0))
    assert drawn.media.shape[1:3] == ((2, 1) if name == "gallery" else (1, 8))

# %% [markdown]
# In a gallery the first caption looks at the *second* picture, by the mask; of the
# first picture it knows only what the language model can read at its tag. So the tag
# itself must come to say what words would, which is what binding a name to it takes.
#
# One update sees all data sets: each has its loss, each a weight, and the gradients add
# up (the paper: accumulation 70.7 overall, one data set after the other 62.9).
#
# Does it take pages at all? The paper's own ablation: 70.7 overall with M3W, 53.4
# without. And must text look at the last picture alone, rather than at all before it
# (70.7 against 63.5)? `minilmm claims run interleaved` and `last-image` ask both here,
# with ten seeds per arm.

# %% [markdown]
# ## The prompt

# %% [markdown]
# **Predict.** Zero shots, says the paper, is a prompt with *two examples whose pictures
# are removed*. Why not none? (a) it trains the model (b) the model learns the form of
# an answer from them (c) pictures would be too many

# %%
episode = TASKS["vqa"].sample(1, torch.Generator().manual_seed(3), Settings(shots=2))
media = episode.paint(generator, 48)
for name, batch in (
    ("two shots", prompts(episode, media, "real", generator)),
    (
        "zero shots, the paper's way",
        prompts(episode, media, "real", generator, texts_only=True),
    ),
):
    print(f"{name}: {int((batch.ids == 3).sum())} picture(s)")
    print("  ", words.decode(batch.ids[0].tolist()))
    assert int((batch.ids == 3).sum()) == (3 if name == "two shots" else 1)

# %% [markdown]
# (b). A single such example is "highly detrimental", the paper says: the model is
# biased to answer as in that example. Is ours?

# %%
asked = {}
for texts in (0, 1, 2):
    request = Request((0,), episodes=100, conditions=("real",), zero_shot_texts=texts)
    found = evaluate(model, "vqa", request)
    asked[texts] = found["rows"][0]
    print(f"{texts} example(s) without pictures: {score(asked[texts])}")
assert min(asked[1]["value"], asked[2]["value"]) > asked[0]["value"]
recorded = [
    json.loads((results / f"flamingo-nano-{name}.json").read_text())
    for name in ("vqa", "vqa-texts")
]
alone, two = (at(found, 0) for found in recorded)
print(f"250 episodes: the question alone {score(alone)}, two examples {score(two)}")
assert two["value"] > alone["value"] + 0.05

# %% [markdown]
# No: one example does it no harm, nor do two. They say by which words answers are given
# here, "two" or "2", "yes" or "true", which the question alone leaves open; and that is
# worth more than a bias costs. So say which prompt a "zero-shot" figure was taken with.
#
# ## The curves
#
# Measured once, with 250 episodes each, and kept: `make results`. Noisy naming is the
# test that only examples can pass: one attribute of three decides the name, nobody says
# which, and every fifth name is wrong.


# %%
def kept(name):
    """A recorded result."""
    return json.loads((results / f"{name}.json").read_text())


panels = {}
for task, title in (("noisy", "noisy naming"), ("ambiguous", "ambiguous naming")):
    panels[title] = [
        *series_of(kept(f"flamingo-nano-{task}"), "Flamingo"),
        *series_of(kept(f"frozen-nano-{task}"), "Frozen", controls=False),
        *series_of(
            kept(f"lm-nano-{task}"), "the text model, from descriptions", controls=False
        ),
    ]
show(few_shot_curves(panels))
for r in kept("flamingo-nano-noisy")["rows"]:
    if r["condition"] == "real":
        print(f"noisy naming, {r['shots']:2} shots: {score(r)}, ideal {r['ideal']:.2f}")
noisy = {name: kept(f"{name}-nano-noisy") for name in ("flamingo", "lm")}
none, four, most = (at(noisy["flamingo"], shots) for shots in (0, 4, 16))
assert four["low"] > none["high"]
reader = at(noisy["lm"], 16)
assert most["high"] < most["ideal"] and reader["high"] < most["ideal"]
assert most["ideal"] - reader["value"] > (most["ideal"] - most["value"]) / 2
assert most["value"] > four["value"] + 0.05

# %% [markdown]
# It rises with every example, and it does not reach exact Bayes; neither does the text
# model that reads perfect descriptions, so most of the gap is the language model's, not
# the eyes'. A bridge cannot teach a frozen reader to reason.
#
# Two ways, far past the five pictures that a training page shows at most:

# %%
few, many = kept("flamingo-nano-naming-2"), kept("flamingo-nano-naming-long")
long = few | {"rows": [*few["rows"], *many["rows"]]}
show(
    few_shot_curves(
        {
            "naming, 2 ways": [
                *series_of(long, "Flamingo"),
                *series_of(kept("frozen-nano-naming-2"), "Frozen", controls=False),
            ]
        }
    )
)
for row in long["rows"]:
    if row["condition"] == "real":
        pictures = 2 * row["shots"] + 1
        print(f"{row['shots']:2} shots per class, {pictures:2} pictures: {score(row)}")
assert at(long, 1)["low"] > 0.95
assert at(long, 32)["low"] > 0.95  # and holds

# %% [markdown]
# One example per name is all that it needs. With 65 pictures, thirteen pages' worth, it
# still names.

# %% [markdown]
# ## The paper's table beside ours
#
# Flamingo, few shots, as the paper prints them (VQAv2, accuracy in %); ours are
# questions about the mini-world. Compare directions only.

# %%
paper = {"3B": (49.2, 53.2, 57.1), "9B": (51.8, 56.3, 60.4), "80B": (56.3, 63.1, 67.6)}
print(f"{'shots':28}{0:>8}{4:>8}{32:>8}")
for name, row in paper.items():
    shown = "".join(f"{v:8.1f}" for v in row)
    print(f"{'Flamingo-' + name + ', VQAv2':28}{shown}")
vqa = kept("flamingo-nano-vqa")
ours = {shots: at(vqa, shots) for shots in (0, 1, 4, 8)}
texts = {shots: at(vqa, shots, "text_only") for shots in (1, 4, 8)}
print("flamingo-nano, vqa, by shots")
for shots, row in ours.items():
    beside = f"; examples without pictures {score(texts[shots])}" if shots else ""
    print(f"{shots:2} {score(row)}{beside}")
assert min(ours[k]["low"] for k in texts) > ours[0]["high"]  # one example is enough
assert all(texts[k]["low"] < ours[k]["high"] for k in texts)
assert all(texts[k]["value"] > ours[0]["value"] + 0.05 for k in texts)

# %% [markdown]
# The paper's zero shots are two texts, and its curve rises. Ours rises with the first
# example and is flat from then on. Why? The questions themselves say what they ask;
# only the *convention* of the answers has to be seen, and one example shows much of it.
# Words are enough for that: examples without their pictures do about as well. Where
# pictures must be matched, as in naming, they are everything.
#
# ## Choosing examples: RICES
#
# Retrieval-based in-context example selection: of a pool, take the examples whose
# pictures look most like the query's, the most similar one *last*.

# %%
source(rices.nearest)

# %%
generator = torch.Generator().manual_seed(8)
pool, asked = (TASKS["vqa"].sample(n, generator, Settings(shots=0)) for n in (400, 2))
seen = [e.paint(generator, 48)[:, 0] for e in (pool, asked)]
near = rices.nearest(
    rices.features(model, seen[1]), rices.features(model, seen[0]), 4
).detach()
rows = [torch.cat([seen[0][near[i]], seen[1][i : i + 1]]) for i in range(2)]
grid = torch.cat(rows)[:, 0]
show(picture_grid(grid, ["4th", "3rd", "2nd", "nearest", "the query"] * 2, columns=5))
assert near.shape == (2, 4)
query, every = rices.features(model, seen[1]), rices.features(model, seen[0])
alike = nn.functional.cosine_similarity(query[:, None], every[near], dim=-1)
assert (alike.diff(dim=1) >= -1e-6).all()  # the most similar last

# %%
table = {"random": kept("flamingo-nano-vqa"), "RICES": kept("flamingo-nano-vqa-rices")}
for name, found in table.items():
    told = (f"{shots} shots {score(at(found, shots))}" for shots in (4, 8))
    print(f"{name:8}", ", ".join(told))
pairs = {shots: [at(found, shots) for found in table.values()] for shots in (4, 8)}
assert all(a["low"] < b["high"] and b["low"] < a["high"] for a, b in pairs.values())

# %% [markdown]
# On ImageNet with 80B parameters and a thousand classes RICES took the paper from 66.4
# to 71.7 % and more. Here the intervals overlap: pictures that look alike answer another
# question, and a question says what it asks. No gain is shown.
#
# ## Or train
#
# The paper's contrast to all this: fine-tune on the task (`minilmm train flamingo
# --start flamingo-nano --data vqa`), with no examples in the prompt. In the paper that
# gains most where few shots fell short. A prompt changes no weight, so it can spoil
# nothing; training may.
#
# ## Ensembling over orders
#
# What a prompt says should not depend on the order of its examples. So the paper
# averages log-likelihoods over six orders, at the cost of that many passes. Four, here:

# %%
averaged = {}
for orders in (1, 4):
    request = Request((4,), episodes=100, conditions=("real",), orders=orders)
    row = evaluate(model, "noisy-naming", request)["rows"][0]
    averaged[orders] = row
    print(f"{orders} order(s): {score(row)}")
intervals = [(row["low"], row["high"]) for row in averaged.values()]
assert max(low for low, _ in intervals) < min(high for _, high in intervals)

# %% [markdown]
# No gain that 100 episodes could show.

# %% [markdown]
# ## Break it yourself
#
# Swap the names of half the demonstrations (`flips`, the marked line). At what share of
# wrong names does it stop following the majority? The ideal observer would use even .4.

# %%
from minilmm.evaluation.tasks import ambiguous

flips = 0.4  # <- change me: 0.0 to 0.5
seed = torch.Generator().manual_seed(1)
drawn = ambiguous.sample(100, seed, Settings(shots=8), flips)
batch = prompts(drawn, drawn.paint(generator, 48), "real", generator)
best = model.score(batch, drawn.candidates, drawn.candidates >= 0).argmax(1)
right = (best == drawn.target).float().mean()
print(f"{flips} of the names wrong, 8 shots: {right:.1f}")

# %% [markdown]
# ## Exercises
#
# - [17 The loss of interleaved pages](../exercises/student/ex17_interleaved_loss.py)
# - [18 One update from several data sets](../exercises/student/ex18_accumulation.py)
# - [19 RICES, and averaging over orders](../exercises/student/ex19_rices.py)
# - [20 The zero-shot prompt, and decoding behind
#   it](../exercises/student/ex20_zero_shot_prompt.py)
#
# `minilmm exercises start 17 18 19 20`, then `minilmm grade`.
#
# ## What to read next
#
# - [minilmm/training/mixture.py](../minilmm/training/mixture.py),
#   [minilmm/evaluation/rices.py](../minilmm/evaluation/rices.py).
# - The paper, sections 2.4 and 3, appendix A.2; [what it measured](../docs/papers.md),
#   [what we measured](../results/README.md).
# - `minilmm claims list`: which of its findings we can repeat, and how that is decided.

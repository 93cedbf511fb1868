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

from minilmm.claims import verdict
from minilmm.course import course_root
from minilmm.course.reader import source
from minilmm.document import Batch
from minilmm.evaluation import rices
from minilmm.evaluation.fewshot import Method, evaluate
from minilmm.evaluation.prompts import prompts
from minilmm.plots import arms_chart, few_shot_curves, picture_grid, series_of, show
from minilmm.training.checkpoint import load
from minilmm.training.mixture import ASKING, NAMING, galleries, pages, videos
from minilmm.world.tasks import TASKS, Settings
from minilmm.world.vocabulary import tokenizer

words = tokenizer()
model, card = load("flamingo-nano")
results = course_root("results") / "results"
recipe = card["recipe"]


def claimed(name):
    """The record of a claim."""
    return json.loads((results / "claims" / f"{name}.json").read_text())


print(
    "data sets per step:",
    recipe["pages"],
    "pages,",
    recipe["pairs"],
    "pairs,",
    recipe["videos"],
    "videos; weights of pairs, pages, videos:",
    recipe["weights"],
)

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
    page, _ = pages(1, generator, 48, kinds=((*kind[:3], 1.0),))
    print(f"{kind[0]:17}", line(page, 0))
page, _ = pages(1, generator, 48, kinds=(NAMING[3],))
show(picture_grid(page.media[0, :, 0], ["1", "2", "3", "4", "5"], columns=5))

# %% [markdown]
# The paper lets all text count. Here a name counts **from its second time on**: the
# first time nobody can know it, and a guess at one of 256 names is noise in every
# gradient. `minilmm train flamingo --all-text` trains with the paper's loss. What that
# changes, in a short recipe, seed 0 (`minilmm claims run mistakes`):

# %%
record = claimed("mistakes")
for measure in (
    "naming, 5 ways, 1 shot",
    "naming, 5 ways, 4 shots",
    "ambiguous-naming, 8 shots",
):
    means = [
        sum(values) / len(values)
        for arm in ("paper", "all-text")
        if (
            values := [
                r["values"][measure]
                for r in record["rows"]
                if r["arm"] == arm and r["seed"] == 0
            ]
        )
    ]
    print(
        f"{measure:26} answers count: {means[0]:.2f}   all text counts: {means[1]:.2f}"
    )

# %% [markdown]
# One or two seeds show a large effect and no more: guessing at what cannot be known
# costs a short training much of its score. The paper's text is web text, of which most
# can be known.
#
# Beside pages there are pairs (a picture and its caption, or a question), *galleries*
# (two pictures, then their two captions) and videos:

# %%
for name, drawn in (
    ("gallery", galleries(1, generator, 48)),
    ("video", videos(1, generator, 48)),
):
    print(f"{name:8} {tuple(drawn.media.shape)}", line(drawn, 0))

# %% [markdown]
# In a gallery the first caption looks at the *second* picture, by the mask; of the
# first picture it knows only what the language model can read at its tag. So the tag
# itself must come to say what words would, which is what binding a name to it takes.
#
# One update sees all data sets: each has its loss, each a weight, and the gradients add
# up (the paper: accumulation 70.7 overall, one data set after the other 62.9).

# %% [markdown]
# Does it take pages at all? The paper's own ablation: 70.7 overall with M3W, 53.4
# without. And must text look at the last picture alone, rather than at all before it
# (70.7 against 63.5)? Both as experiments that were written down before they ran, with
# ten fresh seeds per arm (`minilmm claims run interleaved`, `last-image`):

# %%
for name in ("interleaved", "last-image"):
    record = claimed(name)
    arms = {
        arm: [
            r["values"][record["measure"]]
            for r in record["rows"]
            if r["arm"] == arm and r["seed"] >= 100
        ]
        for arm in record["arms"]
    }
    first, second = arms
    found, gap = verdict(
        [a - b for a, b in zip(arms[first], arms[second], strict=True)]
    )
    print(
        f"{record['measure']}: {first} minus {second}: {gap.mean:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}): {found}"
    )
    show(arms_chart({record["measure"]: arms}, {record["measure"]: ("chance", 0.2)}))

# %% [markdown]
# Both **replicated**, and by more than in the paper, because naming is all that is
# asked here. Pairs alone never ask which thing a name went with, so nothing is bound.
# And a word that sees all pictures cannot tell which one is its own: nothing in their
# tokens says which came last. The mask says it. The paper's tasks can often be solved
# without knowing, and lose less.

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

# %% [markdown]
# (b). One such example is "highly detrimental", the paper says: the model copies its
# answer.

# %%
plain = evaluate(model, "vqa", shots=(0,), episodes=100, conditions=("real",))["rows"][
    0
]
for texts in (1, 2):
    row = evaluate(
        model,
        "vqa",
        shots=(0,),
        episodes=100,
        conditions=("real",),
        method=Method(zero_shot_texts=texts),
    )["rows"][0]
    print(
        f"{texts} example(s) without pictures: {row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
    )
print(
    f"the question alone:            {plain['value']:.2f} ({plain['low']:.2f} to {plain['high']:.2f})"
)

# %% [markdown]
# Ours has been trained on the question alone as well, so it needs no example to know
# the form. Whatever the outcome: say which prompt a "zero-shot" figure was taken with.
#
# ## The curves
#
# Measured once, with 500 episodes each, and kept: `make results`. Noisy naming is the
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
real = [r for r in kept("flamingo-nano-noisy")["rows"] if r["condition"] == "real"]
print(
    "noisy naming, Flamingo:",
    ", ".join(
        f"{r['shots']} shots {r['value']:.2f} ({r['low']:.2f}-{r['high']:.2f}), ideal {r['ideal']:.2f}"
        for r in real
    ),
)

# %% [markdown]
# It rises from none to four and hardly further, and it does not reach exact Bayes;
# neither does the text model that reads perfect descriptions, so most of the gap is the
# language model's, not the eyes'. A bridge cannot teach a frozen reader to reason.
#
# Two ways, far past the five pictures that a training page shows at most:

# %%
long = kept("flamingo-nano-naming-2")
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
        print(
            f"{row['shots']:3} shots per class, {2 * row['shots'] + 1:2} pictures: {row['value']:.3f} ({row['low']:.2f}-{row['high']:.2f})"
        )

# %% [markdown]
# ## The paper's table beside ours
#
# Flamingo, few shots, as the paper prints them (VQAv2, accuracy in %); ours are
# questions about the mini-world. Compare directions only.

# %%
paper = {"3B": (49.2, 53.2, 57.1), "9B": (51.8, 56.3, 60.4), "80B": (56.3, 63.1, 67.6)}
print(f"{'shots':28}{0:>8}{4:>8}{32:>8}")
for size, row in paper.items():
    print(f"{'Flamingo-' + size + ', VQAv2':28}" + "".join(f"{v:8.1f}" for v in row))
ours = {
    r["shots"]: r for r in kept("flamingo-nano-vqa")["rows"] if r["condition"] == "real"
}
print(
    f"{'flamingo-nano, vqa':28}{100 * ours[0]['value']:8.1f}{100 * ours[4]['value']:8.1f}{'-':>8}   (8 shots: {100 * ours[8]['value']:.1f}; prior {100 * ours[0]['prior']:.1f})"
)

# %% [markdown]
# The paper's zero shots are two texts. Ours gains from four examples of questions,
# perhaps, and loses with eight, more than a page of training ever held: no curve to be
# proud of. Questions say what they ask, so there is little left to learn from a prompt.
# Where something is left, as in naming, examples decide everything.
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
seen = [e.paint(generator, 48)[:, 0, 0] for e in (pool, asked)]
near = rices.nearest(
    rices.features(model, seen[1]), rices.features(model, seen[0]), 4
).detach()
grid = torch.cat([torch.cat([seen[0][near[i]], seen[1][i : i + 1]]) for i in range(2)])
show(picture_grid(grid, ["4th", "3rd", "2nd", "nearest", "the query"] * 2, columns=5))

# %%
table = {"random": kept("flamingo-nano-vqa"), "RICES": kept("flamingo-nano-vqa-rices")}
for name, found in table.items():
    told = [
        r for r in found["rows"] if r["condition"] == "real" and r["shots"] in (4, 8)
    ]
    print(
        f"{name:8}",
        ", ".join(
            f"{r['shots']} shots {r['value']:.2f} ({r['low']:.2f}-{r['high']:.2f})"
            for r in told
        ),
    )

# %% [markdown]
# On ImageNet with 80B parameters and a thousand classes RICES took the paper from 66.4
# to 71.7 % and more. Here the intervals overlap, and the two numbers of shots point in
# opposite directions: pictures that look alike answer another question, and a question
# says what it asks. No gain is shown.
#
# ## Or train
#
# The paper's contrast to all this: fine-tune on the task (`minilmm train flamingo
# --start flamingo-nano --data vqa`), three hundred steps of 24 pictures each, with no
# examples in the prompt.

# %%
for name, label in (
    ("vqa", "as it is, held-out pairs"),
    ("vqa-finetuned", "fine-tuned, held-out pairs"),
    ("vqa-train", "as it is, training pairs"),
    ("vqa-finetuned-train", "fine-tuned, training pairs"),
):
    row = next(
        r
        for r in kept(f"flamingo-nano-{name}")["rows"]
        if r["condition"] == "real" and r["shots"] == 0
    )
    print(
        f"{label:27} {row['value']:.2f} ({row['low']:.2f}-{row['high']:.2f}), prior {row['prior']:.2f}"
    )

# %% [markdown]
# In the paper fine-tuning gains most where few shots fell short. Here it gains nothing,
# on training pairs neither: this model had answered such questions for half of its
# training already, and answers them about as well as its language model does from
# perfect descriptions (0.65). It loses something, though: fine-tuned on questions it
# names one of two pictures right in 71 % of episodes, where it was 97 % (the probes at
# the ends of the two runs). A prompt changes no weight, so it can spoil nothing.
#
# ## Ensembling over orders
#
# A prompt's order matters more than it should. Averaging log-likelihoods over orders
# (the paper: six) costs that many passes:

# %%
for orders in (1, 4):
    row = evaluate(
        model,
        "noisy-naming",
        shots=(4,),
        episodes=100,
        conditions=("real",),
        scoring="rank",
        method=Method(orders=orders),
    )["rows"][0]
    print(
        f"{orders} order(s): {row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
    )

# %% [markdown]
# ## Break it yourself
#
# Swap the names of half the demonstrations (`flips`, the marked line). At what share of
# wrong names does it stop following the majority? The ideal observer would use even .4.

# %%
from minilmm.world.tasks import ambiguous

flips = 0.4  # <- change me: 0.0 to 0.5
drawn = ambiguous.sample(
    100, torch.Generator().manual_seed(1), Settings(shots=8), flips
)
batch = prompts(drawn, drawn.paint(generator, 48), "real", generator)
best = model.score(batch, drawn.candidates, drawn.candidates >= 0).argmax(1)
print(
    f"{flips} of the names wrong, 8 shots: {(best == drawn.target).float().mean():.1f}"
)

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

# %% [markdown]
# # 03 · Frozen
#
# *Multimodal Few-Shot Learning with Frozen Language Models* (Tsimpoukelli et al.,
# NeurIPS 2021) asks for as little as one can ask: leave the language model exactly as
# it is, train a vision encoder whose output *looks like words to it*, on captions of
# single pictures, nothing else. Then put several pictures into one prompt, which it
# never saw in training, and see whether it learns from them. It does. This chapter
# shows how, how well, and where it fails.
#
# **Goals** After this chapter you can
# - say what a visual prefix is, and splice one into a sequence;
# - explain how gradients pass through a model that does not change, and prove with a
#   ledger that it did not;
# - read few-shot curves with all their controls: ways, task induction, inner-shots,
#   repeats;
# - name the conditions under which it fails, with the evidence, and tell the paper's
#   findings from ours.
#
# **Time** 45 minutes to read and play, about 40 seconds to run.
#
# **Before** [01 A language model that learns in context](01_language_model.ipynb) and
# [02 Eyes](02_eyes.ipynb).

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
from pathlib import Path

import torch
from torch.nn import functional as F

from minilmm.course import course_root
from minilmm.course.reader import source
from minilmm.document import Image, Text, collate
from minilmm.evaluation.fewshot import evaluate, prompts
from minilmm.frozen import Frozen
from minilmm.metrics import paired_interval
from minilmm.plots import (
    arms_chart,
    attention_map,
    few_shot_curves,
    freeze_ledger,
    picture_grid,
    series_of,
    show,
    training_curves,
)
from minilmm.training.checkpoint import ZOO, load
from minilmm.training.frozen import captions, compose, loss_of, preset
from minilmm.training.ledger import fingerprints, ledger
from minilmm.world.grammar import compact, describe
from minilmm.world.render import render
from minilmm.world.scenes import same_concept
from minilmm.world.tasks import TASKS, Settings
from minilmm.world.vocabulary import COLOURS, SHAPES, SIZES, TEXTURES, ids, tokenizer

words = tokenizer()
model, card = load("frozen-nano")
print(
    f"{sum(p.numel() for p in model.lm.parameters()) / 1e3:.0f}k parameters frozen, {sum(p.numel() for p in [*model.encoder.parameters(), *model.to_prefix.parameters()]) / 1e3:.0f}k trained"
)

# %% [markdown]
# ## The prefix
#
# One linear map. The pooled vector of a picture goes in, `n` vectors as wide as a word
# embedding come out, and these stand in the sequence where the picture stands in the
# document. The paper tried n = 1, 2 and 4, and took 2.

# %%
source(Frozen.prefix)

# %% [markdown]
# `kept` is ours: it scales every prefix vector to the size of a word embedding, and
# adds noise while training. The paper's prefix is free. We come back to the difference.
# First look at what a trained prefix *is*. Which words of the language model lie
# closest to the two vectors of a picture? Nobody ever told the encoder to come close to
# any word:

# %%
generator = torch.Generator().manual_seed(4)
scenes = same_concept(
    torch.tensor([0, 4, 8, 7]),
    torch.tensor([0, 3, 6, 4]),
    torch.tensor([1, 2, 0, 1]),
    generator,
)  # held out
pictures = render(scenes, generator)
names = [
    words.decode(row) for row in compact(describe(scenes, full=False), fill=0).tolist()
]
with torch.no_grad():
    prefix = model.prefix(pictures)  # (M, n, D)
vocabulary = [*COLOURS, *SHAPES, *TEXTURES, *SIZES]
table = F.normalize(model.lm.embed_tokens(ids(*vocabulary)), dim=-1).detach()
near = (F.normalize(prefix, dim=-1) @ table.T).topk(3, -1).indices  # (M, n, 3)
show(picture_grid(pictures, names, columns=4))
for name, vectors in zip(names, near.tolist()):
    print(
        f"{name:22} {' | '.join(', '.join(vocabulary[i] for i in v) for v in vectors)}"
    )
said = [
    any(word in [vocabulary[i] for v in vectors for i in v] for word in name.split())
    for name, vectors in zip(names, near.tolist())
]
print(
    "pictures with one of their own words among the nearest:",
    sum(said),
    "of",
    len(said),
)

# %% [markdown]
# The pictures show pairs that no training picture showed. Where their words are among
# the nearest, the encoder has found them by itself: they are what a frozen reader
# understands.
#
# ## Gradients through a model that does not change
#
# "Frozen" is often misread as "no gradients there". The language model *uses* its
# weights to pass the error back from the words to the prefix; it only does not use the
# error to change them. Take one training step and keep books.

# %% [markdown]
# **Predict.** After one step, which parts hold gradients, and whose bytes changed? (a)
# gradients everywhere, changes in the encoder only (b) gradients and changes in the
# encoder and the map only (c) gradients in the map only

# %%
fresh, trained = compose(
    preset("nano")
)  # a new encoder and map, the shipped language model, as training begins
before = fingerprints(fresh)
optimiser = torch.optim.AdamW(trained, lr=1e-3)
fresh.train()
loss = loss_of(fresh, captions(32, torch.Generator().manual_seed(0), 48))
loss.backward()
optimiser.step()
lines = ledger(fresh, before, depth=2)
show(
    freeze_ledger(
        [l.part for l in lines],
        [l.parameters for l in lines],
        [l.gradient is not None for l in lines],
        [l.changed for l in lines],
    )
)
print(
    "language model: gradients",
    any(l.gradient is not None for l in lines if l.part.startswith("lm")),
    "· bytes changed",
    any(l.changed for l in lines if l.part.startswith("lm")),
)

# %% [markdown]
# (b). The ledger does not ask `requires_grad`, which says what somebody meant. It looks
# for gradients and hashes all bytes before and after, which says what happened. A
# "frozen" embedding matrix that trains through the back door is a classic bug. The
# shipped checkpoint stands the same test, two thousand steps later:

# %%
lm, _ = load("lm-nano")
same = fingerprints(lm) == {
    k.removeprefix("lm."): v
    for k, v in fingerprints(model).items()
    if k.startswith("lm.")
}
print("frozen-nano's language model is lm-nano, byte for byte:", same)

# %% [markdown]
# ## Trained on captions only
#
# One picture per sequence, "a striped red circle .", 2000 steps. What does the log say?
# The trivial baseline: the shipped model's own loss when the pictures are blank, so
# that only the language is left.

# %%
log = [
    json.loads(line)
    for line in (ZOO / "frozen-nano" / "log.jsonl").read_text().splitlines()
]
held = captions(96, torch.Generator().manual_seed(77), 48)
with torch.no_grad():
    sighted, blind = (
        loss_of(model, held).item(),
        loss_of(model, held.with_media(torch.full_like(held.media, 0.5))).item(),
    )
show(
    training_curves(
        {
            "caption loss (nats)": {
                "frozen-nano": [
                    {"step": r["step"], "caption loss (nats)": r["loss"]} for r in log
                ]
            },
            "naming, held-out pairs": {
                "2 ways": [
                    {"step": r["step"], "naming, held-out pairs": r["naming_2way_real"]}
                    for r in log
                ],
                "5 ways": [
                    {"step": r["step"], "naming, held-out pairs": r["naming_5way_real"]}
                    for r in log
                ],
            },
        }
    )
)
print(f"caption loss: with the pictures {sighted:.1f}, with blank ones {blind:.1f}")
assert blind > 2 * sighted

# %% [markdown]
# Look at the right panel. Nobody trains naming; the test is made of pictures side by
# side with made-up names, and it comes along with captions, up to a point.
#
# ## Two pictures, two names, one question

# %%
episode = TASKS["naming"].sample(
    1, torch.Generator().manual_seed(12), Settings(ways=2, shots=1)
)
media = episode.paint(generator, 48)  # (1, 3, 1, 3, 48, 48)
batch = prompts(episode, media, "real", generator)
told = [words.decode([i for i in row if i > 0]) for row in episode.texts[0].tolist()]
show(picture_grid(media[0, :, 0], [told[0], told[1], "what is this?"], columns=3))
print(words.decode(batch.ids[0].tolist()))


def belief(batch, candidates):
    """The candidates' probabilities as the next word, as shares."""
    with torch.no_grad():
        p = model(batch)[0, -1].softmax(-1)[candidates]
    return (p / p.sum()).tolist()


options = episode.candidates[0, :, 0]
for name, share in zip(options.tolist(), belief(batch, options)):
    print(
        f"{words.words[name]:10} {share:.1f}",
        "<- right" if name == options[episode.target[0]] else "",
    )

# %% [markdown]
# Where does it look? Attention of the best induction head, from the query's last prefix
# vector back over the prompt. Each picture is two positions wide, `image 1a` and `image
# 1b`:

# %%
x, mask, last = model.splice(batch)
places, count = ["?"] * x.shape[1], 0
for token, place in zip(batch.ids[0].tolist(), last[0].tolist()):
    if token == words.image_token_id:
        count += 1
        places[place - 1], places[place] = f"image {count}a", f"image {count}b"
    else:
        places[place] = words.words[token]
maps = []
with torch.no_grad():
    model(batch, maps=maps)
answer_at = places.index(words.words[int(options[episode.target[0]])])
score = torch.stack([m[0, :, -1, answer_at] for m in maps])  # (layers, heads)
layer, head = divmod(int(score.argmax()), score.shape[1])
show(attention_map(maps[layer][0, head], places, places))
print(
    "the head with most attention on the right name looks at:",
    places[int(maps[layer][0, head, -1].argmax())],
)

# %% [markdown]
# The same heads as in chapter 01, reading pictures now: for them a prefix is one more
# way to say "striped red circle".
#
# ## The curve, and its controls
#
# One episode is an anecdote. A score needs many, and its controls beside it: blank
# pictures, pictures shuffled between episodes, demonstrations without pictures.

# %% [markdown]
# **Predict.** More *ways* (classes) make it harder; more *shots* (pictures per class)
# easier. Where will 5 ways with 3 shots lie? (a) below 2 ways with 1 shot (b) above it

# %%
two = evaluate(model, "naming", shots=(0, 1, 3), episodes=100)
five = evaluate(
    model,
    "naming",
    shots=(0, 1, 3),
    settings=Settings(ways=5),
    episodes=100,
    conditions=("real", "blank_images"),
)
show(
    few_shot_curves(
        {
            "naming, 2 ways": series_of(two, "frozen-nano"),
            "naming, 5 ways": series_of(five, "frozen-nano"),
        }
    )
)
assert two["rows"][4]["low"] > 0.7 and all(
    r["low"] < 0.62 for r in two["rows"] if r["condition"] != "real"
)

# %% [markdown]
# Three terms of the paper deserve a measurement each. *Task induction*: a sentence
# before the prompt, "answer with dax or blicket .". *Inner-shots*: different pictures
# per class. *Repeats*: copies of the same ones. Three different pictures, or one
# picture three times?


# %%
def accuracy(**settings):
    row = evaluate(
        model,
        "naming",
        shots=(settings.pop("shots", 1),),
        settings=Settings(ways=5, **settings),
        episodes=200,
        conditions=("real",),
    )["rows"][0]
    return f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


print("5 ways, chance 0.20, 200 episodes, one model")
print("1 shot                            ", accuracy())
print("1 shot, with task induction       ", accuracy(induction=True))
print("3 inner-shots (three pictures)    ", accuracy(shots=3))
print("1 inner-shot, 2 repeats (copies)  ", accuracy(repeats=2))

# %% [markdown]
# Compare the intervals before you believe an order. Here copies help as much as
# different pictures do, and induction does nothing. In the paper's 2-way test induction
# was the large effect (29.0 to 53.4 %, open-ended miniImageNet table). The paper's
# model answers freely, though, and an answer that is neither name counts as wrong; we
# *rank* the names, so that the form of the answer cannot go wrong. Free answers, for
# comparison, an exact match after greedy decoding:


# %%
def free(ways, shots, induction):
    """Open-ended accuracy at each number of inner-shots, 100 episodes."""
    found = evaluate(
        model,
        "naming",
        shots=shots,
        settings=Settings(ways=ways, induction=induction),
        episodes=100,
        conditions=("real",),
        scoring="generate",
    )
    return [row["value"] for row in found["rows"]]


paper = {
    2: (0.290, 0.534, 0.579, 0.589),
    5: (0.180, 0.202, 0.223, 0.213),
}  # open-ended miniImageNet
print(f"{'open-ended, %, chance about 0':32}no induction  with induction")
print(f"{'inner-shots':32}{1:12}{1:12}{3:8}{5:8}")
ours = {
    ways: [*free(ways, (1,), False), *free(ways, (1, 3, 5), True)] for ways in (2, 5)
}
for ways in (2, 5):
    for name, row in (
        ("frozen-nano", ours[ways]),
        ("the paper, miniImageNet", paper[ways]),
    ):
        print(
            f"{ways} ways, {name:24}{100 * row[0]:12.1f}{100 * row[1]:12.1f}{100 * row[2]:8.1f}{100 * row[3]:8.1f}"
        )
assert all(row[1] > row[0] and row[2] > row[0] for row in ours.values())

# %% [markdown]
# Now induction is the large effect here as well: without it the model goes on as it was
# trained to, with a caption. Told the names, it names, if not as often as the ranking
# shows that it could. Compare directions with the paper, never heights: other pictures,
# another language model, another number of classes to confuse.
#
# ## Where it fails
#
# Eight arms, three seeds each, trained for 350 steps from the quickstart's recipe: only
# what the name says is changed. `make arms` runs them all again (half an hour). *free
# prefix* is the paper's linear map; *finetuned* trains the language model along,
# *gently* at a tenth of the rate; *scratch* starts it from random weights; *blind*
# trains on blank pictures.

# %% [markdown]
# **Predict.** A finetuned language model can adapt to the pictures; a frozen one
# cannot. Which answers questions better after training on captions: (a) finetuned (b)
# frozen (c) no difference

# %%
folder = course_root("results") / "results" / "frozen-arms"
ARMS = {
    "n2": "frozen, n = 2",
    "n1": "n = 1",
    "n4": "n = 4",
    "free": "free prefix",
    "finetuned-gently": "finetuned, gently",
    "finetuned": "finetuned",
    "scratch": "from scratch",
    "blind": "trained blind",
}


def arm(name, task, shots):
    """Accuracy with real pictures, one value per seed."""
    found = [
        json.loads((folder / f"{name}-{seed}-{task}.json").read_text())["rows"]
        for seed in range(3)
    ]
    return [
        next(
            r["value"] for r in rows if r["shots"] == shots and r["condition"] == "real"
        )
        for rows in found
    ]


panels = {
    "naming, 2 ways, 1 shot": {
        label: arm(name, "naming", 1) for name, label in ARMS.items()
    },
    "questions (vqa), 0 shots": {
        label: arm(name, "vqa", 0) for name, label in ARMS.items()
    },
}
prior = json.loads((folder / "n2-0-vqa.json").read_text())["rows"][0]["prior"]
show(
    arms_chart(
        panels,
        {
            "naming, 2 ways, 1 shot": ("chance", 0.5),
            "questions (vqa), 0 shots": ("prior", prior),
        },
    )
)
print("difference to n = 2, mean over three seeds and its 95 % interval (Student's t)")
for name, label in list(ARMS.items())[1:]:
    parts = []
    for task, shots in (("naming", 1), ("vqa", 0)):
        d = paired_interval(
            [b - a for a, b in zip(arm("n2", task, shots), arm(name, task, shots))]
        )
        parts.append(
            f"{d.mean:+.2f} ({d.low:+.2f} to {d.high:+.2f}){'*' if d.low > 0 or d.high < 0 else ' '}"
        )
    print(f"{label:18} naming {parts[0]:26} questions {parts[1]}")
print("* the interval excludes 0")

# %% [markdown]
# Questions need more than a caption: whole examples (picture, question, answer) in the
# prompt. The paper's table again beside ours, in different worlds, with different
# questions:

# %%
print(f"{'questions, accuracy, %':34}{'0':>6}{'1':>6}{'4 shots':>9}")
for name, label, theirs in (
    ("n2", "frozen", (0.295, 0.357, 0.382)),
    ("blind", "trained blind", (0.262, None, 0.333)),
    ("finetuned", "finetuned", (0.240, None, None)),
    ("scratch", "from scratch", (0.0, None, None)),
):
    mean = [sum(arm(name, "vqa", k)) / 3 for k in (0, 1, 4)]
    print(
        f"{label:20}{'ours':14}{100 * mean[0]:6.1f}{100 * mean[1]:6.1f}{100 * mean[2]:9.1f}"
    )
    print(
        f"{'':20}{'paper, VQAv2':14}"
        + "".join(
            f"{100 * v:{w}.1f}" if v is not None else f"{'-':>{w}}"
            for v, w in zip(theirs, (6, 6, 9))
        )
    )

# %% [markdown]
# Against the paper (VQAv2, zero-shot: frozen 29.5, trained blind 26.2, finetuned 24.0,
# from scratch 0.0 %): the order is the same. A model from scratch learns to caption and
# answers nothing. Finetuning on captions makes the model *forget how to answer*, the
# harder the more. Blind training ends at the prior. With shots the paper's frozen model
# gains from each; ours falls at one shot and is a little better at four. That n = 2
# beats 1 and 4 is smaller than most people expect, in the paper as here; look at the
# intervals.
#
# The free prefix is the paper's own, and here it fails at naming while it captions and
# answers questions well. Captions do not ask the prefix to live where words live, so it
# drifts to where the language model can describe it and cannot bind it. In the paper
# training ends after about one epoch of three million captions with a language model
# 7000 times as large; we have not shown that the same happens there.
#
# ## What changed
#
# | | Frozen | Flamingo (chapters 04 to 06) | BLIP-2 (07 to 08) |
# |---|---|---|---|
# | where vision enters | as tokens among the words | cross-attention between the layers | as tokens among the words |
# | what trains | the eyes and one linear map | a resampler and the new layers | a Q-Former and one linear map |
# | eyes | trained through the language model | pretrained, frozen | pretrained, frozen |
# | mask | causal, nothing new | each word looks at the last picture | three masks, one per objective |
#
# ## Break it yourself
#
# Swap the pictures of the two demonstrations and leave the names where they are. The
# prompt now says the opposite. What does the model say? Then try the marked line with
# the query's own picture in both places.

# %%
swapped = media[:, [1, 0, 2]]  # <- change me: [2, 2, 2], or [0, 0, 2]
for label, pixels in (("as it was", media), ("pictures swapped", swapped)):
    shares = belief(prompts(episode, pixels, "real", generator), options)
    print(
        f"{label:17}",
        {words.words[o]: round(s, 1) for o, s in zip(options.tolist(), shares)},
    )

# %% [markdown]
# A misconception: "it knows the word". It knows no such word. Everything that it knows
# about these names stands in the prompt, and it believes whatever stands there.
#
# ## Exercises
#
# - [10 The visual prefix and its splice](../exercises/student/ex10_prefix.py)
# - [11 Freezing that lets gradients through](../exercises/student/ex11_freezing.py)
# - [12 Accuracy with a bootstrap interval](../exercises/student/ex12_bootstrap.py)
#
# `minilmm exercises start 10 11 12`, then `minilmm grade`.
#
# ## What to read next
#
# - [minilmm/frozen.py](../minilmm/frozen.py): the whole paper in 125 lines, and
#   [training/frozen.py](../minilmm/training/frozen.py).
# - The paper, sections 3 and 4; [what it measured](../docs/papers.md) and [what we
#   measured](../results/README.md).
# - Then train your own in two minutes: `minilmm train frozen --preset quick --out
#   runs/mine`, and `minilmm eval runs/mine --task naming`.

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

from minilmm.course.reader import at, score, size, source
from minilmm.interface.document import Image, Text, collate
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.prompts import prompts
from minilmm.frozen import Frozen
from minilmm.interface.model import Keep
from minilmm.plots import (
    attention_map,
    few_shot_curves,
    freeze_ledger,
    picture_grid,
    series_of,
    show,
    training_curves,
)
from minilmm.checkpoints.opening import load
from minilmm.checkpoints.saving import ZOO
from minilmm.data.world import captions
from minilmm.training.frozen import compose, preset
from minilmm.training.job import loss_of
from minilmm.training.ledger import fingerprints, ledger
from minilmm.world.grammar import compact, describe
from minilmm.world.render import render
from minilmm.world.scenes import same_concept, sample_scenes
from minilmm.evaluation.tasks import TASKS, Settings
from minilmm.world.vocabulary import COLOURS, SHAPES, SIZES, TEXTURES, ids, tokenizer

words = tokenizer()
model, card = load("frozen-nano")
frozen, trained = size(model.lm), size(model.encoder, model.to_prefix)
print(frozen, "parameters frozen,", trained, "trained")
assert model.prefix_tokens == 2

# %% [markdown]
# ## The prefix
#
# One linear map. The pooled vector of a picture goes in, `n` vectors as wide as a word
# embedding come out, and these stand in the sequence where the picture stands in the
# document. The paper tried n = 1, 2 and 4, and took 2.

# %%
source(Frozen.project)

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
)
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
    told = " | ".join(", ".join(vocabulary[i] for i in v) for v in vectors)
    print(f"{name:22} {told}")

many = sample_scenes(200, torch.Generator().manual_seed(7), split="held-out")
with torch.no_grad():
    vectors = F.normalize(model.prefix(render(many, generator)), dim=-1)
nearest = (vectors @ table.T).topk(3, -1).indices.flatten(1)  # (200, 6)
found = {}
for kind, first in (("colour", 0), ("shape", 10), ("texture", 22), ("size", 25)):
    own = getattr(many, kind)[:, 0] + first
    found[kind] = [
        (nearest == word[:, None]).any(1).float().mean().item()
        for word in (own, own.roll(1))
    ]
    mine, others = found[kind]
    print(f"{kind:8} its own among the six nearest {mine:.2f}, another's {others:.2f}")
assert all(found[kind][0] > 0.65 for kind in ("colour", "shape", "texture"))
assert all(found[kind][1] < 0.4 for kind in ("colour", "shape", "texture"))
assert found["size"][0] < 0.65 and found["size"][1] > 0.3

# %% [markdown]
# The pictures show pairs that no training picture showed. Over 200 such pictures the
# words of their texture, colour and shape are nearly always among the six nearest, and
# another picture's words much less often: the encoder has found them by itself. They are
# what a frozen reader understands. The size is there in part: its own word is near in
# half of the pictures.
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
fresh, _ = compose(preset("nano"))  # new eyes and map, the shipped language model
trained = [p for p in fresh.parameters() if p.requires_grad]
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
language = [l for l in lines if l.part.startswith("lm")]
others = [l for l in lines if l not in language]
gradients = [l.gradient is not None for l in language]
changed = [l.changed for l in language]
print("language model: gradients", any(gradients), "· bytes changed", any(changed))
assert language and not any(gradients) and not any(changed)
assert others and all(l.gradient is not None and l.changed for l in others)

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
assert same

# %% [markdown]
# ## Trained on captions only
#
# One picture per sequence, "a striped red circle .", 1200 steps. What does the log say?
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
assert log[-1]["loss"] < 0.9 * next(r["loss"] for r in log if r["step"] == 500)
assert log[0]["naming_2way_real"] < 0.75 < 0.85 < log[-1]["naming_2way_real"]
late = [r["naming_5way_real"] for r in log if r["step"] >= 800]
assert log[-1]["step"] == 1200 and max(late) - min(late) < 0.1  # a plateau

# %% [markdown]
# Look at the right panel. Nobody trains naming; the test is made of pictures side by
# side with made-up names, and it comes along with captions, for 800 steps. Then both
# stand still.
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
assert belief(batch, options)[int(episode.target[0])] > 0.8

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
    model(batch, Keep(maps))
answer_at = places.index(words.words[int(options[episode.target[0]])])
looks = torch.stack([m[0, :, -1, answer_at] for m in maps])  # (layers, heads)
layer, head = divmod(int(looks.argmax()), looks.shape[1])
show(attention_map(maps[layer][0, head], places, places))
seen = places[int(maps[layer][0, head, -1].argmax())]
print("the head with most attention on the right name looks at:", seen)
induction = {(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0)}  # chapter 01's first six
print("(layer, head):", (layer, head))
assert (layer, head) in induction and looks[layer, head] > 0.8
assert seen == places[answer_at]

# %% [markdown]
# It is one of the six heads that chapter 01 switched off, reading pictures now: for it
# a prefix is one more way to say "striped red circle".
#
# ## The curve, and its controls
#
# One episode is an anecdote. A score needs many, and its controls beside it: blank
# pictures, pictures shuffled between episodes, demonstrations without pictures.

# %% [markdown]
# **Predict.** More *ways* (classes) make it harder; more *shots* (pictures per class)
# easier. Where will 5 ways with 3 shots lie? (a) below 2 ways with 1 shot (b) above it

# %%
two = evaluate(model, "naming", Request((0, 1, 3), episodes=100))
asked = Request((0, 1, 3), Settings(ways=5), 100, ("real", "blank_images"))
five = evaluate(model, "naming", asked)
show(
    few_shot_curves(
        {
            "naming, 2 ways": series_of(two, "frozen-nano"),
            "naming, 5 ways": series_of(five, "frozen-nano"),
        }
    )
)
print("5 ways, 3 shots:", score(at(five, 3)), "· 2 ways, 1 shot:", score(at(two, 1)))
assert at(two, 1)["low"] > 0.7 and at(five, 1)["low"] > 0.5
assert at(five, 3)["value"] - at(five, 1)["value"] > 0.02
controls = [r for r in two["rows"] if r["condition"] != "real"]
assert all(r["low"] < 0.52 < r["high"] + 0.04 for r in controls)

# %% [markdown]
# They meet: two more pictures per class make up for three more classes, and 100
# episodes cannot tell which of the two is ahead. The controls stay at chance.
#
# Three terms of the paper deserve a measurement each. *Task induction*: a sentence
# before the prompt, "answer with dax or blicket .". *Inner-shots*: different pictures
# per class. *Repeats*: copies of the same ones. Three different pictures, or one
# picture three times?


# %%
def accuracy(shots=1, **settings):
    """With real pictures, 5 ways, 200 episodes."""
    settings = Settings(ways=5, **settings)
    found = evaluate(model, "naming", Request((shots,), settings, 200, ("real",)))
    return at(found, shots)


measured = {
    "1 shot": accuracy(),
    "1 shot, with task induction": accuracy(induction=True),
    "3 inner-shots (three pictures)": accuracy(shots=3),
    "1 inner-shot, 2 repeats (copies)": accuracy(repeats=2),
}
print("5 ways, chance 0.20, 200 episodes, one model")
for name, row in measured.items():
    print(f"{name:34}", score(row))
once, induced, pictures_, copies = measured.values()
assert copies["high"] > pictures_["low"] and pictures_["high"] > copies["low"]
assert min(copies["value"], pictures_["value"]) > once["value"]
assert induced["low"] < once["high"] and once["low"] < induced["high"]

# %% [markdown]
# Compare the intervals before you believe an order. Here copies help as much as
# different pictures do, and what induction adds, 200 episodes cannot tell from nothing. In
# the paper's 2-way test induction
# was the large effect (29.0 to 53.4 %, open-ended miniImageNet table). The paper's
# model answers freely, though, and an answer that is neither name counts as wrong; we
# *rank* the names, so that the form of the answer cannot go wrong. Free answers, for
# comparison, an exact match after greedy decoding:


# %%
def free(ways, shots, induction):
    """Open-ended accuracy at each number of inner-shots, 100 episodes."""
    settings = Settings(ways=ways, induction=induction)
    asked = Request(shots, settings, 100, ("real",), scoring="generate")
    found = evaluate(model, "naming", asked)
    return [row["value"] for row in found["rows"]]


paper = {2: (0.290, 0.534, 0.579, 0.589), 5: (0.180, 0.202, 0.223, 0.213)}
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
        columns = zip((100 * value for value in row), (12, 12, 8, 8))
        shown = "".join(f"{value:{width}.1f}" for value, width in columns)
        print(f"{ways} ways, {name:24}{shown}")
assert all(row[1] > row[0] + 0.05 and row[2] > row[1] for row in ours.values())
assert ours[2][1] < at(two, 1)["low"] and ours[5][1] < at(five, 1)["low"]

# %% [markdown]
# Now induction is the large effect here as well: without it the model goes on as it was
# trained to, with a caption. Told the names, it names, if not as often as the ranking
# shows that it could. Compare directions with the paper, never heights: other pictures,
# another language model, another number of classes to confuse.
#
# ## Where it fails
#
# The paper's table (VQAv2, zero-shot): frozen 29.5, trained blind 26.2, finetuned 24.0,
# from scratch 0.0 %. A language model from scratch learns captions and nothing else; one
# that is finetuned on captions forgets how to answer; blind training ends at the prior.
# `make arms` trains such arms here: `--variant finetuned`, `scratch` and `blind`, and
# `--free-prefix`, the paper's own linear map, which nothing holds near the words.
# Captions do not ask the prefix to live where words live: it can drift to where the
# language model describes it well and binds nothing to it.
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
named = [words.words[o] for o in options.tolist()]
for label, pixels in (("as it was", media), ("pictures swapped", swapped)):
    shares = belief(prompts(episode, pixels, "real", generator), options)
    print(f"{label:17}", {name: round(s, 1) for name, s in zip(named, shares)})

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
# - [minilmm/frozen.py](../minilmm/frozen.py): the whole paper in one short file, and
#   [training/frozen.py](../minilmm/training/frozen.py).
# - The paper, sections 3 and 4; [what it measured](../docs/papers.md) and [what we
#   measured](../results/README.md).
# - Then train your own in two minutes: `minilmm train frozen --preset quick --out
#   runs/mine`, and `minilmm eval runs/mine --task naming`.

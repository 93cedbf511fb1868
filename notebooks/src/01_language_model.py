# %% [markdown]
# # 01 · A language model that learns in context
#
# All three papers borrow a language model that was trained on text alone, and all three
# rest on one thing that it can do: *learn from its prompt*. Show it "striped red circle
# dax" once, and it calls the next striped red circle a dax. Nobody taught it that name;
# no weight changes. This chapter looks at where that comes from, before any picture is
# involved.
#
# **Goals** After this chapter you can
# - tell learning in context from learning by gradient, and measure the first with its
#   controls;
# - read a training log in which one ability comes at once and others take long;
# - find induction heads in attention maps, and say what smeared keys are for;
# - switch heads off and tell a head that matters from heads that stand in for each
#   other.
#
# **Time** 40 minutes to read and play, about 30 seconds to run.
#
# **Before** [00 A multimodal document](00_documents.ipynb); what attention is, roughly.

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
import contextlib
import json
import math

import torch
from torch.nn import functional as F

from minilmm.course.reader import at, score, size, source
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.prompts import prompts
from minilmm.evaluation.scoring import accuracy, rank
from minilmm.language.causal import Block, CausalLM
from minilmm.evaluation.statistics import bootstrap_interval
from minilmm.interface.model import Keep
from minilmm.plots import (
    attention_map,
    few_shot_curves,
    head_map,
    series_of,
    show,
    training_curves,
)
from minilmm.checkpoints.opening import load
from minilmm.checkpoints.saving import ZOO
from minilmm.training.lm import compounds
from minilmm.world import corpus
from minilmm.world.grammar import plain
from minilmm.evaluation.tasks import TASKS, Settings
from minilmm.world.vocabulary import tokenizer

words = tokenizer()
lm, card = load("lm-nano")
config = lm.config
print(size(lm), "parameters,", config.layers, "layers of", config.heads, "heads")
assert config.layers == 4 and config.heads == 6

# %% [markdown]
# ## What it has read
#
# Text, and nothing else: no picture, no feature of a picture. Many kinds of documents,
# mixed; here is the beginning of five. *Lists* say something random again. *Bindings*
# give names to descriptions, other names in every document. *Captions* restate a
# description, *questions* ask about one, *facts* say what no picture could show.

# %%
generator = torch.Generator().manual_seed(3)
for kind in ("lists", "bindings", "captions", "questions", "facts"):
    row = plain(getattr(corpus, kind)(1, 40, generator, "train")[0])
    print(f"{kind:10}", words.decode(row.tolist())[:105])
assert len(corpus.MIXTURE) > 20 and words.image_token_id not in row

# %% [markdown]
# A hyphen joins two words into one position, as "striped - red": the model learns to
# read a vector that means two things at once. It will meet such vectors again: a
# picture has several words' worth of meaning.
#
# The model is a small Llama. Two pieces of its source; you can read the rest in one
# sitting:

# %%
source(Block.forward, CausalLM.forward)

# %% [markdown]
# ## Naming
#
# The task that goes through the whole course. An episode draws some things and as many
# nonsense names, gives one or more examples of each, and asks for the name of one more
# thing. Here a description stands where later a picture will stand:

# %%
episodes = TASKS["naming"].sample(
    100, torch.Generator().manual_seed(0), Settings(ways=5, shots=1)
)
batch = prompts(episodes, None, "real", generator)
print(words.decode(batch.ids[0].tolist()))
print(
    "candidates:",
    ", ".join(words.decode(c) for c in episodes.candidates[0].clamp(min=0).tolist()),
)
assert episodes.candidates.shape[1] == 5

# %% [markdown]
# The five names were never bound to anything in training, so the answer can only come
# from the prompt. Chance is 1 in 5.

# %% [markdown]
# **Predict.** With *no* example in the prompt, how often does the model pick the right
# one of two names? And what if the descriptions are there, but shuffled between
# episodes? (a) both about one half (b) the first one half, the second more (c) the
# second less than one half

# %%
controls = ("real", "blank_images", "shuffled_images")
shots = (0, 1, 2, 4)
two = evaluate(lm, "naming", Request(shots, episodes=100, conditions=controls))
five = evaluate(lm, "naming", Request(shots, Settings(ways=5), 100, controls))
show(
    few_shot_curves(
        {
            "naming, 2 ways": series_of(two, "lm-nano"),
            "naming, 5 ways": series_of(five, "lm-nano"),
        }
    )
)
assert at(two, 1)["low"] > 0.9 and at(five, 1)["low"] > 0.8  # one example is enough
for found, chance in ((two, 0.5), (five, 0.2)):
    unknown = [at(found, 0), *(r for r in found["rows"] if r["condition"] != "real")]
    assert all(abs(r["value"] - chance) < 0.15 for r in unknown)
    assert at(found, 4)["value"] - at(found, 1)["value"] < 0.1  # more add little

# %% [markdown]
# (a): without the right example there is nothing to know, and a control that does *not*
# sit at chance would mean that the task leaks. With one example per name the model is
# nearly perfect, and more examples cannot add much: this task is *saturated* at one
# shot. A curve needs a harder question.
#
# ## Evidence adds up
#
# *Ambiguous naming*: every thing has a colour, a shape and a texture, and one of the
# three, nobody says which, decides the name. One example leaves three hypotheses; only
# more examples tell. Here the best that anyone could do can be computed, by Bayes' rule
# over the three hypotheses: the dotted line.

# %%
asked = Request((1, 2, 4, 8, 16), episodes=150, conditions=("real", "blank_images"))
ambiguous = evaluate(lm, "ambiguous-naming", asked)
show(few_shot_curves({"ambiguous naming": series_of(ambiguous, "lm-nano")}))
for shots in (1, 2, 4, 8, 16):
    print(shots, "shots:", score(at(ambiguous, shots)))
real = [at(ambiguous, shots) for shots in (1, 2, 4, 8, 16)]
assert real[-1]["low"] > real[0]["high"]  # sixteen examples are better than one
assert all(r["value"] < r["ideal"] for r in real[1:4])  # below the ideal at 2, 4, 8

# %% [markdown]
# From one example to sixteen it rises, without a single gradient. In between it stays
# below the ideal: it weighs evidence, but not perfectly.
#
# ## What comes at once, and what takes long
#
# How did that come about in training? The logs of the shipped model have tests of a
# hundred episodes every 400 steps. A second and a third stage go on where the one
# before ended, and read what that found hard more often.

# %%
log, ends = [], []
for name in ("stage1/stage1", "stage1", "."):
    lines = (ZOO / "lm-nano" / name / "log.jsonl").read_text().splitlines()
    before = log[-1]["step"] if log else 0
    log += [row | {"step": before + row["step"]} for row in map(json.loads, lines)]
    ends.append(log[-1])
abilities = {
    "naming, 5 ways": "naming_5way_1shot",
    "noisy naming, 16 shots": "noisy_16shots",
    "questions, 0 shots": "vqa_0shots_given",
}
show(
    training_curves(
        {
            "loss": {
                "training loss": [{"step": r["step"], "loss": r["loss"]} for r in log]
            },
            "accuracy": {
                name: [{"step": r["step"], "accuracy": r[key]} for r in log]
                for name, key in abilities.items()
            },
        }
    )
)
for name, key in abilities.items():
    print(f"{name:24}", "  ".join(f"{r[key]:.2f}" for r in log[::2]))  # every second
first, second, last = log[0], log[1], log[-1]
assert second["naming_5way_1shot"] > 0.95 > first["naming_5way_1shot"]
assert second["vqa_0shots_given"] < last["vqa_0shots_given"]
assert second["noisy_16shots"] < last["noisy_16shots"]
assert last["vqa_0shots_given"] > ends[0]["vqa_0shots_given"]
assert card["recipe"]["first"] == 300  # from here on all kinds of text

# %% [markdown]
# Naming is there at the second test, and perfect from then on. In larger models too this
# ability appears abruptly. Weighing noisy evidence and answering questions take the rest
# of the training: they are many small skills, and each has to be met often enough. (The
# loss is a weighted mean: only words that can be known count fully.)
#
# ## Induction heads
#
# What does the model *do* at the last word of the prompt, when a name is due? Attention
# maps can be kept: every layer appends its weights to a list. A head that helps must
# look at the name that followed the same description earlier:

# %%
maps = []
with torch.no_grad():
    lm(batch, Keep(maps))  # per layer (B, heads, L, L)
rows = torch.arange(len(batch))
last = batch.attention_mask.sum(1) - 1  # each prompt's last word: a name is due
right = episodes.candidates[rows, episodes.target, 0]
name_at = (batch.ids == right[:, None]).int().argmax(1)  # where the right name stands
looks = torch.stack([m[rows, :, last, name_at].mean(0) for m in maps])
show(head_map(looks, "attention on the right name"))
best = [
    (int(i) // config.heads, int(i) % config.heads)
    for i in looks.flatten().argsort(descending=True)
]
print("most attention on the right name, (layer, head):", best[0])
assert (looks > 0.5).sum() >= 3 and 30 < batch.ids.shape[1] < 40
assert (looks[0] > 0.5).sum() >= 3

# %% [markdown]
# Several heads put most of their weight on one token out of some thirty, and it is the
# right name. They are *induction heads*: they find what followed the same words before,
# and copy it. Most of them stand in the very first layer. The best one, over one short
# prompt:

# %%
small = TASKS["naming"].sample(
    1, torch.Generator().manual_seed(5), Settings(ways=3, shots=1)
)
one = prompts(small, None, "real", generator)
maps = []
with torch.no_grad():
    lm(one, Keep(maps))
tokens = [words.words[i] for i in one.ids[0].tolist()]
layer, head = best[0]
show(attention_map(maps[layer][0, head], tokens, tokens))
print(
    "from the last word:",
    tokens[int(maps[layer][0, head, -1].argmax())],
    "· the answer:",
    words.decode(small.answers[0].clamp(min=0).tolist()),
)
assert small.answers[0, 0] == one.ids[0, maps[layer][0, head, -1].argmax()]

# %% [markdown]
# Read the last row: the head stands on the query's last word and looks at the name. In
# a plain transformer that takes two layers: one head moves "what came before me" into
# each token, a later one looks for it. Ours takes a short cut from Olsson et al.
# (2022): **smeared** keys and queries. Each is a learned average over the last four
# positions, so that the key of a name holds the description in front of it.

# %%
weights = lm.layers[layer].self_attn.smear_logits.softmax(-1)  # queries, then keys
print(
    "shares of the last four positions in a key, newest first:",
    [round(w, 1) for w in weights[config.heads + head].tolist()],
)
assert weights.shape == (2 * config.heads, 4)
assert weights[config.heads + head, 1:].sum() > 0.6  # most of it is what came before

# %% [markdown]
# ## Switch a head off
#
# Looking is not doing. To know whether a head matters, set its output to zero and ask
# again. A hook in front of the output projection does it without touching a weight:


# %%
@contextlib.contextmanager
def silenced(heads):
    """The language model without these (layer, head) pairs."""

    def zero(layer):
        def hook(module, arguments):
            x = arguments[0].unflatten(-1, (config.heads, -1)).clone()
            x[:, :, [h for l, h in heads if l == layer]] = 0
            return (x.flatten(-2),)

        return hook

    hooks = [
        lm.layers[l].self_attn.o_proj.register_forward_pre_hook(zero(l))
        for l in {l for l, _ in heads}
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def naming():
    """Right or not, per episode of 5 ways and one shot: (100,)."""
    ranked = rank(lm, [(batch, episodes)], tokenizer(), Request())
    return torch.tensor(accuracy(ranked, [episodes]))


text = plain(corpus.captions(16, 96, torch.Generator().manual_seed(1), "train"))


@torch.no_grad()
def caption_loss():
    """Mean next-token loss on captions, in nats, of what training predicts as well."""
    embedded, labels = compounds(lm.embed(text), text)  # hyphens join, as in training
    real = labels[:, 1:] != 0
    states = lm.hidden(embedded[:, :-1])
    return F.cross_entropy(lm.lm_head(states[real]), labels[:, 1:][real]).item()


# %% [markdown]
# **Predict.** The best head puts most of its attention on the right name. What happens
# to naming (5 ways) when it is switched off? (a) it falls to chance (b) it falls a
# little (c) nothing at all

# %%
alone = torch.zeros(config.layers, config.heads)
for l in range(config.layers):
    for h in range(config.heads):
        with silenced([(l, h)]):
            alone[l, h] = naming().mean()
show(head_map(alone, "accuracy without this head"))
whole, lowest = naming().mean(), alone.min()
print(f"all heads {whole:.2f}, without the best {alone[best[0]]:.2f}", end=", ")
print(f"at worst {lowest:.2f}")
assert whole > 0.95 and lowest > 0.9

# %% [markdown]
# (c), or nearly. No single head is the ability: several do the same work and stand in
# for each other. So switch off the best two, four, six, eight of the heads that look at
# the right name together, and as many others, drawn at random, for comparison:

# %%
counts = [0, 2, 4, 6, 8]
others = [pair for pair in best[8:]]


def drop(chosen):
    with silenced(chosen):
        return bootstrap_interval(naming()), caption_loss()


induction = [drop(best[:k]) for k in counts]
random = []
for k in counts:
    draws = [
        drop(
            [
                others[i]
                for i in torch.randperm(
                    len(others), generator=torch.Generator().manual_seed(seed)
                )[:k].tolist()
            ]
        )
        for seed in range(3)
    ]
    random.append(
        (
            sum(d[0].mean for d in draws) / 3,
            min(d[0].mean for d in draws),
            max(d[0].mean for d in draws),
            sum(d[1] for d in draws) / 3,
        )
    )
show(
    few_shot_curves(
        [
            {
                "label": "heads that look at the right name",
                "kind": "model",
                "shots": counts,
                "values": [a.mean for a, _ in induction],
                "low": [a.low for a, _ in induction],
                "high": [a.high for a, _ in induction],
            },
            {
                "label": "other heads (mean and range of 3 draws)",
                "kind": "model",
                "shots": counts,
                "values": [r[0] for r in random],
                "low": [r[1] for r in random],
                "high": [r[2] for r in random],
            },
            {
                "label": "chance",
                "kind": "chance",
                "shots": counts,
                "values": [0.2] * len(counts),
            },
        ],
        xlabel="heads switched off",
        ylabel="naming, 5 ways, 1 shot",
    )
)
losses = {"all heads": induction[0][1], "without six such heads": induction[3][1]}
losses["without six others"] = random[3][3]
print("caption loss (nats):", "; ".join(f"{k} {v:.2f}" for k, v in losses.items()))
print(f"naming without six others: {random[3][1]:.2f} to {random[3][2]:.2f}")
assert induction[3][0].high < 0.6 < 0.75 < random[3][1]
assert losses["without six such heads"] > losses["all heads"] + 0.1
assert losses["without six others"] < losses["without six such heads"]

# %% [markdown]
# There it goes. Without six of these heads naming falls far, towards chance; without
# six others it stays. For naming, looking *and* switching off agree: these heads carry
# the ability. They do more than that, though: captions get worse as well, since a
# caption repeats a description, and copying is what these heads do. Six others cost
# captions less.
#
# ## Break it yourself
#
# The prompt is the training set. Contradict it: the marked line gives the *same*
# description two different names, one after the other. Which one does the model
# believe, the first or the second? Try three against one, or put a full sentence in
# between.


# %%
def believes(prompt, options):
    """The options' shares of belief, by the probability of the next word."""
    ids = torch.tensor([words.encode(f"<bos> {prompt}")])
    with torch.no_grad():
        p = lm(ids)[0, -1].softmax(-1)
    shares = torch.stack([p[words.encode(o)[0]] for o in options])
    return {o: round(float(s), 1) for o, s in zip(options, shares / shares.sum())}


thing, other = "striped red circle", "plain blue star"
plain = f"{thing} dax . <EOC> {other} blicket . <EOC> {thing}"
contradicted = f"{thing} dax . <EOC> {thing} blicket . <EOC> {thing}"  # <- change me
for prompt in (plain, contradicted):
    print(believes(prompt, ["dax", "blicket"]))
assert believes(plain, ["dax", "blicket"])["dax"] > 0.8

# %% [markdown]
# ## Exercises
#
# - [03 Attention with a causal mask](../exercises/student/ex03_attention.py): the
#   operation behind every map above.
# - [04 Rotary positions](../exercises/student/ex04_rope.py): how a head knows how far
#   away a word is.
# - [05 Decoding with a cache](../exercises/student/ex05_kv_cache.py): reading every
#   token once.
# - [06 Scoring candidates behind one prompt](../exercises/student/ex06_scoring.py): how
#   "5 ways" is scored.
#
# `minilmm exercises start 03`, then `minilmm grade 03`; stuck: `minilmm exercises hint
# 03`.
#
# ## What to read next
#
# - [minilmm/language/causal.py](../minilmm/language/causal.py) and
#   [minilmm/nn/attention.py](../minilmm/nn/attention.py).
# - Olsson et al. 2022, *In-context Learning and Induction Heads*; Chan et al. 2022 on
#   which data make it appear; Reddy 2023 on why it appears abruptly.
# - Next: [02 Eyes](02_eyes.ipynb). A vector has to come from somewhere.

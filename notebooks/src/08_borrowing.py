# %% [markdown]
# # 08 · Borrowing a language model: BLIP-2's second stage
#
# Stage 1 taught queries what of a picture text speaks of. Stage 2 hands what they found
# to a language model that has never seen a picture and will not change: as *soft visual
# prompts*, in front of its words. It may be a decoder (OPT in the paper, `lm-nano`
# here) or an encoder-decoder (FlanT5 there, `t5-nano` here).
#
# **Goals** After this chapter you can
# - trace a picture to the vectors that a language model reads in its place, for both
#   kinds of model;
# - say which half of the Q-Former trains in stage 2, and prove it;
# - measure what skipping stage 1 costs, and whether BLIP-2 learns from examples as
#   Flamingo does;
# - say what fine-tuning for questions changes in the Q-Former's input.
#
# **Time** 40 minutes to read and play, about 30 seconds to run.
#
# **Before** [07 The Q-Former](07_qformer.ipynb) and [03 Frozen](03_frozen.ipynb).

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
from torch.nn import functional as F

from minilmm.blip2 import Blip2
from minilmm.nn.qformer import in_text_half
from minilmm.course import course_root
from minilmm.course.reader import at, score, size, source
from minilmm.interface.document import Batch, left_padded
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.language.encdec import halves
from minilmm.plots import freeze_ledger, picture_grid, show
from minilmm.data.world import captions, prefixed
from minilmm.checkpoints.opening import load
from minilmm.training.ledger import fingerprints, ledger
from minilmm.training.job import loss_of
from minilmm.world.render import render
from minilmm.world.scenes import sample_scenes
from minilmm.world.vocabulary import COLOURS, SHAPES, ids, tokenizer

words = tokenizer()
decoder, _ = load("blip2-nano")
encdec, _ = load("blip2-t5-nano")
for name, model in (("decoder", decoder), ("encoder-decoder", encdec)):
    print(f"{name}: language {size(model.lm)}, Q-Former {size(model.qformer)}")
    assert model.prefix_tokens == 8

# %% [markdown]
# ## A soft prompt
#
# The queries' outputs, one linear map, and the language model has eight new "words".
# They stand where the picture's tag stands, exactly as Frozen's two do; what differs is
# how they were learned.

# %%
source(Blip2.project)

# %%
scenes = sample_scenes(6, torch.Generator().manual_seed(3), split="held-out")
pictures = render(scenes, torch.Generator().manual_seed(3))
with torch.no_grad():
    prompt = decoder.prefix(pictures)  # (M, Q, D)
    table = F.normalize(decoder.lm.embed_tokens.weight, dim=-1)
    nearest = (F.normalize(prompt, dim=-1) @ table.T).argmax(-1)
word_size = decoder.lm.embed_tokens.weight.square().mean().sqrt()
louder = prompt.square().mean().sqrt() / word_size
print(
    "soft prompts",
    tuple(prompt.shape),
    f"each about {louder:.0f} times as large as a word",
)
print("nearest words of the first picture's:", words.decode(nearest[0].tolist()))
assert prompt.shape[1:] == (8, decoder.lm.config.width) and 8 < louder < 30

# %% [markdown]
# Among the nearest words are some that describe it, but they are no caption. A soft
# prompt need not be made of words; it need only do to the language model what words
# would.
#
# ## Which half trains?

# %% [markdown]
# **Predict.** Of the Q-Former, what gets a gradient in stage 2? (a) all of it (b) all
# but the text's feed-forwards and embeddings (c) the cross-attention alone

# %%
learner = Blip2(decoder.config)
learner.load_state_dict(decoder.state_dict())
learner.lm.requires_grad_(False)
learner.encoder.requires_grad_(False)
for name, p in learner.qformer.named_parameters():
    p.requires_grad_(not in_text_half(name))
marks = fingerprints(learner)
optimizer = torch.optim.SGD(
    [p for p in learner.parameters() if p.requires_grad], lr=0.1
)
loss_of(learner, captions(16, torch.Generator().manual_seed(0), 48)).backward()
optimizer.step()
lines = [
    l
    for l in ledger(learner, marks, depth=2)
    if l.part
    in (
        "qformer",
        "qformer.words",
        "qformer.positions",
        "to_lm",
        "qformer.norm",
        "encoder.stem",
        "lm.embed_tokens",
        "lm.norm",
    )
]
blocks = [
    l for l in ledger(learner, marks, depth=4) if l.part.startswith("qformer.blocks.0.")
]
drawn = [*lines, *blocks]
show(
    freeze_ledger(
        [l.part for l in drawn],
        [l.parameters for l in drawn],
        [l.gradient is not None for l in drawn],
        [l.changed for l in drawn],
    )
)
trained = sum(p.numel() for p in learner.qformer.parameters() if p.requires_grad)
print(f"of {size(learner.qformer)} of the Q-Former {trained / 1e3:.0f}k train")
idle = {l.part for l in drawn if l.gradient is None}
assert idle >= {"qformer.words", "qformer.positions", "qformer.blocks.0.ffw_text"}
assert {l.part for l in drawn if l.changed} == {l.part for l in drawn} - idle
assert all(p.startswith(("lm", "encoder", "qformer")) for p in idle)

# %% [markdown]
# (b). No text enters the Q-Former in stage 2, so its text half has nothing to do and
# gets no gradient. At the paper's size that is 188M in stage 1 and about 105M in stage
# 2 (`minilmm params blip2-qformer`).
#
# ## Decoder and encoder-decoder
#
# A decoder reads soft prompt and text in one go, and every word of the caption counts
# in the loss. An encoder-decoder reads the soft prompt and the first words with its
# encoder, in both directions; its decoder says the rest: a *prefix language model*
# (section 3.3). In training the cut falls anywhere.

# %%
batch = captions(3, torch.Generator().manual_seed(8), 48)
cut = prefixed(batch, torch.Generator().manual_seed(1))
prompt_of, after, _ = halves(cut)
for row in range(3):
    pairs = zip(batch.ids[row].tolist(), prompt_of[row].tolist())
    told = words.decode([i for i, there in pairs if there])
    rest = words.decode([i for i in after[row].tolist() if i])
    print(f"encoder reads: {told:45} decoder says: {rest}")
    assert told.startswith("<bos> <image>") and rest.endswith(". <EOC>")

# %% [markdown]
# ## Questions without any example
#
# Neither has seen a question beside a picture. The language model knows questions from
# text; stage 2 taught it to read pictures. The paper's prompt for OPT is `Question: {}
# Answer:`; ours, in the mini-world's words, with a first sentence that says in which
# words to answer:


# %%
def ask(model, images, lines, room=6):
    """Greedy answers to a question about each picture (B, 3, H, W); all as long."""
    first = "answer with two , yes and large . " if lines[0] else ""
    rows = torch.stack([ids(*f"<bos> {first}<image> {line}".split()) for line in lines])
    document = left_padded(Batch.of(rows, images[:, None, None]))
    said = model.generate(document, room, words.convert_tokens_to_ids("<EOC>"))
    told = (words.decode(line).split(" <EOC>")[0] for line in said.tolist())
    return [line.removesuffix(" .") for line in told]


colours = [COLOURS[i] for i in scenes.colour[:, 0]]
QUESTIONS = {  # question, right answers
    "what color is the shape ?": colours,
    "what is the {} shape ?": [SHAPES[i] for i in scenes.shape[:, 0]],
    "how many shapes are there ?": ["one"] * len(pictures),
}
captions_said = ask(decoder, pictures, [""] * len(pictures), room=12)
show(picture_grid(pictures, captions_said, columns=6))
right = {}
for line, truth in QUESTIONS.items():
    print(line.format("[its color]"))
    asked = [f"question : {line.format(colour)} answer :" for colour in colours]
    for name, model in (("decoder", decoder), ("encoder-decoder", encdec)):
        told = ask(model, pictures, asked)
        right[name, line] = sum(a == b for a, b in zip(told, truth))
        print(f"  {name}: {', '.join(told)} ({right[name, line]} right)")
def of(name):
    """Right answers of a model to the three questions, of 6 each."""
    return [right[name, line] for line in QUESTIONS]


assert sum(of("decoder")[:2]) >= 8 > sum(of("encoder-decoder")[:2])
assert of("decoder")[2] <= 1

# %%
def recorded(name):
    """A result of `make results`."""
    path = course_root("results") / "results" / f"{name}.json"
    return json.loads(path.read_text())


for name in ("blip2-nano", "blip2-t5-nano"):
    real = at(recorded(f"{name}-vqa-given"), 0)
    blank = at(recorded(f"{name}-vqa-given"), 0, "blank_images")
    print(f"{name:14} {score(real)}, blank {score(blank)}, prior {real['prior']:.2f}")
    assert name == "blip2-t5-nano" or real["low"] > max(blank["high"], real["prior"])
told = {
    n: at(recorded(f"{n}-vqa-given"), 0) for n in ("lm-nano", "t5-nano", "blip2-nano")
}
for name in ("lm-nano", "t5-nano"):
    print(f"{name:14} from descriptions in place of pictures: {score(told[name])}")
assert told["lm-nano"]["low"] > told["blip2-nano"]["high"]
assert told["lm-nano"]["low"] > told["t5-nano"]["high"]

# %% [markdown]
# Colours and shapes the decoder reads; of their number it says "two" where there is one.
# Six pictures are an anecdote. Over 250 the decoder beats blank pictures and the prior,
# and stays far below what its language model makes of *perfect descriptions*: the bridge
# is the limit here. The encoder-decoder was trained for ten minutes only, and knows less
# from descriptions already.
#
# ## Is stage 1 needed?
#
# The paper's finding: without representation learning, VQA falls from about 54 to 15, and
# from 63 to 44, with the two kinds of language model. `minilmm claims run stage-1` asks
# the same here: stage 2 behind stage 1, and behind a Q-Former that has learned nothing.
# What stage 1 is needed for in any case is retrieval: no language model can say which of
# 500 texts belongs.
#
# ## Does it learn from examples?
#
# BLIP-2's authors report no gain from examples in the prompt, and blame the data: one
# picture per text. Flamingo's pages are made for it. What four examples add to the
# accuracy of answers:

# %%
for name in ("flamingo-nano", "blip2-nano"):
    for task in ("vqa", "induction-vqa"):
        result = recorded(f"{name}-{task}")
        zero, four = at(result, 0), at(result, 4)
        beside = at(result, 4, "text_only")
        values = [f"{row['value']:.2f}" for row in (zero, four, beside)]
        print(f"{name:13} {task:13} 0: {values[0]}, 4: {values[1]}", end=", ")
        print(f"without the examples' pictures: {values[2]}")
        assert four["low"] > zero["high"] or task == "vqa"
# %% [markdown]
# The models are one each, and so no evidence about training (`minilmm claims run shots`
# would be).
#
# Where only examples tell what is meant, BLIP-2 does learn from them. But look at the
# last column: examples do much of that when they have lost their pictures. What is
# learned is which *kind* of answer is wanted, and words say that. Where pictures must be
# *matched with each other*, as in naming, [chapter 09](09_bridges.ipynb) compares the
# three.
#
# ## Fine-tuning: the Q-Former hears the question
#
# For VQA the paper fine-tunes on questions and answers, and lets the Q-Former read the
# question beside the queries, so that what is drawn from the picture depends on what is
# asked.

# %%
source(Blip2.question)

# %% [markdown]
# `minilmm train blip2 --stage 2 --from blip2-nano --data vqa` trains it so.
#
# ## Break it yourself
#
# What does the language model say when some queries are silenced? Change the marked
# list.

# %%
silent = [0, 1, 2, 3]  # <- change me: [], [4, 5, 6, 7], [0]
mute = decoder.to_lm.register_forward_hook(
    lambda module, args, out: out.index_fill(1, torch.tensor(silent), 0.0)
)
asked = Request((0,), episodes=100, conditions=("real",))
row = evaluate(decoder, "vqa", asked)["rows"][0]
mute.remove()
print(f"without queries {silent}: {row['value']:.1f}")

# %% [markdown]
# ## Exercises
#
# - [28 The soft prompt](../exercises/student/ex28_soft_prompt.py)
# - [29 The prefix language model](../exercises/student/ex29_prefix_lm.py)
# - [30 Re-ranking: ITC finds, ITM orders](../exercises/student/ex30_reranking.py)
#
# `minilmm exercises start 28 29 30`, then `minilmm grade`.
#
# ## What to read next
#
# - [minilmm/blip2.py](../minilmm/blip2.py) and
#   [minilmm/language/encdec.py](../minilmm/language/encdec.py).
# - The paper, sections 3.3 and 4; [what it measured](../docs/papers.md).
# - `minilmm ask blip2-nano --image a.png --prompt "question : what color is the shape ?
#   answer :"`.

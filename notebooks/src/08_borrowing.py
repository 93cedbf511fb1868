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

from minilmm.blip2 import Blip2, in_text_half
from minilmm.claims import CLAIMS, verdict
from minilmm.course import course_root
from minilmm.course.reader import source
from minilmm.document import Batch, left_padded
from minilmm.evaluation.fewshot import evaluate
from minilmm.language.encdec import halves
from minilmm.plots import arms_chart, freeze_ledger, picture_grid, show
from minilmm.training.blip2 import prefixed
from minilmm.training.checkpoint import load
from minilmm.training.frozen import captions
from minilmm.training.ledger import fingerprints, ledger
from minilmm.training.loop import loss_of
from minilmm.world.render import render
from minilmm.world.scenes import sample_scenes
from minilmm.world.vocabulary import ids, tokenizer

words = tokenizer()
decoder, _ = load("blip2-nano")
encdec, _ = load("blip2-t5-nano")
for name, model in (("decoder", decoder), ("encoder-decoder", encdec)):
    print(
        f"{name}: language {sum(p.numel() for p in model.lm.parameters()) / 1e3:.0f}k, Q-Former {sum(p.numel() for p in model.qformer.parameters()) / 1e3:.0f}k"
    )

# %% [markdown]
# ## A soft prompt
#
# The queries' outputs, one linear map, and the language model has eight new "words".
# They stand where the picture's tag stands, exactly as Frozen's two do; what differs is
# how they were learned.

# %%
source(Blip2.prefix)

# %%
scenes = sample_scenes(6, torch.Generator().manual_seed(3), split="held-out")
pictures = render(scenes, torch.Generator().manual_seed(3))
with torch.no_grad():
    prompt = decoder.prefix(pictures)  # (M, Q, D)
    table = F.normalize(decoder.lm.embed_tokens.weight, dim=-1)
    nearest = (F.normalize(prompt, dim=-1) @ table.T).argmax(-1)
size = decoder.lm.embed_tokens.weight.square().mean().sqrt()
print(
    "soft prompts",
    tuple(prompt.shape),
    f"each about {prompt.square().mean().sqrt() / size:.0f} times as large as a word",
)
print("nearest words of the first picture's:", words.decode(nearest[0].tolist()))

# %% [markdown]
# The nearest words are not a caption. A soft prompt need not be made of words; it need
# only do to the language model what words would.
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
print(
    f"of {sum(p.numel() for p in learner.qformer.parameters()) / 1e3:.0f}k parameters of the Q-Former {trained / 1e3:.0f}k train"
)

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
    told = words.decode(
        [
            i
            for i, there in zip(batch.ids[row].tolist(), prompt_of[row].tolist())
            if there
        ]
    )
    print(
        f"encoder reads: {told:45} decoder says: {words.decode([i for i in after[row].tolist() if i])}"
    )

# %% [markdown]
# ## Questions without any example
#
# Neither has seen a question beside a picture. The language model knows questions from
# text; stage 2 taught it to read pictures. The paper's prompt for OPT is `Question: {}
# Answer:`; ours, in the mini-world's words:


# %%
def ask(model, images, line, room=6):
    """Greedy answers to one question about pictures (B, 3, H, W)."""
    row = torch.cat([ids("<bos> <image>"), ids(line)]) if line else ids("<bos> <image>")
    document = Batch.of(row.expand(len(images), -1).clone(), images[:, None, None])
    said = model.generate(
        left_padded(document), room, words.convert_tokens_to_ids("<EOC>")
    )
    return [
        words.decode(line).split(" <EOC>")[0].removesuffix(" .")
        for line in said.tolist()
    ]


answers = {
    line: [ask(m, pictures, line) for m in (decoder, encdec)]
    for line in (
        "question : what color is the shape ? answer :",
        "question : what shape is it ? answer :",
        "question : how many shapes are there ? answer :",
    )
}
captions_said = ask(decoder, pictures, "", room=12)
show(picture_grid(pictures, captions_said, columns=6))
for line, (one, two) in answers.items():
    print(line.removeprefix("question : ").removesuffix(" answer :"))
    print("  decoder:", ", ".join(one))
    print("  encoder-decoder:", ", ".join(two))


# %%
def recorded(name):
    """Rows of a result, by condition, with no example."""
    rows = json.loads(
        (course_root("results") / "results" / f"{name}.json").read_text()
    )["rows"]
    return {row["condition"]: row for row in rows if row["shots"] == 0}


for name in ("blip2-nano", "blip2-t5-nano"):
    rows = recorded(f"{name}-vqa")
    told = ", ".join(
        f"{condition.replace('_images', '')} {row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
        for condition, row in rows.items()
        if condition != "text_only"
    )
    print(f"{name:14} {told}, prior {rows['real']['prior']:.2f}")
for name in ("lm-nano", "t5-nano"):
    print(
        f"{name:14} from descriptions in place of pictures: {recorded(f'{name}-vqa')['real']['value']:.2f}"
    )

# %% [markdown]
# Both beat blank pictures and the prior. The decoder answers about as well as its
# language model does when it reads *perfect descriptions* of the scenes, so what is
# missing is not the bridge's. The encoder-decoder, which reads descriptions as well,
# makes less of soft prompts.
#
# ## Is stage 1 needed?
#
# The paper's finding: without representation learning, VQA falls, with both kinds of
# language model. Written down before it ran, on seeds that nothing was chosen on
# (`minilmm claims run stage-1`):


# %%
def claimed(name):
    """A claim's record, of fresh seeds."""
    record = json.loads(
        (course_root("results") / "results" / "claims" / f"{name}.json").read_text()
    )
    return record | {"rows": [r for r in record["rows"] if r["seed"] >= 100]}


def judge(name, level):
    """Draw a claim's arms, and say what its seeds decide."""
    claim, record = CLAIMS[name], claimed(name)
    values = {
        arm.name: list(claim.values(record["rows"], arm).values()) for arm in claim.arms
    }
    show(
        arms_chart(
            {record["measure"]: values}, {record["measure"]: level} if level else {}
        )
    )
    gaps = claim.differences(record["rows"], claim.arms[1])
    found, gap = verdict(gaps)
    print(
        f"{claim.arms[0].name} minus {claim.arms[1].name}: {gap.mean:+.3f} ({gap.low:+.3f} to {gap.high:+.3f}), {len(gaps)} seeds: {found}"
    )


judge("stage-1", ("prior", 0.38))

# %% [markdown]
# **Nothing to see** with so few seeds: in the mini-world stage 2 alone teaches the
# queries nearly as much. The paper's gap opens where captions are long and pictures
# rich, and a frozen language model gives a poor signal about what to look at. Here a
# caption has five words, and each is about the picture. What stage 1 *is* needed for is
# retrieval: no language model can say which of 500 texts belongs.
#
# ## Does it learn from examples?
#
# BLIP-2's authors report no gain from examples in the prompt, and blame the data: one
# picture per text. Flamingo's pages are made for it. What four examples add to the
# accuracy of answers:

# %%
judge("shots", None)

# %% [markdown]
# Two seeds of short recipes decide nothing. Neither gains much here: a question of the
# mini-world says what it asks, so examples have little to add. Where only examples tell
# what is meant, BLIP-2 does learn from them: asked "what is it ?" it goes from one
# answer in five to four in five with one or a few examples. Where pictures must be
# *matched with each other*, as in naming, it learns nothing from any number of them,
# and Flamingo almost everything ([chapter 09](09_bridges.ipynb)). So the authors'
# explanation fits: it is the data that teach a bridge to compare pictures.
#
# ## Fine-tuning: the Q-Former hears the question
#
# For VQA the paper fine-tunes on questions and answers, and lets the Q-Former read the
# question beside the queries, so that what is drawn from the picture depends on what is
# asked.

# %%
source(Blip2.question)

# %%
for name, run in (
    ("zero-shot", "blip2-nano-vqa"),
    ("fine-tuned", "blip2-nano-vqa-finetuned"),
):
    row = recorded(run)["real"]
    print(
        f"{name:10} {row['value']:.3f} ({row['low']:.2f} to {row['high']:.2f})",
        row["by_kind"],
    )

# %% [markdown]
# A small gain at best: the intervals overlap. The limit is the reader again, and eight
# queries have room for all that is asked about a scene of the mini-world, whether they
# know the question or not.
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
row = evaluate(decoder, "vqa", shots=(0,), episodes=100, conditions=("real",))["rows"][
    0
]
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

# %% [markdown]
# # 07 · The Q-Former: one transformer, three masks
#
# *BLIP-2* (Li et al., ICML 2023) keeps both halves frozen, the eyes and the language
# model, and puts a light transformer between them. The *Q-Former* is where everybody
# gets confused: it reads pictures and text, it has three objectives and three masks,
# half of it is thrown away later. This chapter takes it apart, mask by mask.
#
# **Goals** After this chapter you can
# - say who sees whom under ITC, ITM and ITG, and why each objective needs its own mask;
# - read three losses against what a model that knows nothing would score;
# - explain hard negatives, and why ITM ranks again what ITC has found;
# - look at what each query looks at, and at which parameters stage 1 trains.
#
# **Time** 45 minutes to read and play, about 30 seconds to run.
#
# **Before** [02 Eyes](02_eyes.ipynb), for contrast and retrieval; [04 Many features,
# few tokens](04_perceiver.ipynb), for latents.

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
from safetensors.torch import load_file
from torch.nn import functional as F

from minilmm.ablations import altered
from minilmm.blip2 import (
    Block,
    QFormer,
    Stage1,
    bidirectional_mask,
    causal_mask,
    hard_negatives,
    in_text_half,
    unimodal_mask,
)
from minilmm.course import course_root
from minilmm.course.reader import source
from minilmm.evaluation.looks import query_looks
from minilmm.plots import (
    attention_map,
    freeze_ledger,
    mask_panels,
    patch_overlay,
    picture_grid,
    show,
)
from minilmm.training.blip2 import (
    LOOKS,
    STAGE_1,
    baselines,
    captioned,
    preset,
    retrieval,
)
from minilmm.training.checkpoint import ZOO, load
from minilmm.training.ledger import fingerprints, ledger
from minilmm.world.render import render
from minilmm.world.scenes import sample_scenes
from minilmm.world.vocabulary import tokenizer

words = tokenizer()
stage, card = load(ZOO / "blip2-nano" / STAGE_1)
c = stage.config.qformer
text_half = sum(
    p.numel() for name, p in stage.qformer.named_parameters() if in_text_half(name)
)
print(
    f"{c.queries} queries of width {c.width}, {c.layers} blocks, cross-attention in every {c.every}nd"
)
print(
    f"Q-Former {sum(p.numel() for p in stage.qformer.parameters()) / 1e3:.0f}k parameters, {text_half / 1e3:.0f}k of them the text's alone"
)
print(f"eyes {sum(p.numel() for p in stage.encoder.parameters()) / 1e3:.0f}k, frozen")

# %% [markdown]
# ## One transformer, two halves
#
# A sequence of learned queries and of words goes through *shared* self-attention. Then
# only the queries look at the picture, in every other block, and each half has a
# feed-forward of its own. Norms come after each sum, as in BERT, from whose weights the
# paper starts (section 3.1, figure 2):

# %%
source(Block.forward)

# %%
generator = torch.Generator().manual_seed(3)
images, text, same = captioned(6, generator, 48)
real, x_f = text != 0, stage.see(images)
with torch.no_grad():
    q, t = stage.qformer(x_f, text, bidirectional_mask(c.queries, real))
print(
    "features",
    tuple(x_f.shape),
    "and text",
    tuple(text.shape),
    "->",
    tuple(q.shape),
    "and",
    tuple(t.shape),
)
said = [words.decode([i for i in row if i > 4]) for row in text.tolist()]
show(picture_grid(images, said, columns=6))

# %% [markdown]
# ## Three masks
#
# Nothing else decides which objective a pass serves. A filled cell: the row's token may
# look at the column's.

# %%
names = [f"query {n + 1}" for n in range(3)] + "[CLS/DEC] a red circle .".split()
there = torch.ones(1, 5, dtype=torch.bool)
masks = {"ITC": unimodal_mask, "ITM": bidirectional_mask, "ITG": causal_mask}
show(
    mask_panels(
        {name: make(3, there)[0] for name, make in masks.items()}, names, split=3
    )
)

# %% [markdown]
# **Predict.** Exchange one word of a caption. Under which masks do the *queries'*
# outputs change? (a) all (b) ITM alone (c) ITM and ITG

# %%
other = text.clone()
other[:, 2] = words.encode("yellow")[0]
with torch.no_grad():
    for name, make in masks.items():
        mask = make(c.queries, real)
        (q1, t1), (q2, t2) = (stage.qformer(x_f, ids, mask) for ids in (text, other))
        first = (t1 - t2)[
            :, 1
        ].abs().max() > 1e-4  # the word in front of the one exchanged
        print(
            f"{name}: queries change: {bool((q1 - q2).abs().max() > 1e-4)}; the word before it changes: {bool(first)}"
        )

# %% [markdown]
# (b). In ITC neither half may know of the other, or comparing them would be cheating.
# In ITM everybody sees everybody: the question is whether they fit. In ITG words see
# the queries and what was said before; queries see no word, *or the answer would leak
# through them*: a query that sees the next word hands it to the word before. Which mask
# is causal is the question that readers of the code ask most: only ITG's, and only
# among words.
#
# ## Three losses, and what they are worth
#
# All three come out of one pass over the batch. Beside each stands what a model that
# knows nothing would score: the logarithm of the batch for ITC, of the vocabulary for
# ITG; for ITM the entropy of "one right pair in three", since each right pair brings
# two wrong ones.

# %%
source(Stage1.forward)

# %%
images, text, same = captioned(64, torch.Generator().manual_seed(7), 48)
torch.manual_seed(0)
fresh = altered(Stage1(stage.config), "")
fresh.encoder.load_state_dict(stage.encoder.state_dict())
known = baselines(preset("nano", 1))
with torch.no_grad():
    found = {}
    for name, model in (("untrained", fresh), ("trained", stage)):
        found[name] = model(
            model.see(images), text, text != 0, same, torch.Generator().manual_seed(0)
        )
for loss in ("itc", "itm", "itg"):
    print(
        f"{loss}: knows nothing {known[loss]:.2f}, trained {found['trained'][loss]:.1f}"
    )
    assert found["trained"][loss] < known[loss] < found["untrained"][loss] + 0.5

# %% [markdown]
# An ITM loss that stays at 0.637 has learned the class prior and nothing else; it often
# does for a while. A model's card says how far it came. (ITC cannot reach 0 here: a
# tenth of its target is spread over all texts, which costs 0.7 at best with 64.)
#
# ## ITC: the best query speaks
#
# A picture has as many vectors as queries, a text has one. Their similarity is that of
# the *best* query (section 3.2). Which query wins, and does it depend on the text?

# %%
with torch.no_grad():
    image = stage.image_embeddings(stage.qformer(stage.see(images[:6]))[0])  # (6, Q, E)
    written = stage.text_embeddings(text[:6], text[:6] != 0)
    every = torch.einsum("iqe,te->itq", image, written)
short = [f"text {i + 1}" for i in range(6)]
show(
    attention_map(
        stage.similarity(image, written),
        [f"picture {i + 1}" for i in range(6)],
        short,
        xlabel="texts",
        ylabel="pictures",
    )
)
print(
    "own text most similar:",
    (stage.similarity(image, written).argmax(1) == torch.arange(6)).sum().item(),
    "of 6",
)
print("queries that win somewhere:", len(every.argmax(-1).unique()), "of", c.queries)
print(
    f"best query {every.amax(-1).diagonal().mean():.1f}, mean of the queries {every.mean(-1).diagonal().mean():.1f}"
)

# %% [markdown]
# Taking the mean (`--bug itc-mean`) forces every query to say everything.
#
# ## ITM: hard negatives
#
# A random wrong text is too easy: any colour tells. So wrong partners are drawn by
# ITC's own similarity, and never one that would do as well. Here is what one picture
# would get, easily and hard:

# %%
with torch.no_grad():
    image = stage.image_embeddings(stage.qformer(stage.see(images))[0])
    similar = (
        stage.similarity(image, stage.text_embeddings(text, text != 0))
        / stage.temperature
    )
draws = torch.stack(
    [hard_negatives(similar, same, torch.Generator().manual_seed(i)) for i in range(50)]
)
easy = torch.stack(
    [
        hard_negatives(similar * 0, same, torch.Generator().manual_seed(i))
        for i in range(50)
    ]
)
assert not same[torch.arange(len(text)), draws[0]].any()


def shares(one, two):
    """How many words two texts have in common, of those of the first."""
    a, b = ({i for i in text[n].tolist() if i > 4} for n in (one, two))
    return len(a & b) / max(1, len(a))


for name, drawn in (("hard", draws), ("easy", easy)):
    common = [shares(i, int(j)) for row in drawn[:20] for i, j in enumerate(row)]
    print(
        f"{name}: wrong partners share {sum(common) / len(common):.1f} of a text's words"
    )

# %% [markdown]
# ## What retrieval gains
#
# TR@1: is a picture's own text first among 500; IR@1 the other way round. Half of the
# scenes have a twin that differs in one attribute of one object, and none of the pairs
# was ever trained on. ITC compares vectors made apart. ITM looks at picture and text
# together, which is too slow for all pairs, so it orders ITC's first 16 again (the
# paper: 128). `make results` measured it:

# %%
record = json.loads(
    (course_root("results") / "results" / "blip2-nano-retrieval.json").read_text()
)
dual = json.loads(
    (course_root("results") / "results" / "vision-nano-retrieval.json").read_text()
)
for name, rows in (("dual encoder", dual["rows"]), ("Q-Former", record["rows"])):
    for row in rows:
        if "@1" in row["metric"] and "@10" not in row["metric"]:
            print(
                f"{name:12} {row['metric']:10} {row['value']:.3f} ({row['low']:.2f} to {row['high']:.2f})"
            )

# %% [markdown]
# ITM ranks better than ITC: for pictures that look for a text by a little, for texts
# that look for a picture by a lot. The dual encoder is not beaten: its eyes were
# trained for this very task, on texts that leave attributes out, while the Q-Former has
# to do with the eyes as they are. In the paper it is the other way round, with eyes
# that were trained on other pictures.
#
# ## ITG: saying what the queries know
#
# The third objective makes the queries carry all that a caption needs. Stage 1 can
# already talk: `[DEC]` in front, then word by word. What the queries computed alone
# serves every step (K/V reuse: they see no text, so nothing changes for them).

# %%
pictures = render(
    sample_scenes(4, torch.Generator().manual_seed(5), split="held-out"),
    torch.Generator().manual_seed(5),
)
kept: list = []
with torch.no_grad():
    seen = stage.see(pictures)
    stage.qformer(seen, keep=kept)
    line = torch.full((4, 1), c.dec)
    for _ in range(12):
        after = stage.words_after(
            line, torch.ones_like(line, dtype=torch.bool), seen, kept
        )
        line = torch.cat([line, after[:, -1:, : len(words)].argmax(-1)], 1)
    whole = stage.words_after(line, torch.ones_like(line, dtype=torch.bool), seen)
    reused = stage.words_after(
        line, torch.ones_like(line, dtype=torch.bool), seen, kept
    )
print("computed again, or reused: equal:", torch.allclose(whole, reused, atol=1e-4))
told = [
    words.decode(row[1:]).split(" <EOC>")[0].split(" and ")[0] for row in line.tolist()
]
show(picture_grid(pictures, told, columns=4))

# %% [markdown]
# These are pairs of colour and shape that no training picture showed. (Half of the
# texts of stage 1 end without a mark, so it does not know when to stop, and goes on
# about a second object: the captions are cut at "and".)
#
# ## What queries look at

# %%
two = render(
    sample_scenes(1, torch.Generator().manual_seed(11), objects=2, split="held-out"),
    torch.Generator().manual_seed(11),
)
looks = query_looks(stage, two)[0]  # (Q, S)
show(patch_overlay(two.expand(c.queries, -1, -1, -1), looks.unflatten(-1, (6, 6)), [f"query {n + 1}" for n in range(c.queries)],
                   label="attention to a patch", columns=c.queries))  # fmt: skip

# %% [markdown]
# And over training, in one picture: a row per look, from early to late.

# %%
stored = load_file(ZOO / "blip2-nano" / STAGE_1 / LOOKS)
over = stored["looks"][:: max(1, len(stored["looks"]) // 3)][:4]  # (P, Q, S)
titles = [
    f"look {p + 1}, query {n + 1}" if n == 0 else f"query {n + 1}"
    for p in range(len(over))
    for n in range(c.queries)
]
show(patch_overlay(stored["image"].expand(len(titles), -1, -1, -1), over.flatten(0, 1).unflatten(-1, (6, 6)), titles,
                   label="attention to a patch", columns=c.queries))  # fmt: skip


def likeness(maps):
    """The mean cosine between the maps (Q, S) of different queries."""
    alike = F.cosine_similarity(maps[:, None], maps[None], dim=-1)
    return float((alike.sum() - len(maps)) / (len(maps) * (len(maps) - 1)))


print(
    "how alike two queries' maps are:",
    ", ".join(f"{likeness(maps):.1f}" for maps in over),
)

# %% [markdown]
# ## The freeze ledger of stage 1
#
# One step of training: which parts got a gradient, and which bytes changed?

# %%
learner = Stage1(stage.config)
learner.load_state_dict(stage.state_dict())
learner.encoder.requires_grad_(False)
marks = fingerprints(learner)
optimizer = torch.optim.SGD(
    [p for p in learner.parameters() if p.requires_grad], lr=0.1
)
sum(
    learner(
        learner.see(images), text, text != 0, same, torch.Generator().manual_seed(0)
    ).values()
).backward()
optimizer.step()
lines = ledger(learner, marks, depth=1)
show(
    freeze_ledger(
        [l.part for l in lines],
        [l.parameters for l in lines],
        [l.gradient is not None for l in lines],
        [l.changed for l in lines],
    )
)
assert not next(l for l in lines if l.part == "encoder").changed

# %% [markdown]
# Both halves of the Q-Former train in stage 1. What of it trains in stage 2 is the next
# chapter's first surprise.
#
# ## Break it yourself
#
# `queries-see-text` lets queries look at words under ITG. Change the marked name to the
# paper's "" and compare: the leak makes ITG's task easier, and what the queries learn
# worthless.

# %%
variant = "queries-see-text"  # <- change me: ""
leaky = altered(Stage1(stage.config), variant)
leaky.load_state_dict(stage.state_dict())
with torch.no_grad():
    line = text[:8].clone()
    line[:, 0] = c.dec
    before = leaky.words_after(line, line != 0, leaky.see(images[:8]))
    line[:, 3] = words.encode("yellow")[0]
    after = leaky.words_after(line, line != 0, leaky.see(images[:8]))
print(
    f"a word that comes later changes what is said before it: {bool((before - after)[:, :3].abs().max() > 1e-4)}"
)

# %% [markdown]
# `minilmm train blip2 --stage 1 --bug queries-see-text`, `--bug itc-mean`, `--bug
# itm-easy-negatives`: train one and compare its retrieval (`minilmm eval RUN --task
# retrieval`).
#
# ## Exercises
#
# - [21 One transformer, three masks](../exercises/student/ex21_masks.py)
# - [22 A block of the Q-Former](../exercises/student/ex22_qformer_block.py)
# - [23 ITC: the best query's cosine](../exercises/student/ex23_itc.py)
# - [24 ITM: hard negatives](../exercises/student/ex24_hard_negatives.py)
# - [25 ITM: score, loss, and who looks at nothing](../exercises/student/ex25_itm.py)
# - [26 ITG: telling from the queries](../exercises/student/ex26_itg.py)
# - [27 Queries computed once, used twice](../exercises/student/ex27_kv_reuse.py)
#
# `minilmm exercises start 21 22 23 24 25 26 27`, then `minilmm grade`.
#
# ## What to read next
#
# - [minilmm/blip2.py](../minilmm/blip2.py): masks, Q-Former, both stages.
# - The paper, section 3; [what it measured](../docs/papers.md).
# - `minilmm show mask blip2`, `minilmm show attention blip2-nano`, `minilmm params
#   blip2-qformer`.

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
import math

import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from minilmm.ablations import variant
from minilmm.blip2 import Stage1, hard_negatives
from minilmm.course import course_root
from minilmm.course.reader import score, size, source
from minilmm.evaluation.attention_maps import query_attention
from minilmm.interface.model import Keep
from minilmm.nn.qformer import (
    Block,
    QFormer,
    bidirectional_mask,
    causal_mask,
    in_text_half,
    unimodal_mask,
)
from minilmm.plots import (
    attention_map,
    freeze_ledger,
    mask_panels,
    overlay_table,
    picture_grid,
    show,
)
from minilmm.training.blip2 import baselines, preset
from minilmm.checkpoints.opening import load
from minilmm.checkpoints.saving import LOG, LOOKS, STAGE_1, ZOO, read_log
from minilmm.data.world import captioned
from minilmm.evaluation.retrieval import retrieval
from minilmm.training.ledger import fingerprints, ledger
from minilmm.world.render import render
from minilmm.world.scenes import sample_scenes
from minilmm.world.vocabulary import COLOURS, SHAPES, TEXTURES, tokenizer

words = tokenizer()
stage, card = load(ZOO / "blip2-nano" / STAGE_1)
c = stage.config.qformer
text_half = sum(
    p.numel() for name, p in stage.qformer.named_parameters() if in_text_half(name)
)
print(c.queries, "queries of width", c.width, "in", c.layers, "blocks,", end=" ")
print("cross-attention in every second")
print("Q-Former", size(stage.qformer), "parameters, of them the text's alone", end=" ")
print(f"{text_half / 1e3:.0f}k · eyes {size(stage.encoder)}, frozen")
whole = sum(p.numel() for p in stage.qformer.parameters())
assert c.every == 2 and 0.3 < text_half / whole < 0.5

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
print("features", tuple(x_f.shape), "and text", tuple(text.shape), end=" -> ")
print(tuple(q.shape), "and", tuple(t.shape))
assert q.shape[1] == c.queries and t.shape[:2] == text.shape
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
filled = {name: int(make(3, there)[0].sum()) for name, make in masks.items()}
assert filled == {"ITC": 9 + 25, "ITM": 64, "ITG": 9 + 15 + 15}

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
        first = bool((t1 - t2)[:, 1].abs().max() > 1e-4)  # before the one exchanged
        queries = bool((q1 - q2).abs().max() > 1e-4)
        print(f"{name}: queries change: {queries}; the word before it changes: {first}")
        assert queries == (name == "ITM") and first == (name != "ITG")

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
fresh = Stage1(stage.config)
fresh.encoder.load_state_dict(stage.encoder.state_dict())
known = baselines(preset("nano", 1))
with torch.no_grad():
    found = {}
    for name, model in (("untrained", fresh), ("trained", stage)):
        found[name] = model(
            model.see(images), text, text != 0, same, torch.Generator().manual_seed(0)
        )
for loss in ("itc", "itm", "itg"):
    told = f"knows nothing {known[loss]:.2f}, trained {found['trained'][loss]:.1f}"
    print(f"{loss}: {told}")
    assert found["trained"][loss] < known[loss] < found["untrained"][loss] + 0.5
at_best = -(0.9 + 0.1 / 64) * math.log(0.9 + 0.1 / 64)
at_best -= 63 * 0.1 / 64 * math.log(0.1 / 64)
print(f"itc at best, with 64: {at_best:.1f}")
assert abs(known["itm"] - 0.637) < 1e-3 and at_best < found["trained"]["itc"]

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
        label="similarity",
        xlabel="texts",
        ylabel="pictures",
    )
)
own = stage.similarity(image, written).argmax(1) == torch.arange(6)
best, mean = every.amax(-1).diagonal().mean(), every.mean(-1).diagonal().mean()
winners = every.argmax(-1)  # (pictures, texts)
print("own text most similar:", int(own.sum()), "of 6")
for whose, won in (("a picture's own text", winners.diag()), ("any text", winners)):
    print(f"queries that win for {whose}:", (won.unique() + 1).tolist())
print(f"best query {best:.1f}, mean of the queries {mean:.1f}")
assert own.all() and best > mean + 0.05
assert len(winners.diag().unique()) == 1 < len(winners.unique()) < c.queries

# %% [markdown]
# It does depend on the text. For a picture's own text one and the same query wins, in
# all six; for texts that do not fit, others do. Half of the queries never win. Taking
# the mean (`--bug itc-mean`) forces every query to say everything.
#
# ## ITM: hard negatives
#
# A random wrong text is too easy: any colour tells. So wrong partners are drawn by
# ITC's own similarity, and never one that would do as well. Here is what one picture
# would get, easily and hard:

# %%
with torch.no_grad():
    image = stage.image_embeddings(stage.qformer(stage.see(images))[0])
    written = stage.text_embeddings(text, text != 0)
    similar = stage.similarity(image, written) / stage.temperature
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
    """The share of a text's colours, shapes and textures that the other text has."""
    a, b = (set(text[n].tolist()) & attributes for n in (one, two))
    return len(a & b) / max(1, len(a))


attributes = set(words.encode(" ".join([*COLOURS, *SHAPES, *TEXTURES])))


winner = int((image[0] @ written[0]).argmax())  # for the first pair
one = image[:, winner] @ written.T / stage.temperature  # by that query alone
sharp = torch.stack(
    [hard_negatives(one, same, torch.Generator().manual_seed(i)) for i in range(50)]
)
shared = {}
kinds = {"easy": easy, "by ITC": draws, f"by query {winner + 1} alone": sharp}
for name, drawn in kinds.items():
    common = [shares(i, int(j)) for row in drawn[:20] for i, j in enumerate(row)]
    shared[name] = sum(common) / len(common)
    print(f"{name}: wrong partners share {shared[name]:.1f} of a text's attributes")
twin = (torch.arange(len(text)) + len(text) // 2) % len(text)
twins = [(drawn == twin).float().mean().item() for drawn in (easy, draws)]
print(f"the twin is drawn: {twins[0]:.2f} of the time, by ITC {twins[1]:.2f}")
wrong = similar[~same]
gap = (similar.diag().mean() - wrong.mean()) / wrong.std()
print(f"the right text stands {gap:.0f} standard deviations above the wrong ones")
at_random, itc, alone = shared.values()
assert at_random + 0.1 < itc < alone and alone > 0.5 and gap > 10
assert twins[1] > 5 * twins[0] and 0.05 < twins[1] < 0.2

# %% [markdown]
# Every picture of the batch has a *twin*, which differs in one word, or is mirrored.
# Drawn by ITC, one wrong partner in ten is the twin, many times as often as by chance.
# The draw is still far from sharp: all wrong texts lie far below the right one, nearly
# equally far. By the similarity of one query alone, wrong partners share well over half
# of the attributes.

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
ranked = {}
for name, rows in (("dual encoder", dual["rows"]), ("Q-Former", record["rows"])):
    for row in rows:
        if row["metric"].split(",")[0] in ("TR@1", "IR@1"):
            print(f"{name:12} {row['metric']:10} {score(row)}")
            ranked[row["metric"]] = row
for kind in ("TR@1", "IR@1"):
    assert ranked[f"{kind}, ITM"]["low"] < ranked[f"{kind}, ITC"]["high"]
    assert ranked[kind]["low"] > ranked[f"{kind}, ITC"]["high"]
log = read_log(ZOO / "blip2-nano" / STAGE_1 / LOG)
print("ITM's loss over training:", ", ".join(f"{row['itm']:.2f}" for row in log))
assert log[-1]["itm"] < 0.2 < 0.637  # that of a constant guess

# %% [markdown]
# ITM has learned to tell right pairs from wrong ones: its loss ends far below that of a
# constant guess. Still it does not rank better than ITC here, as it does in the paper:
# in six hundred steps it has met few wrong partners as near as these twins. The dual
# encoder is not beaten: its eyes were trained for this very task, on texts that leave
# attributes out, and for nearly four times as many steps of eight times as many
# pictures.
#
# ## ITG: saying what the queries know
#
# The third objective makes the queries carry all that a caption needs. Stage 1 can
# already talk: `[DEC]` in front, then word by word. What the queries computed alone
# serves every step (K/V reuse: they see no text, so nothing changes for them).

# %%
scenes = sample_scenes(100, torch.Generator().manual_seed(5), split="held-out")
pictures = render(scenes, torch.Generator().manual_seed(5))
kept: list = []
with torch.no_grad():
    seen = stage.see(pictures)
    stage.qformer(seen, keep=Keep(past=kept))
    line = torch.full((100, 1), c.dec)
    for _ in range(12):
        real = torch.ones_like(line, dtype=torch.bool)
        after = stage.words_after(line, real, seen, kept)
        line = torch.cat([line, after[:, -1:, : len(words)].argmax(-1)], 1)
    real = torch.ones_like(line, dtype=torch.bool)
    whole = stage.words_after(line, real, seen)
    reused = stage.words_after(line, real, seen, kept)
print("computed again, or reused: equal:", torch.allclose(whole, reused, atol=1e-4))
assert torch.allclose(whole, reused, atol=1e-4)
told = [
    words.decode(row[1:]).split(" <EOC>")[0].split(" and ")[0] for row in line.tolist()
]
show(picture_grid(pictures[:4], told[:4], columns=4))
colours = [COLOURS[i] for i in scenes.colour[:, 0]]
shapes = [SHAPES[i] for i in scenes.shape[:, 0]]
right = [c in line and s in line for c, s, line in zip(colours, shapes, told)]
print("colour and shape are right:", sum(right), "of", len(right))
assert sum(right) > 85

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
looks = query_attention(stage, two)[0]  # (Q, S)
queries = [f"query {n + 1}" for n in range(c.queries)]
weights = looks.unflatten(-1, (6, 6))[None]  # (1, Q, 6, 6)
show(overlay_table(two, weights, queries, [""], label="attention to a patch"))

scenes = sample_scenes(200, torch.Generator().manual_seed(7), split="held-out")
pictures = render(scenes, torch.Generator().manual_seed(7))
distance = (pictures - pictures[:, :, :1, :1]).abs().amax(1)  # from the background
touched = F.max_pool2d((distance >= 0.15).float()[:, None], 8).flatten(1)  # (200, S)
chance = touched.mean().item()
on_object = (query_attention(stage, pictures) * touched[:, None]).sum(-1).mean(0)
print(f"over 200 pictures: patches that the object touches are {chance:.2f} of all;")
print("a query's attention to them:", [f"{share:.2f}" for share in on_object.tolist()])
lookers = [n + 1 for n in range(c.queries) if on_object[n] > chance]
print("queries that look at the object more than chance:", lookers)
assert len(lookers) == 6 and on_object[[n - 1 for n in lookers]].min() > 1.9 * chance
others = [n for n in range(c.queries) if n + 1 not in lookers]
assert on_object[others].max() < chance / 2
assert int(winners.diag()[0]) + 1 in lookers

# %% [markdown]
# Six queries look at the object, nearly twice as much as its area would have it, or more. The
# other two look nearly everywhere else: at the background, where there is nothing to
# tell. That is an *attention sink*. A softmax must spend its attention somewhere, and a query that
# has nothing to say spends it where it does no harm. The query that wins ITC for a
# picture's own text is one of the six. So read a query's map together with what the
# query does.
#
# And over training, in one picture: all queries early, then late.

# %%
stored = load_file(ZOO / "blip2-nano" / STAGE_1 / LOOKS)
over = stored["looks"][:: max(1, len(stored["looks"]) // 3)][:4]  # (P, Q, S)
ends = over[[0, -1]].unflatten(-1, (6, 6))  # (2, Q, 6, 6)
one = stored["image"].expand(2, -1, -1, -1)
show(overlay_table(one, ends, queries, ["early", "late"], label="attention"))


def likeness(maps):
    """The mean cosine between the maps (Q, S) of different queries."""
    alike = F.cosine_similarity(maps[:, None], maps[None], dim=-1)
    return float((alike.sum() - len(maps)) / (len(maps) * (len(maps) - 1)))


alike = [likeness(maps) for maps in over]
print("how alike two maps are, early to late:", ", ".join(f"{x:.1f}" for x in alike))
assert alike[0] > alike[-1] > 0.3

# %% [markdown]
# Training makes the queries' maps a little less alike, and far from different: each of
# the two groups looks at much the same.

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
assert [l.part for l in lines if not l.changed] == ["encoder"]
trained = [n for n, p in learner.qformer.named_parameters() if p.grad is not None]
halves = {in_text_half(name) for name in trained}
assert halves == {True, False}  # both

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
bug = "queries-see-text"  # <- change me: ""
leaky = variant(Stage1, bug)(stage.config)
leaky.load_state_dict(stage.state_dict())
with torch.no_grad():
    line = text[:8].clone()
    line[:, 0] = c.dec
    before = leaky.words_after(line, line != 0, leaky.see(images[:8]))
    line[:, 3] = words.encode("yellow")[0]
    after = leaky.words_after(line, line != 0, leaky.see(images[:8]))
changes = bool((before - after)[:, :3].abs().max() > 1e-4)
print("a word that comes later changes what is said before it:", changes)
assert changes == (bug != "")

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

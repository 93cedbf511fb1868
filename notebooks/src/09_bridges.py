# %% [markdown]
# # 09 · Three bridges compared
#
# Frozen, Flamingo and BLIP-2 answer one question, how a language model that stays as it
# is comes to see, in three ways. Here they stand on the same language model and the
# same pictures; Flamingo and BLIP-2 on the same frozen eyes, Frozen on eyes of the same
# build that it trained itself. One table, two figures, one page of trade-offs.
#
# **Goals** After this chapter you can
# - fill in "where vision enters, what trains, which mask, which data" for each of the
#   three from memory;
# - read three few-shot curves against their controls, and say what each bridge is good
#   at;
# - argue which one you would build for a task, a budget and a data set.
#
# **Time** 25 minutes to read, about 30 seconds to run.
#
# **Before** [03 Frozen](03_frozen.ipynb), [06 Learning from
# examples](06_few_shot.ipynb) and [08 Borrowing a language model](08_borrowing.ipynb).

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

from minilmm.course import course_root
from minilmm.course.reader import at, score, size
from minilmm.interface.document import Batch
from minilmm.plots import few_shot_curves, series_of, show
from minilmm.checkpoints.opening import load
from minilmm.checkpoints.saving import ZOO, read_card
from minilmm.training.ledger import fingerprints
from minilmm.world.render import render
from minilmm.world.scenes import sample_scenes
from minilmm.world.vocabulary import ids

RUNS = {"Frozen": "frozen-nano", "Flamingo": "flamingo-nano", "BLIP-2": "blip2-nano"}
models = {name: load(run)[0] for name, run in RUNS.items()}

# %% [markdown]
# ## One table

# %%
language = {
    name: sum(p.numel() for p in model.lm.parameters())
    for name, model in models.items()
}
assert len(set(language.values())) == 1  # the same language model under all three


def bridge(model):
    """Parameters that belong to neither the language model nor the eyes."""
    known = {id(p) for part in (model.lm, model.encoder) for p in part.parameters()}
    return sum(p.numel() for p in model.parameters() if id(p) not in known)


def steps(run):
    """Of training: the stages that led to a run, and itself."""
    cards = [read_card(run)]
    if (ZOO / run / "stage1").is_dir():
        cards.insert(0, read_card(ZOO / run / "stage1"))
    return [card["recipe"]["optimisation"]["steps"] for card in cards]


trained = {name: steps(run) for name, run in RUNS.items()}
bridges = {name: bridge(model) for name, model in models.items()}
table = [
    ("", *RUNS),
    ("vision enters", "in place of words", "between blocks", "in place of words"),
    ("vectors a picture", "2", "8, in each layer", "8"),
    ("who made the eyes", "its own training", "contrast, frozen", "contrast, frozen"),
    ("eyes", *(size(model.encoder) for model in models.values())),
    ("bridge", *(f"{number / 1e3:.0f}k" for number in bridges.values())),
    ("text looks at", "all before it", "the last picture", "all before it"),
    ("data", "captions", "pages and captions", "captions, twice"),
    ("steps of training", *(" + ".join(map(str, s)) for s in trained.values())),
]
for row in table:
    print(f"{row[0]:18} {row[1]:18} {row[2]:20} {row[3]}")
eyes = [fingerprints(model.encoder) for model in models.values()]
assert eyes[1] == eyes[2] and eyes[0].values() != eyes[1].values()
assert bridges["Frozen"] < bridges["BLIP-2"] < bridges["Flamingo"]
assert len(trained["BLIP-2"]) == 2

# %% [markdown]
# Their prompts grow differently. Each picture costs Frozen two words of context and
# BLIP-2 eight; Flamingo one, since its tokens stay outside the text. Counted on a
# prompt of 32 pictures:

# %%
generator = torch.Generator().manual_seed(0)
pictures = render(sample_scenes(32, generator), generator)
row = torch.cat([ids("<bos>"), *[ids("<image> dax . <EOC>")] * 32])[None]
batch = Batch.of(row, pictures[None, :, None])
costs = {}
with torch.no_grad():
    for name, model in models.items():
        model.prefill(batch)  # it reads all 32
        length = row.shape[1] + (getattr(model, "prefix_tokens", 1) - 1) * 32
        print(f"{name:9} {length:4} positions of {model.lm.config.context}")
        costs[name] = length
assert costs["Flamingo"] < costs["Frozen"] < costs["BLIP-2"] < model.lm.config.context

# %% [markdown]
# ## Two figures

# %% [markdown]
# **Predict.** Which bridge names best from one example, and which answers questions
# best without any? Decide before you look.


# %%
def result(run, task):
    """What `make results` recorded."""
    path = course_root("results") / "results" / f"{run}-{task}.json"
    return json.loads(path.read_text())


PANELS = {
    "naming, 5 ways": "naming-5",
    "noisy naming": "noisy",
    "questions": "vqa",
    "what is it?": "induction-vqa",
}
panels = {
    title: [
        series
        for name, run in RUNS.items()
        for series in series_of(result(run, task), name, name == "BLIP-2")
    ]
    for title, task in PANELS.items()
}
for pair in (("naming, 5 ways", "noisy naming"), ("questions", "what is it?")):
    show(few_shot_curves({title: panels[title] for title in pair}))
named = [result(run, "naming-5")["rows"] for run in RUNS.values()]
assert all(len(rows) >= 12 for rows in named)  # shots by conditions


# %%
def told(task, shots, condition="real"):
    """A row of each model's result."""
    return {name: at(result(run, task), shots, condition) for name, run in RUNS.items()}


for task, shots in (
    ("naming-5", 1),
    ("noisy", 16),
    ("vqa", 0),
    ("vqa", 4),
    ("induction-vqa", 0),
    ("induction-vqa", 4),
):
    print(f"{task}, {shots} shots")
    for condition in ("real", "text_only") if shots else ("real",):
        rows = told(task, shots, condition)
        values = "  ".join(f"{name} {score(row)}" for name, row in rows.items())
        print(f"  {condition:9} {values}")
reader = at(result("lm-nano", "vqa"), 0)
print(f"questions, the text model from descriptions: {score(reader)}")
naming, asked = told("naming-5", 1), told("vqa", 0)
assert naming["Flamingo"]["low"] > naming["Frozen"]["high"]
assert naming["Frozen"]["low"] > 0.5 > naming["BLIP-2"]["high"]
blip2 = [at(result("blip2-nano", "naming-5"), shots) for shots in (0, 1, 4)]
assert all(r["value"] < 0.3 for r in blip2)
assert all(reader["low"] > asked[n]["high"] for n in RUNS)
meant = told("induction-vqa", 4)
assert all(r["low"] > 0.65 for r in meant.values())
four = told("vqa", 4)
assert all(four[n]["value"] > asked[n]["value"] for n in RUNS)

# %% [markdown]
# ## One page of trade-offs
#
# **Binding a new name** is Flamingo's. It was trained on pages in which names are given
# and used again, and its text looks at the last picture alone. Frozen binds too, less
# well: its two vectors are kept where words live. BLIP-2's soft prompts are read as
# captions and as answers: on naming it stays at chance, with any number of examples.
#
# **Learning what is asked** all three can: "what is it ?" goes from one right answer in
# four without an example to at least two in three with four. Examples do much of that
# when their pictures are gone, too ("text_only"): the answers' words tell which attribute
# is meant, and by which convention questions are answered. A rising curve alone does not
# say that a model compares pictures; its control does.
#
# **Answering without an example**, all three stay below what the language model makes of
# perfect descriptions.
#
# **Data.** Frozen and BLIP-2 take pairs of a picture and a text, which anybody can
# collect. Flamingo needs pages; without them nothing is bound (chapter 06).
#
# **Training.** Frozen's gradient runs through the whole language model to reach the
# eyes; so does that of BLIP-2's second stage, for a bridge that has been through a
# first stage, without any language model. Flamingo adds layers to
# it, and pays for them at every word ever after.
#
# **Context.** A picture costs Frozen two positions and BLIP-2 eight, Flamingo one. In
# the 2048 positions here all three read thirty-two examples; the papers' prompts are
# longer, and a picture there costs Flamingo one position and BLIP-2 thirty-two.
#
# **Retrieval** is BLIP-2's alone: its first stage can say whether a picture and a text
# belong together.
#
# And what all three share: none changes the language model, so each can forget nothing,
# and none can teach it to reason.
#
# ## Break it yourself
#
# All three were asked on pairs of colour and shape that no training picture showed. Ask
# them on training pairs: who gains most has learned pairs rather than attributes.
# Change the marked task.

# %%
from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.tasks import Settings

task = "vqa"  # <- change me: "induction-vqa"
for name, model in models.items():
    seen = [
        evaluate(model, task, Request((0,), Settings(split=split), 100, ("real",)))[
            "rows"
        ][0]["value"]
        for split in ("held-out", "train")
    ]
    print(f"{name:9} held-out {seen[0]:.1f}, training pairs {seen[1]:.1f}")

# %% [markdown]
# ## Exercises
#
# None of its own. If you have done 10, 14 and 28 you have written the three ways in:
# the prefix, the gated layer, the soft prompt. Put them side by side and mark the lines
# that differ.
#
# ## What to read next
#
# - [The three papers, and what they measured](../docs/papers.md).
# - `minilmm quickstart` trains all three on the spot; its `report.md` has this
#   chapter's table with your own numbers.

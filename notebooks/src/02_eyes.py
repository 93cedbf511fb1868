# %% [markdown]
# # 02 · Eyes
#
# A language model reads vectors. This chapter makes the vectors that stand for
# pictures: two encoders, one way of training them without any labels, and what the
# result can and cannot tell apart. Frozen trains eyes like these through the language
# model; Flamingo and BLIP-2 take eyes that were trained as here, and keep them as they
# are.
#
# **Goals** After this chapter you can
# - say what batch normalisation did for a residual network, and how a network does
#   without it;
# - read InfoNCE off a matrix of similarities, and know what ln B means in a log;
# - measure retrieval in both directions, with distractors that differ in one attribute;
# - find nearest neighbours in feature space, which choose Flamingo's examples in
#   chapter 06;
# - place the three papers in four families of architectures.
#
# **Time** 35 minutes to read and play, about 20 seconds to run.
#
# **Before** [00 A multimodal document](00_documents.ipynb); what a convolution is.

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
import math

import torch
from torch.nn import functional as F

from minilmm.course.reader import score, size, source
from minilmm.plots import (
    architecture_families,
    attention_map,
    patch_overlay,
    picture_grid,
    show,
    training_curves,
)
from minilmm.plots.show import describe_figure
from minilmm.checkpoints.opening import load
from minilmm.data.world import TEXT_LENGTH
from minilmm.evaluation.retrieval import retrieval, zero_shot
from minilmm.vision import VisionConfig, build_encoder
from minilmm.vision.contrastive import DualEncoder, info_nce
from minilmm.vision.resnet import StandardisedConv, activation
from minilmm.world.grammar import caption, compact, describe
from minilmm.world.render import blank, render
from minilmm.world.scenes import same_concept, sample_scenes
from minilmm.world.vocabulary import COLOURS, SHAPES, TEXTURES, tokenizer

words = tokenizer()
generator = torch.Generator().manual_seed(0)

# %% [markdown]
# ## Two encoders, one interface
#
# A residual network reads a picture with convolutions and ends with a grid of features;
# a vision transformer cuts it into patches and lets them look at each other. What comes
# out has one form: `S` places with `D` numbers each.

# %%
pictures = render(sample_scenes(4, generator), generator)
for kind in ("resnet", "vit"):
    eyes = build_encoder(VisionConfig(kind=kind))
    with torch.no_grad():
        features = eyes(pictures)
        pooled = eyes.pool(features)
    shapes = [tuple(x.shape) for x in (pictures, features, pooled)]
    print(f"{kind:6} {size(eyes)} parameters: {shapes[0]}", end=" ")
    print(f"-> features {shapes[1]} -> pooled {shapes[2]}")
    assert features.shape[:2] == (4, 36) and pooled.shape == features[:, 0].shape

# %% [markdown]
# Frozen needs the pooled vector: one per picture. Flamingo and BLIP-2 keep all `S`
# places, and need a part that turns many features into few tokens; that is chapter 04.
#
# ## Without normalisation
#
# Batch normalisation keeps the numbers in a deep network at a steady scale, but it
# makes each picture's features depend on its neighbours in the batch, and breaks when
# batches are small. Brock et al. (2021) replace it by arithmetic: every filter's
# weights are standardised (mean 0, variance 1 over the fan-in) so that a convolution
# *preserves* variance.

# %%
source(StandardisedConv.standardised)

# %% [markdown]
# **Predict.** Twenty convolutions in a row, each after a GELU, at random initial
# weights. The input has variance 1. Without standardisation, what is the variance after
# the last? (a) about 1 (b) it grows (c) it vanishes


# %%
def through(weights, depth=20, width=64):
    """The channels' mean square of mean (over places) and variance, layer by layer."""
    torch.manual_seed(0)
    x, means, variances = torch.randn(8, width, 12, 12), [], []
    for _ in range(depth):
        conv = StandardisedConv(width, width, 3)
        kind = {
            "plain": conv.weight,
            "plain x gamma": conv.gamma * conv.weight,
            "standardised": conv.standardised(),
        }
        padded = F.pad(activation(x), (1, 1, 1, 1), mode="circular")  # no edge effects
        x = F.conv2d(padded, kind[weights])
        means.append(x.mean((0, 2, 3)).square().mean().item())
        variances.append(x.var((0, 2, 3)).mean().item())
    return means, variances


with torch.no_grad():
    runs = {name: through(name) for name in ("plain", "plain x gamma", "standardised")}
SPREAD, MEANS = "log10 variance", "log10 mean²"
rows = {
    name: [
        {"layers": i + 1, SPREAD: math.log10(v), MEANS: math.log10(m)}
        for i, (m, v) in enumerate(zip(*values))
    ]
    for name, values in runs.items()
}
show(training_curves({SPREAD: rows, MEANS: rows}, x="layers"))
for name, (means, variances) in runs.items():
    print(f"{name:14} after 20 layers: variance {variances[-1]:.0e}", end=", ")
    print(f"mean square of the channels' means {means[-1]:.0e}")
(_, fading), (means, kept), (zero, steady) = runs.values()
assert fading[-1] < 1e-4 and 0.3 < steady[-1] < 3 and zero[-1] < 0.1
assert kept[-1] > 1 and means[-1] > kept[-1]  # gamma alone: means pile up

# %% [markdown]
# (c): a GELU takes a constant share away, and twenty of them leave nothing. The
# constant gamma gives that back, which is more than enough for the variance and makes
# another trouble visible: what leaves a GELU is positive on average, so means pile up
# until every channel is mostly a constant. Standardised filters sum to 0 and cannot
# pass a mean on; with gamma both stay where they should. Residual blocks then add a
# known amount of variance each, which is divided away (`beta` in
# [resnet.py](../minilmm/vision/resnet.py)).
#
# ## Learning to see from captions
#
# No labels: only pictures with texts. In a batch of B pairs every picture must find its
# own text among B, and every text its picture. Here is the matrix of cosines for eight
# pairs, with random weights and with the shipped eyes:

# %%
eyes, card = load("vision-nano")
scenes = sample_scenes(8, generator)
images = render(scenes, generator)
text = compact(describe(scenes, full=False), TEXT_LENGTH, fill=0)
names = [words.decode(row) for row in text.tolist()]
torch.manual_seed(0)
untrained = DualEncoder(VisionConfig(), len(words), text_length=TEXT_LENGTH).eval()


def cosines(model, images, text):
    with torch.no_grad():
        return model.encode_image(images) @ model.encode_text(text, text != 0).T


show(picture_grid(images, names, columns=4))
before, after = cosines(untrained, images, text), cosines(eyes, images, text)
show(
    attention_map(
        after.clamp(min=0),
        [f"picture {i}" for i in range(8)],
        names,
        label="cosine",
        xlabel="texts",
        ylabel="pictures",
    )
)
print(
    "pairs found among eight, picture to text: untrained",
    int((before.argmax(1) == torch.arange(8)).sum()),
    "· trained",
    int((after.argmax(1) == torch.arange(8)).sum()),
)
assert (before.argmax(1) == torch.arange(8)).sum() <= 3
assert torch.equal(after.argmax(1), torch.arange(8))

# %% [markdown]
# The diagonal is the answer key. InfoNCE is cross-entropy along the rows plus
# cross-entropy along the columns, after the cosines were divided by a temperature. A
# model that knows nothing scores ln B: the first number to compare a loss with.

# %%
for name, matrix in (("untrained", before), ("trained", after)):
    losses = [f"{info_nce(matrix / t).item():.2f}" for t in (1.0, 0.07, 0.01)]
    print(
        f"{name:10} InfoNCE at temperature 1, .07, .01: {', '.join(losses)}",
        f"  (ln 8 = {math.log(8):.2f})",
    )
print(
    "the shipped model has learned the temperature", round(1 / eyes.scale().item(), 2)
)
assert abs(info_nce(before).item() - math.log(8)) < 0.1  # knows nothing
assert 1.2 < info_nce(after).item() < math.log(8)  # at 1 trained eyes look clueless
assert info_nce(after / 0.07).item() < 0.3 and eyes.scale() > 50

# %% [markdown]
# At temperature 1 even the trained eyes look nearly clueless: cosines lie between -1
# and 1, and a softmax over such numbers is nearly even. The temperature is learned
# along with the rest.
#
# ## Does it learn at all? Overfit one batch
#
# Before training anything for minutes, train on a *single* batch for seconds. A model
# that cannot learn 32 pairs by heart has a mistake in it, and ln B is where it would
# stay.

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
tiny = DualEncoder(
    VisionConfig(widths=(32, 64), blocks=(1, 1)),
    len(words),
    text_layers=1,
    text_length=TEXT_LENGTH,
    embed=64,
)
few = sample_scenes(32, generator)
few_images, few_text = (
    render(few, generator),
    compact(caption(few, generator), TEXT_LENGTH, fill=0),
)
optimiser = torch.optim.AdamW(tiny.parameters(), lr=3e-3)
curve = []
for step in range(40):
    loss = info_nce(tiny(few_images, few_text, few_text != 0))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    curve.append({"step": step, "loss (nats)": loss.item()})
level = [{"step": s, "loss (nats)": math.log(32)} for s in (0, 39)]
show(
    training_curves(
        {
            "loss (nats)": {
                "one batch, again and again": curve,
                "ln 32: knows nothing": level,
            }
        }
    )
)
assert (
    abs(curve[0]["loss (nats)"] - math.log(32)) < 1.5 and curve[-1]["loss (nats)"] < 1
)

# %% [markdown]
# ## What the shipped eyes can do
#
# `vision-nano` saw only pictures of pairs that were not held out. Its test is on
# held-out ones, and it is a hard one: every scene has a *near-duplicate* that differs
# in a single attribute. Retrieval goes both ways: TR@k looks for a picture's text, IR@k
# for a text's picture.

# %%
table = retrieval(eyes, 300)
for row in table:
    print(f"{row['metric']:6} {score(row)}   chance {row['chance']:.3f}")
assert table[0]["low"] > 10 * table[0]["chance"]

# %% [markdown]
# **Predict.** Classification without training: write a text for each of the 120 pairs
# of colour and shape, and take the nearest. All test pictures show held-out pairs.
# Which attribute does it get wrong more often? (a) colour (b) shape

# %%
found = zero_shot(eyes, 500)[0]
print(f"zero-shot accuracy {score(found)}, chance {found['chance']:.3f}")
probe = sample_scenes(500, torch.Generator().manual_seed(5), split="held-out")
seen = render(probe, generator)
classes = [f"a {t} {c} {s} . <EOC>" for s in SHAPES for c in COLOURS for t in TEXTURES]
class_text = compact(
    torch.tensor([words.encode(line) for line in classes]), TEXT_LENGTH, fill=0
)
with torch.no_grad():
    texts = F.normalize(
        eyes.encode_text(class_text, class_text != 0).view(120, 3, -1).mean(1), dim=-1
    )
    guess = (eyes.encode_image(seen) @ texts.T).argmax(1)
    control = (eyes.encode_image(blank(seen)) @ texts.T).argmax(1)
colour_right = (guess % 10 == probe.colour[:, 0]).float()
shape_right = (guess // 10 == probe.shape[:, 0]).float()
both = (control == probe.colour[:, 0] + 10 * probe.shape[:, 0]).float().mean()
print(f"colour right {colour_right.mean():.2f}", end=", ")
print(f"shape right {shape_right.mean():.2f};", end=" ")
print(f"with blank pictures both right {both:.2f}")
missed = probe.shape[:, 0][shape_right == 0].bincount(minlength=len(SHAPES))
print("most missed:", {SHAPES[i]: int(missed[i]) for i in missed.argsort()[-1:]})
assert colour_right.mean() > 0.99 and shape_right.mean() > 0.95 and both < 0.1
assert colour_right.mean() > shape_right.mean() and missed.max() > missed.sum() / 2

# %% [markdown]
# (b), and rarely: of 500 pictures a handful show a shape that it takes for another one,
# most of them hexagons, and fewer a colour. Whatever eyes confuse here, every model
# that borrows them confuses too: a frozen encoder's mistakes cannot be mended
# downstream. That is why these numbers stand at the beginning.
#
# ## Nearest neighbours
#
# Without any text: which pictures does the encoder find alike? For each query the four
# nearest of 400 others, the most similar *last*. Flamingo's RICES picks the examples of
# a prompt in this way, and in this order, so that the best example stands next to the
# question (chapter 06).

# %%
support = sample_scenes(400, torch.Generator().manual_seed(8))
shelf = render(support, generator)
queries = same_concept(
    torch.tensor([0, 4, 8]), torch.tensor([0, 3, 6]), torch.tensor([1, 2, 0]), generator
)
asked = render(queries, generator)
with torch.no_grad():
    similarity = eyes.encode_image(asked) @ eyes.encode_image(shelf).T  # (3, 400)
nearest = similarity.argsort(1)[:, -4:]  # the most similar last
order = torch.cat([torch.cat([asked[i : i + 1], shelf[nearest[i]]]) for i in range(3)])


def told(scenes, i):
    """What scene i shows, in words."""
    return words.decode(compact(describe(scenes, full=False), fill=0)[i].tolist())


label = []
for i in range(3):
    label += ["query: " + told(queries, i), *(told(support, j) for j in nearest[i])]
show(picture_grid(order, label, columns=5))
shared = {}
for name in ("colour", "shape", "texture"):
    values, wanted = getattr(support, name)[:, 0], getattr(queries, name)[:, :1]
    shared[name] = values[nearest] == wanted  # (3, 4)
print({name: int(s.sum()) for name, s in shared.items()}, "of 12 neighbours share it")
assert not (shared["colour"] & shared["shape"]).any()
assert shared["texture"].sum() >= 10 and shared["shape"].sum() > shared["colour"].sum()

# %% [markdown]
# The queries show held-out pairs, so no picture on the shelf has the same colour *and*
# shape. What the neighbours share with them is the texture first, then the shape, and
# the colour least: three of four say "striped" or "dotted" or "plain" before they say
# "red". The count below the figure says how often, and it is what RICES would go by.
#
# ## Where does it look?
#
# A plain way to find out, for any encoder: paint one patch after the other with the
# background's colour, and see how much the cosine between the picture and its text
# falls.


# %%
def occlusion(images, text, cells=6):
    """How much covering each patch lowers the cosine of pairs: (N, cells, cells)."""
    side = images.shape[-1] // cells
    with torch.no_grad():
        whole = (eyes.encode_image(images) * eyes.encode_text(text, text != 0)).sum(-1)
        drop = torch.zeros(len(images), cells, cells)
        for i in range(cells):
            for j in range(cells):
                covered = images.clone()
                rows = slice(i * side, (i + 1) * side)
                covered[:, :, rows, j * side : (j + 1) * side] = images[:, :, :1, :1]
                cosine = eyes.encode_image(covered) * eyes.encode_text(text, text != 0)
                drop[:, i, j] = whole - cosine.sum(-1)
    return drop


fall = occlusion(images[:4], text[:4])
show(
    patch_overlay(
        images[:4], fall.clamp(min=0), names[:4], label="fall of the cosine", columns=2
    )
)
corner = images[:4, :, :1, :1]  # the background's colour
distance = (images[:4] - corner).abs().amax(1)
inside = F.avg_pool2d((distance >= 0.15).float()[:, None], 8)[:, 0] > 0.5
object_, rest = fall[inside].mean(), fall[~inside].abs().mean()
print(f"mean fall: an object's patch {object_:.3f}, any other {rest:.3f}")
assert object_ > 5 * rest
largest = [bool(inside[i].flatten()[fall[i].argmax()]) for i in range(4)]
print("the largest fall is on a patch that the object fills by half:", largest)
assert sum(largest) >= 3

# %% [markdown]
# The largest fall is on the object, or at its edge; a patch of background hardly
# matters.
#
# ## Four families
#
# Eyes and text can be brought together in more than one way. The literature sorts
# models into four families, and the three papers of this course touch all of them:
# Frozen and Flamingo sit in one each, BLIP-2 in three at once:

# %%
families = architecture_families()
show(families)
lines = describe_figure(families).splitlines()  # one per family
papers = ("Frozen", "Flamingo", "BLIP-2")
assert [sum(paper in line for line in lines) for paper in papers] == [1, 1, 3]

# %% [markdown]
# ## Break it yourself
#
# Duplicates in a batch are false negatives: two pictures with the same caption are
# pushed apart although both fit. The package leaves them out of the negatives. Change
# the marked number of copies and watch the best loss that is still possible: with
# perfect cosines and a temperature near 0 it should be 0.

# %%
copies = 4  # <- change me
repeated = torch.arange(8).repeat_interleave(copies)
ideal = (repeated[:, None] == repeated).float()  # 1 for the same text, else 0
same = ideal.bool()
counted, left_out = info_nce(ideal / 0.01).item(), info_nce(ideal / 0.01, same).item()
print(f"loss of perfect eyes, duplicates as negatives: {counted:.2f} = ln {copies}")
print(f"loss of perfect eyes, duplicates left out:     {left_out:.2f}")
assert abs(counted - math.log(copies)) < 0.01 and left_out < 0.01

# %% [markdown]
# ## Exercises
#
# - [07 Scaled weight
#   standardisation](../exercises/student/ex07_weight_standardisation.py)
# - [08 InfoNCE with a temperature](../exercises/student/ex08_info_nce.py)
# - [09 Retrieval: recall at k, nearest last](../exercises/student/ex09_retrieval.py)
#
# `minilmm exercises start 07 08 09`, then `minilmm grade`.
#
# ## What to read next
#
# - [minilmm/vision/resnet.py](../minilmm/vision/resnet.py),
#   [vit.py](../minilmm/vision/vit.py),
#   [contrastive.py](../minilmm/vision/contrastive.py): each one sitting.
# - Brock et al. 2021 on networks without normalisation; Radford et al. 2021 (CLIP) on
#   learning from captions.
# - Next: [03 Frozen](03_frozen.ipynb): eyes and language model meet.

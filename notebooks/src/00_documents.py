# %% [markdown]
# # 00 · A multimodal document
#
# How does a picture get into a language model? Before any architecture comes a plainer
# question: what does a model like Frozen, Flamingo or BLIP-2 read at all? One thing
# only, a *document*: text and pictures, in order. This chapter turns documents into
# tensors, and shows the small world that all later chapters live in.
#
# **Goals** After this chapter you can
# - read and write the shapes of interleaved input: `N`, `T`, `H`, `W`, `C`, and why a
#   picture is a video with `T = 1`;
# - tell web pages, image-text pairs and video-text pairs apart by their shapes alone;
# - build a few-shot prompt by hand, pad a batch on either side, and say which tokens a
#   model learns to predict;
# - say what the mini-world holds back for tests, and why.
#
# **Time** 30 minutes to read and play, about 10 seconds to run.
#
# **Before** Some PyTorch. No machine learning beyond "a model predicts the next word".

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
import torch

from minilmm.course.reader import source
from minilmm.interface.document import Batch, Image, Text, Video, collate, left_padded
from minilmm.plots import mask_microscope, picture_grid, show
from minilmm.world.grammar import caption, compact
from minilmm.world.render import render, render_glyphs
from minilmm.world.scenes import sample_scenes
from minilmm.world.videos import render_video
from minilmm.world.vocabulary import (
    COLOURS,
    SHAPES,
    TEXTURES,
    VERBS,
    held_out,
    tokenizer,
)

words = tokenizer()
generator = torch.Generator().manual_seed(0)

# %% [markdown]
# ## A small world
#
# Real pictures come by the billion; ours are drawn on the spot. A scene holds one to
# four objects, each with a shape, a colour, a texture, a size and a place. A grammar
# says what is to be seen, in several registers. Two lines of code give a batch of both:

# %%
scenes = sample_scenes(12, generator, objects=torch.tensor([1] * 8 + [2, 2, 3, 4]))
pictures = render(scenes, generator)  # (12, 3, 48, 48), values in [0, 1]
captions = [
    words.decode(row) for row in compact(caption(scenes, generator), fill=0).tolist()
]
print("pictures", tuple(pictures.shape))
show(
    picture_grid(
        pictures, [text.removesuffix(" <EOC>") for text in captions], columns=4
    )
)
assert pictures.shape == (12, 3, 48, 48) and 0 <= pictures.min() < pictures.max() <= 1
assert scenes.shape.shape[1] == 4  # room for one to four objects

# %% [markdown]
# A *concept* is a colour, a shape and a texture. A fifth of the pairs of a colour and a
# shape is **held out**: no picture of them is ever trained on, by any model of this
# course. When a later chapter says "on held-out pairs", it means that nobody ever saw a
# picture of that thing, only of its colour and of its shape. Here is the whole table;
# filled cells are held out.

# %%
colour, shape = torch.meshgrid(
    torch.arange(len(COLOURS)), torch.arange(len(SHAPES)), indexing="ij"
)
out = held_out(colour, shape)  # (10, 12)
print(f"{int(out.sum())} of {out.numel()} pairs are held out")
show(
    mask_microscope(
        out,
        COLOURS,
        SHAPES,
        xlabel="colours; a filled cell is never drawn for training",
    )
)
assert out.sum() == out.numel() / 5
assert not out.all(0).any() and not out.all(1).any()  # each colour, each shape is seen

# %% [markdown]
# The world has more than objects: glyphs of an endless family (one class for every
# whole number), words drawn into pictures, and videos in which something moves, grows,
# blinks. A video is `T` frames:

# %%
glyphs = render_glyphs(torch.tensor([7, 7, 8, 8]), generator)
one = sample_scenes(1, generator)
grows = torch.tensor([VERBS.index("grows")])
video = render_video(one, grows, 8, generator)  # (1, T, 3, 48, 48)
print("a video", tuple(video.shape))
show(
    picture_grid(
        torch.cat([glyphs, video[0]]),
        ["glyph 7", "glyph 7", "glyph 8", "glyph 8", *(f"frame {t}" for t in range(8))],
        columns=6,
    )
)
assert video.shape[1] == 8 and (glyphs[0] - glyphs[1]).abs().max() > 0.1
corner = video[0, :, :, :1, :1]
covered = ((video[0] - corner).abs().amax(1) > 0.15).float().mean((1, 2))
assert covered[-1] > 1.2 * covered[0]  # it grows

# %% [markdown]
# Two drawings of glyph 7 differ as two photographs of one thing do. Nobody can know a
# glyph's name beforehand: it must be learned from the prompt. That is the point of
# them.
#
# ## From words to numbers
#
# The tokenizer is as plain as can be: a closed list of words, one number each. The
# first five numbers are no words:

# %%
print("five special tokens:", words.words[:5])
text = "a striped red circle ."
print(text, "->", words.encode(text))
print(
    "words in all:",
    len(words),
    "· pad, bos, eos, image, EOC =",
    [words.convert_tokens_to_ids(t) for t in words.words[:5]],
)
assert words.decode(words.encode(text)) == text and min(words.encode(text)) >= 5

# %% [markdown]
# `<image>` marks the place of a picture, and `<EOC>`, *end of chunk*, closes what is
# said about it: both are Flamingo's. The list also holds made-up names, such as `dax`
# and `blicket`. Some of them are used in training, always for something else; those
# kept for tests are never bound to anything before the test.
#
# ## A document
#
# Three kinds of segments, in a list. That is all that ever reaches a model.

# %%
source(Text, Image, Video)

# %%
document = [
    Image(pictures[0]),
    Text("dax . <EOC>"),
    Image(pictures[1]),
    Text("blicket . <EOC>"),
    Image(pictures[0]),
]
batch = collate([document], words)
for name in ("ids", "attention_mask", "loss_mask", "media", "media_mask"):
    print(f"{name:15}", tuple(getattr(batch, name).shape))
print(words.decode(batch.ids[0].tolist()))
assert batch.media.shape[1] == batch.ids.eq(3).sum() == 3 and batch.media_mask.all()

# %% [markdown]
# The lecture writes the shape of visual input as `N, T, H, W, C`: `N` pictures or
# videos per document, `T` frames each, height, width, colour channels. Torch puts
# channels first, and a batch puts `B` documents in front: `media (B, N, T, C, H, W)`.

# %% [markdown]
# **Predict.** A batch holds two documents: a web page with three pictures, and one
# video of eight frames with a caption. What are `N` and `T` of the batch? (a) N = 2, T
# = 8 (b) N = 3, T = 8 (c) N = 4, T = 1

# %%
page = [Text("in the image there is", learn=False)]
for i in (0, 1, 2):
    page += [Image(pictures[i]), Text(captions[i])]
film = [Video(video[0]), Text("the shape grows . <EOC>")]
both = collate([page, film], words)
print("media     ", tuple(both.media.shape))
print("media_mask", both.media_mask.tolist())
assert both.media.shape[1:3] == (3, 8)
repeated = both.media[0, :, :1].expand(-1, 8, -1, -1, -1)
assert torch.equal(both.media[0], repeated)

# %% [markdown]
# (b): the most pictures of a document decide `N`, the longest video decides `T`.
# `media_mask` says which of the N places hold something; a shorter clip repeats its
# last frame.
#
# ## A mixture of data sets, by shape
#
# Flamingo is trained on four kinds of data at once (section 2.4): M3W, pages of the web
# with pictures in between; ALIGN and LTIP, single pictures with a text; VTP, short
# videos with a text. In our tensors they differ by shape alone:

# %%
pairs = collate([[Image(pictures[i]), Text(captions[i])] for i in range(8)], words)
pages = collate(
    [
        [s for i in range(j, j + 4) for s in (Image(pictures[i]), Text(captions[i]))]
        for j in (0, 4)
    ],
    words,
)
clips = render_video(sample_scenes(4, generator), torch.arange(4), 8, generator)
films = collate(
    [[Video(clip), Text("the shape moves . <EOC>")] for clip in clips], words
)
print(f"{'data set':22}{'B':>3}{'N':>3}{'T':>3}{'C':>3}{'H':>4}{'W':>4}   tokens L")
for name, b in (
    ("pages (M3W)", pages),
    ("image-text (ALIGN, LTIP)", pairs),
    ("video-text (VTP)", films),
):
    B, N, T, C, H, W = b.media.shape
    print(f"{name.split(' (')[0]:22}{B:3}{N:3}{T:3}{C:3}{H:4}{W:4}   {b.ids.shape[1]}")
assert pages.media.shape[1] > 1 and pairs.media.shape[1:3] == (1, 1)
assert films.media.shape[1:3] == (1, 8)

# %% [markdown]
# Pages have N > 1; pairs have N = 1 and T = 1; videos have N = 1 and T = 8. One model
# reads all three, because all three are documents. Frozen trains on pairs alone
# (chapter 03); Flamingo on all, which is what chapter 06 is about.
#
# ## A few-shot prompt
#
# "In-context learning" means: examples in the prompt, no training. A prompt is a
# document as well. The model sees two pictures with names, then a third picture, and
# goes on:

# %%
prompt = picture_grid(
    torch.stack([pictures[0], pictures[1], pictures[0].flip(-1)]),
    ["dax .", "blicket .", "?"],
    columns=3,
)
show(prompt)
print(words.decode(batch.ids[0].tolist()), "...")
assert batch.ids[0, -1] == words.image_token_id  # the model goes on behind a picture

# %% [markdown]
# ## Padding, left or right
#
# Documents differ in length, tensors do not. Padding fills up: on the right while
# training, where each token looks only back; on the left when a prompt is to be
# continued, so that all prompts *end* together.

# %% [markdown]
# **Predict.** What goes wrong if prompts of different lengths are padded on the right
# and the model is asked for the next token at the last position? (a) nothing (b) the
# shorter prompts are asked what comes after padding (c) an error

# %%
short, long = [Image(pictures[0]), Text("dax .")], document
right = collate([short, long], words)
left = left_padded(right)
for name, b in (("right", right), ("left", left)):
    print(f"{name:6}", [words.words[i] for i in b.ids[0].tolist()])
print(
    "last token, right:",
    [words.words[i] for i in right.ids[:, -1].tolist()],
    "· left:",
    [words.words[i] for i in left.ids[:, -1].tolist()],
)
assert right.ids[0, -1] == 0 and left.ids[0, -1] == words.encode(".")[0]
assert left.attention_mask[0].tolist() == right.attention_mask[0].flip(0).tolist()

# %% [markdown]
# (b). Nothing fails, the answers are only worse: one of the quietest bugs in this
# field. Positions must follow too: the first real token has position 0 wherever it
# stands.
#
# ## What is learned
#
# A model that is trained to predict *everything* in a document wastes itself: padding
# can be predicted by anyone, and a picture's tag cannot be "said". The loss mask marks
# the tokens that count. `Text(..., learn=False)` keeps a stretch out, for instance a
# question whose answer alone is to be learned:

# %%
asked = collate(
    [
        [
            Image(pictures[3]),
            Text("question : what color is the shape ? answer :", learn=False),
            Text(f"{COLOURS[int(scenes.colour[3, 0])]} . <EOC>"),
        ]
    ],
    words,
)
tokens = [words.words[i] for i in asked.ids[0].tolist()]
show(
    mask_microscope(
        torch.stack([asked.attention_mask[0], asked.loss_mask[0]], 1),
        tokens,
        ["is read", "is learned"],
        xlabel="tokens, left to right",
    )
)
learned = [t for t, counts in zip(tokens, asked.loss_mask[0].tolist()) if counts]
assert asked.attention_mask.all() and learned == [tokens[-3], ".", "<EOC>"]

# %% [markdown]
# Everything is read; only the answer, its full stop and `<EOC>` are learned. Without
# `<EOC>` in the loss a model would never learn to stop.
#
# ## Break it yourself
#
# A document whose tags and pictures do not fit is an error that names both numbers.
# Change the marked line: what happens with more pictures than tags? With a literal
# `<image>` inside a `Text`?

# %%
ids = torch.tensor([words.encode("<bos> <image> dax . <EOC> <image>")])
shown = pictures[:1]  # <- change me: [:3], or give both pictures, [:2]
media = shown[None, :, None]  # (1, N, T = 1, 3, 48, 48)
try:
    print(Batch.of(ids, media).media_mask.tolist())
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# ## Exercises
#
# - [01 Few-shot prompt building](../exercises/student/ex01_prompt.py): pictures, words
#   and `<EOC>` in the right order.
# - [02 The loss mask](../exercises/student/ex02_loss_mask.py): which tokens of a web
#   page count, as Flamingo does it.
#
# In a terminal: `minilmm exercises start 01 02`, write your answers into `my_work/`,
# then `minilmm grade 01 02`. A wrong answer is told what was expected, what came, and
# which common mistake it equals.
#
# ## What to read next
#
# - [minilmm/interface/document.py](../minilmm/interface/document.py) and [docs/world.md](../docs/world.md):
#   all of this, in full.
# - Flamingo (Alayrac et al. 2022), section 2.4 and figure 9: the data mixture in the
#   paper.
# - Next: [01 A language model that learns in context](01_language_model.ipynb), without
#   any pictures yet.

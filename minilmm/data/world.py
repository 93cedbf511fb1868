"""The mini-world as training data: captioned pictures, galleries and videos, and pictures with texts to compare."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from minilmm.interface.document import Batch
from minilmm.interface.tokenizer import BOS, EOC, IMAGE
from minilmm.vision.contrastive import same_text
from minilmm.world.corpus import conventions, questioned
from minilmm.world.examples import SENTENCES, by_convention
from minilmm.world.grammar import KNOWN, caption, compact, describe, join, known, noun, when, word
from minilmm.world.printed import signs, tables
from minilmm.world.questions import KINDS, question, sample_question_scenes
from minilmm.world.random import coins
from minilmm.world.render import render, render_grids
from minilmm.world.scenes import Scenes, in_reading_order, integers, join_scenes, sample_scenes
from minilmm.world.videos import render_video
from minilmm.world.vocabulary import COLOURS, SHAPES, TEXTURES, VERBS, held_out, ids

TEXT_LENGTH = 48  # words of a text that pictures are compared with
UNSAID = ("colour", "colour", "shape", "")  # what the texts of a batch leave out, each as often


def told_scenes(batch: int, generator: torch.Generator) -> Scenes:
    """Scenes to be captioned: three batches in four show one object each.

    The fourth shows two to four, with captions three times as long, and is a third as large:
    batches of equal cost, padded little.
    """
    several = bool(integers(4, (), generator) == 0)
    count = max(1, batch // 3) if several else batch
    scenes = sample_scenes(count, generator, objects=integers(3, (count,), generator) + 2 if several else 1)
    assert not bool(scenes.has_held_out().any()), "a held-out pair in training"
    return scenes


def captions(batch: int, generator: torch.Generator, resolution: int) -> Batch:
    """ "<bos> <image> a striped red circle . <EOC>", one picture per document.

    Where a lone object stands is not said: the language model binds names less well to descriptions that end in a
    place, and so to prefixes that hold one.
    """
    scenes = told_scenes(batch, generator)
    text = compact(join(f"{BOS} {IMAGE}", caption(scenes, generator, placed=False)), fill=0)
    return Batch.of(text, render(scenes, generator, resolution)[:, None, None])


def descriptions(batch: int, generator: torch.Generator, resolution: int) -> Batch:
    """ "<bos> <image> large striped red circle top left and small plain blue star bottom right . <EOC>".

    All that there is to say of a picture, as a language model reads it in a picture's place; the objects are listed as
    one reads, row by row.
    """
    count = max(1, 2 * batch // 3)  # of one object, or two, or three: two in half of the pictures
    scenes = sample_scenes(count, generator, objects=1 + (integers(6, (count,), generator) + 2) // 3)
    assert not bool(scenes.has_held_out().any()), "a held-out pair in training"
    text = compact(join(f"{BOS} {IMAGE}", describe(in_reading_order(scenes)), ".", EOC), fill=0)
    return Batch.of(text, render(scenes, generator, resolution)[:, None, None])


def interviews(batch: int, generator: torch.Generator, resolution: int, skills: bool = False) -> Batch:
    """ "<bos> <image> question : is there a star ? answer : no . <EOC> question : ...": six questions about a picture.

    The loss counts the answers. A bridge needs many of them to learn what takes longest, whether something is there and
    how two things relate; `skills`: questions of these kinds alone.
    """
    scenes, asked, convention = questioned(batch, 1, generator, "train", skills)
    assert not bool(scenes.has_held_out().any()), "a held-out pair in training"
    text = compact(join(BOS, conventions(convention, generator), IMAGE, asked), fill=0)
    words, images = text % KNOWN, render(scenes, generator, resolution)[:, None, None]
    answers = (text >= KNOWN) & ~torch.isin(words, ids(".", EOC).to(words.device))
    return Batch.of(words, images, loss_mask=answers)


HARD = ("exists", "relation", "compare", "place", "count")  # kinds of questions that take longest to learn


def hard_questions(batch: int, generator: torch.Generator, resolution: int) -> Batch:
    """ "<bos> answer with ... . <image> question : is the star above the moon ? answer : yes": one question each.

    Of the kinds HARD, none negated. The loss counts the answers. What an answer says of two things cannot be taken from
    answers before it, as it can in interviews.
    """
    kind = torch.tensor([list(KINDS).index(name) for name in HARD], device=generator.device)
    kind = kind[integers(len(HARD), (batch,), generator)]
    scenes, convention = sample_question_scenes(kind, generator, "train"), integers(2, (batch,), generator)
    assert not bool(scenes.has_held_out().any()), "a held-out pair in training"
    asked, answer = question(scenes, kind, generator, negated=0.0)
    said = by_convention(answer)[torch.arange(batch, device=kind.device), convention]
    first = [when(convention == i, sentence) for i, sentence in enumerate(SENTENCES)]
    text = compact(join(BOS, *first, f"{IMAGE} question :", asked, "answer :", known(said)), fill=0)
    return Batch.of(text % KNOWN, render(scenes, generator, resolution)[:, None, None], loss_mask=text >= KNOWN)


def galleries(batch: int, generator: torch.Generator, resolution: int) -> Batch:
    """ "<bos> <image> <image> a striped red circle . <EOC> a plain blue star . <EOC>": two pictures, then two captions.

    The first caption looks at the second picture; of the first it knows what the language model reads at its tag. So
    the tag comes to stand for its picture as words would.
    """
    scenes = sample_scenes(2 * batch, generator)
    assert not bool(scenes.has_held_out().any()), "a held-out pair in training"
    both = caption(scenes, generator, placed=False).view(batch, -1)
    text = compact(join(f"{BOS} {IMAGE} {IMAGE}", both), fill=0)
    return Batch.of(text, render(scenes, generator, resolution).view(batch, 2, 1, 3, resolution, resolution))


def videos(batch: int, generator: torch.Generator, resolution: int, frames: int = 8) -> Batch:
    """ "<bos> <image> a striped red circle moves . <EOC>", a video of one object each."""
    scenes, verb = sample_scenes(batch, generator), integers(len(VERBS), (batch,), generator)
    assert not bool(scenes.has_held_out().any()), "a held-out pair in training"
    text = join(f"{BOS} {IMAGE} a", noun(scenes, 0), word(VERBS, verb)[:, None], ".", EOC)
    return Batch.of(compact(text, fill=0), render_video(scenes, verb, frames, generator, resolution)[:, None])


def prefixed(batch: Batch, generator: torch.Generator) -> Batch:
    """Captions as a prefix LM reads them: each cut anywhere behind its picture, and only the part behind the cut
    is to be predicted (section 3.3).
    """
    words = batch.attention_mask.sum(1) - 2  # behind <bos> and <image>
    share = torch.rand(len(batch), generator=generator, device=words.device)
    cut = 2 + (share * words).long().clamp(max=words - 1)
    behind = torch.arange(batch.ids.shape[1], device=words.device) >= cut[:, None]
    return replace(batch, loss_mask=batch.loss_mask & behind)


def mixed_scenes(batch: int, generator: torch.Generator, split: str = "train") -> Scenes:
    """Scenes to learn to see from: half of them one object, the rest two to four."""
    return sample_scenes(batch, generator, objects=(integers(6, (batch,), generator) - 1).clamp(min=1), split=split)


def printed(batch: int, generator: torch.Generator, resolution: int) -> tuple[Tensor, Tensor]:
    """Signs and tables: pictures (B, 3, R, R), and what they say (B, TEXT_LENGTH), as `texts`."""
    counts = ((signs, batch // 2), (tables, batch - batch // 2))
    found = [kind(count, 1, generator, "train") for kind, count in counts if count]
    images = [render_grids(each.pictures.symbols, generator, resolution) for each in found]
    return torch.cat(images), torch.cat([compact(each.descriptions, TEXT_LENGTH, fill=0) for each in found])


def texts(scenes: Scenes, generator: torch.Generator) -> Tensor:
    """One text per scene, a caption or everything there is to say: (B, TEXT_LENGTH) ids, 0 pads."""
    full = coins((len(scenes),), generator)
    either = torch.cat(
        [caption(scenes, generator).masked_fill(full[:, None], -1), describe(scenes).masked_fill(~full[:, None], -1)], 1
    )
    return compact(either, TEXT_LENGTH, fill=0)


def texts_without(scenes: Scenes, generator: torch.Generator, attribute: str) -> Tensor:
    """Descriptions of which none says the colour, or the shape: "striped circle", "striped red shape"; as `texts`.

    What such texts do say must be told from a picture whatever the other attribute is. With full captions alone a pair
    of colour and shape may as well be one thing, and pairs that were never shown are not known.
    """
    said = describe(scenes, full=coins((1,), generator).expand(len(scenes)))  # the same for all: no text fits two
    if attribute == "colour":
        said = said.masked_fill(torch.isin(said, ids(*COLOURS).to(said.device)), -1)
    else:
        shape = int(ids("shape"))
        said = torch.where(torch.isin(said, ids(*SHAPES).to(said.device)), shape, said)
    return compact(said, TEXT_LENGTH, fill=0)


def captioned(batch: int, generator: torch.Generator, resolution: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (B, 3, R, R); for each "[CLS] a striped red circle . <EOC>", or all there is to say: (B, L); and which
    text would do for which picture, (B, B) bool: [i, j] for picture i and text j.

    Half of the pictures are twins of the others: what tells them apart is a word or two. A caption may do for all
    pictures of such objects; a full description does for those that are described so.
    """
    scenes = told_scenes(batch // 2, generator)
    scenes = join_scenes([scenes, twins(scenes, generator, mirrored=True)])
    assert not bool(scenes.has_held_out().any()), "a held-out pair in training"
    full = coins((len(scenes),), generator)
    whole, short = (compact(text, TEXT_LENGTH, fill=0) for text in (describe(scenes), caption(scenes, generator)))
    said = torch.where(full[:, None], whole, short)
    like = same_text(torch.cat([scenes.present, scenes.colour, scenes.shape, scenes.texture], 1))
    same = torch.where(full, same_text(whole), same_text(said) | like)
    said = said[:, : int((said != 0).sum(1).max())]
    text = torch.cat([ids(BOS).to(said.device).expand(len(said), 1), said], 1)
    return render(scenes, generator, resolution), text, same


def near_duplicates(count: int, generator: torch.Generator) -> Scenes:
    """Held-out scenes and their twins: (count) scenes, count even."""
    first = mixed_scenes(count // 2, generator, "held-out")
    second = twins(first, generator)
    assert bool((held_out(second.colour, second.shape) | ~second.present).all())
    return join_scenes([first, second])


def twins(scenes: Scenes, generator: torch.Generator, mirrored: bool = False) -> Scenes:
    """The same scenes, each with another colour, shape or texture of its first object; or, if wished, mirrored."""
    which = integers(3 + mirrored, (len(scenes),), generator)
    colour, shape, texture = scenes.colour[:, 0], scenes.shape[:, 0], scenes.texture[:, 0]
    others = {  # five steps of a colour or a shape leave a pair held out, or not
        "colour": (colour + 5) % len(COLOURS),
        "shape": torch.where(shape + 5 < len(SHAPES), shape + 5, shape % 5),
        "texture": (texture + 1) % len(TEXTURES),
    }
    changed = {name: getattr(scenes, name).clone() for name in others}
    for i, (name, other) in enumerate(others.items()):
        changed[name][:, 0] = torch.where(which == i, other, changed[name][:, 0])
    return replace(scenes, **changed, x=torch.where((which == 3)[:, None], 1 - scenes.x, scenes.x))

"""What a picture must keep to: the same for a seed, in range, and showing what the scene says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from minilmm.world.render import blank, degrade, render, render_glyphs, render_words
from minilmm.world.scenes import MAX_OBJECTS, Scenes, same_concept, sample_scenes
from minilmm.world.sprites import ATLAS, GLYPH_SIZE, glyphs, hash_classes, letter_atlas, shape_atlas
from minilmm.world.videos import render_video
from minilmm.world.vocabulary import ALL_SHAPES, COLOURS, RGB, SHAPES, TEXTURES, VERBS


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def posed(colour: Tensor, shape: Tensor, texture: Tensor, generator: torch.Generator, radius: float = 0.3) -> Scenes:
    """One upright object in the middle of a white picture."""
    scenes = same_concept(colour, shape, texture, generator)
    same = torch.ones(len(colour), MAX_OBJECTS)
    return replace(
        scenes, x=same * 0.5, y=same * 0.5, radius=same * radius, angle=same * 0, background=torch.ones(len(colour), 3)
    )


def nearest(first: Tensor, second: Tensor) -> Tensor:
    """Which of the second is closest to each of the first, (B,)."""
    return torch.cdist(first.flatten(1), second.flatten(1)).argmin(1)


@pytest.mark.parametrize("objects", [1, 4])
def test_scenes_are_deterministic_and_in_range(objects: int) -> None:
    first, again, other = (render(sample_scenes(16, g, objects=objects), g) for g in map(seeded, (3, 3, 4)))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (16, 3, 48, 48) and first.dtype == torch.float32
    assert first.isfinite().all() and first.min() >= 0 and first.max() <= 1


def test_other_pictures_are_deterministic_and_in_range() -> None:
    words = torch.tensor([[3, 0, 23, -1, -1, -1], [26, 27, -1, -1, -1, -1], [0, 1, 2, 3, 4, 5], [-1] * 6])
    for draw in (
        lambda g: render_glyphs(torch.tensor([0, 7, 1_999_999, 2**40]), g),
        lambda g: render_words(words, g),
        lambda g: degrade(render(sample_scenes(4, g), g), g),
    ):
        first, again, other = map(draw, map(seeded, (0, 0, 1)))
        assert torch.equal(first, again) and not torch.equal(first, other)
        assert first.shape == (4, 3, 48, 48) and first.min() >= 0 and first.max() <= 1


def test_resolution_changes_the_detail_not_the_picture() -> None:
    scenes = sample_scenes(8, seeded(), objects=3)
    coarse = render(scenes, seeded(), resolution=48)
    fine = torch.nn.functional.avg_pool2d(render(scenes, seeded(), resolution=96), 2)
    assert fine.shape == coarse.shape and (fine - coarse).abs().mean() < 0.02


def test_atlas_has_centred_shapes() -> None:
    atlas = shape_atlas()
    assert atlas.shape == (len(ALL_SHAPES), ATLAS, ATLAS) and atlas is shape_atlas()
    border = torch.cat([atlas[:, 0], atlas[:, -1], atlas[:, :, 0], atlas[:, :, -1]], 1)
    assert (border > 0.08).all(), "a shape without a margin would smear to the picture's side"
    centre = atlas[:, ATLAS // 2, ATLAS // 2]
    assert [name for name, value in zip(ALL_SHAPES, centre, strict=True) if value > 0] == ["ring", "moon", "clover"]
    share = (atlas < 0).float().mean((1, 2))
    assert (share > 0.1).all() and (share < 0.6).all()


def test_absent_objects_draw_nothing() -> None:
    scenes = sample_scenes(8, seeded(), objects=3)
    empty = render(replace(scenes, present=torch.zeros_like(scenes.present)), seeded())
    assert (empty - scenes.background[..., None, None]).abs().max() < 0.03
    fewer = replace(scenes, present=torch.tensor([True, False, False, False]).expand(8, -1))
    changed = replace(fewer, shape=(scenes.shape + 5) % 12 * ~fewer.present + scenes.shape * fewer.present)
    assert torch.equal(render(fewer, seeded()), render(changed, seeded()))


def test_plain_centre_shows_the_named_colour() -> None:
    colour = torch.arange(len(COLOURS)).repeat(4)
    for shape in ("circle", "square"):
        where = torch.full_like(colour, SHAPES.index(shape))
        pictures = render(posed(colour, where, torch.zeros_like(colour), seeded()), seeded())
        centre = pictures[:, :, 20:28, 20:28].mean((2, 3))
        assert (centre - torch.tensor(RGB)[colour]).abs().max() < 0.06
        assert torch.equal(nearest(centre, torch.tensor(RGB)), colour)


@pytest.mark.parametrize("radius", [0.125, 0.3])
def test_shapes_differ_more_across_than_within(radius: float) -> None:
    shape = torch.arange(len(SHAPES))
    none = torch.zeros_like(shape)
    first, second = (render(posed(none + 2, shape, none, seeded(s), radius), seeded(s)) for s in (1, 2))
    distance = torch.cdist(first.flatten(1), second.flatten(1))
    across = distance[~torch.eye(len(SHAPES), dtype=torch.bool)]
    assert across.min() > 1.5 * distance.diag().max()


@pytest.mark.parametrize("radius", [0.125, 0.3])
def test_textures_and_colours_differ_more_across_than_within(radius: float) -> None:
    """Every colour in every texture on every shape: two pictures of one are closer than any of two."""
    colour, texture = torch.cartesian_prod(torch.arange(len(COLOURS)), torch.arange(len(TEXTURES))).T
    for shape in range(len(SHAPES)):
        first, second = (
            render(posed(colour, torch.full_like(colour, shape), texture, seeded(s), radius), seeded(s)) for s in (1, 2)
        )
        assert torch.equal(nearest(first, second), torch.arange(len(colour))), SHAPES[shape]


@pytest.mark.parametrize("start", [0, 1_000_000, 2**40])
def test_glyph_instances_are_nearest_to_their_class(start: int) -> None:
    classes, generator = torch.arange(start, start + 100), seeded()
    first, second = (glyphs(classes, generator).clamp(-0.2, 0.4).flatten(1) for _ in range(2))
    assert first.shape == (100, GLYPH_SIZE**2) and not torch.equal(first, second)
    distance = torch.cdist(first, second)
    own, others = distance.diag(), distance.masked_fill(torch.eye(100, dtype=torch.bool), torch.inf).amin(1)
    assert (own < others).float().mean() > 0.95 and 1.5 * own.mean() < others.mean() < distance.mean()


def test_glyph_classes_are_integers_from_zero() -> None:
    with pytest.raises(ValueError, match="-3"):
        glyphs(torch.tensor([1, -3]), seeded())
    chance = hash_classes(torch.arange(4096), 4)
    assert chance.min() >= 0 and chance.max() < 1 and (chance.mean(0) - 0.5).abs().max() < 0.02
    assert torch.corrcoef(chance.T).fill_diagonal_(0).abs().max() < 0.06


def test_letters_differ_and_words_have_as_much_ink_as_letters() -> None:
    every = letter_atlas()
    assert every.shape == (36, ATLAS, ATLAS)
    lit = (every < 0).float().flatten(1)
    assert torch.cdist(lit, lit, p=1).fill_diagonal_(999).min() > 20
    pairs = render_words(torch.tensor([[0, 1, -1], [0, -1, -1]]), seeded())
    dark = (pairs.mean(1) < 0.5).sum((1, 2))
    assert dark[0] > dark[1] > 30


def test_degrade_blurs_and_crops() -> None:
    pictures = render(sample_scenes(8, seeded()), seeded())
    sharp = degrade(pictures, seeded(), blur=0.0, crop=0.0)
    assert (sharp - pictures).abs().max() < 0.02
    blurred = degrade(pictures, seeded(), crop=0.0)
    assert (blurred.diff(dim=-1).abs().mean((1, 2, 3)) < pictures.diff(dim=-1).abs().mean((1, 2, 3))).all()
    clip = pictures[:, None].expand(-1, 3, -1, -1, -1)
    frames = degrade(clip, seeded())
    assert frames.shape == clip.shape and torch.allclose(frames[:, 0], frames[:, 2])


def test_blank_is_grey() -> None:
    pictures = torch.rand(2, 3, 8, 8)
    assert torch.equal(blank(pictures), torch.full((2, 3, 8, 8), 0.5))


def test_videos_change_when_the_verb_says_so() -> None:
    verb = torch.arange(len(VERBS))
    scenes = sample_scenes(len(VERBS), seeded(), objects=2)
    scenes.shape[:, 0] = SHAPES.index("arrow")
    video = render_video(scenes, verb, 4, seeded())
    assert video.shape == (len(VERBS), 4, 3, 48, 48) and torch.equal(video, render_video(scenes, verb, 4, seeded()))
    still = (video == video[:, :1]).flatten(1).all(1)
    assert still.tolist() == [name == "rests" for name in VERBS]
    assert torch.equal(video[VERBS.index("blinks"), 0], video[VERBS.index("blinks"), 2])
    ink = (video - scenes.background[:, None, :, None, None]).abs().mean((2, 3, 4))
    assert ink[VERBS.index("grows"), 0] < ink[VERBS.index("grows"), -1]
    assert ink[VERBS.index("shrinks"), 0] > ink[VERBS.index("shrinks"), -1]


def test_a_single_frame_is_the_scene() -> None:
    scenes, verb = sample_scenes(6, seeded(), objects=2), torch.arange(6)
    assert torch.equal(render_video(scenes, verb, 1, seeded())[:, 0], render(scenes, seeded()))
    with pytest.raises(ValueError, match="frames=0"):
        render_video(scenes, verb, 0, seeded())

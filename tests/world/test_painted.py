"""Bad photographs, print, boxed pictures and stories: the pictures show what the text says, and hide what it hides."""

from dataclasses import replace

import pytest
import torch

from minilmm.world import asked, printed, stories
from minilmm.world.painted import INNER, paint
from minilmm.world.scenes import sample_scenes
from minilmm.world.stories import EVENTS, sample_stories
from minilmm.world.videos import BLINKS, GROWS, MOVES, RESTS, SHRINKS, SPINS, act_in_turn
from minilmm.world.vocabulary import LETTERS

FRAMES = 9


def test_each_object_of_a_story_acts_in_its_own_frames(generator):
    told = sample_stories(300, generator, "train")
    told = replace(told, pushed=torch.zeros_like(told.pushed))
    moments = act_in_turn(told, FRAMES, generator)
    number = told.scenes.count
    for o in range(EVENTS):
        here = (number > o).nonzero()[:, 0]
        each = FRAMES / number[here]
        start, end = (o * each).ceil().long(), ((o + 1) * each).ceil().long()
        for name in ("x", "y", "radius", "angle"):
            value = getattr(moments, name)[:, o].view(-1, FRAMES)[here]
            for row, (first, last) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
                still = value[row, : first + 1], value[row, last - 1 :]
                gone = told.verb[here[row], o] == BLINKS
                assert gone or all(bool((part == part[0]).all()) for part in still), (o, name, row)
        changes = {MOVES: "x", GROWS: "radius", SHRINKS: "radius", SPINS: "angle", BLINKS: "x"}
        for verb in (*changes, RESTS):
            rows = here[told.verb[here, o] == verb]
            for name in ("x", "radius", "angle"):
                value = getattr(moments, name)[:, o].view(-1, FRAMES)[rows]
                changed = (value != value[:, :1]).any(1)
                assert bool(changed.all()) if changes.get(verb) == name else not bool(changed.any()), (verb, name)


def test_who_pushes_comes_to_touch_the_other_which_moves(generator):
    told = sample_stories(400, generator, "train")
    moments = act_in_turn(told, FRAMES, generator)
    assert 40 < int(told.pushed.sum()) < 200
    x, y = (getattr(moments, name)[:, :2].view(-1, FRAMES, 2) for name in ("x", "y"))
    end = (FRAMES / told.scenes.count).ceil().long() - 1
    rows = told.pushed.nonzero()[:, 0]
    before, after = (torch.stack([x[rows, at], y[rows, at]], -1) for at in (torch.zeros_like(rows), end[rows]))
    far = (after[:, 0] - after[:, 1]).norm(dim=-1)
    assert bool((far <= told.scenes.radius[rows, :2].sum(-1) + 1e-4).all())
    moved = (after - before).norm(dim=-1)
    assert torch.allclose(moved[:, 1], torch.full_like(far, 0.12), atol=1e-4) and bool((moved[:, 0] > 0.1).all())


def test_videos_and_pictures_have_their_shapes(generator):
    for ask, frames in ((stories.temporal, FRAMES), (asked.photographs, 1), (printed.boxes, 1), (printed.panels, 1)):
        pictures = ask(3, 2, generator, "train").pictures
        seen = paint(pictures, generator, 32)
        assert seen.shape == (6, frames, 3, 32, 32) and float(seen.min()) >= 0 and float(seen.max()) <= 1


def of_flaw(flaw, scenes, generator):
    """Photographs of the scenes, all with one flaw: (N, 3, 48, 48)."""
    return paint(asked.Photographs(scenes, torch.full((len(scenes),), flaw)), generator, 48)[:, 0]


def test_a_bad_photograph_hides_what_it_is_said_to_hide(generator):
    blurred, dark, cropped = range(1, 4)
    scenes = sample_scenes(64, generator)
    scenes = replace(scenes, texture=scenes.present.long())  # striped

    def change(flaw, **other):
        """How far pictures move on average when one attribute is another, the noise being the same."""
        seen = [of_flaw(flaw, each, torch.Generator().manual_seed(5)) for each in (scenes, replace(scenes, **other))]
        return float((seen[0] - seen[1]).abs().amax(1).mean())

    texture = {"texture": 2 * scenes.present.long()}  # dotted
    colour = {"colour": (scenes.colour + 3) % 10 * scenes.present}
    shape = {"shape": (scenes.shape + 5) % 12 * scenes.present}
    whole = {name: change(0, **other) for name, other in
             (("texture", texture), ("colour", colour), ("shape", shape))}  # fmt: skip
    assert change(blurred, **texture) < 0.7 * whole["texture"]
    assert change(blurred, **colour) > 0.8 * whole["colour"]
    assert change(dark, **colour) < 0.25 * whole["colour"]
    grey = of_flaw(dark, scenes, generator)
    assert torch.equal(grey[:, 0], grey[:, 1]) and float(grey.max()) < 0.4
    assert change(cropped, **colour) > 2 * whole["colour"]  # the object fills the picture


def test_the_size_of_a_boxed_picture_is_printed_in_its_margin(generator):
    examples = printed.boxes(40, 1, generator, "train")
    seen = paint(examples.pictures, torch.Generator().manual_seed(1), 48)[:, 0]
    other = replace(examples.pictures, digits=(examples.pictures.digits - len(LETTERS) + 1) % 10 + len(LETTERS))
    moved = paint(other, torch.Generator().manual_seed(1), 48)[:, 0]
    edge = round(INNER * 48)
    assert torch.equal(seen[..., :edge, :edge], moved[..., :edge, :edge])
    assert bool(((seen - moved).abs().flatten(1).amax(1) > 0.5).all())


@pytest.mark.parametrize("place", range(3))
def test_one_of_three_panels_is_odd(place, generator):
    examples = printed.panels(60, 1, generator, "train")
    scenes = examples.pictures
    alike = (scenes.shape[:, :3] == scenes.shape[:, place : place + 1]).sum(1)
    assert set(alike.tolist()) == {1, 2} and bool((scenes.count == 3).all())
    assert bool((scenes.x[:, :3].diff(dim=1) > 0.3).all())

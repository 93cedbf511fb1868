"""Videos: the first object of a scene does what a verb says, or the objects of a story act one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from minilmm.world.random import coins, uniform
from minilmm.world.render import RESOLUTION, draw_scenes, sample_look
from minilmm.world.scenes import Scenes
from minilmm.world.stories import EVENTS, Stories
from minilmm.world.vocabulary import VERBS

MOVES, GROWS, SHRINKS, BLINKS, SPINS, RESTS = range(len(VERBS))
REACH = 0.4  # how far an object moves, as a share of the picture's side
LEAST = 0.45  # the share of its radius from which an object grows, and to which it shrinks
STEP = 0.7  # radians per frame, no multiple of any shape's symmetry: a spinning square never looks still


@dataclass(frozen=True)
class Turn:
    """When and how an object acts: each (M,), M moments of scenes. t: the share that is done, from 0 to 1."""

    verb: Tensor
    t: Tensor
    step: Tensor  # moments since it began
    now: Tensor  # bool: is it acting at this moment?


def _act(moved: Scenes, o: int, turn: Turn, heading: Tensor, way: Tensor) -> None:
    """Move the o-th object in place, as its turn says; heading and way (M,) are drawn once per video."""
    x, y, radius = (value[:, o].clone() for value in (moved.x, moved.y, moved.radius))

    def towards(start: Tensor, step: Tensor) -> Tensor:
        """Along one axis, to the side that has more room, and never more than a bit out of the picture."""
        margin = 0.6 * radius
        end = torch.minimum(torch.maximum(torch.where(start < 0.5, start + step, start - step), margin), 1 - margin)
        return torch.where(turn.verb == MOVES, start + (end - start) * turn.t, start)

    gone = (turn.verb == BLINKS) & turn.now & (turn.step % 2 == 1)  # an object that blinks waits outside the picture
    moved.x[:, o] = towards(x, REACH * heading.cos()).masked_fill(gone, -9.0)
    moved.y[:, o] = towards(y, REACH * heading.sin())
    grown, shrunk = LEAST + (1 - LEAST) * turn.t, 1 - (1 - LEAST) * turn.t
    moved.radius[:, o] = radius * torch.where(turn.verb == GROWS, grown, torch.where(turn.verb == SHRINKS, shrunk, 1.0))
    moved.angle[:, o] += (turn.verb == SPINS) * STEP * way * turn.step


def _moments(scenes: Scenes, frames: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The scene and the moment of each of B * T frames, a video's side by side, a heading and a way to turn."""
    batch, device = len(scenes), generator.device
    rows = torch.arange(batch, device=device).repeat_interleave(frames)
    moment = torch.arange(frames, device=device).repeat(batch)
    heading = uniform(0, torch.pi / 2, (batch,), generator)[rows]
    return rows, moment, heading, 2 * coins((batch,), generator)[rows] - 1


def _copied(scenes: Scenes, rows: Tensor) -> Scenes:
    """The scenes of the rows, whose places, sizes and angles may be written to."""
    moved = scenes[rows]
    return replace(moved, **{name: getattr(moved, name).clone() for name in ("x", "y", "radius", "angle")})


def act(scenes: Scenes, verb: Tensor, frames: int, generator: torch.Generator) -> Scenes:
    """B scenes at each of T moments, the first object acting: B * T scenes, a video's frames side by side."""
    rows, moment, heading, way = _moments(scenes, frames, generator)
    moved = _copied(scenes, rows)
    turn = Turn(verb[rows], moment / max(frames - 1, 1), moment, torch.ones_like(moment, dtype=torch.bool))
    _act(moved, 0, turn, heading, way)
    return moved


def act_in_turn(stories: Stories, frames: int, generator: torch.Generator) -> Scenes:
    """Stories at each of T moments: each object acts in its share of the frames, one after the other.

    Where the first pushes the second, it moves until it touches it, and moves it a little.
    """
    scenes = stories.scenes
    rows, moment, heading, way = _moments(scenes, frames, generator)
    moved, each = _copied(scenes, rows), frames / scenes.count[rows]
    pushed = stories.pushed[rows]
    for o in range(EVENTS):
        start = (o * each).ceil()
        length = ((o + 1) * each).ceil() - start
        step = (moment - start).clamp(min=0).minimum(length - 1)
        verb = stories.verb[rows, o]
        verb = verb.masked_fill(pushed, RESTS) if o == 0 else verb
        now = (moment >= start) & (moment < start + length)
        _act(moved, o, Turn(verb, step / (length - 1).clamp(min=1), step, now), heading, way)
        if o == 0:
            _push(moved, pushed, 2 * step / (length - 1).clamp(min=1))
    return moved


def _push(moved: Scenes, pushed: Tensor, t: Tensor) -> None:
    """The first object comes to touch the second while t (M,) goes to 1, and pushes it while it goes on to 2."""
    gap = torch.stack([moved.x[:, 1] - moved.x[:, 0], moved.y[:, 1] - moved.y[:, 0]], 1)  # (M, 2)
    far = gap.norm(dim=1, keepdim=True).clamp(min=1e-6)
    reach = (far - 0.9 * (moved.radius[:, :1] + moved.radius[:, 1:2])).clamp(min=0)
    on = torch.where(pushed, (t - 1).clamp(min=0), 0.0)[:, None] * 0.12
    first = gap / far * (reach * torch.where(pushed, t.clamp(max=1), 0.0)[:, None] + on)
    for axis, value in enumerate((moved.x, moved.y)):
        value[:, 0] += first[:, axis]
        value[:, 1] += (gap / far * on)[:, axis]


def render_story(stories: Stories, generator: torch.Generator, resolution: int = RESOLUTION, frames: int = 9) -> Tensor:
    """Videos of stories: (B, T, 3, R, R) in [0, 1]."""
    look = sample_look(stories.scenes, generator, resolution)
    moments = act_in_turn(stories, frames, generator)
    rows = torch.arange(len(stories.scenes), device=generator.device).repeat_interleave(frames)
    return draw_scenes(moments, *(part[rows] for part in look)).unflatten(0, (len(stories.scenes), frames))


def render_video(
    scenes: Scenes, verb: Tensor, frames: int, generator: torch.Generator, resolution: int = RESOLUTION
) -> Tensor:
    """Videos of scenes: (B, T, 3, R, R) in [0, 1], T = frames; a single frame is the scene itself.

    verb: (B,) long, indices into VERBS. Colours and noise are drawn once per video: what rests stays equal to the bit.
    Something plain and round that spins looks as if it rested. ValueError if there is no frame.
    """
    if frames < 1:
        raise ValueError(f"a video needs at least one frame, got frames={frames}")
    look = sample_look(scenes, generator, resolution)
    moments = act(scenes, verb, frames, generator) if frames > 1 else scenes
    rows = torch.arange(len(scenes), device=generator.device).repeat_interleave(frames)
    return draw_scenes(moments, *(part[rows] for part in look)).unflatten(0, (len(scenes), frames))

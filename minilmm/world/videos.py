"""Videos: the first object of a scene does what a verb says, the others rest."""

from __future__ import annotations

import torch
from torch import Tensor

from minilmm.world.random import coins, uniform
from minilmm.world.render import RESOLUTION, draw_scenes, sample_look
from minilmm.world.scenes import Scenes
from minilmm.world.vocabulary import VERBS

MOVES, GROWS, SHRINKS, BLINKS, SPINS, RESTS = range(len(VERBS))
REACH = 0.4  # how far an object moves, as a share of the picture's side
LEAST = 0.45  # the share of its radius from which an object grows, and to which it shrinks
STEP = 0.7  # radians per frame, no multiple of any shape's symmetry: a spinning square never looks still


def act(scenes: Scenes, verb: Tensor, frames: int, generator: torch.Generator) -> Scenes:
    """B scenes at each of T moments: B * T scenes, a video's frames side by side."""
    batch, device = len(scenes), generator.device
    rows = torch.arange(batch, device=device).repeat_interleave(frames)
    moment = torch.arange(frames, device=device).repeat(batch)  # (B * T,), as all that follows
    t = moment / max(frames - 1, 1)  # 0 to 1
    heading = uniform(0, torch.pi / 2, (batch,), generator)[rows]
    turn = STEP * (2 * coins((batch,), generator)[rows] - 1)
    moved, kind = scenes[rows], verb[rows]
    x, y, radius, angle = (value[:, 0].clone() for value in (moved.x, moved.y, moved.radius, moved.angle))

    def towards(start: Tensor, step: Tensor) -> Tensor:
        """Along one axis, to the side that has more room, and never more than a bit out of the picture."""
        margin = 0.6 * radius
        end = torch.minimum(torch.maximum(torch.where(start < 0.5, start + step, start - step), margin), 1 - margin)
        return torch.where(kind == MOVES, start + (end - start) * t, start)

    gone = (kind == BLINKS) & (moment % 2 == 1)  # an object that blinks waits outside the picture
    moved.x[:, 0] = towards(x, REACH * heading.cos()).masked_fill(gone, -9.0)
    moved.y[:, 0] = towards(y, REACH * heading.sin())
    scale = torch.where(kind == GROWS, LEAST + (1 - LEAST) * t, torch.where(kind == SHRINKS, 1 - (1 - LEAST) * t, 1.0))
    moved.radius[:, 0] = radius * scale
    moved.angle[:, 0] = angle + (kind == SPINS) * turn * moment
    return moved


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

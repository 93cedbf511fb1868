"""Videos: the first object of a scene does what a verb says, the others rest."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from minilmm.world.random import uniform
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
    moment = torch.arange(frames, device=device)
    t = moment / max(frames - 1, 1)  # (T,), 0 to 1
    heading = uniform(0, torch.pi / 2, (batch, 1), generator)
    turning = STEP * (2 * (uniform(0, 1, (batch, 1), generator) < 0.5) - 1)
    x, y, radius, angle = (value[:, :1] for value in (scenes.x, scenes.y, scenes.radius, scenes.angle))  # (B, 1)

    def does(kind: int) -> Tensor:
        return (verb == kind)[:, None]

    def towards(start: Tensor, step: Tensor) -> Tensor:
        """Along one axis, to the side that has more room, and never more than a bit out of the picture."""
        margin = 0.6 * radius
        end = torch.minimum(torch.maximum(torch.where(start < 0.5, start + step, start - step), margin), 1 - margin)
        return start + (end - start) * t  # (B, T)

    gone = does(BLINKS) & (moment % 2 == 1)
    scale = torch.where(does(GROWS), LEAST + (1 - LEAST) * t, torch.where(does(SHRINKS), 1 - (1 - LEAST) * t, 1.0))
    first = {
        "x": torch.where(does(MOVES), towards(x, REACH * heading.cos()), x).masked_fill(gone, -9.0),
        "y": torch.where(does(MOVES), towards(y, REACH * heading.sin()), y),
        "radius": radius * scale,
        "angle": angle + does(SPINS) * turning * moment,
    }  # each (B, T); an object that blinks waits outside the picture
    rows = torch.arange(batch, device=device).repeat_interleave(frames)
    flat = scenes[rows]  # (B * T, ...)
    changed = {name: getattr(flat, name).clone() for name in first}
    for name, value in first.items():
        changed[name][:, 0] = value.flatten()
    return replace(flat, **changed)


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
    return draw_scenes(moments, look[rows]).unflatten(0, (len(scenes), frames))

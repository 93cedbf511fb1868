"""The freeze ledger tells what happened to a model's parameters, whatever was meant."""

import pytest
import torch
from torch import nn

from minilmm.training.ledger import fingerprints, ledger


def model():
    torch.manual_seed(0)
    parts = nn.Module()
    parts.eyes, parts.lm = nn.Sequential(nn.Linear(3, 4)), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    parts.lm.register_parameter("scale", nn.Parameter(torch.tensor(2.0)))  # a number by itself
    parts.lm.requires_grad_(False)
    return parts


def step(parts, optimiser):
    parts.lm(parts.eyes(torch.ones(5, 3))).square().mean().backward()
    optimiser.step()


def test_a_frozen_part_has_no_gradient_and_keeps_every_byte():
    parts = model()
    before = fingerprints(parts)
    step(parts, torch.optim.SGD(parts.parameters(), lr=0.1))
    lines = ledger(parts, before, depth=1)
    assert [(line.part, line.parameters, line.changed) for line in lines] == [("eyes", 16, True), ("lm", 31, False)]
    assert lines[0].gradient > 0 and lines[1].gradient is None
    assert [line.part for line in ledger(parts, before)] == ["eyes.0", "lm", "lm.0", "lm.1"]


def test_it_sees_what_requires_grad_does_not_say():
    parts = model()
    before = fingerprints(parts)
    with torch.no_grad():
        parts.lm[1].weight[0, 0] += 1e-7 + parts.lm[1].weight[0, 0].abs() * 1e-6  # "frozen", and changed all the same
    assert [line.part for line in ledger(parts, before) if line.changed] == ["lm.1"]


def test_another_models_fingerprints_are_refused():
    with pytest.raises(ValueError, match="no fingerprint of eyes"):
        ledger(model(), {})

"""Runs of every kind are opened in one way: the model, its tokenizer, the card, and what it takes to ask."""

import pytest
import torch

from minilmm.checkpoints.opening import load, open_run
from minilmm.checkpoints.saving import CheckpointError
from minilmm.interface.document import Image, Text, collate
from minilmm.interface.tokenizer import EOC
from minilmm.training import blip2
from minilmm.training.recipes import Blip2Recipe, Optimisation


@pytest.mark.parametrize("name", ["lm-nano", "frozen-nano", "blip2-t5-nano"])
def test_a_run_is_opened_as_it_is_loaded(name):
    model, tokenizer, card = run = open_run(name)
    again, same = load(name)
    assert run.model is model and run.tokenizer is tokenizer and card == same and not model.training
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_a_run_is_asked_through_its_reader():
    run = open_run("frozen-nano")
    pictures = list(torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0)))
    batch = run.reader.batch("<image> dax . <EOC> <image>", pictures)
    document = [Image(pictures[0]), Text(f"dax . {EOC}"), Image(pictures[1])]
    expected = collate([document], run.tokenizer)
    assert torch.equal(batch.ids, expected.ids) and torch.equal(batch.media, expected.media)
    answer = run.reader.encode("dax")
    assert answer == run.tokenizer.encode("dax . <EOC>") and run.reader.stop == (answer[-1],)
    assert run.reader.decode(torch.tensor([*answer, *answer])) == "dax ."


def test_stage_2_between_real_models_goes_on_from_such_a_run_alone():
    recipe = Blip2Recipe(Optimisation(1, lr=1e-3), stage=2, start="blip2-nano/stage1", views=4)
    with pytest.raises(CheckpointError, match="is no stage 1 of BLIP-2 between real models"):
        blip2.compose(recipe)

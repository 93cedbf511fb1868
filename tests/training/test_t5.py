"""Pretraining of the encoder-decoder: where documents are cut, and that a tiny one trains and comes back."""

from dataclasses import replace

import torch

from minilmm.checkpoints.opening import load
from minilmm.language.encdec import EncDecConfig
from minilmm.training import t5
from minilmm.training.loop import train
from minilmm.training.prepare import prepare
from minilmm.world.corpus import sample_text
from minilmm.world.vocabulary import ids, tokenizer


def test_documents_are_cut_behind_answers_or_anywhere(generator):
    text, known = sample_text(200, 48, generator)
    colon, answer = int(ids(":")), int(ids("answer"))
    batch = t5.cut(text, known, generator, answers=1.0)
    first = batch.loss_mask.int().argmax(1)
    asks = ((text[:, 1:-1] == colon) & (text[:, :-2] == answer) & (text[:, 2:] != 0)).any(1)
    before = text.gather(1, first[:, None] - 1)[:, 0]
    assert int(asks.sum()) > 20 and bool((before[asks] == colon).all())
    assert bool((first >= 1).all()) and bool(batch.loss_mask.any(1).all())
    assert not (batch.loss_mask & (text == 0)).any()
    behind = torch.arange(48) >= first[:, None]
    some = (known & behind).any(1, keepdim=True)
    assert torch.equal(batch.loss_mask, behind & (text != 0) & (known | ~some))  # what can be known, where anything can
    spread = t5.cut(text, known, generator, answers=0.0).loss_mask.int().argmax(1)
    assert int(spread.min()) < 6 and int(spread.max()) > 40


def test_a_tiny_one_trains_and_comes_back(tmp_path):
    recipe = t5.preset("nano")
    model = EncDecConfig(len(tokenizer()), width=16, layers=1, heads=2, hidden=16)
    recipe = replace(recipe, model=model, tokens=200, optimisation=replace(recipe.optimisation, steps=2))
    made = train(prepare(recipe), tmp_path)
    again, card = load(tmp_path)
    assert card["kind"] == "t5" and 0 <= card["metrics"]["vqa_0shots"] <= 1
    for name, p in made.state_dict().items():
        assert torch.equal(p, again.state_dict()[name])

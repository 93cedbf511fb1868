"""The text encoder of masked words: what is masked, that it learns, and that a Q-Former begins as it."""

from dataclasses import replace

import pytest
import torch

from minilmm.checkpoints.opening import load
from minilmm.nn.qformer import MaskedLM, QFormer, QFormerConfig, begin_as_text
from minilmm.training import bert, blip2
from minilmm.training.loop import train
from minilmm.training.prepare import prepare

SIZES = {"width": 16, "layers": 2, "heads": 2, "hidden": 32}
TINY = replace(bert.preset("nano"), model=replace(bert.NANO, **SIZES), rows=8)


def test_words_are_masked_as_in_bert(generator):
    recipe = replace(TINY, rows=400)
    read, text, wanted = bert.sample(recipe, generator, 0)
    real = text > 1
    assert not bool((wanted & ~real).any()) and bool((read == text)[~wanted].all())
    assert float(wanted[real].float().mean()) == pytest.approx(0.15, abs=0.01)
    masked, same = (read == bert.WORDS)[wanted].float().mean(), (read == text)[wanted].float().mean()
    assert float(masked) == pytest.approx(0.8, abs=0.02) and float(same) == pytest.approx(0.1, abs=0.02)
    assert int(text.max()) < bert.WORDS and read.shape[1] == recipe.model.context


def test_a_word_is_said_from_both_sides(generator):
    """One batch is learned by heart, which takes the words behind the mask: those in front are all alike."""
    torch.manual_seed(0)
    model = MaskedLM(replace(TINY.model, **SIZES))
    ids = torch.tensor([[1, 20, 30], [1, 20, 31], [1, 20, 32], [1, 20, 33]])
    ids[:, 1] = torch.tensor([40, 41, 42, 43])
    read = ids.clone()
    read[:, 1] = bert.WORDS
    wanted = read != ids
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        bert.loss_of(model, read, ids, wanted).backward()
        optimizer.step()
    assert model(read, ids != 0, wanted).argmax(-1).tolist() == [40, 41, 42, 43]
    padded = torch.nn.functional.pad(read, (0, 2))
    torch.testing.assert_close(model(padded, padded != 0, padded == bert.WORDS), model(read, ids != 0, wanted))


def test_it_trains_comes_back_and_a_qformer_begins_as_it(tmp_path):
    made = train(prepare(replace(TINY, optimisation=replace(TINY.optimisation, steps=2))), tmp_path / "bert")
    again, card = load(tmp_path / "bert")
    assert card["kind"] == "bert" and 0 <= card["metrics"]["masked words"] <= 1
    state = made.qformer.state_dict()
    assert all(torch.equal(p, again.qformer.state_dict()[name]) for name, p in state.items())
    assert not any("cross" in name or "ffw_query" in name for name in state)
    begun, fresh = (QFormer(QFormerConfig(24, bert.WORDS + 1, **SIZES, context=made.config.context)) for _ in range(2))
    queries = begun.query_tokens.clone()
    begin_as_text(begun, again.qformer)
    text = torch.randint(5, 90, (3, 7))
    torch.testing.assert_close(begun(ids=text)[1], made.qformer(ids=text)[1])
    assert not torch.allclose(fresh(ids=text)[1], begun(ids=text)[1])
    assert torch.equal(begun.query_tokens, queries)
    assert torch.equal(begun.blocks[0].ffw_query.up.weight, begun.blocks[0].ffw_text.up.weight)
    with pytest.raises(ValueError, match="cannot begin"):
        begin_as_text(QFormer(QFormerConfig(24, 50, **SIZES)), again.qformer)


def test_stage_1_begins_as_a_text_encoder_or_at_random(tmp_path):
    recipe = replace(bert.preset("nano"), rows=2, optimisation=replace(TINY.optimisation, steps=1))
    made = train(prepare(recipe), tmp_path / "bert")
    first = replace(blip2.preset("quick", 1), text=str(tmp_path / "bert"))
    begun, random = (blip2.compose(replace(first, text=text))[0] for text in (first.text, ""))
    assert torch.equal(begun.qformer.words.weight, made.qformer.words.weight)
    assert torch.equal(begun.vision_proj.weight, random.vision_proj.weight)  # nothing else is drawn otherwise
    assert not torch.equal(random.qformer.words.weight, made.qformer.words.weight)

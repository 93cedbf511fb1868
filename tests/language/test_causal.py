"""The causal LM: parity with transformers, caches, padding, causality."""

import pytest
import torch
from tiny import assert_near, tiny_lm

from minilmm.interface.document import Batch
from minilmm.interface.model import Cache, Keep
from minilmm.language import CausalLM, LMConfig
from minilmm.world.vocabulary import tokenizer


@pytest.mark.parametrize("kv_heads, tied", [(4, False), (2, True), (1, False)])
def test_parity_with_llama(kv_heads, tied):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=60,
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=kv_heads,
            intermediate_size=48,
            rms_norm_eps=1e-6,
            tie_word_embeddings=tied,
            initializer_range=0.3,
        )
    )
    ours = CausalLM(LMConfig(60, 32, 3, 4, kv_heads, 48, tied=tied))
    state = {k.removeprefix("model."): v.clone() for k, v in theirs.state_dict().items()}
    ours.load_state_dict(state)
    ids = torch.randint(1, 60, (3, 17))
    a, b = ours(ids), theirs(ids).logits
    assert_near(a, b)
    assert a.std() > 0.1  # not trivially zero
    a.square().mean().backward()
    b.square().mean().backward()
    for name, parameter in theirs.named_parameters():
        mine = ours.get_parameter(name.removeprefix("model."))
        assert_near(mine.grad, parameter.grad, 1e-4)


@pytest.mark.parametrize(
    "changes", [{}, {"smear": 0}, {"smear": 2, "kv_heads": 4}, {"positions": "learned", "context": 64}]
)
def test_cached_equals_uncached_and_padding_changes_nothing(changes):
    lm = tiny_lm(**changes)
    ids = torch.randint(5, 100, (3, 12))
    whole = lm(ids)
    cache = Cache()
    steps = torch.cat([lm.step(ids[:, a:b], cache) for a, b in ((0, 5), (5, 6), (6, 7), (7, 12))], 1)
    assert_near(steps, whole)
    padded = torch.cat([torch.zeros(3, 4, dtype=torch.long), ids], 1)
    assert_near(lm(Batch.of(padded))[:, 4:], whole)
    right = torch.cat([ids, torch.zeros(3, 3, dtype=torch.long)], 1)
    assert_near(lm(Batch.of(right))[:, :12], whole)
    last, cache = lm.prefill(Batch.of(padded))
    assert_near(last, whole[:, -1])
    more = torch.randint(5, 100, (3, 2))
    assert_near(lm.step(more, cache), lm(torch.cat([ids, more], 1))[:, -2:])


def test_no_token_sees_the_future():
    lm = tiny_lm()
    ids = torch.randint(5, 100, (1, 10))
    other = ids.clone()
    other[0, 6] = 101
    difference = (lm(ids) - lm(other)).abs().amax(-1)[0]
    assert (difference[:6] == 0).all() and (difference[6:] > 0).all()


def test_maps_are_the_attention_that_is_used():
    lm = tiny_lm()
    ids, maps = torch.randint(5, 100, (2, 9)), []
    assert_near(lm(ids, Keep(maps)), lm(ids))
    assert len(maps) == 2 and maps[0].shape == (2, 4, 9, 9)
    assert_near(maps[0].sum(-1), torch.ones(2, 4, 9))
    assert (maps[0].triu(1) == 0).all()


def test_errors_and_vocabulary():
    with pytest.raises(ValueError, match="rope"):
        CausalLM(LMConfig(10, positions="nothing"))
    lm = tiny_lm(positions="learned", context=8)
    with pytest.raises(ValueError, match="beyond the context of 8"):
        lm(torch.randint(5, 100, (1, 9)))
    assert lm.config.vocab_size == len(tokenizer())

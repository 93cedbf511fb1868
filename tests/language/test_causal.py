"""The causal LM: parity with transformers, caches, padding, causality."""

import pytest
import torch
from tiny import assert_near, tiny_lm

from minilmm.interface.document import Batch
from minilmm.interface.model import Cache, Keep
from minilmm.language import CausalLM, LMConfig
from minilmm.nn.attention import attend
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


def test_attend_against_a_loop():
    q, k, v = torch.randn(1, 4, 5, 8), torch.randn(1, 2, 5, 8), torch.randn(1, 2, 5, 8)
    out = attend(q, k, v, causal=True)
    for head in range(4):
        for i in range(5):
            weights = torch.stack([q[0, head, i] @ k[0, head // 2, j] / 8**0.5 for j in range(i + 1)]).softmax(0)
            expected = sum(w * v[0, head // 2, j] for j, w in enumerate(weights))
            assert_near(out[0, head, i], expected)


def test_smear_reaches_exactly_its_window():
    """With one layer, the key at position p holds the words p-3 .. p: a change of word p-4 leaves it alone."""
    lm = tiny_lm(layers=1, positions="learned", context=32)
    attention = lm.layers[0].self_attn
    x = torch.randn(1, 8, attention.q_proj.in_features)
    changed = x.clone()
    changed[0, 2] += 1

    def keys(states):
        return attention._smeared(torch.cat([attention.q_proj(states), attention.k_proj(states)], -1), None)

    moved = (keys(x) - keys(changed)).abs().amax(-1)[0] > 0
    assert moved.tolist() == [False, False, True, True, True, True, False, False]


def test_score_is_the_sum_of_log_probabilities():
    lm = tiny_lm()
    prompt = torch.tensor([[0, 0, 1, 7, 8], [1, 9, 10, 11, 12]])
    options = torch.randint(5, 100, (2, 3, 4))
    mask = torch.ones(2, 3, 4, dtype=torch.bool)
    mask[:, 1, 2:] = False
    scores = lm.score(Batch.of(prompt), options, mask)
    for b in range(2):
        real = prompt[b][prompt[b] != 0]
        for c in range(3):
            tail = options[b, c][mask[b, c]]
            logits = lm(torch.cat([real, tail])[None])[0].log_softmax(-1)
            expected = sum(logits[len(real) - 1 + i, t] for i, t in enumerate(tail))
            assert_near(scores[b, c], expected, 1e-4)


def test_generate_stops_and_pads():
    lm = tiny_lm()
    prompt = Batch.of(torch.tensor([[1, 7, 8, 9]]))
    free = lm.generate(prompt, 6, stop=-1)[0]
    stopped = lm.generate(prompt, 6, stop=int(free[2]))[0]
    first = free.tolist().index(int(free[2]))
    assert stopped[: first + 1].tolist() == free[: first + 1].tolist() and (stopped[first + 1 :] == 0).all()


def test_errors_and_vocabulary():
    with pytest.raises(ValueError, match="rope"):
        CausalLM(LMConfig(10, positions="nothing"))
    lm = tiny_lm(positions="learned", context=8)
    with pytest.raises(ValueError, match="beyond the context of 8"):
        lm(torch.randint(5, 100, (1, 9)))
    assert lm.config.vocab_size == len(tokenizer())

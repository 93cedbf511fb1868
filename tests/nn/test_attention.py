"""Attention against a slow loop, and how far smeared keys reach."""

import torch
from tiny import assert_near, tiny_lm

from minilmm.nn.attention import attend


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

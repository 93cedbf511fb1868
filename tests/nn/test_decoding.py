"""Scores and continuations against the model's own log-probabilities."""

import torch
from tiny import assert_near, tiny_lm

from minilmm.interface.document import Batch


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

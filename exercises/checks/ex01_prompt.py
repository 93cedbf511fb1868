"""Checks of exercise 01. Tokens: 1 <bos>, 3 <image>, 4 <EOC>; words have ids of 10 and more."""

import torch

from minilmm.course.checking import check, equal, generator, refuses


@check(
    points=1,
    stage="shape",
    hint="The loop over demonstrations may run no times at all; the query's tag ends the prompt.",
)
def zero_shots(ex):
    """Zero shots: <bos> and the query's picture."""
    equal(ex.build_prompt([], 7, []), ([1, 3], [7]), "build_prompt([], 7, [])")


@check(points=2, stage="values", hint="Each demonstration is <image>, its words, <EOC>.")
def a_demonstration(ex):
    """A demonstration is its tag, its words, and <EOC>."""
    ids, _ = ex.build_prompt([(5, [10, 11]), (8, [12])], 2, [0, 1])
    equal(ids[:8], [1, 3, 10, 11, 4, 3, 12, 4], "the first eight ids of two demonstrations")


@check(
    points=2, stage="values", hint="order says which demonstration stands at each place, for words and pictures alike."
)
def the_order(ex):
    """Words and pictures both follow the given order."""
    g = generator()
    shots = [(20 + i, [100 + i]) for i in range(5)]
    order = torch.randperm(5, generator=g).tolist()
    while order == [order.index(i) for i in range(5)] or order == list(range(5)):  # no inverse, no identity
        order = torch.randperm(5, generator=g).tolist()
    ids, pictures = ex.build_prompt(shots, 9, order)
    words = [i for i in ids if i >= 10]
    equal(
        (words, pictures),
        ([100 + i for i in order], [20 + i for i in order] + [9]),
        f"words and pictures, order {order}",
    )


@check(
    points=1, stage="values", hint="Look for the query's number among the demonstrations' pictures before you begin."
)
def no_answer_in_the_prompt(ex):
    """A query that is among its own demonstrations is refused."""
    refuses(lambda: ex.build_prompt([(5, [10]), (8, [12])], 8, [0, 1]), "build_prompt with the query's picture shown")

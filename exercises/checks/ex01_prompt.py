"""Checks of exercise 01. Tokens: 1 <bos>, 3 <image>, 4 <EOC>; words have ids of 10 and more. Oracle: written out."""

import torch

from minilmm.course.checking import check, equal, generator, refuses


def drawn(salt, count):
    """Demonstrations of other pictures than the query's, each with one word more than the one before, and an order."""
    g = generator(salt)
    query, *pictures = (20 + torch.randperm(80, generator=g)[: count + 1]).tolist()
    shots = [(p, torch.randint(10, 20, (i + 1,), generator=g).tolist()) for i, p in enumerate(pictures)]
    order = torch.randperm(count, generator=g).tolist()
    while order == [order.index(i) for i in range(count)]:  # neither an inverse nor as given
        order = torch.randperm(count, generator=g).tolist()
    return shots, query, order


@check(
    points=1,
    stage="shape",
    hint="The loop over demonstrations may run no times at all; the query's tag ends the prompt.",
)
def zero_shots(ex):
    """Zero shots: <bos> and the query's picture."""
    for query in torch.randint(5, 1000, (2,), generator=generator()).tolist():
        equal(ex.build_prompt([], query, []), ([1, 3], [query]), f"build_prompt([], {query}, [])")


@check(points=1, stage="values", hint="Each demonstration is <image>, its words, <EOC>.")
def a_demonstration(ex):
    """A demonstration is its tag, all its words, and <EOC>."""
    shots, query, _ = drawn(1, 4)
    ids, _ = ex.build_prompt(shots, query, [0, 1, 2, 3])
    expected = [1] + [i for _, words in shots for i in [3, *words, 4]]
    equal(ids[: len(expected)], expected, "the ids of four demonstrations in their own order")


@check(
    points=1, stage="values", hint="order says which demonstration stands at each place, for words and pictures alike."
)
def the_order(ex):
    """Words and pictures both follow the given order."""
    shots, query, order = drawn(2, 5)
    ids, pictures = ex.build_prompt(shots, query, order)
    words = [word for place in order for word in shots[place][1]]
    told = ([i for i in ids if i >= 10], pictures)
    equal(told, (words, [shots[place][0] for place in order] + [query]), f"words and pictures, order {order}")


@check(points=2, stage="values", hint="<bos>, then <image>, words, <EOC> for each place in the order, then <image>.")
def whole_prompts(ex):
    """Whole prompts: ids and pictures, from <bos> to the query's tag."""
    for count in (3, 6):
        shots, query, order = drawn(count, count)
        shots[-1] = (shots[0][0], [query, 17, 17])  # pictures and words may come twice, a word have a picture's number
        ids, pictures = [1], []
        for place in order:
            ids += [3, *shots[place][1], 4]
            pictures.append(shots[place][0])
        equal(ex.build_prompt(shots, query, order), ([*ids, 3], [*pictures, query]), f"a prompt of {count} shots")


@check(
    points=1, stage="values", hint="Look for the query's number among the demonstrations' pictures before you begin."
)
def no_answer_in_the_prompt(ex):
    """A query that is among its own demonstrations is refused, wherever it stands; another query is not."""
    shots, query, order = drawn(7, 5)
    _, pictures = ex.build_prompt(shots, query, order)
    equal(sorted(pictures), sorted([query] + [p for p, _ in shots]), "the pictures of a prompt, sorted")
    for place in (0, 2, 3):
        refuses(
            lambda p=place: ex.build_prompt(shots, shots[p][0], order), f"the query is picture {place} that is shown"
        )
    last = [*shots, (query, [12])]
    refuses(lambda: ex.build_prompt(last, query, [*order, 5]), "the query is the last picture that is shown")

"""Checks of exercise 20. Oracles: prompts by hand, and a loop that reads everything anew."""

import torch

from minilmm.course.checking import check, close, equal, generator, refuses


@check(points=3, stage="values", hint="Two examples lose picture and tag; the query keeps both.")
def the_prompt(ex):
    """Two examples in words alone, then the query with its picture."""
    ids, pictures = ex.zero_shot([(7, [60, 61]), (8, [62])], 9, [50, 51])
    expected = [[1, 60, 61, 4, 62, 4, 3, 50, 51], [9]]
    equal([ids, pictures], expected, "ids and pictures of (7, a b), (8, c), then 9 and its question")


@check(points=1, stage="values", hint="Take the first two of however many come.")
def two_of_many(ex):
    """Of four examples the first two are used."""
    examples = [(7, [60, 61]), (8, [62]), (5, [63]), (6, [64, 65])]
    got, expected = ex.zero_shot(examples, 9, [50]), ex.zero_shot(examples[:2], 9, [50])
    equal(list(got), list(expected), "the prompt from four examples, from your own for the first two")


@check(points=1, stage="shape", hint="One example alone is worse than none: refuse it.")
def too_few(ex):
    """One example is refused."""
    refuses(lambda: ex.zero_shot([(7, [60])], 9, [50]), "a zero-shot prompt from one example")


@check(points=2, stage="mask", hint="Repeat the last column: a row's last token looks at its last picture.")
def new_tokens_look(ex):
    """Appended tokens look at the last picture of their own row."""
    prompt = torch.tensor([[1, 3, 60, 4, 3, 50], [1, 60, 4, 3, 50, 51], [1, 60, 4, 61, 4, 50]])
    expected = torch.tensor([[0, 1, 1, 1, 2, 2, 2, 2], [0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0, 0]])
    equal(ex.looks(prompt, 2), expected, "pages of 2, 1 and 0 pictures, and two tokens more")


def page(L, salt):
    """Words, which picture they look at, and pictures: rows that end at picture 2, at picture 1, and at none."""
    g = generator(salt)
    phi = torch.tensor([[0, 1, 1, 2, 2], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]])
    return torch.randn(3, L, 4, generator=g), phi, 2 * torch.randn(3, 3, 4, generator=g)


@check(points=2, stage="values", hint="The cache needs the sum of all states so far, how many they are, and a picture.")
def as_without_cache(ex):
    """A token behind the prompt gets what reading everything anew would give it."""
    words, phi, media = page(6, 0)
    expected = torch.zeros(3, 1, 4)
    for b, last in enumerate([2, 1, 0]):
        for i, picture in enumerate([*phi[b].tolist(), last]):
            expected[b, 0] += (words[b, i] + (media[b, picture - 1] if picture else 0)) / 6
    got, _ = ex.step(words[:, 5:], ex.prefill(words[:, :5], phi, media))
    close(got, expected, "the output of the sixth token, behind a prompt of five")


@check(points=1, stage="values", hint="What comes back must hold the new tokens too, and the picture still.")
def token_by_token(ex):
    """Three tokens, one by one, get what they get together."""
    words, phi, media = page(8, 1)
    cache = ex.prefill(words[:, :5], phi, media)
    together, _ = ex.step(words[:, 5:], cache)
    alone = []
    for i in range(5, 8):
        out, cache = ex.step(words[:, i : i + 1], cache)
        alone.append(out)
    close(torch.cat(alone, 1), together, "three tokens one by one, from your own three together")

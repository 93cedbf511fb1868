"""Checks of exercise 20. Oracles: prompts by hand, and a loop that reads everything anew."""

import torch

from minilmm.course.checking import Wrong, check, equal, generator, refuses, same


def drawn(salt, count):
    """Examples with one to four words each, a query and a question: no number occurs twice."""
    g = generator(salt)
    sizes = torch.randint(1, 5, (count + 1,), generator=g).tolist()
    numbers = iter((50 + torch.randperm(900, generator=g)).tolist())
    examples = [(next(numbers), [next(numbers) for _ in range(size)]) for size in sizes[1:]]
    return examples, next(numbers), [next(numbers) for _ in range(sizes[0])]


@check(points=3, stage="values", hint="Two examples lose picture and tag; the query keeps both.")
def the_prompt(ex):
    """Two examples in words alone, then the query with its picture."""
    ids, pictures = ex.zero_shot([(7, [60, 61]), (8, [62])], 9, [50, 51])
    expected = [[1, 60, 61, 4, 62, 4, 3, 50, 51], [9]]
    equal([ids, pictures], expected, "ids and pictures of (7, a b), (8, c), then 9 and its question")
    for salt in (1, 2, 3):
        examples, query, question = drawn(salt, 2)
        ids, pictures = ex.zero_shot(examples, query, question)
        expected = [[1, *examples[0][1], 4, *examples[1][1], 4, 3, *question], [query]]
        equal([ids, pictures], expected, f"ids and pictures of {examples}, then {query} and {question}")


@check(points=1, stage="values", hint="Take the first two of however many come.")
def two_of_many(ex):
    """Of four examples the first two are used."""
    for salt, count in ((4, 4), (5, 3), (6, 7)):
        examples, query, question = drawn(salt, count)
        expected = ex.zero_shot(examples[:2], query, question)
        if examples[0][1][0] not in expected[0]:
            raise Wrong("the prompt from two examples", "one that holds their words", str(expected[0]))
        got = ex.zero_shot(examples, query, question)
        equal(list(got), list(expected), f"the prompt from {count} examples, from your own for the first two")


@check(points=1, stage="shape", hint="One example alone is worse than none: refuse it.")
def too_few(ex):
    """One example is refused, and none; two are not."""
    examples, query, question = drawn(7, 2)
    for few in (1, 0):
        refuses(lambda few=few: ex.zero_shot(examples[:few], query, question), f"a prompt from {few} examples")
    ids, _ = ex.zero_shot(examples, query, question)
    equal(all(word in ids for word in question), True, "does the prompt from two examples hold the question?")


@check(points=2, stage="mask", hint="Repeat the last column: a row's last token looks at its last picture.")
def new_tokens_look(ex):
    """Appended tokens look at the last picture of their own row."""
    prompt = torch.tensor([[1, 3, 60, 4, 3, 50], [1, 60, 4, 3, 50, 51], [1, 60, 4, 61, 4, 50]])
    expected = torch.tensor([[0, 1, 1, 1, 2, 2, 2, 2], [0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0, 0]])
    equal(ex.looks(prompt, 2), expected, "pages of 2, 1 and 0 pictures, and two tokens more")
    g = generator(8)
    for B, L, new in ((4, 7, 1), (2, 9, 5), (1, 5, 3)):
        rows = torch.where(torch.rand(B, L, generator=g) < 0.4, 3, torch.randint(50, 70, (B, L), generator=g)).tolist()
        expected = [[row[: i + 1].count(3) for i in range(L)] + [row.count(3)] * new for row in rows]
        equal(ex.looks(torch.tensor(rows), new), torch.tensor(expected), f"{B} random pages, and {new} tokens more")


def page(L, new, salt):
    """Words, which picture the first L look at, and pictures: rows that end at picture 2, at picture 1, and at none."""
    g = generator(salt)
    ends = torch.tensor([[2], [1], [0]])
    phi = (torch.rand(3, L, generator=g).sort(1).values * 3).long().minimum(ends)
    phi[:, -1:] = ends
    return torch.randn(3, L + new, 4, generator=g), phi, 2 * torch.randn(3, 5, 4, generator=g)


def decoded(ex, words, phi, media, sizes, upstream):
    """Outputs of the tokens behind a prompt, some at a time; gradients of words and media; numbers in each cache."""
    import torch

    words, media = words.requires_grad_(True), media.requires_grad_(True)
    place, outputs = phi.shape[1], []
    cache = ex.prefill(words[:, :place], phi, media)
    held = [sum(t.numel() for t in cache.values() if isinstance(t, torch.Tensor))]
    for size in sizes:
        out, cache = ex.step(words[:, place : place + size], cache)
        outputs.append(out)
        place += size
        held.append(sum(t.numel() for t in cache.values() if isinstance(t, torch.Tensor)))
    out = torch.cat(outputs, 1)
    slopes = [None, None]
    if out.requires_grad:
        slopes = torch.autograd.grad((out * upstream).sum(), [words, media], allow_unused=True)
    return [out, *slopes, held]


def compared(ex, L, sizes, salt, what):
    """Outputs and gradients behind a prompt of L, against a loop that reads everything anew; what each cache held."""
    words, phi, media = page(L, sum(sizes), salt)
    upstream = torch.randn(3, sum(sizes), 4, generator=generator(salt + 50))
    *came, held = ex.run(decoded, words, phi, media, sizes, upstream)
    words, media = words.requires_grad_(True), media.requires_grad_(True)
    rows = []
    for b, looks in enumerate(phi.tolist()):
        looks += looks[-1:] * sum(sizes)
        states = [words[b, i] + (media[b, p - 1] if p else 0) for i, p in enumerate(looks)]
        rows.append(torch.stack([sum(states[: i + 1]) / (i + 1) for i in range(L, len(states))]))
    expected = torch.stack(rows)
    slopes = torch.autograd.grad((expected * upstream).sum(), [words, media])
    for value, wanted, told in zip(came, [expected.detach(), *slopes], ("outputs", "words", "media"), strict=True):
        same(value, wanted, what if told == "outputs" else f"the gradient of {told}: {what}")
    return held


@check(points=2, stage="values", hint="The cache needs the sum of all states so far, how many they are, and a picture.")
def as_without_cache(ex):
    """A token behind the prompt gets what reading everything anew would give it, gradients too."""
    for L in (5, 1, 8):
        compared(ex, L, [1], 10 + L, f"the output of one token, behind a prompt of {L}")


@check(points=1, stage="values", hint="What comes back must hold the new tokens too, and the picture still.")
def token_by_token(ex):
    """Tokens one by one, or some at a time, get the same; and no cache grows."""
    held = []
    for L, sizes in ((5, [1, 1, 1]), (2, [3]), (20, [2, 1, 3])):
        held += compared(ex, L, sizes, 20 + L, f"tokens behind a prompt of {L}, {sizes} at a time")
    words, phi, media = page(5, 2, 30)
    cache = ex.prefill(words[:, :5], phi, media)
    first, _ = ex.step(words[:, 5:], cache)  # by a plain call, which must leave the cache as it is
    same(ex.step(words[:, 5:], cache)[0], first, "two continuations of one prompt")
    if max(held) - min(held) >= 12:  # the numbers of one token in three rows
        raise Wrong("how many numbers each cache holds, behind prompts of 2 to 20", "as many always", str(held))

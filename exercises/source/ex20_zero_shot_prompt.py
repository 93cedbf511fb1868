"""Flamingo's prompt for zero shots (appendix A.2), and decoding behind pictures with a cache (section 2.3)."""

import torch
from ex15_media_mask import last_image  # the reference's, unless graded with --chain
from torch import Tensor
from torch.nn import functional as F

BOS, IMAGE, EOC = 1, 3, 4
Cache = dict[str, Tensor]


def zero_shot(examples: list[tuple[int, list[int]]], query: int, question: list[int]) -> tuple[list[int], list[int]]:
    """The token ids of a zero-shot prompt, and the pictures that belong to its tags.

    The paper's zero shots are no empty prompt: the words of two examples show the form of the task, while their
    pictures are taken away, tags and all. (The authors found one such example highly detrimental.)

    examples: (number of a picture, ids of the words that go with it), of which the first two are used; query: the
    number of the picture that is asked about; question: ids of words behind the query's picture, such as "Output :".

    -> ids: <bos>, the words of the first example, <EOC>, those of the second, <EOC>, <image>, the question.
    -> pictures: the pictures' numbers in the order of their tags.
    ValueError where there are fewer than two examples.
    """
    # BEGIN SOLUTION
    if len(examples) < 2:
        raise ValueError(f"{len(examples)} examples for a zero-shot prompt: give two, whose pictures are taken away")
    ids = [BOS]
    for _, words in examples[:2]:
        ids += [*words, EOC]
    return [*ids, IMAGE, *question], [query]
    # END SOLUTION


def looks(prompt: Tensor, new: int) -> Tensor:
    """Which picture each token looks at once `new` tokens of text are appended: ids (B, L) -> (B, L + new).

    The prompt's tokens: exercise 15. What is appended looks at the last picture of its own row, at none if the row has
    none. Rows have no padding.
    """
    # BEGIN SOLUTION
    phi = last_image(prompt)
    return torch.cat([phi, phi[:, -1:].expand(-1, new)], 1)
    # END SOLUTION


def seen(phi: Tensor, media: Tensor) -> Tensor:
    """Given: the picture that each token looks at, 0 where phi is 0: phi (B, L), media (B, N, D) -> (B, L, D)."""
    return F.pad(media, (0, 0, 1, 0)).gather(1, phi[..., None].expand(-1, -1, media.shape[-1]))


def read(words: Tensor, phi: Tensor, media: Tensor) -> Tensor:
    """Given: a model as small as can be reads a whole text at once: words (B, L, D) -> outputs (B, L, D).

    A token's state is its word plus the picture that it looks at; its output is the mean of all states up to its own
    (attention that looks at all alike).
    """
    states = words + seen(phi, media)
    return states.cumsum(1) / torch.arange(1, words.shape[1] + 1)[:, None]


def prefill(words: Tensor, phi: Tensor, media: Tensor) -> Cache:
    """Read a prompt once: words (B, L, D), phi (B, L), media (B, N, D) -> a dictionary with what `step` needs.

    What is in it is up to you. Its tensors must not grow with L. Gradients go back through it to words and media.
    """
    # BEGIN SOLUTION
    L = words.shape[1]
    total = read(words, phi, media)[:, -1:] * L  # (B, 1, D): the sum of all states
    return {"total": total, "count": torch.tensor(L), "picture": seen(phi[:, -1:], media)}
    # END SOLUTION


def step(words: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
    """Append K tokens of text (B, K, D): their outputs (B, K, D), as if all had been read at once, and a new cache.

    Give back a new dictionary: the one that came in may be in use for another continuation of the same prompt. Its
    tensors do not grow either.
    """
    # BEGIN SOLUTION
    totals = cache["total"] + (words + cache["picture"]).cumsum(1)  # (B, K, D)
    counts = cache["count"] + torch.arange(1, words.shape[1] + 1)
    new = {"total": totals[:, -1:], "count": counts[-1], "picture": cache["picture"]}
    return totals / counts[:, None], new
    # END SOLUTION

"""How good a caption is: CIDEr over words, and F1 over what it says of the scene (in the place of SPICE).

In the mini-world a caption can be read exactly: which objects, which attributes, which relations.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from minilmm.world.vocabulary import ALL_SHAPES, COLOURS, NUMBERS, SIZES, TEXTURES

NGRAMS, SIGMA = 4, 6.0
Gram = tuple[str, ...]
Facts = set[tuple[str, ...]]


def ngrams(text: str) -> Counter[Gram]:
    """How often each run of one to four words occurs."""
    words = text.split()
    return Counter(tuple(words[i : i + n]) for n in range(1, NGRAMS + 1) for i in range(len(words) - n + 1))


def cider(said: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of every caption (Vedantam, Zitnick & Parikh 2015, section 3 and 4), as pycocoevalcap computes it.

    said: N captions; references: N lists of captions. Words stand apart by spaces. The weights of rare n-grams come
    from the references of all N, so a score depends on its company; 10 is the best that can be.
    ValueError: lists of different lengths, a caption without references, or a single one, where every weight is log 1.
    """
    if len(said) != len(references) or not all(references):
        raise ValueError(f"{len(said)} captions and {len(references)} lists of references: each needs at least one")
    if len(references) < 2:
        raise ValueError("CIDEr weighs n-grams over all pictures, so a single caption has no score: give several")
    counted = [[ngrams(text) for text in texts] for texts in references]
    documents = Counter(gram for texts in counted for gram in set().union(*texts))
    total = math.log(len(references))

    def weigh(counts: Counter[Gram]) -> tuple[dict[Gram, float], list[float], int]:
        """The weight of each n-gram, the length of the vector of each n, and how many words there are, less one."""
        weights = {gram: count * (total - math.log(max(1.0, documents[gram]))) for gram, count in counts.items()}
        norms = [math.sqrt(sum(w * w for gram, w in weights.items() if len(gram) == n)) for n in range(1, NGRAMS + 1)]
        return weights, norms, sum(count for gram, count in counts.items() if len(gram) == 2)

    def similarity(one: Counter[Gram], other: Counter[Gram]) -> float:
        (a, norms_a, length_a), (b, norms_b, length_b) = weigh(one), weigh(other)
        penalty, score = math.exp(-((length_a - length_b) ** 2) / (2 * SIGMA**2)), 0.0
        for n, norm in enumerate((x * y for x, y in zip(norms_a, norms_b, strict=True)), start=1):
            shared = sum(min(w, b[gram]) * b[gram] for gram, w in a.items() if len(gram) == n and gram in b)
            score += shared / norm * penalty if norm else 0.0
        return score / NGRAMS

    return [
        10 * sum(similarity(ngrams(text), other) for other in texts) / len(texts)
        for text, texts in zip(said, counted, strict=True)
    ]


def facts(text: str) -> Facts:
    """What a caption of the mini-world says: ("circle",), ("circle", "red"), ("circle", "left of", "star"), ...

    Attributes in front of a shape are its own; behind "is" they belong to the shape before.
    """
    words, found, last, relation, after_is = text.split(), set(), "", "", False
    pending: list[str] = []
    for i, word in enumerate(words):
        if word in ALL_SHAPES:
            found |= {(word,), *((word, value) for value in pending)}
            if relation:
                found.add((last, relation, word))
            last, pending, relation, after_is = word, [], "", False
        elif word in (*COLOURS, *TEXTURES, *SIZES):
            if after_is and last:
                found.add((last, word))
            else:
                pending.append(word)
        elif word == "is":
            after_is = True
        elif word in ("a", "an", "the"):
            after_is = False
        elif word in NUMBERS and words[i + 1 : i + 2] == ["shapes"]:
            found.add(("shapes", word))
        elif word in ("left", "right", "above", "below") and last:
            two = " ".join(words[i : i + 2])
            if word in ("above", "below") or two.endswith(" of"):
                relation = two if two.endswith(" of") else word
            elif words[i - 1] in ("top", "bottom"):
                found.add((last, f"{words[i - 1]} {word}"))
    return found


def scene_f1(said: str, references: Sequence[str]) -> float:
    """F1 of what a caption says against what its references say together, 0 to 1 (after SPICE, Anderson 2016)."""
    stated, true = facts(said), set().union(*map(facts, references))
    right = len(stated & true)
    return 2 * right / (len(stated) + len(true)) if right else 0.0


def scene_f1s(said: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """`scene_f1` of every caption."""
    return [scene_f1(text, texts) for text, texts in zip(said, references, strict=True)]


def invented(said: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """1 for every caption that names a shape which its references lack, else 0 (CHAIR_s, Rohrbach et al. 2018)."""
    shapes = [set(text.split()) & set(ALL_SHAPES) for text in said]
    true = [set(" ".join(texts).split()) for texts in references]
    return [float(bool(own - seen)) for own, seen in zip(shapes, true, strict=True)]

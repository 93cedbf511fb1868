"""When two answers are equal: the rules of VQA's own evaluation."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'  # without the colon, %, $, #, & and *, which mean something
ARTICLES = ("a", "an", "the")
NUMBERS = "zero one two three four five six seven eight nine ten"
DIGITS = {word: str(n) for n, word in enumerate(NUMBERS.split())} | {"none": "0"}
CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
    o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd somebody'd've somebody'll
    somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd
    there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll
    what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't
    would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
# By each of them without its apostrophe
CONTRACTIONS = {
    word[:i] + word[i + 1 :]: word for word in CONTRACTED.split() for i in range(len(word)) if word[i] == "'"
}


def normalise_answer(text: str) -> str:
    """An answer as the evaluation of VQA compares it (Antol et al. 2015), after special tokens are taken out.

    Lower case; a sign of `PUNCTUATION` goes where it stands beside a space, or where the text has a number like 1,000,
    and becomes a space elsewhere; a full stop goes unless a digit follows; number words become digits; articles go;
    forgotten apostrophes come back. An answer of articles alone stays ("a" can be what a picture says). Normalising
    twice is normalising once.
    """
    text = re.sub(r"<\w+>|[\n\t]", " ", text.lower()).replace("’", "'").strip()
    number = re.search(r"\d,\d", text) is not None
    beside = {p for p in PUNCTUATION if number or f"{p} " in text or f" {p}" in text}
    text = text.translate({ord(p): "" if p in beside else " " for p in PUNCTUATION})
    words = [DIGITS.get(word, word) for word in re.sub(r"\.(?!\d)", "", text).split()]
    kept = [word for word in words if word not in ARTICLES] or words
    return " ".join(CONTRACTIONS.get(word, word) for word in kept)


def exact_match(predictions: Sequence[str], references: Sequence[str]) -> Tensor:
    """Which predictions equal their reference after normalisation: (N,) of 0. and 1., ready for an interval.

    ValueError: lists of different lengths, or a reference of which normalisation leaves nothing.
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions for {len(references)} references: pass one for each")
    wanted = [normalise_answer(reference) for reference in references]
    if "" in wanted:
        raise ValueError(f"the reference {references[wanted.index('')]!r} is empty once normalised: name a word")
    return torch.tensor([float(normalise_answer(p) == w) for p, w in zip(predictions, wanted, strict=True)])

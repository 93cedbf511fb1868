"""Words to integers and back: the mini-world's word-level tokenizer, and the protocol that others meet."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

PAD, BOS, EOS, IMAGE, EOC = SPECIALS = ("<pad>", "<bos>", "<eos>", "<image>", "<EOC>")
PAD_ID, IMAGE_ID = SPECIALS.index(PAD), SPECIALS.index(IMAGE)  # in the mini-world's tokenizer, which begins with these
_PIECES = re.compile("|".join(map(re.escape, SPECIALS)) + r"|[a-z]+|[^\sa-z]")


class UnknownWords(ValueError):
    """A text holds words outside a closed vocabulary; `words` lists them."""

    def __init__(self, words: Sequence[str]):
        self.words = sorted(set(words))
        super().__init__(
            f"unknown words: {', '.join(self.words)}: the mini-world's vocabulary is closed "
            "(`minilmm show words` lists it)"
        )


class Tokenizer(Protocol):
    """What documents need of a tokenizer.

    Ours has it, and so does a `transformers` tokenizer to which `<image>` and `<EOC>` were added:
    `encode` must accept `add_special_tokens=False` and put nothing of its own around the text.
    """

    pad_token_id: int
    bos_token_id: int
    eos_token_id: int

    def __len__(self) -> int:
        """How many tokens there are."""
        ...

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Text to token ids."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Token ids to text."""
        ...

    def convert_tokens_to_ids(self, tokens: str) -> int:
        """The id of one token, special ones included."""
        ...


class WordTokenizer:
    """One id per word of a closed list; the five special tokens come first, `<pad>` is 0.

    Text is lower-cased; every character that is no letter is a token of its own ("what?" = "what", "?").
    The special tokens keep their case and are read from text: "<image> dax . <EOC>".
    """

    def __init__(self, words: Sequence[str]):
        self.words = [*SPECIALS, *words]
        self.index = {word: i for i, word in enumerate(self.words)}
        if len(self.index) != len(self.words):
            raise ValueError("the vocabulary names a word twice")
        self.pad_token_id, self.bos_token_id, self.eos_token_id, self.image_token_id, self.eoc_token_id = range(5)

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Text to ids; raises UnknownWords, which lists every word that the vocabulary lacks."""
        specials = re.compile(f"({'|'.join(map(re.escape, SPECIALS))})")
        lowered = "".join(part if part in SPECIALS else part.lower() for part in specials.split(text))
        pieces = _PIECES.findall(lowered)
        unknown = [piece for piece in pieces if piece not in self.index]
        if unknown:
            raise UnknownWords(unknown)
        return [self.index[piece] for piece in pieces]

    def decode(self, token_ids: Sequence[int]) -> str:
        """Ids to words joined by spaces; `<pad>` is left out."""
        return " ".join(self.words[int(i)] for i in token_ids if int(i) != self.pad_token_id)

    def convert_tokens_to_ids(self, tokens: str) -> int:
        """The id of one token; KeyError where the vocabulary lacks it."""
        return self.index[tokens]

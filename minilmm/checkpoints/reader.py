"""What a model needs to be asked: prompts with pictures become batches, answers become ids, and ids text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from minilmm.interface.document import Batch, Document, Image, Text, collate
from minilmm.interface.tokenizer import EOC, IMAGE


class Reader:
    """The reader of a mini-world run, or of a bridge between real models.

    tokenizer: the language model's. stop: the ids of which any ends an answer.
    """

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.stop: tuple[int, ...] = (tokenizer.convert_tokens_to_ids(EOC),)

    def batch(self, prompt: str, pictures: Sequence[Tensor]) -> Batch:
        """One prompt with an `<image>` for each picture (3, R, R) -> a batch of one document."""
        document: Document = []
        for i, part in enumerate(prompt.split(IMAGE)):
            document += [Image(pictures[i - 1])] if i else []
            document += [Text(part)] if part.strip() else []
        return collate([document], self.tokenizer)

    def encode(self, answer: str, end: str = f" . {EOC}") -> list[int]:
        """An answer that may follow a prompt, and what ends it, as ids."""
        return self.tokenizer.encode(f" {answer}{end}")

    def decode(self, ids: Tensor) -> str:
        """An answer (L,), up to its end, as text."""
        return self.tokenizer.decode(self.until_stop(ids)).strip()

    def until_stop(self, ids: Tensor) -> list[int]:
        """The ids (L,) in front of the first of `stop`."""
        return list(itertools.takewhile(lambda i: i not in self.stop, ids.tolist()))

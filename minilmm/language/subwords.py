"""Tokenizers of real models, which cut words into pieces, with the interface of our own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from minilmm.interface.tokenizer import BOS, EOC, EOS, IMAGE, PAD

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Pieces


class SubwordTokenizer:
    """A tokenizer of the `tokenizers` library, which neither cuts nor pads, and reads `<image>` and `<EOC>` as its last
    ids. Meets `minilmm.interface.tokenizer.Tokenizer`.

    pad, bos, eos: what the model calls these; `convert_tokens_to_ids` also knows them as `<pad>`, `<bos>` and `<eos>`,
    so that documents need not know whose tokenizer they are written in. KeyError where the model lacks one.
    """

    def __init__(self, pieces: Pieces, pad: str, bos: str, eos: str):
        pieces.no_truncation()
        pieces.no_padding()
        pieces.add_special_tokens([IMAGE, EOC])
        self.pieces, self.known_as = pieces, {PAD: pad, BOS: bos, EOS: eos}
        ids = [self.convert_tokens_to_ids(name) for name in (PAD, BOS, EOS, IMAGE, EOC)]
        self.pad_token_id, self.bos_token_id, self.eos_token_id, self.image_token_id, self.eoc_token_id = ids

    def __len__(self) -> int:
        return self.pieces.get_vocab_size()

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Text to ids, with nothing put around it unless asked for."""
        return self.pieces.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """Ids to text; padding is left out, other special tokens are not."""
        return self.pieces.decode([int(i) for i in token_ids if int(i) != self.pad_token_id], skip_special_tokens=False)

    def convert_tokens_to_ids(self, tokens: str) -> int:
        """The id of one token; KeyError where the vocabulary lacks it."""
        found = self.pieces.token_to_id(self.known_as.get(tokens, tokens))
        if found is None:
            raise KeyError(tokens)
        return found

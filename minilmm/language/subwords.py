"""Tokenizers of real models, which cut words into pieces, with the interface of our own."""

from __future__ import annotations

from collections.abc import Sequence

from minilmm.interface.tokenizer import BOS, EOC, EOS, IMAGE, PAD


class SubwordTokenizer:
    """A tokenizer of the `tokenizers` library, which neither cuts nor pads, and reads `<image>` and `<EOC>` as its last
    ids. Meets `minilmm.interface.tokenizer.Tokenizer`.

    text: its JSON. pad, bos, eos: what the model calls these; `convert_tokens_to_ids` also knows them as `<pad>`,
    `<bos>` and `<eos>`, so that documents need not know whose tokenizer they are written in. more: special tokens that
    are added in front of ours. KeyError where the model lacks one of the three.
    """

    def __init__(self, text: str, pad: str, bos: str, eos: str, more: Sequence[str] = ()):
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError:
            raise ModuleNotFoundError('the package tokenizers is missing: pip install "minilmm[real]"') from None
        self.pieces, self.known_as = Tokenizer.from_str(text), {PAD: pad, BOS: bos, EOS: eos}
        self.pieces.no_truncation()
        self.pieces.no_padding()
        self.pieces.add_special_tokens([*more, IMAGE, EOC])
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

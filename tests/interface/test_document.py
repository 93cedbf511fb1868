"""Documents, tokenizers and batches."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minilmm.interface.document import Batch, Image, Text, Video, collate, left_padded
from minilmm.interface.tokenizer import SPECIALS, UnknownWords
from minilmm.world.vocabulary import TEST_NAMES, TRAIN_NAMES, tokenizer

T = tokenizer()


@given(st.lists(st.sampled_from(T.words[1:]), max_size=12))
def test_round_trip(words):
    assert T.decode(T.encode(" ".join(words))) == " ".join(words)


def test_specials_first_and_case():
    assert T.words[:5] == list(SPECIALS) and T.encode("<EOC>") == [4]
    assert T.encode("What is it?") == T.encode("what is it ?")
    with pytest.raises(UnknownWords) as error:
        T.encode("a zorgon eats quickly")
    assert error.value.words == ["eats", "quickly", "zorgon"]


def test_names_are_disjoint_and_single_tokens():
    assert not set(TRAIN_NAMES) & set(TEST_NAMES)
    assert all(len(T.encode(name)) == 1 for name in [*TRAIN_NAMES, *TEST_NAMES])


def pictures(n):
    return [Image(torch.full((3, 8, 8), i / 10)) for i in range(1, n + 1)]


def test_collate_interleaves_and_masks():
    a, b = pictures(2)
    batch = collate([[a, Text("dax . <EOC>"), b], [Text("question :", learn=False), Text("red")]], T)
    assert T.decode(batch.ids[0].tolist()) == "<bos> <image> dax . <EOC> <image>"
    assert batch.media.shape == (2, 2, 1, 3, 8, 8)
    assert batch.media_mask.tolist() == [[True, True], [False, False]]
    assert batch.loss_mask[0].tolist() == [False, False, True, True, True, False]  # tags and <bos> are not predicted
    assert batch.loss_mask[1].tolist() == [False, False, False, True, False, False]
    assert torch.equal(batch.media[0, 1, 0], b.pixels)


def test_video_holds_its_last_frame():
    batch = collate([[Video(torch.rand(3, 3, 8, 8)), Text("red")], [Image(torch.rand(3, 8, 8)), Text("red")]], T)
    assert batch.media.shape == (2, 1, 3, 3, 8, 8)
    assert torch.equal(batch.media[1, 0, 0], batch.media[1, 0, 2])


@pytest.mark.parametrize(
    "documents", [[], [[Text("a <image> tag")]], [[Image(torch.rand(3, 8, 8)), Image(torch.rand(3, 4, 4))]]]
)
def test_collate_refuses(documents):
    with pytest.raises(ValueError):
        collate(documents, T)


def test_batch_of_counts_tags():
    with pytest.raises(ValueError, match="2 <image> tags"):
        Batch.of(torch.tensor([[1, 3, 5, 3]]), torch.zeros(1, 1, 1, 3, 4, 4))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_left_padding_moves_tokens_only(lengths):
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, n in zip(ids, lengths, strict=True):
        row[:n] = torch.arange(5, 5 + n)
    moved = left_padded(Batch.of(ids))
    for row, mask, n in zip(moved.ids, moved.attention_mask, lengths, strict=True):
        assert row[len(row) - n :].tolist() == list(range(5, 5 + n)) and mask.sum() == n and mask[len(row) - n :].all()


def test_a_transformers_tokenizer_meets_the_protocol():
    tokenizers = pytest.importorskip("tokenizers")
    from transformers import PreTrainedTokenizerFast

    words = {w: i for i, w in enumerate([*SPECIALS, "<unk>", "a", "red", "circle"])}
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    theirs = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>",
                                     additional_special_tokens=["<image>", "<EOC>"])  # fmt: skip
    batch = collate([[Image(torch.rand(3, 8, 8)), Text("a red circle <EOC>")], [Text("red")]], theirs)
    assert batch.ids.tolist() == [[1, 3, 6, 7, 8, 4], [1, 7, 0, 0, 0, 0]]

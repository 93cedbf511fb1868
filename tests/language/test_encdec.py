"""The encoder-decoder language model, held to transformers' T5 at random weights."""

import pytest
import torch
import transformers
from tiny import assert_near
from torch import nn

from minilmm.checkpoints.convert import names
from minilmm.checkpoints.convert.models import copy_weights
from minilmm.interface.document import Batch, left_padded
from minilmm.language.encdec import EncDecConfig, EncoderDecoder, bucket, halves
from minilmm.training.job import loss_of

C = EncDecConfig(vocab_size=60, width=32, layers=2, heads=4, hidden=40, buckets=8, distance=20)


def theirs():
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=C.vocab_size, d_model=C.width, d_kv=C.width // C.heads, d_ff=C.hidden, num_layers=C.layers,
        num_heads=C.heads, relative_attention_num_buckets=C.buckets, relative_attention_max_distance=C.distance,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, dropout_rate=0.0, decoder_start_token_id=0,
    )  # fmt: skip
    model = transformers.T5ForConditionalGeneration(config).eval()
    for name, p in model.named_parameters():
        nn.init.uniform_(p, 0.5, 1.5) if "norm" in name else nn.init.normal_(p, std=0.3)
    return model


def ours_from(model):
    ours = EncoderDecoder(C).eval()
    copy_weights(ours, model, names.T5)
    return ours


def documents(*rows):
    """(prompt, what follows) pairs as a batch."""
    length = max(len(a) + len(b) for a, b in rows)
    ids = torch.tensor([[*a, *b, *[0] * (length - len(a) - len(b))] for a, b in rows])
    learn = torch.tensor([[False] * len(a) + [True] * len(b) + [False] * (length - len(a) - len(b)) for a, b in rows])
    return Batch.of(ids, loss_mask=learn)


ROWS = (([5, 6, 7, 8, 9, 10, 11], [12, 13, 2]), ([14, 15, 16], [17, 2]), ([18] * 24, [19, 20, 21, 2]))


def test_logits_and_gradients_are_t5s():
    model = theirs()
    ours, tied = ours_from(model), model.lm_head.weight is model.shared.weight
    batch = documents(*ROWS)
    logits = ours(batch)
    for row, (prompt, words) in enumerate(ROWS):
        expected = model(input_ids=torch.tensor([prompt]), labels=torch.tensor([words])).logits[0]
        at = len(prompt) - 1
        assert_near(logits[row, at : at + len(words)], expected)
        assert not logits[row, :at].any()
    loss_of(ours, batch).backward()
    ids = torch.tensor([[*p, *[0] * (24 - len(p))] for p, _ in ROWS])
    labels = torch.tensor([[*w, *[-100] * (4 - len(w))] for _, w in ROWS])
    model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss.backward()
    for mine, other in (
        (ours.encoder[0].attention.q_proj.weight, model.encoder.block[0].layer[0].SelfAttention.q.weight),
        (ours.decoder[1].cross.v_proj.weight, model.decoder.block[1].layer[1].EncDecAttention.v.weight),
        (ours.encoder_distances.bias.weight,
         model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight),
    ):  # fmt: skip
        assert float(other.grad.abs().max()) > 1e-4
        assert_near(mine.grad, other.grad, 1e-3)
    words = ours.lm_head.weight.grad + (ours.embed_tokens.weight.grad if tied else 0)
    assert_near(words, model.lm_head.weight.grad, 1e-3)


@pytest.mark.parametrize("both_ways", [True, False])
def test_buckets_are_t5s(both_ways):
    distance = torch.arange(-300, 301)
    attention = transformers.models.t5.modeling_t5.T5Attention
    expected = attention._relative_position_bucket(distance, both_ways, 32, 128)
    assert torch.equal(bucket(distance, both_ways, 32, 128), expected)


def test_decoding_with_a_cache_is_transformers_own():
    model = theirs()
    ours = ours_from(model)
    batch = left_padded(Batch.of(torch.tensor([[5, 6, 7, 8, 9], [10, 11, 0, 0, 0]])))
    mine = ours.generate(batch, 6, stop=59)
    ids = torch.tensor([[5, 6, 7, 8, 9], [10, 11, 0, 0, 0]])
    expected = model.generate(input_ids=ids, attention_mask=(ids != 0).long(), do_sample=False, max_new_tokens=6,
                              eos_token_id=59)[:, 1:]  # fmt: skip
    assert torch.equal(mine[:, : expected.shape[1]], expected)
    words = torch.tensor([[[12, 13, 2], [14, 2, 0]]] * 2)
    scores = ours.score(batch, words, words != 0)
    logits = ours(documents(([5, 6, 7, 8, 9], [12, 13, 2])))[0, 4:7].log_softmax(-1)
    assert float(scores[0, 0]) == pytest.approx(logits[range(3), [12, 13, 2]].sum().item(), abs=1e-4)


def test_a_document_is_cut_where_its_answer_begins():
    prompt, words, where = halves(documents(([5, 6], [7, 2]), ([8], [9, 10, 2])))
    assert prompt.tolist() == [[True, True, False, False], [True, False, False, False]]
    assert words.tolist() == [[7, 2, 0], [9, 10, 2]] and where.tolist() == [[2, 3, 4], [1, 2, 3]]
    with pytest.raises(ValueError, match="every label of a document is masked"):
        halves(Batch.of(torch.tensor([[5, 6]]), loss_mask=torch.zeros(1, 2, dtype=torch.bool)))


def test_one_batch_can_be_learned_by_heart():
    torch.manual_seed(0)
    model, batch = EncoderDecoder(C), documents(*ROWS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = loss_of(model, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.05

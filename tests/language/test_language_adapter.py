"""Language models of transformers behind Frozen and Flamingo: tiny ones, at random weights."""

from dataclasses import replace

import pytest
import torch
from tiny import assert_near
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from minilmm.blip2 import Blip2, Blip2Config
from minilmm.flamingo import Flamingo, FlamingoConfig
from minilmm.frozen import Frozen, FrozenConfig
from minilmm.interface.document import Batch, left_padded
from minilmm.interface.model import Cache, Keep
from minilmm.language.adapter import TransformersLM, TransformersT5
from minilmm.nn.qformer import QFormerConfig
from minilmm.vision import VisionConfig

WORDS, WIDTH, LAYERS = 60, 32, 3
IMAGE = WORDS  # the first added token
ENDS = {"bos_token_id": 1, "eos_token_id": 2}
MAKE = {
    "gpt2": lambda **k: GPT2LMHeadModel(
        GPT2Config(vocab_size=WORDS, n_embd=WIDTH, n_layer=LAYERS, n_head=4, n_positions=64, **ENDS, **k)
    ),
    "opt": lambda **k: OPTForCausalLM(
        OPTConfig(vocab_size=WORDS, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=4, ffn_dim=64,
                  max_position_embeddings=64, word_embed_proj_dim=k.pop("narrow", WIDTH), **ENDS, **k)
    ),
    "llama": lambda **k: LlamaForCausalLM(
        LlamaConfig(vocab_size=WORDS, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=4,
                    num_key_value_heads=2, intermediate_size=64, max_position_embeddings=64, **ENDS, **k)
    ),
}  # fmt: skip
EYES = VisionConfig(resolution=16, stem=8, widths=(8, 16), blocks=(1, 1))


def borrowed(family, added=2, **k):
    torch.manual_seed(0)
    model = MAKE[family](**k)
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    return TransformersLM(model, added)


@pytest.fixture(params=sorted(MAKE))
def lm(request):
    return borrowed(request.param)


def text(*rows):
    """Rows of ids as a batch, padded on the right."""
    length = max(map(len, rows))
    return Batch.of(torch.tensor([[*row, *[0] * (length - len(row))] for row in rows]))


def pictures(*rows):
    """Rows of ids as a batch with a random picture at every tag."""
    batch, most = text(*rows), max(row.count(IMAGE) for row in rows)
    media = torch.rand(len(rows), most, 1, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    there = torch.arange(most) < torch.tensor([[row.count(IMAGE)] for row in rows])
    return Batch.of(batch.ids, media * there[:, :, None, None, None, None], image=IMAGE)


def flamingo(lm, alpha=0.7):
    torch.manual_seed(1)
    model = Flamingo(FlamingoConfig(lm.config, EYES, heads=4, every=2, image_id=IMAGE), lm).eval()
    for name, p in model.xattn.named_parameters():
        if "alpha" in name:
            nn.init.constant_(p, alpha)
    return model


def test_logits_are_the_models_own_whatever_the_padding(lm):
    batch = text([5, 6, 7, 8, 9, 10], [11, 12, 13])
    for padded in (batch, left_padded(batch)):
        ours = lm(padded)
        for row in range(2):
            real = padded.attention_mask[row]
            alone = lm.model(input_ids=padded.ids[row][real][None]).logits[0]
            assert_near(ours[row][real][:, :WORDS], alone)
    assert bool(lm(left_padded(batch)).isfinite().all())


def test_reading_in_pieces_is_reading_at_once(lm):
    batch = left_padded(text([5, 6, 7, 8, 9, 10, 61, 4], [11, 12, 60, 13, 14]))
    whole, cache = lm(batch), Cache()
    for piece in (slice(0, 4), slice(4, 5), slice(5, 8)):
        states = lm.hidden(lm.embed(batch.ids[:, piece]), batch.attention_mask[:, piece], cache)
    assert_near(lm.lm_head(states), whole[:, 5:])
    twice = cache.select(torch.tensor([1, 1, 0]))
    after, alone = lm.step(torch.tensor([[3], [4], [3]]), twice), lm.step(torch.tensor([[3], [3]]), cache)
    assert_near(after[[2, 0]], alone)


def test_greedy_decoding_is_transformers_own(lm):
    batch = left_padded(text([5, 6, 7, 8, 9, 10], [11, 12, 13]))
    plain = borrowed(next(name for name in MAKE if name in type(lm.model).__name__.lower()), added=0)
    mine = plain.generate(batch, 6, stop=2)
    theirs = lm.model.generate(
        input_ids=batch.ids, attention_mask=batch.attention_mask.long(), max_new_tokens=6, do_sample=False,
        pad_token_id=0,
    )[:, batch.ids.shape[1] :]  # fmt: skip
    assert torch.equal(mine[:, : theirs.shape[1]], theirs)


def test_flamingo_starts_as_the_language_model_bit_for_bit(lm):
    batch = pictures([1, IMAGE, 5, 6, 61, IMAGE, 7], [1, 8, IMAGE, 9])
    closed, plain = flamingo(lm, 0.0)(batch), lm(batch)
    assert torch.equal(closed, plain)
    opened = flamingo(lm)(batch)
    assert torch.equal(opened[1, :2], plain[1, :2])  # before its first picture
    assert not torch.allclose(opened[1, 2:4], plain[1, 2:4], atol=1e-3)


def test_flamingo_decodes_with_a_cache_as_without(lm):
    model, batch = flamingo(lm), left_padded(pictures([1, IMAGE, 5, 6, 61, IMAGE, 7], [1, 8, IMAGE, 9]))
    cached = model.generate(batch, 5, stop=61)
    ids, real = batch.ids, batch.attention_mask
    for t in range(5):
        grown = Batch(ids, real, real, batch.media, batch.media_mask)
        word = model(grown)[:, -1].argmax(-1)
        going = ~(cached[:, :t] == 61).any(1)
        assert torch.equal(word[going], cached[going, t])
        ids, real = torch.cat([ids, word[:, None]], 1), torch.cat([real, torch.ones_like(real[:, :1])], 1)
    beams = model.generate(batch, 5, stop=61, beams=3)
    assert beams.shape == (2, 5)


def test_only_what_is_new_trains(lm):
    model = flamingo(lm)
    lm.model.requires_grad_(False)
    before = {name: p.clone() for name, p in lm.model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()(pictures([1, IMAGE, 5, 61], [1, IMAGE, 6, 61])).square().mean().backward()
    assert float(lm.added.grad.abs().max()) > 0 and float(model.xattn["0"].alpha_xattn.grad.abs().max()) > 0
    optimizer.step()
    assert all(torch.equal(p, before[name]) for name, p in lm.model.named_parameters())
    assert not any(block._forward_pre_hooks for block in lm._blocks)


def test_nothing_stays_on_the_layers_when_a_layer_fails(lm):
    def fails(i, x):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        lm.hidden(lm.embed(torch.tensor([[3, 4]])), in_front=fails)
    assert not any(block._forward_pre_hooks for block in lm._blocks)


def test_frozen_reads_pictures_as_words_of_any_model(lm):
    torch.manual_seed(2)
    model = Frozen(FrozenConfig(lm.config, EYES, image_id=IMAGE), lm).eval()
    batch = left_padded(pictures([1, IMAGE, 5, 6], [1, IMAGE, 7]))
    logits, _ = model.prefill(batch)
    assert_near(model(batch)[:, -1], logits)
    blank = replace(batch, media=torch.zeros_like(batch.media))
    assert not torch.allclose(model(blank)[:, -1], logits, atol=1e-3)
    scores = model.score(batch, torch.tensor([[[5, 61], [6, 61]]] * 2), torch.ones(2, 2, 2, dtype=torch.bool))
    assert scores.shape == (2, 2) and bool((scores < 0).all())


def test_maps_cover_every_layer_and_leave_the_fast_path_behind(lm):
    maps, before = [], lm.model.config._attn_implementation
    lm(text([5, 6, 7]), Keep(maps))
    assert [tuple(m.shape) for m in maps] == [(1, 4, 3, 3)] * LAYERS
    assert lm.model.config._attn_implementation == before
    assert_near(maps[0].sum(-1), torch.ones(1, 4, 3))


@pytest.mark.parametrize("old", [False, True])
def test_a_t5_is_an_encoder_decoder(old):
    """With the head that is its words, scaled (the first T5), and with one of its own (1.1, FlanT5)."""
    torch.manual_seed(0)
    config = T5Config(vocab_size=WORDS, d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=4, dropout_rate=0.1,
                      decoder_start_token_id=0, tie_word_embeddings=old)  # fmt: skip
    model = T5ForConditionalGeneration(config)
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    lm = TransformersT5(model, added=2).train()
    ids, words = torch.tensor([[5, 6, 7, 8, 9], [10, 11, 0, 0, 0]]), torch.tensor([[12, 13, 2], [14, 2, 0]])
    expected = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=words).logits
    maps = []
    mine = lm.continued(lm.embed(ids), ids != 0, words, maps)
    assert mine.shape[-1] == WORDS + 2 and [tuple(m.shape) for m in maps] == [(2, 4, 3, 5)] * 2
    assert_near(mine[..., :WORDS], expected)
    said = TransformersT5(model).generate(left_padded(Batch.of(ids)), 6, stop=59)
    expected = model.generate(input_ids=ids, attention_mask=(ids != 0).long(), do_sample=False, max_new_tokens=6,
                              eos_token_id=59)[:, 1:]  # fmt: skip
    assert torch.equal(said[:, : expected.shape[1]], expected)
    config = QFormerConfig(feature_width=16, vocab_size=9, width=8, layers=2, heads=2, hidden=8, queries=3)
    blip2 = Blip2(Blip2Config(config, EYES, lm.config, image_id=IMAGE), lm).eval()
    for p in (*blip2.qformer.parameters(), *blip2.to_lm.parameters()):
        nn.init.normal_(p, std=0.5)
    batch = pictures([1, IMAGE, 5, 6], [1, IMAGE, 7])
    scores = blip2.score(batch, torch.tensor([[[5, 61], [6, 61]]] * 2), torch.ones(2, 2, 2, dtype=torch.bool))
    blank = blip2.score(replace(batch, media=batch.media * 0), torch.tensor([[[5, 61], [6, 61]]] * 2),
                        torch.ones(2, 2, 2, dtype=torch.bool))  # fmt: skip
    assert scores.shape == (2, 2) and not torch.allclose(scores, blank, atol=1e-4)


def test_what_cannot_be_borrowed_is_one_line():
    with pytest.raises(ValueError, match="no causal language model"):
        TransformersLM(T5ForConditionalGeneration(T5Config(vocab_size=WORDS, d_model=16, d_kv=4, d_ff=16, num_layers=1,
                                                           num_heads=2)))  # fmt: skip
    with pytest.raises(ValueError, match="is no T5"):
        TransformersT5(MAKE["gpt2"]())
    with pytest.raises(ValueError, match="width 16 but states of width 32"):
        borrowed("opt", narrow=16)
    with pytest.raises(ValueError, match="beyond the context of 64"):
        borrowed("gpt2")(text([5] * 65))

"""The reference solutions of the exercises on BLIP-2, held to the course's model and to transformers."""

import sys
import types
from pathlib import Path

import pytest
import torch
import transformers
from tiny import assert_near
from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerLayer

from minilmm import blip2
from minilmm.course.exercises import load_manifest
from minilmm.interface.document import Batch, left_padded
from minilmm.language import CausalLM
from minilmm.language.causal import LMConfig
from minilmm.nn import qformer
from minilmm.nn.prefix import PrefixLM

EXERCISES = {e.id: e for e in load_manifest(Path(__file__).parents[2] / "exercises")}
REAL = torch.tensor([[True, True, True, False], [False, True, True, True]])


def solution(number, monkeypatch):
    """An exercise's reference solution as a module, with those that it needs."""
    for needed in [e for e in EXERCISES.values() if e.name in EXERCISES[number].needs]:
        monkeypatch.setitem(sys.modules, needed.name, solution(needed.id, monkeypatch))
    module = types.ModuleType(EXERCISES[number].name)
    exec(EXERCISES[number].solution, module.__dict__)
    return module


def test_masks_are_those_of_the_model(monkeypatch):
    ours = solution("21", monkeypatch)
    for mine, model in ((ours.unimodal, qformer.unimodal_mask), (ours.bidirectional, qformer.bidirectional_mask),
                        (ours.causal, qformer.causal_mask)):  # fmt: skip
        assert torch.equal(mine(3, REAL), model(3, REAL))


@pytest.mark.parametrize("cross", [True, False])
def test_a_block_is_transformers(cross, monkeypatch):
    torch.manual_seed(0)
    config = transformers.Blip2QFormerConfig(
        hidden_size=8, num_attention_heads=1, intermediate_size=12, encoder_hidden_size=6, cross_attention_frequency=2,
        use_qformer_text_input=True, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    config._attn_implementation = "eager"
    layer = Blip2QFormerLayer(config, 0 if cross else 1).eval()
    assert layer.has_cross_attention == cross
    for name, p in layer.named_parameters():
        torch.nn.init.constant_(p, 1.0 if "LayerNorm.weight" in name else 0.0)
        if p.dim() == 2:
            torch.nn.init.normal_(p, std=0.5)

    def attends(part):
        inner = part.attention
        maps = (inner.query, inner.key, inner.value, part.output.dense)
        return dict(zip("qkvo", (m.weight.T for m in maps), strict=True))

    weights = {"self": attends(layer.attention)}
    weights |= {"cross": attends(layer.crossattention)} if cross else {}
    for half, up, down in (("query", layer.intermediate_query, layer.output_query),
                           ("text", layer.intermediate, layer.output)):  # fmt: skip
        weights["ffw_" + half] = {"up": up.dense.weight.T, "down": down.dense.weight.T}
    x, x_f, mask = torch.randn(2, 7, 8), torch.randn(2, 5, 6), qformer.causal_mask(3, REAL)
    additive = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float).min)[:, None]
    theirs = layer(x, additive, encoder_hidden_states=x_f, query_length=3)
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    mine = solution("22", monkeypatch).block(x, 3, x_f, mask, weights)
    assert_near(mine, theirs, 1e-4)


def test_the_three_losses_are_those_of_the_model(monkeypatch):
    itc, negatives, itm, itg = (solution(n, monkeypatch) for n in ("23", "24", "25", "26"))
    torch.manual_seed(0)
    c = qformer.QFormerConfig(
        feature_width=6, vocab_size=20, width=16, layers=2, heads=2, hidden=16, queries=3, embed=8, dec=19
    )
    model = blip2.Stage1(blip2.Blip2Config(c)).eval()
    for p in model.qformer.parameters():
        torch.nn.init.normal_(p, std=0.3)
    x_f, real = torch.randn(4, 5, 6), torch.arange(5) < torch.tensor([5, 3, 4, 2])[:, None]
    ids = torch.where(real, torch.randint(2, 19, (4, 5)), 0)
    ids[:, 0] = c.cls
    same = torch.eye(4, dtype=torch.bool)
    same[0, 2] = same[2, 0] = True
    losses = model(x_f, ids, real, same, torch.Generator().manual_seed(5))
    queries, _ = model.qformer(x_f)
    _, text = model.qformer(ids=ids, mask=real[:, None].expand(-1, 5, -1))
    similar = itc.similarity(model.vision_proj(queries), model.text_proj(text[:, 0]))
    assert_near(itc.itc_loss(similar, same, model.temperature), losses["itc"])
    wrong = negatives.partners(similar / model.temperature, same, torch.Generator().manual_seed(5))
    pictures, texts, labels = itm.pairs(*wrong)
    states, _ = model.qformer(x_f[pictures], ids[texts], qformer.bidirectional_mask(3, real[texts]))
    logits = itm.match_logits(states, model.itm_head.weight, model.itm_head.bias)
    assert_near(itm.itm_loss(logits, labels), losses["itm"])
    read = itg.decoder_ids(ids, c.dec)
    outputs = torch.cat(model.qformer(x_f, read, qformer.causal_mask(3, real)), 1)
    outputs = torch.cat([outputs[:, :3], model.transform(outputs[:, 3:])], 1)
    logits = itg.word_logits(outputs, 3, model.qformer.words.weight, model.word_bias)
    assert_near(itg.itg_loss(logits, itg.next_words(ids, real)), losses["itg"])


def test_words_behind_kept_keys_are_a_run_of_all_at_once(monkeypatch):
    reuse = solution("27", monkeypatch)
    torch.manual_seed(0)
    layers = [{n: torch.randn(4, 4) for n in "qkv"} for _ in range(3)]
    x = torch.randn(2, 7, 4)
    queries, kept = reuse.queries_alone(x[:, :3], layers)
    words = reuse.words_behind(x[:, 3:], REAL, kept, layers)
    for weights in layers:
        x, _ = reuse.layer(x, qformer.causal_mask(3, REAL), weights)
    assert_near(queries, x[:, :3])
    assert_near(words[REAL], x[:, 3:][REAL])


class Soft(PrefixLM):
    """Pictures are soft prompts already, given as images."""

    prefix_tokens, image_id = 2, 3

    def __init__(self, lm):
        super().__init__()
        self.lm = lm

    def encoder(self, images):
        return images.flatten(1).unflatten(1, (2, -1))

    def project(self, x_f):
        return x_f


def test_the_soft_prompt_is_the_models_splice(monkeypatch):
    torch.manual_seed(0)
    model = Soft(CausalLM(LMConfig(vocab_size=20, width=8, layers=1, heads=2, hidden=8)))
    ids, soft = torch.tensor([[3, 5, 6, 7], [3, 8, 0, 0]]), torch.randn(2, 2, 8)
    batch = left_padded(Batch.of(ids, soft.view(2, 1, 1, 1, 4, 4), image=3))
    x, mask, _ = model.splice(batch)
    text = ids[:, 1:]  # behind the tag
    mine, seen = solution("28", monkeypatch).prepend(soft, model.lm.embed(text), text != 0)
    assert torch.equal(seen, mask)
    assert_near(mine[seen], x[mask])


def test_stage_2_trains_what_the_exercise_says(monkeypatch):
    c = qformer.QFormerConfig(feature_width=6, vocab_size=20, width=16, layers=2, heads=2, hidden=16, queries=3)
    trains = solution("28", monkeypatch).trains
    for name, _ in qformer.QFormer(c).named_parameters():
        assert trains("qformer." + name) != qformer.in_text_half(name), name


def test_what_the_decoder_reads_is_t5s(monkeypatch):
    t5 = transformers.T5ForConditionalGeneration(transformers.T5Config(
        vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0, pad_token_id=0
    )).eval()  # fmt: skip
    ours = solution("29", monkeypatch)
    prefix, labels = ours.halves(torch.tensor([[5, 6, 7, 8], [9, 10, 11, 0]]), [1, 1])
    read = ours.decoder_input(labels, 0)
    assert torch.equal(read, t5._shift_right(labels))
    x, mask = ours.encoder_input(torch.randn(2, 3, 8), t5.shared(prefix), prefix)
    out = t5(inputs_embeds=x, attention_mask=mask.long(), labels=labels)
    assert_near(ours.prefix_loss(out.logits, labels), out.loss)

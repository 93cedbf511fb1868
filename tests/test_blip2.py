"""The Q-Former: one transformer, three masks, held to transformers' at random weights; and the losses of stage 1."""

import math
from dataclasses import replace

import pytest
import test_encdec
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import assert_near
from torch import nn
from torch.nn import functional as F

from minilmm.ablations import variant
from minilmm.blip2 import Blip2, Blip2Config, Stage1, hard_negatives
from minilmm.checkpoints.convert.models import convert_model
from minilmm.data.world import prefixed
from minilmm.interface.document import Batch, left_padded
from minilmm.interface.model import Keep
from minilmm.language import CausalLM, LMConfig
from minilmm.nn.qformer import (
    QFormer,
    QFormerConfig,
    bidirectional_mask,
    causal_mask,
    in_text_half,
    unimodal_mask,
)
from minilmm.training.blip2 import baselines, preset
from minilmm.training.job import loss_of
from minilmm.vision import VisionConfig

C = QFormerConfig(
    feature_width=24, vocab_size=50, width=32, layers=4, heads=4, hidden=40, queries=5, embed=16, context=12
)
BOTH = Blip2Config(C, VisionConfig(stem=8, widths=(8, C.feature_width), blocks=(1, 1)))
MASKS = {"ITC": unimodal_mask, "ITM": bidirectional_mask, "ITG": causal_mask}


def theirs(kind="Blip2ForImageTextRetrieval", **more):
    """A model of transformers at random weights with norms of their own."""
    torch.manual_seed(0)
    vision = transformers.Blip2VisionConfig(hidden_size=C.feature_width, intermediate_size=8, num_hidden_layers=1,
                                            num_attention_heads=2, image_size=4, patch_size=2)  # fmt: skip
    qformer = transformers.Blip2QFormerConfig(
        vocab_size=C.vocab_size, hidden_size=C.width, num_hidden_layers=C.layers, num_attention_heads=C.heads,
        intermediate_size=C.hidden, max_position_embeddings=C.context, encoder_hidden_size=C.feature_width,
        cross_attention_frequency=2, use_qformer_text_input="Retrieval" in kind, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    settings = {"num_query_tokens": C.queries, "image_text_hidden_size": C.embed, "image_token_index": None} | more
    config = transformers.Blip2Config(vision_config=vision.to_dict(), qformer_config=qformer.to_dict(), **settings)
    model = getattr(transformers, kind)(config).eval()
    for name, p in model.named_parameters():
        if "norm" in name.lower() and name.endswith("weight"):
            nn.init.uniform_(p, 0.5, 1.5)
        else:
            nn.init.normal_(p, std=0.2)
    return model


def batch(*lengths):
    torch.manual_seed(3)
    ids = torch.randint(2, C.vocab_size, (len(lengths), max(lengths)))
    ids[:, 0] = C.cls
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.randn(len(lengths), 7, C.feature_width), ids * real, real


@pytest.mark.parametrize("name", sorted(MASKS))
def test_states_and_gradients_are_transformers_under_every_mask(name):
    model = theirs()
    ours = convert_model(model)
    x_f, ids, real = batch(6, 3, 8)
    mask = MASKS[name](C.queries, real)
    queries, text = ours.qformer(x_f, ids, mask)
    additive = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float).min)[:, None]
    embeds = model.embeddings(input_ids=ids, query_embeds=model.query_tokens.expand(len(ids), -1, -1))
    expected = model.qformer(query_embeds=embeds, query_length=C.queries, attention_mask=additive,
                             encoder_hidden_states=x_f).last_hidden_state  # fmt: skip
    assert_near(queries, expected[:, : C.queries])
    assert_near(text[real], expected[:, C.queries :][real])
    (queries.square().mean() + text[real].square().mean()).backward()
    (expected[:, : C.queries].square().mean() + expected[:, C.queries :][real].square().mean()).backward()
    layer = model.qformer.encoder.layer[0]
    for mine, other in (
        (ours.qformer.query_tokens, model.query_tokens),
        (ours.qformer.words.weight, model.embeddings.word_embeddings.weight),
        (ours.qformer.blocks[0].cross.k_proj.weight, layer.crossattention.attention.key.weight),
        (ours.qformer.blocks[0].attention.v_proj.weight, layer.attention.attention.value.weight),
        (ours.qformer.blocks[0].ffw_text.up.weight, layer.intermediate.dense.weight),
    ):  # fmt: skip
        grad = other.grad.view_as(mine).clone()
        if mine is ours.qformer.words.weight:
            grad[0] = mine.grad[0]  # theirs gives padding no gradient
        assert float(grad.abs().max()) > 1e-4
        assert_near(mine.grad, grad, 1e-4)


def test_similarities_and_matches_are_those_of_the_retrieval_model():
    model = theirs()
    ours = convert_model(model)
    _, ids, real = batch(6, 3, 8)
    pixels = torch.randn(3, 3, 4, 4)
    with torch.no_grad():
        x_f = model.vision_model(pixel_values=pixels).last_hidden_state
        for matching in (False, True):
            expected = model(pixel_values=pixels, input_ids=ids, attention_mask=real.long(),
                             use_image_text_matching_head=matching).logits_per_image  # fmt: skip
            if matching:
                mine = ours.match(x_f, ids, real)
            else:
                image = ours.image_embeddings(ours.qformer(x_f)[0])
                mine = torch.einsum("iqe,te->itq", image, ours.text_embeddings(ids, real)).amax(-1)
            assert_near(mine, expected)


def test_the_whole_of_stage_2_is_transformers_over_opt():
    opt = transformers.OPTConfig(vocab_size=60, hidden_size=20, num_hidden_layers=2, num_attention_heads=2, ffn_dim=24,
                                 max_position_embeddings=64, word_embed_proj_dim=20, bos_token_id=1, eos_token_id=2,
                                 dropout=0.0)  # fmt: skip
    model = theirs("Blip2ForConditionalGeneration", text_config=opt.to_dict(), image_token_index=59)
    ours = convert_model(model)
    rows, pixels = [[1, 59, 5, 6, 7], [1, 59, 8]], torch.rand(2, 3, 4, 4)
    batch = Batch.of(torch.tensor([[*r, *[0] * (5 - len(r))] for r in rows]), pixels[:, None, None], image=59)
    mine = ours(left_padded(batch))
    wide = [[0] * (5 - len(r)) + [i for t in r for i in ([59] * C.queries if t == 59 else [t])] for r in rows]
    wide = torch.tensor(wide)
    seen = ours.encoder.normalised(pixels)
    expected = model(pixel_values=seen, input_ids=wide, attention_mask=(wide != 0).long()).logits
    assert_near(mine[0, 1:], expected[0, C.queries :])
    assert_near(mine[1, 3:], expected[1, -2:])
    mine[0, 1:].square().mean().backward()
    expected[0, C.queries :].square().mean().backward()
    layer = model.qformer.encoder.layer[0]
    for a, grad in (
        (ours.to_lm.weight, model.language_projection.weight.grad),
        (ours.qformer.query_tokens, model.query_tokens.grad[0]),
        (ours.qformer.blocks[0].cross.v_proj.weight, layer.crossattention.attention.value.weight.grad),
    ):
        assert float(grad.abs().max()) > 1e-5
        assert_near(a.grad, grad, 1e-4)


def test_stage_2_leaves_the_half_of_the_text_alone():
    torch.manual_seed(0)
    model = Blip2(Blip2Config(C, BOTH.vision, LMConfig(60, 16, 1, 2, 2, 16)))
    batch = Batch.of(torch.tensor([[1, 3, 5]]), torch.rand(1, 1, 1, 3, 48, 48))
    model(batch).square().mean().backward()
    unused = [n for n, p in model.qformer.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused and all(in_text_half(n) for n in unused)


def test_the_whole_of_stage_2_is_transformers_over_t5():
    t5 = test_encdec.theirs().config
    model = theirs("Blip2ForConditionalGeneration", text_config=t5.to_dict(), image_token_index=59)
    ours, pixels = convert_model(model), torch.rand(2, 3, 4, 4)
    batch = test_encdec.documents(([1, 59, 5, 6], [7, 8, 2]), ([1, 59, 9], [10, 2]))
    batch = Batch.of(batch.ids, pixels[:, None, None], image=59, loss_mask=batch.loss_mask)
    mine = ours(batch)
    wide = torch.tensor([[1, *[59] * C.queries, 5, 6], [1, *[59] * C.queries, 9, 0]])
    labels = torch.tensor([[7, 8, 2], [10, 2, -100]])
    seen = ours.encoder.normalised(pixels)
    expected = model(pixel_values=seen, input_ids=wide, attention_mask=(wide != 0).long(), labels=labels)
    assert_near(mine[0, 3:6], expected.logits[0])
    assert_near(mine[1, 2:4], expected.logits[1, :2])
    loss_of(ours, batch).backward()
    expected.loss.backward()
    grad = model.language_projection.weight.grad
    assert float(grad.abs().max()) > 1e-4
    assert_near(ours.to_lm.weight.grad, grad, 1e-3)


def test_the_unimodal_mask_is_two_separate_passes():
    torch.manual_seed(0)
    q = QFormer(C).eval()
    x_f, ids, real = batch(6, 3, 8)
    queries, text = q(x_f, ids, unimodal_mask(C.queries, real))
    assert_near(queries, q(x_f)[0])
    alone = q(ids=ids, mask=real[:, None].expand(-1, ids.shape[1], -1))[1]
    assert_near(text[real], alone[real])


def test_reusing_the_queries_keys_and_values_changes_nothing():
    torch.manual_seed(0)
    stage = Stage1(BOTH).eval()
    x_f, ids, real = batch(6, 3, 8)
    kept = []
    stage.qformer(x_f, keep=Keep(past=kept))
    _, states = stage.qformer(x_f, ids, causal_mask(C.queries, real))
    whole = stage.transform(states) @ stage.qformer.words.weight.T + stage.word_bias
    assert_near(stage.words_after(ids, real, x_f, kept)[real], whole[real])
    a, b = (torch.autograd.grad(x[real].square().mean(), stage.qformer.blocks[0].attention.k_proj.weight)[0]
            for x in (stage.words_after(ids, real, x_f, kept), whole))  # fmt: skip
    assert_near(a, b)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_who_sees_whom(queries, lengths):
    real = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    Q = queries
    itc, itm, itg = (make(Q, real) for make in MASKS.values())
    assert not itc[:, :Q, Q:].any() and not itc[:, Q:, :Q].any()
    assert not itg[:, :Q, Q:].any() and bool(itg[:, Q:, :Q].all())
    assert bool(itm[:, :, :Q].all())
    for mask in (itc, itm, itg):
        assert bool(mask[:, :Q, :Q].all()) and not mask[:, :, Q:][~real[:, None].expand(-1, mask.shape[1], -1)].any()
    upper = torch.ones(real.shape[1], real.shape[1]).triu(1).bool()
    assert not itg[:, Q:, Q:][:, upper].any()
    assert torch.equal(itc[:, Q:, Q:], itm[:, Q:, Q:])


def test_a_word_to_come_is_never_seen_by_itg():
    torch.manual_seed(0)
    stage = Stage1(BOTH).eval()
    x_f, ids, real = batch(6, 6)
    kept = []
    stage.qformer(x_f, keep=Keep(past=kept))
    before = stage.words_after(ids, real, x_f, kept)
    changed = ids.clone()
    changed[:, 4] = 7
    after = stage.words_after(changed, real, x_f, kept)
    assert_near(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4:], before[:, 4:])


def test_mistakes_do_what_they_are_called():
    torch.manual_seed(0)
    x_f, ids, real = batch(6, 6, 6)
    changed = ids.clone()
    changed[:, 4] = 7
    leaks = variant(Stage1, "queries-see-text")(BOTH).eval()
    kept = []
    leaks.qformer(x_f, keep=Keep(past=kept))
    nn.init.normal_(leaks.qformer.query_tokens)
    assert not torch.allclose(leaks.words_after(ids, real, x_f, kept)[:, :4],
                              leaks.words_after(changed, real, x_f, kept)[:, :4], atol=1e-7)  # fmt: skip
    image = torch.nn.functional.normalize(torch.randn(3, 5, 16), dim=-1)
    text = torch.nn.functional.normalize(torch.randn(4, 16), dim=-1)
    best, mean = Stage1(BOTH).similarity(image, text), variant(Stage1, "itc-mean")(BOTH).similarity(image, text)
    assert bool((best > mean).all())
    g = torch.Generator().manual_seed(0)
    similar, own = torch.tensor([[0.0, 9.0, 0.0]] * 3), torch.eye(3, dtype=torch.bool)
    easy = variant(Stage1, "itm-easy-negatives").partners
    drawn = torch.stack([easy(similar, own, g) for _ in range(300)])[:, 0]
    assert 0.4 < float((drawn == 1).float().mean()) < 0.6
    with pytest.raises(ValueError, match="unknown variant 'x': choose from queries-see-text"):
        variant(Stage1, "x")


def test_losses_of_a_model_that_knows_nothing_are_the_baselines():
    torch.manual_seed(0)
    stage = Stage1(BOTH).eval()
    x_f, ids, real = batch(*[6] * 16)
    with torch.no_grad():
        for p in (stage.vision_proj.weight, stage.itm_head.weight, stage.qformer.words.weight):
            p.zero_()
        nn.init.normal_(stage.vision_proj.bias)
        stage.itm_head.bias.copy_(torch.tensor([2.0, 1.0]).log())
        found = stage(x_f, ids, real, torch.eye(16, dtype=torch.bool))
    assert float(found["itc"]) == pytest.approx(math.log(16), abs=1e-4)
    assert float(found["itm"]) == pytest.approx(-(math.log(1 / 3) + 2 * math.log(2 / 3)) / 3, abs=1e-4)
    assert float(found["itg"]) == pytest.approx(math.log(C.vocab_size), abs=1e-4)


def test_one_batch_can_be_learned_by_heart():
    torch.manual_seed(0)
    stage = Stage1(BOTH)
    x_f, ids, real = batch(*[5] * 8)
    optimizer = torch.optim.AdamW(stage.parameters(), lr=3e-3)
    g = torch.Generator().manual_seed(0)
    for _ in range(400):
        found = stage(x_f, ids, real, torch.eye(8, dtype=torch.bool), g)
        (found["itc"] + found["itm"] + found["itg"]).backward()
        optimizer.step()
        optimizer.zero_grad()
    smoothest = 0.6  # nats that label smoothing leaves at best, with 8 classes
    assert found["itm"].item() < 0.1 and found["itg"].item() < 0.3 and found["itc"].item() < smoothest


def test_hard_negatives_are_near_and_never_right():
    g = torch.Generator().manual_seed(0)
    similar = torch.randn(6, 6, generator=g) * 3
    same = torch.eye(6, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    drawn = torch.stack([hard_negatives(similar, same, g) for _ in range(400)])
    assert not same[torch.arange(6).expand(400, -1), drawn].any()
    expected = similar.masked_fill(same, float("-inf")).argmax(1)
    assert torch.equal(drawn.mode(0).values, expected)
    with pytest.raises(ValueError, match="all texts of the batch are equal"):
        hard_negatives(similar, torch.ones(6, 6, dtype=torch.bool), g)


def test_captions_without_a_wrong_partner_are_left_out_of_matching_alone():
    """Two captions that say the same in a batch of three: as if each were matched with what is left."""
    torch.manual_seed(0)
    stage = Stage1(BOTH).eval()
    x_f, ids, real = batch(6, 5, 8)
    alike = torch.ones(3, 3, dtype=torch.bool)
    found = stage(x_f, ids, real, alike, torch.Generator().manual_seed(0))
    itc, itm, itg = torch.stack(list(found.values())).tolist()
    assert itm == 0 and min(itc, itg) > 0.1
    sum(found.values()).backward()
    assert all(bool(p.grad.isfinite().all()) for p in stage.parameters() if p.grad is not None)
    two = torch.eye(3, dtype=torch.bool)
    two[1] = two[:, 1] = True  # the second caption would do for every picture: the others still tell each other apart
    logits = stage.match(x_f[[0, 2, 0, 2, 2, 0]], ids[[0, 2, 2, 0, 0, 2]], real[[0, 2, 2, 0, 0, 2]])
    expected = F.cross_entropy(logits, torch.tensor([1, 1, 0, 0, 0, 0]))
    found = stage(x_f, ids, real, two, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found["itm"], expected)


@pytest.mark.parametrize("start", [0.005, 0.6])
def test_a_temperature_that_reached_its_bound_comes_back(start):
    torch.manual_seed(0)
    stage = Stage1(BOTH).eval()
    x_f, ids, real = batch(6, 5, 8)
    stage.temperature.data.fill_(start)
    bound = Stage1(BOTH).eval()
    bound.load_state_dict(stage.state_dict() | {"temperature": torch.tensor(min(max(start, 0.01), 0.5))})
    losses = [m(x_f, ids, real, torch.eye(3, dtype=torch.bool), torch.Generator().manual_seed(0))["itc"]
              for m in (stage, bound)]  # fmt: skip
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(*losses)
    assert float(stage.temperature.grad) == pytest.approx(float(bound.temperature.grad), rel=1e-4) != 0


def test_an_empty_caption_is_a_caption_and_all_of_them_are_none():
    torch.manual_seed(0)
    stage = Stage1(BOTH).eval()
    x_f, ids, real = batch(6, 1, 8)
    found = stage(x_f, ids, real, torch.eye(3, dtype=torch.bool))
    assert all(bool(loss.isfinite()) for loss in found.values())
    with pytest.raises(ValueError, match="every caption is empty"):
        stage(x_f, ids[:, :1], real[:, :1], torch.eye(3, dtype=torch.bool))
    alone = stage(x_f[:1], ids[:1], real[:1], torch.eye(1, dtype=torch.bool))
    assert float(alone["itm"].detach()) == 0 and bool(alone["itg"].isfinite())


def test_what_is_asked_stands_behind_a_picture_and_is_not_the_answer():
    q = QFormerConfig(feature_width=24, vocab_size=50, width=32, layers=2, hidden=40, queries=5, context=6, cls=7)
    lm = CausalLM(LMConfig(50, width=32, layers=1, heads=4, kv_heads=2, hidden=32))
    model = Blip2(Blip2Config(q, BOTH.vision, lm.config, asked=True), lm).eval()
    ids = torch.tensor([[1, 3, 10, 11, 3, 12, 13, 14], [0, 0, 0, 1, 5, 3, 15, 16]])
    media = torch.rand(2, 2, 1, 3, 8, 8)
    learn = torch.tensor([[0, 0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1]]).bool()
    batch = Batch.of(ids, media, loss_mask=learn)
    asked = [[[7, 10, 0, 0, 0, 0], [7, 12, 13, 14, 0, 0]], [[7, 15, 0, 0, 0, 0], [7, 0, 0, 0, 0, 0]]]
    assert model.question(batch).tolist() == asked  # the last picture is absent
    prompt = replace(batch, loss_mask=torch.zeros_like(learn))
    assert model.question(prompt).tolist()[0][0] == [7, 10, 11, 0, 0, 0]
    with torch.no_grad():
        nn.init.normal_(model.qformer.query_tokens)
        heard = model.prefixes(prompt)
        other = replace(prompt, ids=prompt.ids.clone().masked_fill(prompt.ids == 12, 20))
        changed = (model.prefixes(other) - heard).abs().amax((2, 3)) > 1e-6
        assert changed.tolist() == [[False, True], [False, False]]  # one question is about one picture
        deaf = Blip2(replace(model.config, asked=False), lm, model.encoder).eval()
        assert torch.equal(deaf.prefixes(prompt), deaf.prefixes(other))
        logits, cache = model.prefill(prompt)
        assert_near(logits, model(prompt)[:, -1])
        later = model.step(torch.tensor([[9], [9]]), cache)[:, 0]
        longer = Batch.of(
            torch.cat([ids, torch.tensor([[9], [9]])], 1), media, loss_mask=F.pad(learn & False, (0, 1), value=True)
        )
        assert_near(later, model(longer)[:, -1])


def test_a_prefix_lm_says_what_stands_behind_a_cut():
    g = torch.Generator().manual_seed(0)
    ids = torch.tensor([[1, 3, 5, 6, 7, 8], [1, 3, 5, 0, 0, 0]]).repeat(200, 1)
    batch = prefixed(Batch.of(ids, torch.zeros(400, 1, 1, 3, 8, 8)), g)
    said = batch.loss_mask.sum(1)
    assert set(said[::2].tolist()) == {1, 2, 3, 4} and set(said[1::2].tolist()) == {1}
    assert not batch.loss_mask[:, :2].any() and not (batch.loss_mask & (ids == 0)).any()


def test_baselines_by_hand():
    found = baselines(preset("nano", 1))
    assert found["itc"] == pytest.approx(4.1589, abs=1e-4) and found["itm"] == pytest.approx(0.6365, abs=1e-4)
    assert baselines(replace(preset("nano", 1), objectives=("itm",))).keys() == {"itm"}


def test_what_cannot_be_read_is_one_line():
    q = QFormer(C)
    with pytest.raises(ValueError, match="neither features nor text"):
        q()
    with pytest.raises(ValueError, match="13 words: the Q-Former reads 12 at most"):
        q(ids=torch.ones(1, 13, dtype=torch.long))

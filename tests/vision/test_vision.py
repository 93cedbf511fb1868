"""Vision encoders, the contrastive dual encoder, and retrieval, each against its definition."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import assert_near
from torch import Tensor, nn
from torch.nn import functional as F

from minilmm.evaluation.retrieval import classify, ensemble, ranks, recall_at, retrieval_rows
from minilmm.vision import NFResNet, VisionConfig, build_encoder
from minilmm.vision.contrastive import MAX_SCALE, DualEncoder, info_nce, same_text
from minilmm.vision.resnet import ALPHA, GAMMA, StandardisedConv, activation

RESNET = VisionConfig(resolution=16, stem=8, widths=(16, 24), blocks=(2, 2))
VIT = VisionConfig(kind="vit", resolution=16, patch=8, vit_width=24, layers=2, heads=2)
BOTH = pytest.mark.parametrize("config", [RESNET, VIT], ids=["resnet", "vit"])
seeds = st.integers(0, 2**31 - 1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def set_skip_gains(encoder: nn.Module, value: float) -> None:
    for name, parameter in encoder.named_parameters():
        if name.endswith("skip_gain"):
            nn.init.constant_(parameter, value)


# --- one interface ---------------------------------------------------------------------------------------------------


@BOTH
def test_a_config_survives_json(config):
    back = VisionConfig(**json.loads(json.dumps(dataclasses.asdict(config))))
    assert back == config and hash(back) == hash(config)


@pytest.mark.parametrize("config", [RESNET, VIT, VisionConfig(), VisionConfig(kind="vit")])
@pytest.mark.parametrize("pictures", [1, 3])
def test_features_are_a_grid(config, pictures):
    encoder = build_encoder(config)
    features = encoder(torch.rand(pictures, 3, config.resolution, config.resolution))
    assert features.shape == (pictures, encoder.positions, encoder.width)
    assert encoder.width == config.width
    assert encoder.pool(features).shape == (pictures, config.width)
    mean = features.mean(1)
    assert_near(encoder.pool(features), torch.nn.functional.layer_norm(mean, mean.shape[1:]))
    assert all(p.dtype == torch.float32 and p.is_contiguous() for p in encoder.state_dict().values())  # for safetensors


def test_the_nano_grid_is_6_by_6():
    assert build_encoder(VisionConfig()).positions == build_encoder(VisionConfig(kind="vit")).positions == 36


@pytest.mark.parametrize(("kind", "centre"), [("resnet", 0), ("vit", 4)])
@torch.no_grad()
def test_the_grid_runs_row_by_row(kind, centre):
    """A dot moves the feature at whose centre it stands more than any other: row-major from the top left."""
    torch.manual_seed(0)
    encoder = build_encoder(VisionConfig(kind=kind, layers=1))
    images = torch.full((36, 3, 48, 48), 0.5)
    for position in range(36):
        y, x = (8 * i + centre for i in divmod(position, 6))
        images[position, :, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = torch.tensor([1.0, 0.2, 0.0])[:, None, None]
    moved = (encoder(images) - encoder(torch.full((1, 3, 48, 48), 0.5))).norm(dim=-1)  # (36, S)
    assert moved.argmax(1).tolist() == list(range(36))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "vgg"}, "vgg"),
        ({"resolution": 50}, "multiple of 8"),
        ({"widths": (8, 8), "blocks": (1,)}, "each stage"),
        ({"blocks": (1, -1)}, "each stage"),
        ({"kind": "vit", "resolution": 50}, "patches of 8"),
        ({"kind": "vit", "heads": 5}, "5 heads"),
    ],
)
def test_sizes_that_do_not_fit_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        build_encoder(VisionConfig(**change))


@BOTH
def test_a_picture_does_not_depend_on_its_neighbours(config):
    """No batch statistics: other neighbours, another order, training or evaluation change nothing."""
    torch.manual_seed(0)
    encoder = build_encoder(config)
    set_skip_gains(encoder, 1.0)
    images = torch.rand(5, 3, 16, 16)
    others = torch.cat([images[:1], torch.rand(4, 3, 16, 16) * 100])
    features = encoder(images)
    assert_near(features[0], encoder(others)[0])
    assert_near(features[:1], encoder(images[:1]))  # other kernels, other roundings
    assert torch.equal(features, encoder.eval()(images))
    assert not any("BatchNorm" in type(m).__name__ or m._buffers for m in encoder.modules())


@BOTH
def test_gradients_reach_every_parameter(config):
    """In an NF-ResNet that starts, zero skip gains stop them at the branches: there they are exactly 0."""
    torch.manual_seed(0)
    encoder = build_encoder(config)
    images, weight = torch.rand(4, 3, 16, 16), torch.randn(config.width)

    def silent() -> set[str]:
        encoder.zero_grad()
        (encoder.pool(encoder(images)) @ weight).square().sum().backward()
        return {name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()}

    branches = {n for n, _ in encoder.named_parameters() if ".conv" in n}
    assert silent() == branches and (config.kind == "vit") == (not branches)
    set_skip_gains(encoder, 0.5)
    assert not silent()


# --- the normaliser-free ResNet --------------------------------------------------------------------------------------


def test_gamma_preserves_variance():
    z = torch.randn(1_000_000, generator=seeded(0))
    assert (GAMMA * activation(z)).var().item() == pytest.approx(1, abs=0.01)
    assert_near(activation(z, beta=2.0), F.gelu(z / 2))


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 4), st.integers(1, 5), st.sampled_from([1, 2, 3]), st.floats(0.1, 30), st.floats(-5, 5))
def test_standardised_weights_have_their_moments(seed, inputs, outputs, kernel, scale, shift):
    """Mean 0 and variance gamma^2 gain^2 / fan-in per output channel, whatever the raw weights' scale and offset."""
    fan_in = inputs * kernel * kernel
    conv = StandardisedConv(inputs, outputs, kernel).double()
    with torch.no_grad():
        conv.weight.copy_(torch.randn(conv.weight.shape, generator=seeded(seed)))
        conv.gain.copy_(torch.rand(outputs, generator=seeded(seed)) + 0.5)
        first = conv.standardised()
        for o in range(outputs):
            w = conv.weight[o].flatten().tolist()
            mean = sum(w) / fan_in
            energy = sum((x - mean) ** 2 for x in w)  # fan-in times the variance
            expected = [GAMMA * conv.gain[o].item() * (x - mean) / max(energy, 1e-4) ** 0.5 for x in w]
            assert first[o].flatten().tolist() == pytest.approx(expected, abs=1e-9)
            assert first[o].mean().item() == pytest.approx(0, abs=1e-9)
            if energy > 0.02:  # so that it stays off the floor at the smallest scale
                variance = (GAMMA * conv.gain[o].item()) ** 2 / fan_in
                assert first[o].var(correction=0).item() == pytest.approx(variance, rel=1e-6)
                conv.weight[o] = conv.weight[o] * scale + shift
                assert_near(conv.standardised()[o], first[o])


def test_constant_weights_stay_finite():
    conv = StandardisedConv(2, 3, 3)
    nn.init.constant_(conv.weight, 7.0)
    out = conv(torch.randn(1, 2, 5, 5))
    out.sum().backward()
    assert not out.any() and conv.weight.grad.isfinite().all()


@torch.no_grad()
def variances(encoder: NFResNet, images: Tensor) -> list[tuple[float, float]]:
    """(variance expected, variance measured) at the input of every stage and block, and at the end."""
    pairs, x = [], encoder.stem((images - 0.5) / 0.25)

    def measure(beta: float) -> None:
        pairs.append((beta**2, x.var(dim=(0, 2, 3)).mean().item()))

    for stage in encoder.stages:
        measure(stage.beta_in)
        x = stage.transition(activation(x, stage.beta_in))
        for block in stage.blocks:
            measure(block.beta)
            x = block(x)
    measure(encoder.beta)
    return pairs


def test_variance_propagates_as_predicted():
    """It grows by alpha^2 per block and starts afresh at transitions; it neither dies nor explodes."""
    torch.manual_seed(0)
    encoder = NFResNet(64, 32, (64, 64), (6, 6))
    images = 0.5 + 0.25 * torch.randn(8, 3, 64, 64)
    set_skip_gains(encoder, 1.0)
    pairs = variances(encoder, images)
    for expected, measured in pairs:
        print(f"expected {expected:.2f}, measured {measured:.2f}")
        assert 0.8 < measured / expected < 1.2
    grown = [1 + k * ALPHA**2 for k in range(7)]
    assert [expected for expected, _ in pairs] == pytest.approx([1, *grown, *grown])
    assert 0.8 < encoder(images).var().item() < 1.2
    set_skip_gains(encoder, 0.0)  # as it starts: a block is its skip path, and the variance that of the transition
    assert all(0.7 < measured < 1.3 for _, measured in variances(encoder, images))


@torch.no_grad()
def test_a_gray_picture_is_nothing():
    """Pictures are centred inside: mid-gray is the origin, and no bias has been learned yet."""
    assert not build_encoder(RESNET)(torch.full((1, 3, 16, 16), 0.5)).any()


# --- the dual encoder ------------------------------------------------------------------------------------------------


def dual(config: VisionConfig) -> DualEncoder:
    torch.manual_seed(0)
    return DualEncoder(config, 20, text_width=24, text_layers=1, text_heads=2, text_length=8, embed=16)


@BOTH
def test_a_batch_can_be_learned_by_heart(config):
    """From about ln B, the loss of knowing nothing, to about 0."""
    model, B = dual(config), 8
    images = torch.rand(B, 3, 16, 16)
    ids = torch.stack([torch.tensor([5 + i, 19 - i, 5 + i // 2]) for i in range(B)])
    mask = torch.ones_like(ids, dtype=torch.bool)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with torch.no_grad():
        logits = model(images, ids, mask)
    first = info_nce(logits / model.scale()).item()  # at temperature 1: 0.07 sharpens chance differences of cosines
    assert first == pytest.approx(math.log(B), abs=0.1) and info_nce(logits).item() > math.log(B) - 0.1
    for _ in range(80):
        optimiser.zero_grad()
        loss = info_nce(model(images, ids, mask))
        loss.backward()
        optimiser.step()
    print(f"ln B {math.log(B):.3f}, at first {first:.3f}, at last {loss.item():.4f}")
    assert loss.item() < 0.05
    with torch.no_grad():
        images_, texts = model.encode_image(images), model.encode_text(ids, mask)
    assert all(row.recall == 1 for row in retrieval_rows(images_, texts, ks=(1,)))


def test_embeddings_are_unit_vectors_and_one_pair_works():
    model = dual(VIT)
    ids, mask = torch.tensor([[5, 6, 7]]), torch.ones(1, 3, dtype=torch.bool)
    logits = model(torch.rand(1, 3, 16, 16), ids, mask)
    assert logits.shape == (1, 1) and info_nce(logits).item() == 0
    assert model.encode_image(torch.rand(3, 3, 16, 16)).norm(dim=-1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert model.encode_text(ids, mask).norm(dim=-1).item() == pytest.approx(1, abs=1e-5)


def test_padding_changes_no_text():
    """On either side, of any length, whatever ids stand there."""
    model = dual(VIT)
    plain = model.encode_text(torch.tensor([[5, 6, 7]]), torch.ones(1, 3, dtype=torch.bool))
    for before, after in ((0, 4), (3, 0), (2, 2)):
        for junk in (0, 13):
            ids = F.pad(torch.tensor([[5, 6, 7]]), (before, after), value=junk)
            mask = F.pad(torch.ones(1, 3, dtype=torch.bool), (before, after), value=False)
            assert_near(model.encode_text(ids, mask), plain)
    turned = model.encode_text(torch.tensor([[7, 6, 5]]), torch.ones(1, 3, dtype=torch.bool))
    assert not torch.allclose(turned, plain, atol=1e-3)  # word order counts


def test_an_empty_text_is_zero_and_trains():
    model = dual(VIT)
    ids = torch.tensor([[5, 6], [0, 0]])
    logits = model(torch.rand(2, 3, 16, 16), ids, ids != 0)
    assert not logits[:, 1].any()
    info_nce(logits).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_a_long_text_is_refused():
    with pytest.raises(ValueError, match="9 tokens, expected at most 8"):
        dual(VIT).encode_text(torch.ones(1, 9, dtype=torch.long), torch.ones(1, 9, dtype=torch.bool))


def test_the_temperature_starts_at_007_and_is_clamped():
    model = dual(VIT)
    assert model.scale().item() == pytest.approx(1 / 0.07, rel=1e-5)
    nn.init.constant_(model.logit_scale, 9.0)
    model.scale().backward()
    assert model.scale().item() == pytest.approx(MAX_SCALE, rel=1e-4) and model.logit_scale.grad.item() > 0


def slow_info_nce(logits: list[list[float]], labels: list[int]) -> float:
    """The definition, one query at a time: negatives are the pairs whose text is another."""
    B, total = len(logits), 0.0
    for i in range(B):
        others = [j for j in range(B) if labels[j] != labels[i]]
        for own, wrong in (
            (logits[i][i], [logits[i][j] for j in others]),
            (logits[i][i], [logits[j][i] for j in others]),
        ):
            total -= own - math.log(math.exp(own) + sum(map(math.exp, wrong)))
    return total / (2 * B)


@settings(max_examples=60, deadline=None)
@given(seeds, st.lists(st.integers(0, 3), min_size=1, max_size=7), st.floats(0, 20))
def test_info_nce_meets_its_definition(seed, labels, scale):
    logits = torch.randn(len(labels), len(labels), generator=seeded(seed), dtype=torch.double) * scale
    text = torch.tensor(labels)
    assert info_nce(logits, same_text(text[:, None])).item() == pytest.approx(
        slow_info_nce(logits.tolist(), labels), abs=1e-9
    )
    assert info_nce(logits).item() == pytest.approx(slow_info_nce(logits.tolist(), list(range(len(labels)))), abs=1e-9)


@pytest.mark.parametrize("unsaid", ["colour", "shape"])
def test_texts_leave_one_attribute_out(unsaid):
    from minilmm.data.world import mixed_scenes, texts_without
    from minilmm.world.vocabulary import COLOURS, SHAPES, tokenizer

    generator = torch.Generator().manual_seed(0)
    scenes = mixed_scenes(50, generator)
    for row, count in zip(texts_without(scenes, generator, unsaid).tolist(), scenes.count.tolist(), strict=True):
        words = tokenizer().decode([i for i in row if i]).split()
        colours, shapes = (sum(w in group for w in words) for group in (COLOURS, SHAPES))
        assert (colours, shapes) == ((0, count) if unsaid == "colour" else (count, 0))
        assert words.count("shape") == (count if unsaid == "shape" else 0)


def test_info_nce_of_ignorance_and_of_identical_texts():
    logits = torch.zeros(6, 6, requires_grad=True)
    assert info_nce(logits).item() == pytest.approx(math.log(6))
    everything = torch.ones(6, 6, dtype=torch.bool)
    loss = info_nce(logits, everything)  # no negatives are left, and nothing is NaN
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()
    with pytest.raises(ValueError, match="square"):
        info_nce(torch.zeros(2, 3))


# --- retrieval -------------------------------------------------------------------------------------------------------

WORKED = torch.tensor(
    [
        [0.9, 0.1, 0.2],  # picture 0 finds text 0 first
        [0.8, 0.5, 0.6],  # picture 1 finds text 1 third
        [0.0, 0.7, 0.7],  # picture 2: text 1 ties with text 2, so second
    ]
)


def test_recall_by_hand():
    text, image = recall_at(WORKED, 1)
    assert text.tolist() == [True, False, False]
    assert image.tolist() == [True, False, True]  # columns: .9 of (.9 .8 0); .5 of (.1 .5 .7); .7 of (.2 .6 .7)
    assert ranks(WORKED, torch.eye(3, dtype=torch.bool)).tolist() == [1, 3, 2]
    assert ranks(WORKED.T, torch.eye(3, dtype=torch.bool)).tolist() == [1, 2, 1]
    assert [h.tolist() for h in recall_at(WORKED, 2)] == [[True, False, True], [True, True, True]]


def test_several_texts_per_picture_by_hand():
    similarity = torch.tensor([[0.1, 0.9, 0.8, 0.7], [0.6, 0.2, 0.8, 0.3]])  # texts 0 and 1 are of picture 0
    groups = torch.tensor([0, 0, 1, 1])
    text, image = recall_at(similarity, 1, groups)
    assert text.tolist() == [True, True]  # picture 0 by text 1, picture 1 by text 2
    assert image.tolist() == [False, True, False, False]  # text 2 ties
    with pytest.raises(ValueError, match="groups"):
        recall_at(similarity, 1)
    with pytest.raises(ValueError, match="query 1"):
        recall_at(similarity, 1, torch.tensor([0, 0, 0, 0]))


def test_a_collapsed_model_retrieves_nothing():
    for hits in recall_at(torch.zeros(12, 12), 10):
        assert not hits.any()


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 7), st.integers(1, 3), st.integers(1, 8))
def test_recall_meets_a_sort(seed, pictures, each, k):
    """Values from {0..4} make many ties: wrong candidates are sorted before right ones."""
    groups = torch.arange(pictures * each)[torch.randperm(pictures * each, generator=seeded(seed))] % pictures
    similarity = torch.randint(5, (pictures, pictures * each), generator=seeded(seed)).float()
    text, image = recall_at(similarity, k, groups)

    def hit(scores: Tensor, right: Tensor) -> bool:
        order = sorted(zip(scores.tolist(), right.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
        best = next(i for i, (_, is_right) in enumerate(order) if is_right)
        return best - sum(is_right for _, is_right in order[:best]) < k

    assert text.tolist() == [hit(similarity[n], groups == n) for n in range(pictures)]
    own = torch.arange(pictures)
    assert image.tolist() == [hit(similarity[:, m], own == groups[m]) for m in range(len(groups))]
    assert (recall_at(similarity, k + 1, groups)[0] >= text).all()


def test_rows_name_their_chance():
    torch.manual_seed(0)
    embeddings = torch.randn(20, 8)
    rows = retrieval_rows(embeddings, 3 * embeddings)
    assert [(r.direction, r.k, r.recall) for r in rows] == [(d, k, 1.0) for d in ("TR", "IR") for k in (1, 5, 10)]
    assert [r.chance for r in rows[:3]] == pytest.approx([1 / 20, 5 / 20, 10 / 20])
    assert all(r.hits.shape == (20,) and r.hits.dtype == torch.bool for r in rows)
    few = retrieval_rows(torch.eye(3), torch.eye(3).repeat_interleave(2, 0), groups=torch.arange(6) // 2)
    assert few[0].chance == pytest.approx(2 / 6) and few[3].chance == pytest.approx(1 / 3) and few[5].chance == 1
    lucky = [retrieval_rows(torch.randn(20, 8), torch.randn(20, 8))[1].recall for _ in range(200)]
    assert sum(lucky) / 200 == pytest.approx(5 / 20, abs=0.03)


def test_classification_with_prompt_ensembles():
    classes = ensemble(torch.tensor([[[2.0, 0.0], [1.0, 1.0]], [[0.0, 5.0], [-1.0, 1.0]]]))  # (2, 2, 2)
    half = math.sqrt(0.5)
    assert_near(classes[0], F.normalize(torch.tensor([1 + half, half]), dim=0))
    assert_near(classes[1], F.normalize(torch.tensor([-half, 1 + half]), dim=0))
    images = torch.tensor([[9.0, 1.0], [0.1, 3.0], [-4.0, 0.1]])
    assert classify(images, classes).tolist() == [0, 1, 1]
    assert classify(100 * images, 0.01 * classes).tolist() == [0, 1, 1]

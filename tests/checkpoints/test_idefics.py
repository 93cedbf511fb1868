"""The whole Flamingo against transformers' Idefics, an open Flamingo, at random weights with open gates."""

import sys
from dataclasses import replace
from pathlib import Path
from types import MethodType

import pytest
import torch
from tiny import assert_near
from torch import nn

from minilmm.flamingo import GatedCrossAttention
from minilmm.interface.document import Batch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import idefics

SIZE = idefics.Size("tiny", width=32, layers=4, heads=4, hidden=40, feature_width=24, patches=5, latents=3,
                    rows=3, images=2, words=4)  # fmt: skip


class Eyes(nn.Module):
    """Stands for an encoder: every picture is a table of features already, in its first channel."""

    width = SIZE.feature_width

    def forward(self, images):
        return images[:, 0]


def models(interval):
    torch.manual_seed(interval)
    theirs = idefics.idefics(SIZE, every=interval, attention="eager")
    ours = idefics.ours_from(theirs)
    ours.encoder = Eyes()
    return theirs, ours


def documents(*rows):
    """Documents as a batch whose pictures are features (M, S, D), and the features as Idefics wants them."""
    length, most = max(map(len, rows)), max(row.count(3) for row in rows)
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in rows])
    features = torch.randn(
        len(rows), most, SIZE.patches, SIZE.feature_width, generator=torch.Generator().manual_seed(5)
    )
    media = torch.zeros(len(rows), most, 1, 3, SIZE.patches, SIZE.feature_width)
    media[:, :, 0, 0] = features
    return Batch.of(ids, media), features


def both(theirs, ours, batch, features):
    looks = torch.stack([(batch.ids == 3).cumsum(1) == n + 1 for n in range(features.shape[1])], -1)
    expected = theirs(
        input_ids=batch.ids, attention_mask=batch.attention_mask.long(), image_encoder_embeddings=features,
        image_attention_mask=looks.long(), use_cache=False,
    ).logits  # fmt: skip
    return ours(batch)[batch.attention_mask], expected[batch.attention_mask]


@pytest.mark.parametrize("interval", [1, 2])
def test_logits_and_gradients_are_idefics(interval):
    """Documents that begin with a picture, of different lengths and numbers of pictures."""
    theirs, ours = models(interval)
    batch, features = documents([3, 11, 4, 3, 12, 13, 14], [3, 15, 4], [3, 9, 3, 8, 3, 7])
    mine, expected = both(theirs, ours, batch, features)
    assert float(expected.detach().std()) > 0.1
    assert_near(mine, expected)
    mine.square().mean().backward()
    expected.square().mean().backward()
    source = theirs.model
    layer, block = ours.xattn["0"], source.gated_cross_attn_layers[0]
    for a, b in (
        (ours.resampler.latents, source.perceiver_resampler.latents),
        (layer.alpha_xattn, block.alpha_cross_attn), (layer.alpha_dense, block.alpha_dense),
        (layer.attention.q_proj.weight, block.cross_attn.q_proj.weight),
        (layer.attention.k_proj.weight, block.cross_attn.k_proj.weight),
        (ours.lm.layers[0].self_attn.v_proj.weight, source.layers[0].self_attn.v_proj.weight),
        (ours.lm.embed_tokens.weight, source.embed_tokens.weight),
    ):  # fmt: skip
        assert float(b.grad.abs().max()) > 1e-4
        assert_near(a.grad, b.grad.view_as(a.grad), 1e-4)


def test_text_before_the_first_picture_differs_from_the_papers_in_the_feed_forward_alone():
    theirs, ours = models(1)
    batch, features = documents([1, 10, 3, 11, 4, 3, 12], [1, 3, 9])
    mine, expected = both(theirs, ours, batch, features)
    assert_near(mine, expected)
    for layer in ours.xattn.values():
        layer.forward = MethodType(GatedCrossAttention.forward, layer)
    gated, _ = both(theirs, ours, batch, features)
    assert not torch.allclose(gated, expected, atol=1e-2)


@pytest.mark.parametrize("padded", [False, True])
def test_the_benchmark_compares_equal_work(padded):
    both = idefics.contest(replace(SIZE, padded=padded), "cpu")
    assert both.check() < 1e-5
    assert not any(p.requires_grad for p in both.ours.lm.parameters())
    with torch.no_grad():
        both.theirs.model.perceiver_resampler.latents.mul_(1.5)
    with pytest.raises(AssertionError):
        both.check()

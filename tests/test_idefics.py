"""The whole Flamingo against transformers' Idefics, an open Flamingo, at random weights with open gates."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import IdeficsConfig, IdeficsForVisionText2Text

from minilmm.document import Batch
from minilmm.flamingo import Flamingo, FlamingoConfig, GatedCrossAttention
from minilmm.language import CausalLM, LMConfig

WIDTH, SEEN, LAYERS, LATENTS, PATCHES = 32, 24, 4, 3, 5


class Eyes(nn.Module):
    """Stands for an encoder: every picture is a table of features already, in its first channel."""

    width = SEEN

    def forward(self, images):
        return images[:, 0]


class SwiGLU(nn.Module):
    def __init__(self, theirs):
        super().__init__()
        self.theirs = theirs

    def forward(self, x):
        return self.theirs.down_proj(F.silu(self.theirs.gate_proj(x)) * self.theirs.up_proj(x))


class DenseEverywhere(GatedCrossAttention):
    """Idefics' feed-forward also changes tokens that see no picture; ours does not."""

    def forward(self, y, x, mask, maps=None):
        y = y + self.alpha_xattn.tanh() * self.attention(self.norm(y), x, mask, maps)
        return y + self.alpha_dense.tanh() * self.ffw(y)


def idefics(interval):
    torch.manual_seed(interval)
    config = IdeficsConfig(
        vocab_size=50, additional_vocab_size=0, hidden_size=WIDTH, intermediate_size=40, num_hidden_layers=LAYERS,
        num_attention_heads=4, alpha_initializer="ones", alpha_type="float", cross_layer_interval=interval,
        use_resampler=True, tie_word_embeddings=False, attn_implementation="eager", freeze_text_layers=False,
        freeze_vision_layers=False, vision_config={"embed_dim": SEEN, "num_hidden_layers": 1, "num_attention_heads": 2,
                                                   "intermediate_size": 8, "image_size": 4, "patch_size": 2},
        perceiver_config={"use_resampler": True, "resampler_n_latents": LATENTS, "resampler_depth": 2,
                          "resampler_n_heads": 2, "resampler_head_dim": 12, "qk_layer_norms_perceiver": False},
    )  # fmt: skip
    model = IdeficsForVisionText2Text(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "alpha" in name:
                p.uniform_(0.3, 1.0)
            elif "norm" in name and name.endswith("weight"):
                p.uniform_(0.5, 1.5)
            else:
                p.normal_(std=0.3)
    return model


def ours_from(theirs, interval, gated=GatedCrossAttention):
    """Our Flamingo with Idefics' weights, and with its norm and its feed-forwards in the new layers."""
    lm = CausalLM(LMConfig(50, WIDTH, LAYERS, 4, 4, 40, smear=0, tied=False))
    source = theirs.model
    with torch.no_grad():
        names = dict(source.named_parameters())
        for name, p in lm.named_parameters():
            p.copy_(theirs.lm_head.weight if name == "lm_head.weight" else names[name])
    config = FlamingoConfig(lm.config, latents=LATENTS, heads=2, resampler_layers=2, every=interval, frames=1)
    model = Flamingo(config, lm, Eyes())
    r, t = model.resampler, source.perceiver_resampler
    nn.init.zeros_(r.time_embeddings)  # theirs has none
    pairs = [(r.latents, t.latents), (r.norm.weight, t.layer_norm.weight), (r.norm.bias, t.layer_norm.bias)]
    for i, (attention, mlp) in enumerate(t.blocks):
        r.ffw[i][2] = nn.ReLU()
        pairs += [(getattr(r.attention[i], f"{a}_proj").weight, getattr(attention, f"{b}_proj").weight)
                  for a, b in (("q", "q"), ("k", "k"), ("v", "v"), ("o", "output"))]  # fmt: skip
        pairs += [(r.ffw[i][1].weight, mlp.fc.weight), (r.ffw[i][3].weight, mlp.c_proj.weight)]
        for mine, norm in ((r.context_norm[i], attention.context_layer_norm),
                           (r.latents_norm[i], attention.latents_layer_norm), (r.ffw[i][0], mlp.ln)):  # fmt: skip
            pairs += [(mine.weight, norm.weight), (mine.bias, norm.bias)]
    model.xattn = nn.ModuleDict({name: gated(WIDTH, SEEN, heads=4) for name in model.xattn})
    for layer, block in zip(model.xattn.values(), source.gated_cross_attn_layers, strict=True):
        layer.norm = copy.deepcopy(block.input_layernorm)
        layer.ffw = nn.Sequential(copy.deepcopy(block.post_attention_layernorm), SwiGLU(copy.deepcopy(block.mlp)))
        pairs += [(getattr(layer.attention, f"{n}_proj").weight, getattr(block.cross_attn, f"{n}_proj").weight)
                  for n in "qkvo"]  # fmt: skip
        pairs += [(layer.alpha_xattn, block.alpha_cross_attn), (layer.alpha_dense, block.alpha_dense)]
    with torch.no_grad():
        for a, b in pairs:
            a.copy_(b.view_as(a))
    return model.eval()


def documents(*rows):
    """Documents as a batch whose pictures are features (M, S, D), and the features as Idefics wants them."""
    length, most = max(map(len, rows)), max(row.count(3) for row in rows)
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in rows])
    features = torch.randn(len(rows), most, PATCHES, SEEN, generator=torch.Generator().manual_seed(5))
    media = torch.zeros(len(rows), most, 1, 3, PATCHES, SEEN)
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
    theirs = idefics(interval)
    ours = ours_from(theirs, interval)
    batch, features = documents([3, 11, 4, 3, 12, 13, 14], [3, 15, 4], [3, 9, 3, 8, 3, 7])
    mine, expected = both(theirs, ours, batch, features)
    assert float(expected.detach().std()) > 0.1
    torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)
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
        torch.testing.assert_close(a.grad, b.grad.view_as(a.grad), atol=1e-5, rtol=1e-4)


def test_text_before_the_first_picture_differs_in_the_feed_forward_alone():
    theirs = idefics(1)
    batch, features = documents([1, 10, 3, 11, 4, 3, 12], [1, 3, 9])
    mine, expected = both(theirs, ours_from(theirs, 1, DenseEverywhere), batch, features)
    torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)
    gated, _ = both(theirs, ours_from(theirs, 1), batch, features)
    assert not torch.allclose(gated, expected, atol=1e-2)

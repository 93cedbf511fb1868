"""Encoders of transformers and torchvision behind our interface: tiny ones, saved locally at random weights."""

import importlib
import os
import sys
import types

os.environ["HF_HUB_OFFLINE"] = "1"

import huggingface_hub
import pytest
import torch
import transformers
from tiny import assert_near
from torch import nn
from torch.nn import functional as F

from minilmm.checkpoints import hub
from minilmm.frozen import Frozen, FrozenConfig
from minilmm.language import CausalLM, LMConfig
from minilmm.vision import VisionConfig
from minilmm.vision.adapter import CLIP, HALF, IMAGENET, torchvision_encoder, transformers_encoder

SIZE = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
FEED = {"intermediate_size": 24}
TEXT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 9}
MAKE = {
    "clip": lambda: transformers.CLIPModel(transformers.CLIPConfig(vision_config=SIZE | FEED, text_config=TEXT)),
    "siglip": lambda: transformers.SiglipModel(transformers.SiglipConfig(vision_config=SIZE | FEED, text_config=TEXT)),
    "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**SIZE, mlp_ratio=2)),
    "registers": lambda: transformers.Dinov2WithRegistersModel(
        transformers.Dinov2WithRegistersConfig(**SIZE, mlp_ratio=2, num_register_tokens=3)
    ),
    "vit": lambda: transformers.ViTModel(transformers.ViTConfig(**SIZE, **FEED)),
    "blip2": lambda: transformers.Blip2VisionModel(transformers.Blip2VisionConfig(**SIZE, **FEED)),
    "resnet": lambda: transformers.ResNetModel(
        transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    ),
}
# tokens in front of the grid, positions in all, the family's normalisation, the layer unless given
FACTS = {"clip": (1, 5, CLIP, -2), "siglip": (0, 4, HALF, None), "dinov2": (1, 5, IMAGENET, None),
         "registers": (4, 8, IMAGENET, None), "vit": (1, 5, HALF, None), "blip2": (1, 5, CLIP, None),
         "resnet": (0, 784, HALF, None)}  # fmt: skip


def random(name):
    torch.manual_seed(0)
    model = MAKE[name]().eval()
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    return model


@pytest.mark.parametrize("name", sorted(MAKE))
@torch.no_grad()
def test_features_are_the_models_own(name):
    model = random(name)
    encoder, (before, positions, (mean, std), layer) = transformers_encoder(model), FACTS[name]
    assert (encoder.before, encoder.positions, encoder.width, encoder.layer) == (before, positions, 16, layer)
    size = encoder.resolution
    images = torch.rand(2, 3, size, size)
    seen = (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    out = getattr(model, "vision_model", model)(pixel_values=seen, output_hidden_states=True)
    expected = out.last_hidden_state if layer is None else out.hidden_states[layer]
    expected = expected.flatten(2).mT if expected.ndim == 4 else expected
    features = encoder.train()(images)
    assert_near(features, expected)
    assert features.std() > 0.01 and not encoder.model.training
    pooled = F.layer_norm(expected[:, 0] if before else expected.mean(1), (16,))
    assert_near(encoder.pool(features), pooled)
    assert encoder(torch.rand(1, 3, 40, 30)).shape == (1, positions, 16)  # other sizes are resized


def test_a_layer_can_be_chosen_and_must_be_there():
    model = random("vit")
    images = torch.rand(1, 3, 28, 28)
    states = model(pixel_values=(images - 0.5) / 0.5, output_hidden_states=True).hidden_states
    assert_near(transformers_encoder(model, layer=1)(images), states[1])
    with pytest.raises(ValueError, match="layer 9 of 3: expected -4 to 3"):
        transformers_encoder(model, layer=9)
    with pytest.raises(ValueError, match="BertModel takes no pictures"):
        transformers_encoder(transformers.BertModel(transformers.BertConfig(**{**TEXT, "max_position_embeddings": 8})))


def test_by_name_with_the_checkpoints_own_normalisation(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    model = random("siglip")
    model.save_pretrained(tmp_path)
    images = torch.rand(1, 3, 28, 28)
    assert_near(hub.load_encoder(str(tmp_path))(images), transformers_encoder(model)(images))
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 4]}')
    own = hub.load_encoder(str(tmp_path))
    assert own.get_buffer("mean").flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    (tmp_path / "preprocessor_config.json").write_text("{")
    for bad in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ValueError, match="no vision encoder"):
            hub.load_encoder(str(bad))
    with pytest.raises(ValueError, match="no vision encoder"):
        hub.load_encoder("no/such-encoder")


def test_frozen_sees_through_any_encoder():
    torch.manual_seed(0)
    encoder = transformers_encoder(random("clip"))
    lm = CausalLM(LMConfig(20, 32, 1, 4, 4, 32))
    model = Frozen(FrozenConfig(lm.config, VisionConfig("vit", 28, patch=14, vit_width=16)), lm, encoder).eval()
    assert model.prefix(torch.rand(2, 3, 28, 28)).shape == (2, model.prefix_tokens, 32)


class Grid(nn.Module):
    """Stands for a ResNet of torchvision."""

    def __init__(self):
        super().__init__()
        self.layer4, self.fc = nn.Conv2d(3, 8, 32, 32), nn.Linear(8, 2)

    def forward(self, x):
        return self.fc(self.layer4(x).mean((2, 3)))


def test_torchvision_up_to_its_grid(monkeypatch):
    fake = types.SimpleNamespace(
        list_models=lambda: ["resnet50", "other"],
        get_model=lambda name, weights: Grid() if name == "resnet50" else nn.Linear(1, 1),
    )
    monkeypatch.setattr(importlib, "import_module", lambda name: fake)
    encoder = torchvision_encoder("resnet50", None)
    images = torch.rand(2, 3, 224, 224)
    features = encoder(images)
    assert (encoder.width, encoder.positions, encoder.before) == (8, 49, 0)
    assert_near(features, encoder.model.layer4(encoder.normalised(images)).flatten(2).mT)
    assert not encoder.model.layer4._forward_hooks
    with pytest.raises(ValueError, match="no network 'nothing'"):
        torchvision_encoder("nothing", None)
    with pytest.raises(ValueError, match="other has no known feature map"):
        torchvision_encoder("other", None)


def test_a_missing_or_broken_torchvision_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ValueError, match=r"torchvision cannot be imported .*: pip install"):
        hub.load_encoder("torchvision:resnet50")

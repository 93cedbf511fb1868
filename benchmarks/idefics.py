"""The step that trains Flamingo, through our modules and through transformers' Idefics: equal weights, equal work.

Both read the same ids and the same features of pictures, with scaled_dot_product_attention; both give logits
everywhere, the loss at the words, and the gradients of the resampler and of the gated layers; the language model is
frozen. Idefics' norm and feed-forwards stand in our new layers, as `minilmm.checkpoints.convert` puts them there, since
its own differ from the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minilmm.flamingo import Flamingo
from minilmm.interface.document import Batch

VOCABULARY, IMAGE = 512, 3


@dataclass(frozen=True)
class Size:
    """Sizes of a comparison; documents of `images` pictures with `words` words behind each.

    `padded`: documents end anywhere behind their last picture.
    """

    name: str
    width: int
    layers: int
    heads: int
    hidden: int
    feature_width: int
    patches: int
    latents: int
    rows: int
    images: int
    words: int
    padded: bool = True


class Eyes(nn.Module):
    """Stands for an encoder: features come from outside."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width


def idefics(size: Size, every: int = 1, attention: str = "sdpa") -> Any:
    """A random Idefics with open gates: 0.3 to 1, norms .5 to 1.5."""
    import transformers

    config = transformers.IdeficsConfig(
        vocab_size=VOCABULARY, additional_vocab_size=0, hidden_size=size.width, intermediate_size=size.hidden,
        num_hidden_layers=size.layers, num_attention_heads=size.heads, alpha_initializer="ones", alpha_type="float",
        cross_layer_interval=every, use_resampler=True, tie_word_embeddings=False, attn_implementation=attention,
        freeze_text_layers=False, freeze_vision_layers=False,
        vision_config={"embed_dim": size.feature_width, "num_hidden_layers": 1, "num_attention_heads": 2,
                       "intermediate_size": 8, "image_size": 4, "patch_size": 2},
        perceiver_config={"use_resampler": True, "resampler_n_latents": size.latents, "resampler_depth": 2,
                          "resampler_n_heads": size.heads, "resampler_head_dim": size.feature_width // size.heads,
                          "qk_layer_norms_perceiver": False},
    )  # fmt: skip
    model: Any = transformers.IdeficsForVisionText2Text(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "alpha" in name:
                p.uniform_(0.3, 1.0)
            elif "norm" in name and name.endswith("weight"):
                p.uniform_(0.5, 1.5)
            else:
                p.normal_(std=0.2 if size.width < 64 else size.width**-0.5)
    return model.eval()


def ours_from(theirs: Any) -> Flamingo:
    """Our Flamingo with Idefics' weights and parts; features of pictures come from outside."""
    from minilmm.checkpoints.convert.models import convert_model

    model: Any = convert_model(theirs, IMAGE)
    model.encoder = Eyes(theirs.config.vision_config.embed_dim)
    return model.eval()


@dataclass(frozen=True)
class Contest:
    """Both models and what they read: documents, features of their pictures (B, N, S, D), and who looks where."""

    ours: Flamingo
    theirs: Any
    batch: Batch
    features: Tensor
    looks: Tensor

    def step_ours(self) -> Tensor:
        """Loss; gradients are left on the parameters."""
        return self._backward(self.ours, self.ours(replace(self.batch, features=self.features[:, :, None])))

    def step_theirs(self) -> Tensor:
        """The same by transformers."""
        logits = self.theirs(
            input_ids=self.batch.ids, attention_mask=self.batch.attention_mask.long(), use_cache=False,
            image_encoder_embeddings=self.features, image_attention_mask=self.looks,
        ).logits  # fmt: skip
        return self._backward(self.theirs, logits)

    def _backward(self, model: nn.Module, logits: Tensor) -> Tensor:
        model.zero_grad(set_to_none=True)
        labels = self.batch.ids.masked_fill(~self.batch.loss_mask, -100)
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        loss.backward()
        return loss.detach()

    def check(self) -> float:
        """How far the two losses differ, relatively. AssertionError where losses or gradients are not equal."""
        a, b = self.step_ours(), self.step_theirs()
        assert a.isfinite(), f"our loss is {a}"
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
        ours, source = self.ours, self.theirs.model
        layer, block = ours.xattn["0"], source.gated_cross_attn_layers[0]
        for mine, other in (
            (ours.resampler.latents, source.perceiver_resampler.latents), (layer.alpha_dense, block.alpha_dense),
            (layer.attention.v_proj.weight, block.cross_attn.v_proj.weight),
        ):  # fmt: skip
            assert float(mine.grad.abs().max()) > 0
            torch.testing.assert_close(
                mine.grad, other.grad.view_as(mine), atol=1e-6 + 1e-3 * float(mine.grad.abs().max()), rtol=1e-3
            )
        return float((a - b).abs() / b.abs())


def contest(size: Size, device: str, seed: int = 0) -> Contest:
    """Two models of a size with equal weights, and documents for both. ModuleNotFoundError without transformers."""
    torch.manual_seed(seed)
    theirs = idefics(size)
    ours = ours_from(theirs)
    models: tuple[Any, ...] = (ours, theirs)
    for model in models:
        for name, p in model.to(device).train().named_parameters():
            p.requires_grad_(any(part in name for part in ("resampler", "xattn", "gated_cross_attn")))
    batch = documents(size, device)
    features = torch.randn(size.rows, size.images, size.patches, size.feature_width).to(device)
    looks = torch.stack([(batch.ids == IMAGE).cumsum(1) == n + 1 for n in range(size.images)], -1).long()
    return Contest(ours, theirs, batch, features, looks)


def documents(size: Size, device: str) -> Batch:
    """ "<image> word word ..." once per picture; padded documents keep their last picture and lose words behind it."""
    one = torch.randint(5, VOCABULARY, (size.rows, size.images, 1 + size.words))
    one[:, :, 0] = IMAGE
    ids = one.flatten(1)
    ends = torch.randint(2, size.words + 1, (size.rows, 1)) if size.padded else size.words
    real = torch.arange(ids.shape[1]) < ids.shape[1] - size.words + ends
    media = torch.zeros(size.rows, size.images, 1, 3, 1, 1)
    return Batch.of((ids * real).to(device), media.to(device), image=IMAGE)

"""The step that trains Frozen, through our language model and through transformers' Llama: one work, two readers.

Both hold the same weights, frozen; both read the same embeddings (a picture's prefix and the words of a caption), with
scaled_dot_product_attention; both give logits everywhere, the loss at the words, and the gradient of the embeddings,
which is what goes on into the vision encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minilmm.language import CausalLM, LMConfig


@dataclass(frozen=True)
class Size:
    """Sizes of a comparison. `padded`: rows end anywhere in their second half, as captions do; otherwise none is."""

    name: str
    config: LMConfig
    rows: int
    length: int
    padded: bool


@dataclass(frozen=True)
class Contest:
    """Both models and what they read: embeddings (B, L, D), which are real (B, L) or None, labels (B, L), -100 none."""

    ours: CausalLM
    theirs: torch.nn.Module
    x: Tensor
    real: Tensor | None
    labels: Tensor

    def step_ours(self) -> tuple[Tensor, Tensor]:
        """Loss, and the gradient of the embeddings."""
        x = self.x.requires_grad_()
        return self._backward(self.ours.lm_head(self.ours.hidden(x, self.real)), x)

    def step_theirs(self) -> tuple[Tensor, Tensor]:
        """The same by transformers."""
        x = self.x.requires_grad_()
        mask = None if self.real is None else self.real.long()
        return self._backward(self.theirs(inputs_embeds=x, attention_mask=mask, use_cache=False).logits, x)

    def _backward(self, logits: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), self.labels[:, 1:].flatten())
        return loss.detach(), torch.autograd.grad(loss, x)[0]

    def check(self) -> float:
        """How far the two losses differ, relatively. AssertionError where losses or gradients are not equal."""
        (a, da), (b, db) = self.step_ours(), self.step_theirs()
        assert a.isfinite() and da.abs().max() > 0, f"our loss is {a}"
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(da, db, atol=1e-6 + 1e-3 * float(da.abs().max()), rtol=1e-3)
        return float((a - b).abs() / b.abs())


def contest(size: Size, device: str, seed: int = 0) -> Contest:
    """Two models of a size with equal weights, and a batch for both. ModuleNotFoundError without transformers."""
    import transformers

    c = size.config
    if c.smear or c.positions != "rope":
        raise ValueError("transformers' Llama has no smear and no learned positions: compare without")
    torch.manual_seed(seed)
    ours = CausalLM(c)
    config = transformers.LlamaConfig(
        vocab_size=c.vocab_size, hidden_size=c.width, num_hidden_layers=c.layers, num_attention_heads=c.heads,
        num_key_value_heads=c.kv_heads, intermediate_size=c.hidden, rms_norm_eps=c.norm_eps,
        max_position_embeddings=c.context, tie_word_embeddings=c.tied,
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    theirs: Any = transformers.LlamaForCausalLM(config)
    assert theirs.config._attn_implementation == "sdpa"
    head = "lm_head.weight"
    theirs.load_state_dict({k if k == head else f"model.{k}": v for k, v in ours.state_dict().items()})
    models: tuple[Any, ...] = (ours, theirs)
    for model in models:
        model.to(device).requires_grad_(False).train()
    ids = torch.randint(5, c.vocab_size, (size.rows, size.length))
    ends = torch.randint(size.length // 2, size.length + 1, (size.rows, 1)) if size.padded else size.length
    real = torch.arange(size.length) < ends  # (B, L), or (L,) where all are full
    labels = ids.masked_fill(~real, -100)
    labels[:, :3] = -100  # <bos> and the picture's two vectors
    x = ours.embed(ids.to(device)).detach().clone()
    return Contest(ours, theirs, x, real.to(device) if size.padded else None, labels.to(device))

"""The steps that train BLIP-2, through our modules and through transformers': equal weights, equal work, one kernel.

Stage 1: ITM's pass, queries and text together, its loss and the Q-Former's gradients. Stage 2: a T5 behind the Q-Former
says what follows a prompt; its loss, and the gradients of the Q-Former and of the linear map. Both take attention by
scaled_dot_product_attention; eyes (one small layer, the same module in both) and language model are frozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minilmm.checkpoints.convert.models import convert_model
from minilmm.interface.document import Batch
from minilmm.training.job import loss_of

VOCABULARY, IMAGE = 512, 3


@dataclass(frozen=True)
class Size:
    """Sizes of a comparison: a Q-Former, a T5, and batches of `rows` pictures with `words` words each."""

    name: str
    width: int
    layers: int
    heads: int
    queries: int
    side: int  # patches along a side; the width of their features is the Q-Former's
    lm_width: int
    lm_layers: int
    rows: int
    words: int


NANO = Size("nano", 128, 4, 4, 8, 6, 128, 3, 64, 12)
LARGE = Size("large", 512, 6, 8, 32, 8, 512, 4, 16, 48)
TINY = Size("tiny", 16, 2, 2, 3, 2, 16, 1, 2, 4)


def theirs(size: Size, kind: str) -> Any:
    """A random model of transformers: "Blip2ForImageTextRetrieval" or "Blip2ForConditionalGeneration"."""
    import transformers

    first = "Retrieval" in kind
    vision = {"hidden_size": size.width, "intermediate_size": size.width, "num_hidden_layers": 1,
              "num_attention_heads": size.heads, "image_size": 2 * size.side, "patch_size": 2}  # fmt: skip
    qformer = {"vocab_size": VOCABULARY, "hidden_size": size.width, "num_hidden_layers": size.layers,
               "num_attention_heads": size.heads, "intermediate_size": 4 * size.width,
               "encoder_hidden_size": size.width, "use_qformer_text_input": first, "hidden_dropout_prob": 0.0,
               "attention_probs_dropout_prob": 0.0}  # fmt: skip
    text = transformers.T5Config(
        vocab_size=VOCABULARY, d_model=size.lm_width, d_kv=size.lm_width // size.heads, d_ff=2 * size.lm_width,
        num_layers=size.lm_layers, num_heads=size.heads, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
        dropout_rate=0.0, decoder_start_token_id=0,
    )  # fmt: skip
    config = transformers.Blip2Config(
        vision_config=vision, qformer_config=qformer, text_config=text.to_dict(), num_query_tokens=size.queries,
        image_text_hidden_size=size.width, image_token_index=None if first else IMAGE,
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    model = getattr(transformers, kind)(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name.lower() and name.endswith("weight"):
                p.uniform_(0.5, 1.5)
            else:
                p.normal_(std=size.width**-0.5)
    return model.train()


class Contest:
    """Both models of a stage, 1 or 2, and what they read."""

    def __init__(self, size: Size, stage: int, device: str):
        torch.manual_seed(0)
        kind = {1: "Blip2ForImageTextRetrieval", 2: "Blip2ForConditionalGeneration"}[stage]
        self.size, self.stage = size, stage
        self.theirs: Any = theirs(size, kind).to(device)
        self.ours: Any = convert_model(self.theirs).to(device).train()
        for model, parts in ((self.ours, ("qformer", "to_lm", "itm")), (self.theirs, self.TRAINED)):
            for name, p in model.named_parameters():
                p.requires_grad_(any(name.startswith(part) for part in parts) and "vision" not in name)
        self.pixels = torch.rand(size.rows, 3, 2 * size.side, 2 * size.side, device=device)
        words = torch.randint(5, VOCABULARY, (size.rows, size.words), device=device)
        head = torch.tensor([[1, IMAGE]], device=device).expand(size.rows, -1)
        ids, half = torch.cat([head, words], 1), 2 + size.words // 2
        said = torch.arange(ids.shape[1], device=device) >= half
        self.batch = Batch.of(ids, self.pixels[:, None, None], image=IMAGE, loss_mask=said.expand_as(ids))
        self.words, self.label = words, torch.randint(2, (size.rows,), device=device)
        tags = torch.full((size.rows, size.queries), IMAGE, device=device)
        self.prompt, self.after = torch.cat([ids[:, :1], tags, ids[:, 2:half]], 1), ids[:, half:].contiguous()

    TRAINED = ("qformer", "query_tokens", "embeddings", "itm_head", "language_projection")

    def step_ours(self) -> Tensor:
        """Loss; gradients are left on the parameters."""
        if self.stage == 2:
            return self._backward(self.ours, loss_of(self.ours, self.batch))
        with torch.no_grad():
            x_f = self.ours.encoder(self.pixels)
        logits = self.ours.match(x_f, self.words, torch.ones_like(self.words, dtype=torch.bool))
        return self._backward(self.ours, F.cross_entropy(logits, self.label))

    def step_theirs(self) -> Tensor:
        """The same by transformers."""
        pixels = self.ours.encoder.normalised(self.pixels)
        if self.stage == 2:
            loss = self.theirs(pixel_values=pixels, input_ids=self.prompt, labels=self.after,
                               attention_mask=torch.ones_like(self.prompt), use_cache=False).loss  # fmt: skip
        else:
            logits = self.theirs(pixel_values=pixels, input_ids=self.words, attention_mask=torch.ones_like(self.words),
                                 use_image_text_matching_head=True).logits_per_image  # fmt: skip
            loss = F.cross_entropy(logits, self.label)
        return self._backward(self.theirs, loss)

    def _backward(self, model: nn.Module, loss: Tensor) -> Tensor:
        model.zero_grad(set_to_none=True)
        loss.backward()
        return loss.detach()

    def check(self) -> float:
        """How far the two losses differ, relatively. AssertionError where losses or gradients are not equal."""
        a, b = self.step_ours(), self.step_theirs()
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
        block, layer = self.ours.qformer.blocks[0], self.theirs.qformer.encoder.layer[0]
        for mine, other in (
            (block.cross.v_proj.weight, layer.crossattention.attention.value.weight),
            (block.ffw_query.up.weight, layer.intermediate_query.dense.weight),
        ):
            assert float(mine.grad.abs().max()) > 0
            torch.testing.assert_close(
                mine.grad, other.grad, atol=1e-6 + 1e-3 * float(mine.grad.abs().max()), rtol=1e-3
            )
        return float((a - b).abs() / b.abs())

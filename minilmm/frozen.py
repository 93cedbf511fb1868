"""Frozen: Multimodal Few-Shot Learning with Frozen Language Models (Tsimpoukelli et al., NeurIPS 2021).

A vision encoder v_phi reads a picture; one linear map turns its pooled vector into n vectors as wide as a word
embedding, the *visual prefix*; the prefix stands in the sequence where the picture stands in the document; a
pretrained language model reads on. Only the vision side is trained: gradients pass through the language model, whose
weights keep every byte (section 3, figure 2). Trained on captions, one picture per sequence; at test any number of
pictures may be interleaved with text, because the language model's positions are relative (section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from minilmm.interface.tokenizer import IMAGE_ID
from minilmm.language.causal import CausalLM, LMConfig
from minilmm.nn.prefix import PrefixLM
from minilmm.vision import Encoder, VisionConfig, build_encoder


@dataclass(frozen=True)
class FrozenConfig:
    """n prefix tokens (the paper tried 1, 2 and 4; 2 was best), and whether the prefix is kept where words live.

    kept=False is the paper's free linear map. kept=True scales every prefix vector to the root mean square of the
    word embeddings and adds Gaussian noise of `noise` times that while training. Captions alone do not ask the
    prefix to stay near words: a free prefix goes where the language model can caption but hardly bind.
    """

    lm: LMConfig
    vision: VisionConfig = field(default_factory=VisionConfig)
    prefix_tokens: int = 2
    kept: bool = True
    noise: float = 1.0
    image_id: int = IMAGE_ID


class Frozen(PrefixLM):
    """A causal LM that reads pictures through a visual prefix. Meets the multimodal LM's interface.

    How a prefix is put where its tag stands, and read on from: `minilmm.nn.prefix`.
    """

    def __init__(self, config: FrozenConfig, lm: CausalLM | None = None, encoder: Encoder | None = None):
        super().__init__()
        self.config, self.prefix_tokens, self.image_id = config, config.prefix_tokens, config.image_id
        self.lm = lm if lm is not None else CausalLM(config.lm)
        self.encoder: Encoder = encoder if encoder is not None else build_encoder(config.vision)
        self.to_prefix = nn.Linear(self.encoder.width, config.prefix_tokens * config.lm.width)

    def project(self, x_f: Tensor) -> Tensor:
        """The visual prefix of pictures by their features: (M, S, D_v) -> (M, n, D)."""
        pooled = self.encoder.pool(x_f)  # (M, D_v)
        x = self.to_prefix(pooled).unflatten(-1, (self.config.prefix_tokens, -1))  # (M, n, D)
        if not self.config.kept:
            return x
        rms = self.lm.word_size
        x = x * (rms * x.square().mean(-1, keepdim=True).add(1e-6).rsqrt())
        return x + self.config.noise * rms * torch.randn_like(x) if self.training else x

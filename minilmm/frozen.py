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

from minilmm.document import Batch
from minilmm.language.causal import CausalLM, LMConfig
from minilmm.nn.attention import Cache
from minilmm.nn.decoding import generate, score
from minilmm.vision import Encoder, VisionConfig, build_encoder

IMAGE_ID = 3  # `<image>` in the mini-world's tokenizer


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


class Frozen(nn.Module):
    """A causal LM that reads pictures through a visual prefix. Meets the multimodal LM's interface."""

    sees = True

    def __init__(self, config: FrozenConfig, lm: CausalLM | None = None, encoder: Encoder | None = None):
        super().__init__()
        self.config = config
        self.lm = lm if lm is not None else CausalLM(config.lm)
        self.encoder: Encoder = encoder if encoder is not None else build_encoder(config.vision)
        self.to_prefix = nn.Linear(self.encoder.width, config.prefix_tokens * config.lm.width)

    def prefix(self, images: Tensor) -> Tensor:
        """The visual prefix of pictures: (M, C, H, W) -> (M, n, D)."""
        pooled = self.encoder.pool(self.encoder(images))  # (M, D_v)
        x = self.to_prefix(pooled).unflatten(-1, (self.config.prefix_tokens, -1))  # (M, n, D)
        if not self.config.kept:
            return x
        rms = self.lm.embed_tokens.weight.detach().square().mean().sqrt()
        x = x * (rms * x.square().mean(-1, keepdim=True).add(1e-6).rsqrt())
        return x + self.config.noise * rms * torch.randn_like(x) if self.training else x

    def splice(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Put every picture's prefix where its tag stands.

        -> embeddings (B, L', D) and their mask (B, L'), with L' = L + (n - 1) times the most pictures of a row, and
        `last` (B, L): for each token of the document the place in L' of its (last) vector.
        A video's frames are averaged into one prefix. ValueError where tags and pictures differ in number.
        """
        n, ids, real = self.config.prefix_tokens, batch.ids, batch.attention_mask
        tag = batch.tags(self.config.image_id)  # (B, L)
        counts = tag.sum(1)
        B, L = ids.shape
        extra = (n - 1) * int(counts.max())
        # right-align the last column: rows with fewer pictures than others get padding in front
        last = torch.arange(L, device=ids.device) + (n - 1) * tag.long().cumsum(1)  # (B, L), rows start at 0
        last = last + (extra - (n - 1) * counts)[:, None]
        place = torch.zeros(B, L + extra, dtype=torch.bool, device=ids.device)
        mask = place.scatter(1, last, real)
        x = torch.zeros(B, L + extra, self.config.lm.width, device=ids.device, dtype=self.to_prefix.weight.dtype)
        x = x.scatter(1, last[..., None].expand(-1, -1, x.shape[-1]), self.lm.embed(ids).to(x.dtype))
        if int(counts.sum()):
            media = batch.media[batch.media_mask]  # (M, T, C, H, W), in the order of the tags
            M, T = media.shape[:2]
            prefix = self.prefix(media.flatten(0, 1)).unflatten(0, (M, T)).mean(1)  # (M, n, D)
            row, column = tag.nonzero(as_tuple=True)  # (M,)
            where = last[row, column][:, None] - torch.arange(n - 1, -1, -1, device=ids.device)  # (M, n)
            x = x.index_put((row[:, None].expand(-1, n), where), prefix.to(x.dtype))
            mask = mask.index_put((row[:, None].expand(-1, n), where), torch.ones_like(where, dtype=torch.bool))
        return x, mask, last

    def hidden(self, batch: Batch, maps: list[Tensor] | None = None) -> Tensor:
        """The LM's final states, one per token of the document: (B, L, D)."""
        x, mask, last = self.splice(batch)
        states = self.lm.hidden(x, mask, maps=maps)
        return states.gather(1, last[..., None].expand(-1, -1, states.shape[-1]))

    def forward(self, batch: Batch, maps: list[Tensor] | None = None) -> Tensor:
        """Logits of the next token after every token (after a picture: after its whole prefix): (B, L, V)."""
        return self.lm.lm_head(self.hidden(batch, maps))

    def prefill(self, batch: Batch) -> tuple[Tensor, Cache]:
        """Read left-padded prompts: logits after each (B, V), and the cache."""
        x, mask, _ = self.splice(batch)
        cache = Cache()
        return self.lm.lm_head(self.lm.hidden(x, mask, cache)[:, -1]), cache

    def step(self, ids: Tensor, cache: Cache, attention_mask: Tensor | None = None) -> Tensor:
        """Append text (B, K): logits (B, K, V)."""
        return self.lm.step(ids, cache, attention_mask)

    def score(self, batch: Batch, continuations: Tensor, mask: Tensor) -> Tensor:
        """Summed log-probability of each continuation: see `minilmm.nn.decoding.score`."""
        return score(self, batch, continuations, mask)

    def generate(self, batch: Batch, max_tokens: int, stop: int, beams: int = 1) -> Tensor:
        """Continuation by greedy or beam search: see `minilmm.nn.decoding.generate`."""
        return generate(self, batch, max_tokens, stop, beams)

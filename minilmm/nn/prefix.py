"""A language model that reads pictures as words: vectors put where their tags stand, read on from there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minilmm.interface.document import Batch
from minilmm.interface.model import NOTHING, Cache, Keep
from minilmm.nn.decoding import Decodes


class PrefixLM(Decodes, nn.Module):
    """Frozen's and BLIP-2's way in: a picture becomes `prefix_tokens` vectors as wide as a word of `lm`.

    Meets the multimodal LM's interface. Those who build on it say what a picture becomes (`prefix`).
    """

    sees = True
    lm: Any
    encoder: Any
    prefix_tokens: int
    image_id: int

    def project(self, x_f: Tensor) -> Tensor:
        """Features (M, S, D_s) -> what the language model reads in their place, (M, n, D)."""
        raise NotImplementedError

    def prefix(self, images: Tensor) -> Tensor:
        """Pictures (M, C, H, W) -> what the language model reads in their place, (M, n, D)."""
        return self.project(self.encoder(images))

    def see(self, batch: Batch) -> Tensor:
        """The encoder's features of all pictures, absent ones included: x_f (B, N, T, S, D_s)."""
        return batch.encoded(self.encoder)

    def prefixes(self, batch: Batch) -> Tensor:
        """The prefix of every picture or video; frames are averaged: (B, N, n, D)."""
        x_f = self.see(batch)
        return self.project(x_f.flatten(0, 2)).unflatten(0, x_f.shape[:3]).mean(2)

    def splice(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Put every picture's prefix where its tag stands.

        -> embeddings (B, L', D) and their mask (B, L'), with L' = L + (n - 1) times the most pictures of a row, and
        `last` (B, L): for each token of the document the place in L' of its (last) vector.
        ValueError where tags and pictures differ in number; training trusts its batches, so that nothing waits for
        the device.
        """
        n, ids, real = self.prefix_tokens, batch.ids, batch.attention_mask
        tag = batch.tags(self.image_id, check=not self.training)  # (B, L)
        counts = tag.sum(1)
        (B, L), N = ids.shape, batch.media.shape[1]
        words = self.lm.embed(ids)  # (B, L, D)
        extra = (n - 1) * N
        # right-align the last column: rows with fewer pictures than others get padding in front
        last = torch.arange(L, device=ids.device) + (n - 1) * tag.long().cumsum(1)  # (B, L), rows start at 0
        last = last + (extra - (n - 1) * counts)[:, None]
        place = torch.zeros(B, L + extra, dtype=torch.bool, device=ids.device)
        mask = place.scatter(1, last, real)
        x = torch.zeros(B, L + extra, words.shape[-1], device=ids.device, dtype=words.dtype)
        x = x.scatter(1, last[..., None].expand(-1, -1, x.shape[-1]), words)
        if N:
            column = (~tag).to(torch.uint8).argsort(dim=1, stable=True)[:, :N]  # (B, N) where the tags stand
            where = last.gather(1, column)[..., None] - torch.arange(n - 1, -1, -1, device=ids.device)  # (B, N, n)
            where = where.masked_fill(~batch.media_mask[..., None], L + extra).flatten(1)  # absent: behind the end
            prefix = self.prefixes(batch).to(x.dtype).flatten(1, 2)  # (B, N n, D)
            x = F.pad(x, (0, 0, 0, 1)).scatter(1, where[..., None].expand_as(prefix), prefix)[:, :-1]
            mask = F.pad(mask, (0, 1)).scatter(1, where, True)[:, :-1]
        return x, mask, last

    def hidden(self, batch: Batch, keep: Keep = NOTHING) -> Tensor:
        """The LM's final states, one per token of the document: (B, L, D)."""
        x, mask, last = self.splice(batch)
        states = self.lm.hidden(x, mask, maps=keep.maps)
        return states.gather(1, last[..., None].expand(-1, -1, states.shape[-1]))

    def forward(self, batch: Batch, keep: Keep = NOTHING) -> Tensor:
        """Logits of the next token after every token (after a picture: after its whole prefix): (B, L, V)."""
        return self.lm.lm_head(self.hidden(batch, keep))

    def prefill(self, batch: Batch) -> tuple[Tensor, Cache]:
        """Read left-padded prompts: logits after each (B, V), and the cache."""
        asked = replace(batch, loss_mask=torch.zeros_like(batch.loss_mask))  # of a prompt nothing is to be learned
        x, mask, _ = self.splice(asked)
        return self.lm.begin(x, mask)

    def step(self, ids: Tensor, cache: Cache, attention_mask: Tensor | None = None) -> Tensor:
        """Append text (B, K): logits (B, K, V)."""
        return self.lm.step(ids, cache, attention_mask)

"""A language model that reads pictures as words: vectors put where their tags stand, read on from there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

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
        """The encoder's features of all pictures that are there, x_f (M, T, S, D_s), in order."""
        if batch.features is not None:
            return batch.features[batch.media_mask]
        media = batch.media[batch.media_mask]  # (M, T, C, H, W)
        return self.encoder(media.flatten(0, 1)).unflatten(0, media.shape[:2])

    def prefixes(self, batch: Batch) -> Tensor:
        """The prefix of every picture or video of a batch, in the order of the tags: (M, n, D)."""
        x_f = self.see(batch)
        return self.project(x_f.flatten(0, 1)).unflatten(0, x_f.shape[:2]).mean(1)

    def splice(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Put every picture's prefix where its tag stands.

        -> embeddings (B, L', D) and their mask (B, L'), with L' = L + (n - 1) times the most pictures of a row, and
        `last` (B, L): for each token of the document the place in L' of its (last) vector.
        A video's frames are averaged into one prefix. ValueError where tags and pictures differ in number.
        """
        n, ids, real = self.prefix_tokens, batch.ids, batch.attention_mask
        tag = batch.tags(self.image_id)  # (B, L)
        counts = tag.sum(1)
        B, L = ids.shape
        words = self.lm.embed(ids)  # (B, L, D)
        extra = (n - 1) * int(counts.max())
        # right-align the last column: rows with fewer pictures than others get padding in front
        last = torch.arange(L, device=ids.device) + (n - 1) * tag.long().cumsum(1)  # (B, L), rows start at 0
        last = last + (extra - (n - 1) * counts)[:, None]
        place = torch.zeros(B, L + extra, dtype=torch.bool, device=ids.device)
        mask = place.scatter(1, last, real)
        x = torch.zeros(B, L + extra, words.shape[-1], device=ids.device, dtype=words.dtype)
        x = x.scatter(1, last[..., None].expand(-1, -1, x.shape[-1]), words)
        if int(counts.sum()):
            prefix = self.prefixes(batch)  # (M, n, D)
            row, column = tag.nonzero(as_tuple=True)  # (M,)
            where = last[row, column][:, None] - torch.arange(n - 1, -1, -1, device=ids.device)  # (M, n)
            x = x.index_put((row[:, None].expand(-1, n), where), prefix.to(x.dtype))
            mask = mask.index_put((row[:, None].expand(-1, n), where), torch.ones_like(where, dtype=torch.bool))
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

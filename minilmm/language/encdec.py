"""A compact encoder-decoder language model: T5's part, FlanT5's in BLIP-2.

Raffel et al. 2020 (T5) in its version 1.1: RMSNorm before each sub-layer, no biases, attention that is not scaled,
gated GELU, positions as a learned bias per distance and head. Parameters and arithmetic are those of transformers'
T5ForConditionalGeneration. The encoder reads a prompt, in both directions; the decoder says how it goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minilmm.interface.document import Batch
from minilmm.interface.model import NOTHING, Cache, Keep, LayerCache
from minilmm.nn.attention import attend, in_order
from minilmm.nn.decoding import Decodes


@dataclass(frozen=True)
class EncDecConfig:
    """Sizes. layers: of the encoder, and as many of the decoder. start: the token that the decoder begins with."""

    vocab_size: int
    width: int = 128
    layers: int = 3
    heads: int = 8
    hidden: int = 256
    buckets: int = 32
    distance: int = 128
    start: int = 0
    norm_eps: float = 1e-6


def bucket(distance: Tensor, both_ways: bool, buckets: int, furthest: int) -> Tensor:
    """Which bucket a distance (key minus query) falls into: near ones one each, far ones by logarithm (T5, 2.1)."""
    if both_ways:
        buckets //= 2
        offset, distance = (distance > 0).long() * buckets, distance.abs()
    else:
        offset, distance = torch.zeros_like(distance), (-distance).clamp(min=0)
    near = buckets // 2
    far = near + (torch.log(distance.clamp(min=1) / near) / math.log(furthest / near) * (buckets - near)).long()
    return offset + torch.where(distance < near, distance, far.clamp(max=buckets - 1))


class Distances(nn.Module):
    """A bias per head and distance, shared by all blocks of a side: (1, H, L, K)."""

    def __init__(self, c: EncDecConfig, both_ways: bool):
        super().__init__()
        self.both_ways, self.buckets, self.furthest = both_ways, c.buckets, c.distance
        self.bias = nn.Embedding(c.buckets, c.heads)

    def forward(self, queries: int, keys: int) -> Tensor:
        """The last `queries` of `keys` positions look at all of them."""
        at = torch.arange(keys, device=self.bias.weight.device)
        found = bucket(at[None] - at[keys - queries :, None], self.both_ways, self.buckets, self.furthest)
        return self.bias(found).permute(2, 0, 1)[None]


class Attention(nn.Module):
    """Attention without scale or biases; what a position may see, and how much it likes a distance, is one sum."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(width, width, bias=False) for _ in range(4))

    def split(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, H, L, d)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor, maps: list[Tensor] | None = None
    ) -> Tensor:
        """x (B, L, D), keys and values (B, H, K, d), bias (B or 1, H or 1, L, K), -inf where x may not look."""
        q = self.split(self.q_proj(x))
        return self.o_proj(attend(q, keys, values, bias, scale=1.0, maps=maps).transpose(1, 2).flatten(-2))

    def read(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of (B, K, D): two (B, H, K, d)."""
        return self.split(self.k_proj(context)), self.split(self.v_proj(context))


class FeedForward(nn.Module):
    """wo(gelu(wi_0 x) * wi_1 x) (Shazeer 2020)."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.wi_0, self.wi_1 = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.wo = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))


class Block(nn.Module):
    """Self-attention; in a decoder attention to what the encoder made; feed-forward: each normed first, then added."""

    def __init__(self, c: EncDecConfig, decodes: bool):
        super().__init__()
        self.attention, self.norm = Attention(c.width, c.heads), nn.RMSNorm(c.width, c.norm_eps)
        self.cross = Attention(c.width, c.heads) if decodes else None
        self.cross_norm = nn.RMSNorm(c.width, c.norm_eps) if decodes else None
        self.ffw, self.ffw_norm = FeedForward(c.width, c.hidden), nn.RMSNorm(c.width, c.norm_eps)

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        memory: Tensor | None = None,
        unseen: Tensor | None = None,
        cache: LayerCache | None = None,
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        """x (B, L, D); memory (B, K, D): the encoder's states, unseen (B, 1, 1, K): their bias."""
        normed = self.norm(x)
        k, v = self.attention.read(normed)
        if cache is not None:
            if cache.keys is not None and cache.values is not None:
                k, v = torch.cat([cache.keys, k], 2), torch.cat([cache.values, v], 2)
            cache.keys, cache.values = k, v
        x = x + self.attention(normed, k, v, bias)
        if self.cross is not None and self.cross_norm is not None:
            assert memory is not None and unseen is not None
            x = x + self.cross(self.cross_norm(x), *self.cross.read(memory), unseen, maps)
        return x + self.ffw(self.ffw_norm(x))


@dataclass
class EncDecCache(Cache):
    """The decoder's cache, and the encoder's states (B, K, D) with who of them is real (B, K)."""

    memory: Tensor | None = None
    real: Tensor | None = None

    def select(self, rows: Tensor) -> EncDecCache:
        """The rows named, with what their prompts said."""
        text = super().select(rows)
        assert self.memory is not None and self.real is not None
        return EncDecCache(text.layers, text.mask, text.next_position, self.memory[rows], self.real[rows])


def unseen(real: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, K) bool -> (B, 1, 1, K): 0 where there is something, minus infinity on padding."""
    return torch.zeros_like(real, dtype=dtype).masked_fill(~real, torch.finfo(dtype).min)[:, None, None]


class TextToText(Decodes):
    """How an encoder-decoder meets the multimodal LM's interface: prompts are encoded, what follows is decoded.

    In training a document's words up to the first that counts are its prompt (a prefix LM).
    """

    sees = False
    config: EncDecConfig
    embed: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor, Tensor], Tensor]
    decode: Callable[..., Tensor]
    lm_head: Callable[[Tensor], Tensor]

    def continued(self, x: Tensor, real: Tensor, words: Tensor, maps: list[Tensor] | None = None) -> Tensor:
        """Logits (B, K, V) of the words (B, K) after prompts given as embeddings (B, L, D)."""
        start = torch.full_like(words[:, :1], self.config.start)
        cache = EncDecCache(memory=self.encode(x, real), real=real)
        return self.lm_head(self.decode(torch.cat([start, words[:, :-1]], 1), cache, maps))

    def forward(self, batch: Batch, keep: Keep = NOTHING) -> Tensor:
        """Logits (B, L, V) of the next token after every token from the prompt's last on; 0 before it."""
        prompt, words, where = halves(batch)
        logits = self.continued(self.embed(batch.ids), prompt, words, keep.cross)
        return placed(logits, where, batch.ids.shape[1])

    def prefill(self, batch: Batch) -> tuple[Tensor, Cache]:
        """Read prompts: the logits of the first word of each answer, (B, V), and the cache to go on from."""
        return self.begin(self.embed(batch.ids), batch.attention_mask)

    def begin(self, x: Tensor, real: Tensor) -> tuple[Tensor, Cache]:
        """The same for prompts given as embeddings (B, L, D)."""
        cache = EncDecCache(memory=self.encode(x, real), real=real)
        start = torch.full((len(x), 1), self.config.start, device=x.device)
        return self.lm_head(self.decode(start, cache)[:, -1]), cache

    def step(self, ids: Tensor, cache: Cache, attention_mask: Tensor | None = None) -> Tensor:
        """Append words (B, K), padded on the right if at all: logits (B, K, V) after each."""
        assert isinstance(cache, EncDecCache)
        return self.lm_head(self.decode(ids, cache))


class EncoderDecoder(TextToText, nn.Module):
    """A text-to-text model of ours, or a T5 with our names."""

    def __init__(self, config: EncDecConfig):
        super().__init__()
        if config.width % config.heads:
            raise ValueError(f"width {config.width} does not divide into {config.heads} heads")
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.encoder = nn.ModuleList(Block(config, False) for _ in range(config.layers))
        self.decoder = nn.ModuleList(Block(config, True) for _ in range(config.layers))
        self.encoder_distances, self.decoder_distances = Distances(config, True), Distances(config, False)
        self.encoder_norm, self.norm = (nn.RMSNorm(config.width, config.norm_eps) for _ in range(2))
        self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.apply(self._init)

    def _init(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)
        elif isinstance(module, Attention):  # unscaled: queries start small instead
            nn.init.normal_(module.q_proj.weight, std=(module.q_proj.weight.shape[1] ** 2 / module.heads) ** -0.5)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)

    def embed(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, D)."""
        return self.embed_tokens(ids)

    def encode(self, x: Tensor, real: Tensor) -> Tensor:
        """Embeddings (B, L, D), padded on either side where `real` (B, L) is False -> states (B, L, D)."""
        bias = self.encoder_distances(x.shape[1], x.shape[1]) + unseen(real, x.dtype)
        for block in self.encoder:
            x = block(x, bias)
        return self.encoder_norm(x)

    def decode(self, ids: Tensor, cache: EncDecCache, maps: list[Tensor] | None = None) -> Tensor:
        """The next words (B, L), the first of all being `start` -> states (B, L, D); the cache is extended.

        maps get the cross-attention (B, H, L, K) of every block.
        """
        assert cache.memory is not None and cache.real is not None
        x = self.embed(ids)
        cache.layers = cache.layers or [LayerCache() for _ in self.decoder]
        before = cache.layers[0].keys
        L, K = ids.shape[1], ids.shape[1] + (0 if before is None else before.shape[2])
        bias = self.decoder_distances(L, K).masked_fill(~in_order(L, K, ids.device), torch.finfo(x.dtype).min)
        hides = unseen(cache.real, x.dtype)
        for block, layer in zip(self.decoder, cache.layers, strict=True):
            x = block(x, bias, cache.memory, hides, layer, maps)
        return self.norm(x)


def halves(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """A document's prompt and what follows: which tokens are prompt (B, L) bool, the words behind (B, K), 0 pads, and
    where those stand in the document (B, K), L for padding.

    What follows begins with the first token that counts in the loss, never with the very first of the document.
    ValueError where there is none.
    """
    counts = batch.loss_mask[:, 1:]
    if not bool(counts.any(1).all()):
        raise ValueError("every label of a document is masked: an encoder-decoder needs a token to predict")
    L = batch.ids.shape[1]
    first = 1 + counts.int().argmax(1, keepdim=True)  # (B, 1)
    at = torch.arange(L, device=batch.ids.device)
    prompt = batch.attention_mask & (at < first)
    where = (first + at).masked_fill(first + at >= L, L)
    there = F.pad(batch.attention_mask, (0, 1)).gather(1, where)
    K = int(there.sum(1).max())
    where = where.masked_fill(~there, L)[:, :K]
    return prompt, F.pad(batch.ids, (0, 1)).gather(1, where), where


def placed(logits: Tensor, where: Tensor, length: int) -> Tensor:
    """Logits (B, K, V) of words that stand at `where` (B, K) -> (B, L, V), each one place before its word."""
    at = torch.where(where == length, length, where - 1).clamp(min=0)
    out = logits.new_zeros(len(logits), length + 1, logits.shape[-1])
    return out.scatter(1, at[..., None].expand_as(logits), logits)[:, :length]

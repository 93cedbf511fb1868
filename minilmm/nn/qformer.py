"""The Q-Former of BLIP-2 (Li et al., ICML 2023, section 3.1): one transformer with two halves, queries and text.

Learned queries look at a frozen encoder's features by cross-attention, in every other block. Queries and text share
self-attention, and a mask says who sees whom; each objective of stage 1 has its own (figure 2):

    ITC  unimodal            queries and text never see each other
    ITM  bidirectional       everybody sees everybody
    ITG  multimodal causal   queries see queries; a word sees the queries and the words before it
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minilmm.interface.model import NOTHING, Keep
from minilmm.nn.attention import attend
from minilmm.nn.places import with_places

Past = list[tuple[Tensor, Tensor]]  # per block, keys and values (B, H, Q, d) of the queries


@dataclass(frozen=True)
class QFormerConfig:
    """Sizes. The paper's: BERT-base, cross-attention in every other block, 32 queries of width 768. Without queries it
    is a BERT: only the text's half is there.

    feature_width: of the encoder. embed: the width in which ITC compares. context: words of text at most.
    places: how large the sines are that tell queries where features stand; the paper has none (`nn.places`).
    cls, dec: the tokens that stand in front of text for ITC and ITM, and for ITG.
    """

    feature_width: int
    vocab_size: int
    width: int = 128
    layers: int = 4
    heads: int = 4
    hidden: int = 512
    queries: int = 8
    every: int = 2
    embed: int = 128
    context: int = 64
    norm_eps: float = 1e-12
    cls: int = 1
    dec: int = 1
    places: float = 0.0


def unimodal_mask(queries: int, real: Tensor) -> Tensor:
    """ITC: two blocks that do not see each other. real (B, L) bool, False on padding -> (B, Q + L, Q + L) bool."""
    B, L = real.shape
    mask = torch.zeros(B, queries + L, queries + L, dtype=torch.bool, device=real.device)
    mask[:, :queries, :queries] = True
    mask[:, queries:, queries:] = real[:, None]
    return mask


def bidirectional_mask(queries: int, real: Tensor) -> Tensor:
    """ITM: queries and words see all queries and all words, but no padding."""
    visible = F.pad(real, (queries, 0), value=True)  # (B, Q + L)
    return visible[:, None].expand(-1, visible.shape[1], -1)


def causal_mask(queries: int, real: Tensor) -> Tensor:
    """ITG: queries see queries only; a word sees the queries, itself and the words before it."""
    L = real.shape[1]
    mask = unimodal_mask(queries, real)
    mask[:, queries:, :queries] = True
    mask[:, queries:, queries:] &= torch.ones(L, L, dtype=torch.bool, device=real.device).tril()
    return mask


class Attention(nn.Module):
    """BERT's: attention with biases, whose output is added to the input and normed (post-norm)."""

    def __init__(self, width: int, context_width: int, heads: int, eps: float):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} does not divide into {heads} heads")
        self.heads = heads
        self.q_proj, self.o_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.k_proj, self.v_proj = nn.Linear(context_width, width), nn.Linear(context_width, width)
        self.norm = nn.LayerNorm(width, eps)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        mask: Tensor | None = None,
        past: tuple[Tensor, Tensor] | None = None,
        keys_values: Past | None = None,
        maps: list[Tensor] | None = None,
    ) -> Tensor:
        """x (B, L, D) looks at context (B, K, D_c), and at `past` in front of it, where the mask (B, L, K) is True."""
        q, k, v = (
            proj(t).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for proj, t in ((self.q_proj, x), (self.k_proj, context), (self.v_proj, context))
        )  # (B, H, L or K, d)
        if keys_values is not None:
            keys_values.append((k, v))
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        out = attend(q, k, v, None if mask is None else mask[:, None], maps=maps)
        return self.norm(x + self.o_proj(out.transpose(1, 2).flatten(-2)))


class FeedForward(nn.Module):
    """Up, GELU, down, added, normed."""

    def __init__(self, width: int, hidden: int, eps: float):
        super().__init__()
        self.up, self.down, self.norm = nn.Linear(width, hidden), nn.Linear(hidden, width), nn.LayerNorm(width, eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) -> (B, L, D)."""
        return self.norm(x + self.down(F.gelu(self.up(x))))


class Block(nn.Module):
    """Self-attention of both halves together; the queries look at the picture; then each half has a feed-forward.

    Only some blocks have cross-attention, and only queries take it.
    """

    def __init__(self, c: QFormerConfig, cross: bool):
        super().__init__()
        self.attention = Attention(c.width, c.width, c.heads, c.norm_eps)
        self.cross = Attention(c.width, c.feature_width, c.heads, c.norm_eps) if cross else None
        self.ffw_query = FeedForward(c.width, c.hidden, c.norm_eps) if c.queries else None
        self.ffw_text = FeedForward(c.width, c.hidden, c.norm_eps)

    def forward(
        self,
        x: Tensor,
        queries: int,
        x_f: Tensor | None,
        mask: Tensor | None,
        past: tuple[Tensor, Tensor] | None = None,
        keep: Keep = NOTHING,
    ) -> Tensor:
        """x (B, Q + L, D), the first Q of them queries, x_f (B, S, D_s) -> (B, Q + L, D)."""
        x = self.attention(x, x, mask, past, keep.past, keep.maps)
        if not queries or self.ffw_query is None:
            return self.ffw_text(x)
        q, text = x[:, :queries], x[:, queries:]
        if self.cross is not None:
            assert x_f is not None
            q = self.cross(q, x_f, maps=keep.cross)
        return torch.cat([self.ffw_query(q), self.ffw_text(text)], 1)


class QFormer(nn.Module):
    """Queries and text in one transformer (section 3.1)."""

    def __init__(self, config: QFormerConfig):
        super().__init__()
        self.config = config
        self.query_tokens = nn.Parameter(torch.randn(config.queries, config.width) * 0.02)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.context, config.width)
        self.norm = nn.LayerNorm(config.width, config.norm_eps)
        crossed = [config.queries > 0 and i % config.every == 0 for i in range(config.layers)]
        self.blocks = nn.ModuleList(Block(config, cross) for cross in crossed)
        self.apply(self._init)

    @staticmethod
    def _init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)  # BERT's
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def forward(
        self,
        x_f: Tensor | None = None,
        ids: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        past: Past | None = None,
        keep: Keep = NOTHING,
    ) -> tuple[Tensor, Tensor]:
        """Features x_f (B, S, D_s) for the queries, ids (B, L) for the text, or one of them -> (B, Q, D), (B, L, D).

        mask (B, N, K) bool: who sees whom, of all that runs, N, and with `past` the queries that ran before, K = Q + L;
        None where all see all. keep: gets keys and values, self-attention, and of every block that has it the queries'
        cross-attention (B, H, Q, S). ValueError for nothing, or text that is too long.
        """
        parts = []
        if x_f is not None:
            x_f = with_places(x_f, self.config.places)
            parts.append(self.query_tokens.expand(len(x_f), -1, -1))
        if ids is not None:
            if ids.shape[1] > self.config.context:
                raise ValueError(
                    f"{ids.shape[1]} words: the Q-Former reads {self.config.context} at most; cut the text"
                )
            parts.append(self.words(ids) + self.positions.weight[: ids.shape[1]])
        if not parts:
            raise ValueError("neither features nor text: the Q-Former has nothing to read")
        x = self.norm(torch.cat(parts, 1))
        Q = self.config.queries if x_f is not None else 0
        for i, block in enumerate(self.blocks):
            x = block(x, Q, x_f, mask, None if past is None else past[i], keep)
        return x[:, :Q], x[:, Q:]


class MaskedLM(nn.Module):
    """BERT (Devlin et al., NAACL 2019): says masked words from those on both sides. A Q-Former can begin as it.

    [MASK] has the place of the Q-Former's [DEC]. ValueError for a configuration that has queries.
    """

    def __init__(self, config: QFormerConfig):
        super().__init__()
        if config.queries:
            raise ValueError(f"{config.queries} queries: a text encoder has none")
        self.config, self.qformer = config, QFormer(config)
        self.transform = nn.Sequential(
            nn.Linear(config.width, config.width), nn.GELU(), nn.LayerNorm(config.width, config.norm_eps)
        )
        self.word_bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, ids: Tensor, real: Tensor, wanted: Tensor) -> Tensor:
        """ids (B, L), real and wanted (B, L) bool -> logits (n, V) of the n words that are wanted, row by row."""
        _, states = self.qformer(ids=ids, mask=real[:, None].expand(-1, ids.shape[1], -1))
        return self.transform(states[wanted]) @ self.qformer.words.weight.T + self.word_bias


@torch.no_grad()
def begin_as_text(model: QFormer, text: QFormer) -> None:
    """Words, positions and self-attention become those of a text encoder, and both feed-forwards its one.

    Queries and cross-attention stay as they were drawn. ValueError where a size differs.
    """
    theirs, state = text.state_dict(), model.state_dict()
    for name in state:
        if "query_tokens" in name or "cross." in name:
            continue
        other = theirs.get(name.replace("ffw_query", "ffw_text"))
        if other is None or other.shape != state[name].shape:
            sizes = "the text encoder has other sizes: choose another, or none to begin at random"
            raise ValueError(f"the Q-Former cannot begin as it: {sizes}")
        state[name] = other
    model.load_state_dict(state)


def in_text_half(name: str) -> bool:
    """Is this parameter of a Q-Former the text's alone? Stage 2 leaves those out: no text enters it there."""
    return "ffw_text" in name or name.startswith(("words", "positions"))

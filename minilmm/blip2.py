"""BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Encoders and LLMs (Li et al., ICML 2023).

A *Q-Former* (`minilmm.nn.qformer`) stands between a frozen vision encoder and a frozen language model. Stage 1 teaches
it to find what matters for text, by three objectives: image-text contrast (ITC), image-text matching (ITM) and
image-grounded text generation (ITG). Stage 2 keeps the queries' half, maps its outputs to where the language
model's words live, and prepends them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minilmm.interface.document import Batch
from minilmm.interface.model import NOTHING, Keep
from minilmm.interface.tokenizer import IMAGE_ID, PAD_ID
from minilmm.language.causal import CausalLM, LMConfig
from minilmm.language.encdec import EncDecConfig, EncoderDecoder, halves, placed
from minilmm.nn.prefix import PrefixLM
from minilmm.nn.qformer import Past, QFormer, QFormerConfig, bidirectional_mask, causal_mask
from minilmm.vision import Encoder, VisionConfig, build_encoder


@dataclass(frozen=True)
class Blip2Config:
    """A Q-Former, the vision encoder that it looks at, and in stage 2 the language model that reads it."""

    qformer: QFormerConfig
    vision: VisionConfig = field(default_factory=VisionConfig)
    lm: LMConfig | EncDecConfig | None = None
    asked: bool = False  # the Q-Former reads what is asked about a picture, as in the fine-tuning for VQA
    image_id: int = IMAGE_ID
    variant: str = ""  # "" is the paper; others are made by `minilmm.ablations`


def bounded(temperature: Tensor, low: float = 0.01, high: float = 0.5) -> Tensor:
    """The temperature within bounds. Its gradient ignores them, so that a temperature at a bound can come back."""
    return temperature + (temperature.clamp(low, high) - temperature).detach()


def soft_cross_entropy(logits: Tensor, right: Tensor, smoothing: float = 0.1) -> Tensor:
    """Mean cross-entropy (B, C) with the target distribution, a tenth of it spread over all classes."""
    target = (1 - smoothing) * right + smoothing / logits.shape[1]
    return -(target * logits.log_softmax(1)).sum(1).mean()


def hard_negatives(similar: Tensor, same: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """For every row of similarities (B, C) a wrong column, drawn in proportion to exp(similarity): (B,).

    same (B, C) bool: columns that would be right. ValueError where a row has no wrong one.
    """
    if bool(same.all(1).any()):
        raise ValueError("all texts of the batch are equal, so ITM has no negative pair: use a larger batch")
    return torch.multinomial(similar.masked_fill(same, float("-inf")).softmax(1), 1, generator=generator)[:, 0]


class Stage1(nn.Module):
    """Vision-language representation learning: ITC, ITM and ITG over one Q-Former (section 3.2)."""

    partners, itg_mask = staticmethod(hard_negatives), staticmethod(causal_mask)

    def __init__(self, config: Blip2Config, encoder: Encoder | None = None):
        super().__init__()
        self.config, c = config, config.qformer
        self.encoder: Encoder = encoder if encoder is not None else build_encoder(config.vision)
        self.qformer = QFormer(c)
        self.vision_proj, self.text_proj = nn.Linear(c.width, c.embed), nn.Linear(c.width, c.embed)
        self.itm_head = nn.Linear(c.width, 2)
        self.transform = nn.Sequential(nn.Linear(c.width, c.width), nn.GELU(), nn.LayerNorm(c.width, c.norm_eps))
        self.word_bias = nn.Parameter(torch.zeros(c.vocab_size))
        self.temperature = nn.Parameter(torch.tensor(0.07))

    @torch.no_grad()
    def see(self, images: Tensor) -> Tensor:
        """The frozen encoder's features of pictures: (B, C, H, W) -> x_f (B, S, D_s)."""
        return self.encoder(images)

    def image_embeddings(self, states: Tensor) -> Tensor:
        """The queries' outputs (B, Q, D) -> unit vectors (B, Q, E)."""
        return F.normalize(self.vision_proj(states), dim=-1)

    def text_embeddings(self, ids: Tensor, real: Tensor) -> Tensor:
        """[CLS] and words (B, L) -> unit vectors (B, E)."""
        _, states = self.qformer(ids=ids, mask=real[:, None].expand(-1, ids.shape[1], -1))
        return F.normalize(self.text_proj(states[:, 0]), dim=-1)

    def similarity(self, image: Tensor, text: Tensor) -> Tensor:
        """ITC: of pictures (N, Q, E) and texts (M, E) the best query's cosine, (N, M)."""
        return torch.einsum("iqe,te->itq", image, text).amax(-1)

    def match(self, x_f: Tensor, ids: Tensor, real: Tensor) -> Tensor:
        """ITM: logits (B, 2) that picture and text do not, or do, belong together: the mean over queries."""
        states, _ = self.qformer(x_f, ids, bidirectional_mask(self.qformer.config.queries, real))
        return self.itm_head(states).mean(1)

    def words_after(self, ids: Tensor, real: Tensor, x_f: Tensor, past: Past | None = None) -> Tensor:
        """ITG: logits (B, L, V) of the word after each.

        Queries never see text, so what they computed alone is what they would compute beside it: `past`, their keys and
        values, saves computing it again.
        """
        Q, mask = self.qformer.config.queries, self.itg_mask(self.qformer.config.queries, real)
        if past is None:
            _, states = self.qformer(x_f, ids, mask)
        else:
            _, states = self.qformer(ids=ids, mask=mask[:, Q:], past=past)
        return self.transform(states) @ self.qformer.words.weight.T + self.word_bias

    def forward(
        self,
        x_f: Tensor,
        ids: Tensor,
        real: Tensor,
        same: Tensor,
        generator: torch.Generator | None = None,
        hardness: float = 1.0,
    ) -> dict[str, Tensor]:
        """The losses "itc", "itm" and "itg" in nats; of a model that knows nothing ln B, .64 and ln V.

        x_f (B, S, D_s) and captions (B, L), [CLS] first. same (B, B) bool: [i, j], text j would do for picture i.

        ITC: a picture's similarity to a text is that of its best query; texts that would do are all right.
        ITM: every pair, and for every picture and every text a wrong partner, drawn by ITC's similarity and never one
        that says the same; hardness 0 draws at random. Pairs without a wrong partner are left out; where all are, it is
        0. ITG: the caption, word by word. ValueError where all captions are empty.
        """
        if not bool(real[:, 1:].any()):
            raise ValueError("every caption is empty: there is no word to say")
        kept: Past = []
        queries, _ = self.qformer(x_f, keep=Keep(past=kept))
        image, text = self.image_embeddings(queries), self.text_embeddings(ids, real)
        similar = self.similarity(image, text) / bounded(self.temperature)  # (B, B)
        right, told = (fits / fits.sum(1, keepdim=True) for fits in (same, same.T))
        itc = (soft_cross_entropy(similar, right) + soft_cross_entropy(similar.T, told)) / 2
        rows = (~same.all(1) & ~same.all(0)).nonzero()[:, 0]  # with wrong partners
        itm = 0 * similar.sum()
        if len(rows):
            with torch.no_grad():
                wrong_text = self.partners(hardness * similar[rows], same[rows], generator)
                wrong_image = self.partners(hardness * similar.T[rows], same.T[rows], generator)
            pictures, texts = torch.cat([rows, rows, wrong_image]), torch.cat([rows, wrong_text, rows])
            logits = self.match(x_f[pictures], ids[texts], real[texts])
            itm = F.cross_entropy(logits, (pictures == texts).long())
        said = ids.clone()
        said[:, 0] = self.qformer.config.dec
        after = self.words_after(said, real, x_f, kept)
        wanted = real[:, 1:]
        itg = F.cross_entropy(after[:, :-1][wanted], ids[:, 1:][wanted])
        return {"itc": itc, "itm": itm, "itg": itg}


class Blip2(PrefixLM):
    """Vision-to-language generative learning: what the queries found, in front of a frozen LM's words (section 3.3).

    Of the Q-Former only the queries' half runs, and trains; text enters the language model alone. A decoder reads on
    behind the queries (OPT's part); of an encoder-decoder the encoder reads queries and prompt, and the decoder says
    what follows (FlanT5's part).
    """

    def __init__(
        self,
        config: Blip2Config,
        lm: CausalLM | EncoderDecoder | None = None,
        encoder: Encoder | None = None,
    ):
        super().__init__()
        if config.lm is None:
            raise ValueError("stage 2 needs a language model: its configuration is missing")
        self.config, self.prefix_tokens, self.image_id = config, config.qformer.queries, config.image_id
        if lm is None:
            lm = EncoderDecoder(config.lm) if isinstance(config.lm, EncDecConfig) else CausalLM(config.lm)
        self.lm = lm
        self.encoder: Encoder = encoder if encoder is not None else build_encoder(config.vision)
        self.qformer = QFormer(config.qformer)
        self.to_lm = nn.Linear(config.qformer.width, config.lm.width)

    @torch.no_grad()
    def see(self, batch: Batch) -> Tensor:
        """The frozen encoder's features, x_f (B, N, T, S, D_s)."""
        return super().see(batch)

    def project(self, x_f: Tensor, asked: Tensor | None = None) -> Tensor:
        """Features (M, S, D_s), and what is asked (M, K) if anything -> soft visual prompts (M, Q, D)."""
        mask = None if asked is None else bidirectional_mask(self.prefix_tokens, asked != PAD_ID)
        return self.to_lm(self.qformer(x_f, asked, mask)[0])

    def prefixes(self, batch: Batch) -> Tensor:
        """As of any prefix; of a model that was fine-tuned for questions, each with the words behind it."""
        if not self.config.asked:
            return super().prefixes(batch)
        x_f = self.see(batch)  # (B, N, T, S, D_s)
        asked = self.question(batch).flatten(0, 1).repeat_interleave(x_f.shape[2], 0)  # (B N T, K)
        return self.project(x_f.flatten(0, 2), asked).unflatten(0, x_f.shape[:3]).mean(2)

    def question(self, batch: Batch) -> Tensor:
        """[CLS] and the words behind each picture, up to the next, without those to be learned: (B, N, K) ids."""
        tag = (batch.ids == self.image_id) & batch.attention_mask
        number = tag.long().cumsum(1)[:, None]  # (B, 1, L), of the last picture, from 1
        picture = torch.arange(1, batch.media.shape[1] + 1, device=tag.device)[:, None]  # (N, 1)
        behind = (batch.attention_mask & ~batch.loss_mask & ~tag)[:, None] & (number == picture)  # (B, N, L)
        words = batch.ids[:, None].masked_fill(~behind, PAD_ID)
        order = (words == PAD_ID).to(torch.uint8).argsort(dim=-1, stable=True)  # padding last
        words = words.gather(-1, order)[..., : self.config.qformer.context - 1]
        return F.pad(words, (1, 0), value=self.config.qformer.cls)

    def forward(self, batch: Batch, keep: Keep = NOTHING) -> Tensor:
        """Logits of the next token after every token, (B, L, V); of an encoder-decoder from the prompt's last on."""
        if isinstance(self.config.lm, LMConfig):
            return super().forward(batch, keep)
        prompt, words, where = halves(batch)
        x, mask, _ = self.splice(replace(batch, ids=batch.ids * prompt, attention_mask=prompt))
        return placed(self.lm.continued(x, mask, words, keep.cross), where, batch.ids.shape[1])

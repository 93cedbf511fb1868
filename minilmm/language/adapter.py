"""Any causal LM of transformers with the interface of `CausalLM`, any T5 with that of `EncoderDecoder`.

No class is rewritten, and nothing stays on a layer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel

from minilmm.interface.document import Batch
from minilmm.interface.model import NOTHING, Cache, Keep, LayerCache
from minilmm.language.causal import Decoder, LMConfig, embed_scale
from minilmm.language.encdec import EncDecCache, EncDecConfig, TextToText

InFront = Callable[[int, Tensor], Tensor]
CONTEXT = ("max_position_embeddings", "max_seq_len", "seq_length")  # what configurations call the longest text
ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}  # kinds of layer that keep keys and values


class Borrowed(nn.Module):
    """A model of transformers with `added` tokens more than it knows, such as `<image>` and `<EOC>`.

    Their ids go on from its vocabulary's size; their rows begin as the mean of all words, and can train while the
    model's stay. The model never drops out, in training neither. ValueError where words are not as wide as states.
    """

    sees = False

    def __init__(self, model: PreTrainedModel, added: int):
        super().__init__()
        table: Any = model.get_input_embeddings()
        head: Any = model.get_output_embeddings()
        known, width = table.weight.shape
        if width != model.config.hidden_size:
            states = f"states of width {model.config.hidden_size}"
            raise ValueError(f"embeddings of width {width} but {states}: choose another model")
        self.model, self.known, self.tied = model.eval(), known, head.weight is table.weight
        self.added = nn.Parameter(table.weight.detach().mean(0).repeat(added, 1))
        self.added_out = self.added if self.tied else nn.Parameter(head.weight.detach().mean(0).repeat(added, 1))
        reader = model.decoder if model.config.is_encoder_decoder else model.base_model
        self._cache_name = cache_name(reader)

    def train(self, mode: bool = True) -> Self:
        """As of any module, except that the borrowed model stays in evaluation mode."""
        super().train(mode)
        self.model.eval()
        return self

    @property
    def embed_tokens(self) -> nn.Module:
        """The table of the words that the model knows."""
        return self.model.get_input_embeddings()

    def embed(self, ids: Tensor) -> Tensor:
        """(B, L) -> (B, L, D)."""
        x = self.embed_tokens(ids.clamp(max=self.known - 1))
        if not len(self.added):
            return x
        new = self.added[(ids - self.known).clamp(0)] * embed_scale(self.embed_tokens)
        return torch.where((ids >= self.known)[..., None], new, x)

    def lm_head(self, states: Tensor) -> Tensor:
        """Final states (..., D) -> logits (..., V), scaled and capped as Cohere, Granite and Gemma 2 do."""
        logits, c = self.model.get_output_embeddings()(states), self.model.config
        logits = torch.cat([logits, states @ self.added_out.T], -1) if len(self.added) else logits
        scale = (getattr(c, "logit_scale", None) or 1.0) / (getattr(c, "logits_scaling", None) or 1.0)
        logits = logits if scale == 1.0 else logits * scale
        cap = getattr(c, "final_logit_softcapping", None)
        return cap * torch.tanh(logits / cap) if cap else logits


class TransformersLM(Decoder, Borrowed):
    """A `transformers` causal LM (GPT-2, OPT, Llama, ...) as the language model of Frozen, Flamingo or BLIP-2.

    ValueError where it is none, or does not read embeddings through layers of attention; `verified` tries the rest.
    """

    def __init__(self, model: PreTrainedModel, added: int = 0):
        c: Any = model.config
        if c.is_encoder_decoder or model.get_output_embeddings() is None:
            raise ValueError(f"{type(model).__name__} is no causal language model: name one, such as GPT2LMHeadModel")
        takes = inspect.signature(model.base_model.forward).parameters
        needs = {"inputs_embeds", "attention_mask", cache_name(model.base_model)}
        recurrent = set(getattr(c, "layer_types", None) or ()) - ATTENTION
        if recurrent or getattr(model, "_is_stateful", False) or not needs <= takes.keys():
            raise unsupported(model, "recurrent layers, or none that read embeddings with a cache of keys and values")
        lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == c.num_hidden_layers]
        if not lists:
            raise unsupported(model, "its layers are not one list")
        super().__init__(model, added)
        self._blocks = list(lists[0])  # a plain list: the model owns them
        self._counts = "position_ids" in takes  # ALiBi has none
        heads, feed = c.num_attention_heads, getattr(c, "intermediate_size", None) or getattr(c, "ffn_dim", None)
        self.config = LMConfig(
            self.known + added, c.hidden_size, c.num_hidden_layers, heads,
            getattr(c, "num_key_value_heads", None) or heads, feed or 4 * c.hidden_size,
            next((getattr(c, name) for name in CONTEXT if hasattr(c, name)), 2048), tied=self.tied,
        )  # fmt: skip

    def hidden(
        self, x: Tensor, attention_mask: Tensor | None = None, cache: Cache | None = None,
        maps: list[Tensor] | None = None, in_front: InFront | None = None,
    ) -> Tensor:  # fmt: skip
        """Embeddings (B, L, D) to final states (B, L, D), as `CausalLM.hidden`: positions count real tokens only."""
        real = torch.ones_like(x[..., 0], dtype=torch.bool) if attention_mask is None else attention_mask  # (B, L)
        start = 0 if cache is None or cache.next_position is None else cache.next_position[:, None]
        positions = (real.long().cumsum(1) - 1).clamp(min=0) + start
        if int(positions.max()) >= self.config.context:
            raise ValueError(f"position {int(positions.max())} is beyond the context of {self.config.context}")
        mask = real if cache is None or cache.mask is None else torch.cat([cache.mask, real], 1)  # (B, K)
        past: Any = theirs_of(cache) if cache is not None else None
        more = {self._cache_name: past} | ({"position_ids": positions} if self._counts else {})
        with reading(self.model, maps is not None, self._blocks, in_front):
            out = self.model.base_model(inputs_embeds=x, attention_mask=mask.long(), use_cache=cache is not None,
                                        output_attentions=maps is not None, **more)  # fmt: skip
        if cache is not None:
            cache.layers = [LayerCache(layer.keys, layer.values) for layer in past.layers]
            cache.mask, cache.next_position = mask, positions[:, -1] + 1
        if maps is not None:
            maps += out.attentions
        return out.last_hidden_state

    def forward(self, batch: Batch, keep: Keep = NOTHING) -> Tensor:
        """Logits (B, L, V) of every next token."""
        return self.lm_head(self.hidden(self.embed(batch.ids), batch.attention_mask, maps=keep.maps))

    @torch.no_grad()
    def verified(self) -> Self:
        """This model, if it says of embeddings, behind padding and in pieces, what it says of ids; else ValueError."""
        ids = torch.arange(12, device=self.added.device).view(2, 6) % self.known
        real = torch.tensor([[True] * 6, [False] * 2 + [True] * 4], device=ids.device)
        try:
            rows = [row[there][None] for row, there in zip(ids, real, strict=True)]
            own = torch.cat([self.model(input_ids=row).logits[:, -1] for row in rows])
            whole = self.lm_head(self.hidden(self.embed(ids), real))[:, -1]
            _, cache = self.begin(self.embed(ids[:, :3]), real[:, :3])
            after = self.step(ids[:, 3:], cache)[:, -1]
        except Exception as error:  # of any family's own code
            why = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise unsupported(self.model, why) from None
        room = (1e-3 if own.dtype == torch.float32 else 0.05) * own.abs().max()
        for way, found in (("from embeddings", whole), ("in pieces", after)):
            if not bool((found[:, : own.shape[1]] - own).abs().max() <= room):
                raise unsupported(self.model, f"read {way}, it says something else than of ids")
        return self


class TransformersT5(TextToText, Borrowed):
    """A T5 of transformers (FlanT5 too) as the language model of BLIP-2."""

    def __init__(self, model: PreTrainedModel, added: int = 0):
        c: Any = model.config
        if not c.is_encoder_decoder or not hasattr(model, "decoder"):
            raise ValueError(f"{type(model).__name__} is no T5: name one, such as T5ForConditionalGeneration")
        super().__init__(model, added)
        self.config = EncDecConfig(
            self.known + added, c.d_model, c.num_layers, c.num_heads, c.d_ff, c.relative_attention_num_buckets,
            c.relative_attention_max_distance, c.decoder_start_token_id,
        )  # fmt: skip
        scaled = getattr(c, "scale_decoder_outputs", c.tie_word_embeddings)
        self._scale = c.d_model**-0.5 if scaled else 1.0

    def lm_head(self, states: Tensor) -> Tensor:
        """Final states (..., D) -> logits (..., V); the first T5, whose head is its words, scales them down."""
        return super().lm_head(states * self._scale)

    def encode(self, x: Tensor, real: Tensor) -> Tensor:
        """Embeddings (B, L, D), padded on either side where `real` (B, L) is False -> states (B, L, D)."""
        encoder: Any = self.model.encoder
        return encoder(inputs_embeds=x, attention_mask=real.long()).last_hidden_state

    def decode(self, ids: Tensor, cache: EncDecCache, maps: list[Tensor] | None = None) -> Tensor:
        """The next words (B, L), the first of all being the start token -> states (B, L, D); the cache is extended."""
        decoder: Any = self.model.decoder
        assert cache.real is not None
        past: Any = EncoderDecoderCache(theirs_of(cache), DynamicCache())
        more = {self._cache_name: past, "encoder_attention_mask": cache.real.long()}
        with reading(decoder, maps is not None):  # the stack's own: its configuration is a copy of the model's
            out = decoder(inputs_embeds=self.embed(ids), encoder_hidden_states=cache.memory, use_cache=True,
                          output_attentions=maps is not None, **more)  # fmt: skip
        cache.layers = [LayerCache(layer.keys, layer.values) for layer in past.self_attention_cache.layers]
        if maps is not None:
            maps += out.cross_attentions
        return out.last_hidden_state


def unsupported(model: PreTrainedModel, why: str) -> ValueError:
    """The error that says so in one line."""
    return ValueError(f"{type(model).__name__} is not supported ({why}): choose another, such as a Llama, GPT-2 or OPT")


def cache_name(reader: Any) -> str:
    """What this version of transformers calls a cache."""
    return "cache" if "cache" in inspect.signature(reader.forward).parameters else "past_key_values"


def theirs_of(cache: Cache) -> Any:
    """Our cache as one of transformers."""
    past: Any = DynamicCache()
    for i, layer in enumerate(cache.layers):
        past.update(layer.keys, layer.values, i)
    return past


@contextmanager
def reading(
    model: PreTrainedModel, maps: bool, blocks: Sequence[nn.Module] = (), in_front: Any = None
) -> Iterator[None]:
    """While this lasts, the model gives attention maps if wanted (on its slow path), and every block reads what
    `in_front` makes of its input.
    """
    before = model.config._attn_implementation
    hooks = [
        block.register_forward_pre_hook(partial(_change_input, in_front, i), with_kwargs=True)
        for i, block in enumerate(blocks if in_front is not None else ())
    ]
    try:
        if maps:
            model.set_attn_implementation("eager")
        yield
    finally:
        if maps:
            model.set_attn_implementation(before)
        for hook in hooks:
            hook.remove()


def _change_input(in_front: InFront, i: int, _: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict]:
    if args:
        return (in_front(i, args[0]), *args[1:]), kwargs
    return args, kwargs | {"hidden_states": in_front(i, kwargs["hidden_states"])}

"""Any causal LM of transformers, with the interface of `CausalLM`: no class rewritten, nothing left on its layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from minilmm.document import Batch
from minilmm.language.causal import Decoder, LMConfig
from minilmm.nn.attention import Cache, LayerCache

InFront = Callable[[int, Tensor], Tensor]
UNKNOWN_HEADS = ("final_logit_softcapping", "logit_scale", "logits_scaling")


class TransformersLM(Decoder, nn.Module):
    """A `transformers` causal LM (GPT-2, OPT, Llama, ...) as the language model of Frozen or Flamingo.

    added: so many tokens more than the model knows, such as `<image>` and `<EOC>`: ids from its vocabulary's size on,
    with rows of their own, which begin as the mean of all words and can train while the model's stay. The model never
    drops out, in training neither. ValueError for a model whose words are not as wide as its states, or that bends
    its logits.
    """

    sees = False

    def __init__(self, model: PreTrainedModel, added: int = 0):
        super().__init__()
        c: Any = model.config
        table: Any = model.get_input_embeddings()
        head: Any = model.get_output_embeddings()
        if c.is_encoder_decoder or head is None:
            raise ValueError(f"{type(model).__name__} is no causal language model: name one, such as GPT2LMHeadModel")
        words, layers = table.weight.detach(), c.num_hidden_layers
        if words.shape[1] != c.hidden_size:
            raise ValueError(f"words of width {words.shape[1]} in states of width {c.hidden_size}: choose another size")
        if bent := [name for name in UNKNOWN_HEADS if getattr(c, name, None) not in (None, 1.0)]:
            raise ValueError(f"{type(model).__name__} changes its logits by {bent[0]}: that is not supported")
        self.model, self.known = model.eval(), len(words)
        heads, feed = c.num_attention_heads, getattr(c, "intermediate_size", None) or getattr(c, "ffn_dim", None)
        self.config = LMConfig(
            self.known + added, c.hidden_size, layers, heads, getattr(c, "num_key_value_heads", None) or heads,
            feed or 4 * c.hidden_size, c.max_position_embeddings, tied=bool(c.tie_word_embeddings),
        )  # fmt: skip
        self.added = nn.Parameter(words.mean(0).repeat(added, 1))
        self.added_out = self.added if self.config.tied else nn.Parameter(head.weight.detach().mean(0).repeat(added, 1))
        blocks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == layers]
        self._blocks = list(blocks[0])  # a plain list: the model owns them
        named = inspect.signature(model.base_model.forward).parameters
        self._cache_name = "cache" if "cache" in named else "past_key_values"  # its name by version

    def train(self, mode: bool = True) -> TransformersLM:
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
        new = ids >= self.known
        return x if not len(self.added) else torch.where(new[..., None], self.added[(ids - self.known).clamp(0)], x)

    def lm_head(self, states: Tensor) -> Tensor:
        """Final states (..., D) -> logits (..., V)."""
        logits = self.model.get_output_embeddings()(states)
        return torch.cat([logits, states @ self.added_out.T], -1) if len(self.added) else logits

    @contextmanager
    def _standing(self, in_front: InFront | None) -> Iterator[None]:
        """While this lasts, `in_front` changes what each block reads."""
        with ExitStack() as stack:
            for i, block in enumerate(self._blocks if in_front is not None else []):

                def before(_: nn.Module, args: tuple, kwargs: dict[str, Any], i: int = i) -> tuple[tuple, dict]:
                    assert in_front is not None
                    if args:
                        return (in_front(i, args[0]), *args[1:]), kwargs
                    return args, kwargs | {"hidden_states": in_front(i, kwargs["hidden_states"])}

                stack.callback(block.register_forward_pre_hook(before, with_kwargs=True).remove)
            yield

    @contextmanager
    def _eager(self, wanted: bool) -> Iterator[None]:
        """Attention maps only come from the slow path."""
        before = self.model.config._attn_implementation
        try:
            if wanted:
                self.model.set_attn_implementation("eager")
            yield
        finally:
            if wanted:
                self.model.set_attn_implementation(before)

    def hidden(
        self,
        x: Tensor,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        maps: list[Tensor] | None = None,
        in_front: InFront | None = None,
    ) -> Tensor:
        """Embeddings (B, L, D) to final states (B, L, D), as `CausalLM.hidden`: positions count real tokens only."""
        B, L, _ = x.shape
        real = torch.ones(B, L, dtype=torch.bool, device=x.device) if attention_mask is None else attention_mask
        start = 0 if cache is None or cache.next_position is None else cache.next_position[:, None]
        positions = (real.long().cumsum(1) - 1).clamp(min=0) + start
        if int(positions.max()) >= self.config.context:
            raise ValueError(f"position {int(positions.max())} is beyond the context of {self.config.context}")
        seen = real if cache is None or cache.mask is None else torch.cat([cache.mask, real], 1)  # (B, K)
        past: Any = DynamicCache() if cache is not None else None
        for i, layer in enumerate([] if cache is None else cache.layers):
            past.update(layer.keys, layer.values, i)
        with self._eager(maps is not None), self._standing(in_front):
            out = self.model.base_model(
                inputs_embeds=x, attention_mask=seen.long(), position_ids=positions, use_cache=cache is not None,
                output_attentions=maps is not None, **{self._cache_name: past},
            )  # fmt: skip
        if cache is not None:
            cache.layers = [LayerCache(layer.keys, layer.values) for layer in past.layers]
            cache.mask, cache.next_position = seen, positions[:, -1] + 1
        if maps is not None:
            maps += out.attentions
        return out.last_hidden_state

    def forward(self, batch: Batch, maps: list[Tensor] | None = None) -> Tensor:
        """Logits (B, L, V) of every next token."""
        return self.lm_head(self.hidden(self.embed(batch.ids), batch.attention_mask, maps=maps))

"""Language models: our causal LM, an encoder-decoder, and in `adapter` any causal LM of transformers."""

from minilmm.language.causal import CausalLM, LMConfig

__all__ = ["CausalLM", "LMConfig"]

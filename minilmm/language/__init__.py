"""Language models: our causal LM."""

from minilmm.language.causal import CausalLM, LMConfig

__all__ = ["CausalLM", "LMConfig"]

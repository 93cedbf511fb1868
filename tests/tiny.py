"""Tiny random models, and how near two ways to the same numbers must come."""

import torch

from minilmm.frozen import Frozen, FrozenConfig
from minilmm.language import CausalLM, LMConfig
from minilmm.vision import VisionConfig
from minilmm.world.vocabulary import tokenizer


def tiny_lm(**changes) -> CausalLM:
    """A random LM small enough for any test, with smear weights that are not even."""
    torch.manual_seed(0)
    settings = {"width": 32, "layers": 2, "heads": 4, "kv_heads": 2, "hidden": 64, "smear": 4} | changes
    lm = CausalLM(LMConfig(len(tokenizer()), **settings))
    for name, parameter in lm.named_parameters():
        if "smear" in name:
            torch.nn.init.normal_(parameter)
    return lm.eval()


def tiny_frozen(n: int = 2, kept: bool = True) -> Frozen:
    """A random Frozen over the tiny LM."""
    lm = tiny_lm()
    vision = VisionConfig(stem=8, widths=(8, 16), blocks=(1, 1))
    return Frozen(FrozenConfig(lm.config, vision, prefix_tokens=n, kept=kept), lm).eval()


def assert_near(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 2e-5) -> None:
    """Equal up to rounding: sums of random values are rounded in proportion to the largest of them."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance * float(expected.detach().abs().max()))

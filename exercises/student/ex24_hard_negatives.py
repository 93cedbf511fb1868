"""Hard negatives for matching (ITM): wrong pairs that ITC takes for right ones (section 3.2, after ALBEF).

A picture of a red circle and "a blue car" are told apart at once, and nothing is learned. So the wrong partner is drawn
by ITC's own opinion: the more alike it finds a wrong pair, the more often that pair is drawn.
"""

import torch
from torch import Tensor


def odds(similar: Tensor, fits: Tensor) -> Tensor:
    """How likely each column is drawn as a row's wrong partner: (B, C) and (B, C) bool -> (B, C), rows sum to 1.

    similar: ITC's similarities, divided by the temperature already; the odds of two wrong columns stand as the exp of
    their similarities. fits: True where row and column belong together: each with its own, and with whatever says the
    same. Those have probability 0, exactly. ValueError where a row has no wrong column.
    """
    raise NotImplementedError("your code here")


def draw(similar: Tensor, fits: Tensor, generator: torch.Generator) -> Tensor:
    """One wrong column for every row, drawn with those odds and with this generator: -> (B,) long."""
    raise NotImplementedError("your code here")


def partners(similar: Tensor, fits: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A wrong text for every picture (row), then a wrong picture for every text (column): (B, B) -> (B,) and (B,)."""
    raise NotImplementedError("your code here")

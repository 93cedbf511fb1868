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
    # BEGIN SOLUTION
    if bool(fits.all(1).any()):
        raise ValueError("everything fits a row of this batch: no wrong pair can be drawn; use a larger batch")
    return similar.masked_fill(fits, float("-inf")).softmax(1)
    # END SOLUTION


def draw(similar: Tensor, fits: Tensor, generator: torch.Generator) -> Tensor:
    """One wrong column for every row, drawn with those odds and with this generator: -> (B,) long."""
    # BEGIN SOLUTION
    return torch.multinomial(odds(similar, fits), 1, generator=generator)[:, 0]
    # END SOLUTION


def partners(similar: Tensor, fits: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A wrong text for every picture (row), then a wrong picture for every text (column): (B, B) -> (B,) and (B,)."""
    # BEGIN SOLUTION
    wrong_text = draw(similar, fits, generator)
    wrong_image = draw(similar.T, fits.T, generator)
    return wrong_text, wrong_image
    # END SOLUTION

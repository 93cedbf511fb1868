"""Which picture each token looks at (Flamingo, section 2.3 and, for pages that look ahead, section 2.4)."""

import torch
from torch import Tensor

PAD, IMAGE = 0, 3


def last_image(ids: Tensor, ahead: Tensor | None = None) -> Tensor:
    """phi of the paper: the picture that each token looks at, counted from 1, 0 for none: (B, L) -> (B, L).

    A token looks at the last picture before it, and a tag at its own. Text in front of the first picture looks at
    none, and so does padding, on whichever side it stands.

    ahead (B,) bool: documents whose text looks at the *next* picture instead. Their tags still look at their own, and
    text behind the last picture looks at none. Without `ahead` no document looks ahead.
    """
    # BEGIN SOLUTION
    tag = ids == IMAGE
    phi = tag.long().cumsum(1)  # (B, L): how many tags so far, this one included
    if ahead is not None:
        following = torch.where(tag, phi, phi + 1)
        following = torch.where(following > tag.sum(1, keepdim=True), 0, following)
        phi = torch.where(ahead[:, None], following, phi)
    return phi * (ids != PAD)
    # END SOLUTION


def media_mask(phi: Tensor, images: int, latents: int) -> Tensor:
    """May this token look at this picture's token? (B, L) -> (B, L, images x latents) bool.

    Every picture was turned into `latents` tokens. The keys hold all tokens of picture 1, then all of picture 2, ...
    """
    # BEGIN SOLUTION
    mask = phi[..., None] == torch.arange(1, images + 1)  # (B, L, N)
    return mask.repeat_interleave(latents, -1)
    # END SOLUTION

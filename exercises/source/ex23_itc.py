"""Image-text contrast (ITC): a picture is as like a text as its best query is (section 3.2).

The first stage's queries and its text were read apart, under the unimodal mask. Q queries give a picture Q vectors; a
text has one, that of its [CLS].
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def similarity(image: Tensor, text: Tensor) -> Tensor:
    """Queries' outputs of N pictures (N, Q, E), vectors of M texts (M, E), of any length -> (N, M).

    The highest cosine that any of the picture's queries has with the text.
    """
    # BEGIN SOLUTION
    image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    return torch.einsum("nqe,me->nmq", image, text).amax(-1)
    # END SOLUTION


def targets(fits: Tensor, smoothing: float = 0.1) -> Tensor:
    """What each row should say: fits (B, C) bool, True where the column is right -> distributions (B, C).

    All right columns share 1 - smoothing evenly: captions that say the same are all right, not only the row's own. The
    rest, `smoothing`, is spread evenly over *all* C columns (label smoothing, as in the authors' code).
    """
    # BEGIN SOLUTION
    right = fits / fits.sum(1, keepdim=True)
    return (1 - smoothing) * right + smoothing / fits.shape[1]
    # END SOLUTION


def itc_loss(similar: Tensor, fits: Tensor, temperature: Tensor) -> Tensor:
    """The loss in nats: similarities (B, B), fits (B, B) bool, a learned temperature, one number -> a number.

    Similarities divided by the temperature are logits. Each picture (row) looks for its texts, each text (column) for
    its pictures: two cross-entropies with the distributions of `targets`, each the mean over B; the loss is their mean.
    """
    # BEGIN SOLUTION
    logits = similar / temperature
    to_text = -(targets(fits) * logits.log_softmax(1)).sum(1).mean()
    to_image = -(targets(fits.T) * logits.T.log_softmax(1)).sum(1).mean()
    return (to_text + to_image) / 2
    # END SOLUTION

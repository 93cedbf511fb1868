"""Where bridges between real models begin: closer to what they stand between than chance would put them."""

from __future__ import annotations

import torch

from minilmm.data.named import Named
from minilmm.flamingo import Flamingo
from minilmm.frozen import Frozen
from minilmm.interface.tokenizer import Tokenizer
from minilmm.training.flamingo import gates

OPEN = 0.3  # alpha of a large model's gates


@torch.no_grad()
def begin_at_words(model: Frozen, words: Tokenizer, seen: Named, ridge: float) -> None:
    """Frozen's map begins as a ridge regression, from what the eyes see to the embeddings of words of the name.

    The n vectors are told the n words that lie evenly from a name's first to its last, less the mean of all names. So
    a prefix is near words from the first step on: a picture is bound to a made-up name before anything has trained.
    ridge: of standardised features, per view of each picture.
    """
    assert seen.features is not None
    device = model.to_prefix.weight.device
    x = torch.cat(
        [model.encoder.pool(some.to(device).float()).cpu() for some in seen.features.flatten(0, 2).split(512)]
    )
    V, N, K = seen.features.shape[:3]
    known = [torch.tensor(words.encode(f" {name}")) for name in seen.names]
    chosen = [row[torch.linspace(0, len(row) - 1, model.prefix_tokens).round().long()] for row in known]
    y = model.lm.embed(torch.stack(chosen).to(device)).flatten(1).float().cpu()  # (N, n D)
    y = (y - y.mean(0))[None, :, None].expand(V, N, K, -1).flatten(0, 2)
    mean, deviation = x.mean(0), x.std(0) + 1e-3
    x = (x - mean) / deviation
    found = torch.linalg.solve(x.T @ x + ridge * K * torch.eye(x.shape[1]), x.T @ y) / deviation[:, None]
    model.to_prefix.weight.copy_(found.T)
    model.to_prefix.bias.copy_(-mean @ found)


@torch.no_grad()
def begin_centred(model: Flamingo, seen: Named) -> None:
    """Flamingo's resampler begins by leaving out what all pictures share: its time embeddings are the mean feature,
    negative, and its norms weigh channels by one over their deviation. Its cross-attention begins a crack open, where
    the paper has it closed: trainings of minutes hardly open it.
    """
    assert seen.features is not None
    x = seen.features[:, :, 0].flatten(0, 2).float()  # (M S, D)
    model.resampler.time_embeddings.copy_(-x.mean(0).expand_as(model.resampler.time_embeddings))
    for name, weight in model.resampler.context_norm.named_parameters():
        if name.endswith("weight"):
            weight.copy_((x.std(0).mean() / (x.std(0) + 1e-6)).clamp(max=3.0))
    for name, gate in gates(model).items():
        if "xattn" in name:
            gate.fill_(OPEN)

"""Pictures with names, as captions to train on, as pages of several, as pairs to retrieve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from minilmm.data.answers import normalise_answer
from minilmm.interface.document import Batch, Document, Image, Text, collate
from minilmm.interface.tokenizer import EOC, Tokenizer
from minilmm.world.exemplars import arrange
from minilmm.world.random import choices, integers, uniform
from minilmm.world.vocabulary import TRAIN_NAMES


@dataclass(frozen=True)
class Named:
    """N things, each with a name and one picture by each of V vendors.

    names      N strings
    vendors    V strings
    pictures   (V, N, 3, R, R) uint8
    held_out   (N,) bool, True on what training never shows
    features   (V, N, K, S, D) what a frozen encoder makes of K views of each picture, where it has looked already
    """

    names: list[str]
    vendors: tuple[str, ...]
    pictures: Tensor
    held_out: Tensor
    features: Tensor | None = None

    def rows(self, split: str) -> Tensor:
        """The numbers of the things of a split, "train" or "held-out". ValueError for another."""
        if split not in ("train", "held-out"):
            raise ValueError(f"unknown split {split!r}: choose train or held-out")
        return (self.held_out == (split == "held-out")).nonzero()[:, 0]


@dataclass(frozen=True)
class Form:
    """How a picture and its name stand in text: "Picture:<image> Name: alarm clock.<EOC>".

    A language model that has seen no such page binds names by far better in this form than in "<image> alarm clock".
    """

    before: str = "Picture:"
    after: str = " Name:"
    end: str = "." + EOC

    def document(self, picture: Tensor, name: str, learn: bool = True) -> Document:
        """A picture (3, R, R) in [0, 1] and what is said of it; only name and end are learned."""
        return [
            Text(self.before, learn=False), Image(picture), Text(self.after, learn=False),
            Text(f" {name}", learn), Text(self.end),
        ]  # fmt: skip


def alike(names: Sequence[str]) -> Tensor:
    """(N,) numbers from 0, equal where names read alike: what counts as one answer is one option."""
    read = [normalise_answer(name) or name for name in names]
    number = {name: i for i, name in enumerate(dict.fromkeys(read))}
    return torch.tensor([number[name] for name in read])


def unlike(group: Tensor, count: int, batch: int, generator: torch.Generator) -> Tensor:
    """Random rows of `count` things, no two of one group, in random order: group (N,) -> (B, count)."""
    order = choices(len(group), len(group), (batch,), generator)  # (B, N)
    place = torch.arange(len(group), device=group.device).expand_as(order)
    first = torch.full((batch, int(group.max()) + 1), len(group), device=group.device)
    first = first.scatter_reduce(1, group[order], place, "amin")  # (B, groups) where each one's first thing stands
    return order.gather(1, first.sort(1).values[:, :count])


def jitter(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture (M, 3, R, R) up to a fifth smaller and shifted into the white that is left: no two are the same."""
    M = len(pixels)
    zoom = uniform(1.0, 1.25, (M, 1), generator)
    shift = uniform(-1.0, 1.0, (M, 2), generator) * (zoom - 1)
    theta = torch.zeros(M, 2, 3, device=pixels.device)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = zoom[:, 0], zoom[:, 0], shift
    moved = torch.empty_like(pixels)
    for some in torch.arange(M).split(64):  # episodes have thousands of pictures, and a few copies of each pass here
        grid = F.affine_grid(theta[some], [len(some), *pixels.shape[1:]], align_corners=False)
        moved[some] = (1 - F.grid_sample(1 - pixels[some], grid, align_corners=False)).clamp(0, 1)
    return moved


def views(data: Named, vendor: Tensor, row: Tensor, generator: torch.Generator) -> Tensor:
    """The features of one view of each picture, by vendors and numbers of one shape (...): (..., S, D) float."""
    assert data.features is not None
    view = integers(data.features.shape[2], row.shape, generator)
    return data.features[vendor.cpu(), row.cpu(), view.cpu()].to(generator.device).float()


def shown(data: Named, vendor: Tensor, row: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures by vendors and numbers of one shape (...), jittered: (..., 3, R, R) float."""
    pixels = data.pictures[vendor.cpu(), row.cpu()].to(generator.device).float() / 255
    return jitter(pixels.flatten(0, -4), generator).view(pixels.shape)


def look(data: Named, vendor: Tensor, row: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
    """Pictures (B, m, 3, R, R) of documents; where an encoder has looked already, blanks and features (B, m, S, D)."""
    if data.features is None:
        return shown(data, vendor, row, generator).cpu(), None
    return torch.zeros(*row.shape, 3, 1, 1), views(data, vendor, row, generator)


def batched(documents: list[Document], features: Tensor | None, tokenizer: Tokenizer, device: torch.device) -> Batch:
    """Documents to train on, with the features of their pictures, if any. ValueError where no word is to be learned."""
    batch = collate(documents, tokenizer)
    if not bool(batch.loss_mask.any()):
        raise ValueError("every label of the batch is masked: nothing to learn from")
    batch = batch.to(device)
    return batch if features is None else replace(batch, features=features[:, :, None])  # an image is one frame


def captions(
    data: Named, tokenizer: Tokenizer, form: Form | None = None, split: str = "train"
) -> Callable[[int, torch.Generator], Batch]:
    """A source of batches of captioned pictures, each of any vendor: Frozen's and BLIP-2's training data."""
    form, pool = form or Form(), data.rows(split)

    def sample(batch: int, generator: torch.Generator) -> Batch:
        row = pool[integers(len(pool), (batch,), generator).cpu()]
        vendor = integers(len(data.vendors), (batch,), generator)
        pictures, features = look(data, vendor[:, None], row[:, None], generator)
        documents = [form.document(p[0], data.names[i]) for p, i in zip(pictures, row.tolist(), strict=True)]
        return batched(documents, features, tokenizer, generator.device)

    return sample


def pages(
    data: Named, tokenizer: Tokenizer, form: Form | None = None, *, ways: int = 2, shots: int = 2, nonsense: bool = True
) -> Callable[[int, torch.Generator], Batch]:
    """A source of pages of `ways * shots + 1` pictures of training things, which Flamingo learns binding from.

    With nonsense names a name is learned only from its second time on: before, it cannot be known.
    """
    form, pool = form or Form(), data.rows("train")
    group = alike([data.names[i] for i in pool])

    def sample(batch: int, generator: torch.Generator) -> Batch:
        order, owner = arrange(batch, ways, shots, generator)
        label = torch.cat([owner.gather(1, order), owner[:, -1:]], 1)  # (B, m) which way each picture shows
        things = pool.to(label.device)[unlike(group.to(label.device), ways, batch, generator)].gather(1, label)
        pictures, features = look(data, integers(len(data.vendors), label.shape, generator), things, generator)
        said = choices(len(TRAIN_NAMES), ways, (batch,), generator).gather(1, label)
        documents = []
        for b in range(batch):
            names = [TRAIN_NAMES[i] if nonsense else data.names[j] for i, j in zip(said[b], things[b], strict=True)]
            known = [not nonsense or name in names[:i] for i, name in enumerate(names)]
            parts = zip(pictures[b], names, known, strict=True)
            documents.append([segment for part in parts for segment in form.document(*part)])
        return batched(documents, features, tokenizer, generator.device)

    return sample


def pairs(data: Named, split: str, vendor: str) -> tuple[Tensor, list[str]]:
    """One vendor's pictures of a split, (N, 3, R, R) uint8, and their names: what is to be matched in retrieval."""
    if vendor not in data.vendors:
        raise ValueError(f"unknown vendor {vendor!r}: choose from {', '.join(data.vendors)}")
    rows = data.rows(split)
    return data.pictures[data.vendors.index(vendor), rows], [data.names[i] for i in rows.tolist()]


def name_texts(names: Sequence[str], tokenizer: Tokenizer, context: int) -> Tensor:
    """ "[CLS] alarm clock <EOC>", as BLIP-2's first stage reads it: (N, L) ids, 0 pads, cut behind the context."""
    rows = [[tokenizer.bos_token_id, *tokenizer.encode(f"{name} {EOC}")][:context] for name in names]
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)

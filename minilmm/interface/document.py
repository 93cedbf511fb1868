"""A document is text, images and videos in order; a Batch is many of them as tensors. Nothing else reaches a model.

The lecture writes visual input as `N, T, H, W, C`: N images or videos per document, T frames each.
In tensors we keep torch's channel order: `media (B, N, T, C, H, W)`, values in [0, 1]. An image is a video with T = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from minilmm.interface.tokenizer import BOS, IMAGE, IMAGE_ID, PAD_ID, Tokenizer


@dataclass(frozen=True)
class Text:
    """A stretch of text. `learn=False` keeps it out of the loss (a question, a prompt)."""

    text: str
    learn: bool = True


@dataclass(frozen=True)
class Image:
    """One picture, `(C, H, W)` in [0, 1]."""

    pixels: Tensor


@dataclass(frozen=True)
class Video:
    """T frames, `(T, C, H, W)` in [0, 1]."""

    frames: Tensor


Segment = Text | Image | Video
Document = list[Segment]


@dataclass(frozen=True)
class Batch:
    """Documents as tensors.

    ids             (B, L)            token ids; one `<image>` where an image or a video stands
    attention_mask  (B, L)            True on tokens, False on padding
    loss_mask       (B, L)            True on tokens that are to be predicted
    media           (B, N, T, C, H, W) float in [0, 1], in the order of the tags; absent ones are 0
    media_mask      (B, N)            True where a document has its n-th image
    features        (B, N, T, S, D)   what a frozen encoder makes of `media`, where that is known already
    ahead           (B,)              True where text looks at the picture behind it: the paper of Flamingo's p_next
    """

    ids: Tensor
    attention_mask: Tensor
    loss_mask: Tensor
    media: Tensor
    media_mask: Tensor
    features: Tensor | None = None
    ahead: Tensor | None = None

    def __len__(self) -> int:
        return self.ids.shape[0]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return self._each(lambda x: x.to(device, non_blocking=True))

    def __getitem__(self, rows: slice | Tensor) -> Batch:
        """Some of the documents."""
        return self._each(lambda x: x[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        tensors = (getattr(self, field.name) for field in fields(self))
        return Batch(*(None if x is None else change(x) for x in tensors))  # type: ignore[arg-type]

    def with_media(self, media: Tensor) -> Batch:
        """The same text with other pictures: how blank and shuffled controls are made."""
        return replace(self, media=media, features=None)

    def encoded(self, encode: Callable[[Tensor], Tensor]) -> Tensor:
        """The features, or what an encoder, (M, C, H, W) -> (M, S, D), makes of the pictures: (B, N, T, S, D)."""
        if self.features is not None:
            return self.features
        return encode(self.media.flatten(0, 2)).unflatten(0, self.media.shape[:3])

    def with_features(self, encode: Callable[[Tensor], Tensor]) -> Batch:
        """The same documents with the features of their pictures: a frozen encoder looks once."""
        return replace(self, features=self.encoded(encode))

    def tags(self, image_id: int, check: bool = True) -> Tensor:
        """Where pictures stand, (B, L) bool. ValueError where a document's tags and pictures differ in number.

        check: looks at the numbers, which waits for the device. `Batch.of` and `collate` make no batch that differs.
        """
        tag = (self.ids == image_id) & self.attention_mask
        if not check:
            return tag
        tags, pictures = tag.sum(1), self.media_mask.sum(1)
        if not torch.equal(tags, pictures):
            counts = f"documents have {tags.tolist()} <image> tags but {pictures.tolist()} pictures"
            raise ValueError(f"{counts}: give each tag its picture")
        return tag

    @staticmethod
    def of(
        ids: Tensor,
        media: Tensor | None = None,
        *,
        pad: int = PAD_ID,
        image: int = IMAGE_ID,
        loss_mask: Tensor | None = None,
    ):
        """A batch from padded ids (B, L) and pictures (B, N, T, C, H, W); the masks follow from the tags.

        N is the most tags of a document; of one with fewer, the last pictures do not count. ValueError for another N.
        """
        if media is None:
            media = torch.zeros(len(ids), 0, 1, 3, 1, 1, device=ids.device)
        attention = ids != pad
        tags = (ids == image).sum(1)
        present = torch.arange(media.shape[1], device=ids.device) < tags[:, None]
        if len(tags) and int(tags.max()) != media.shape[1]:
            counts = (
                f"a document has at most {int(tags.max())} <image> tags, but {media.shape[1]} pictures came for each"
            )
            raise ValueError(f"{counts}: give each tag its picture")
        learn = attention & (ids != image) if loss_mask is None else loss_mask & attention & (ids != image)
        return Batch(ids, attention, learn, media, present)


def collate(
    documents: Sequence[Document], tokenizer: Tokenizer, *, side: str = "right", resolution: int | None = None
) -> Batch:
    """Documents to one batch: `<bos>` in front, padded on the `side` named ("left" for prompts to be continued).

    A literal "<image>" inside a Text is refused: a picture is a segment, never a string.
    ValueError names what does not fit (no documents, sizes that differ).
    """
    if not documents:
        raise ValueError("no documents: a batch needs at least one")
    tag, rows, learns, pictures = tokenizer.convert_tokens_to_ids(IMAGE), [], [], []
    for document in documents:
        ids, learn, frames = [tokenizer.convert_tokens_to_ids(BOS)], [False], []
        for segment in document:
            if isinstance(segment, Text):
                if IMAGE in segment.text:
                    raise ValueError(f"text holds a literal {IMAGE}: put the picture there as an Image segment")
                tokens = tokenizer.encode(segment.text, add_special_tokens=False)
                ids += tokens
                learn += [segment.learn] * len(tokens)
            else:
                ids.append(tag)
                learn.append(False)
                frames.append(segment.pixels[None] if isinstance(segment, Image) else segment.frames)
        rows.append(ids)
        learns.append(learn)
        pictures.append(frames)
    length, count = max(map(len, rows)), max(map(len, pictures))
    every = [clip for clips in pictures for clip in clips]
    if len({tuple(clip.shape[1:]) for clip in every}) > 1:
        raise ValueError(
            f"pictures of different sizes: {sorted({tuple(c.shape[1:]) for c in every})}: resize them first"
        )
    frames_max = max((len(clip) for clip in every), default=1)
    size = every[0].shape[1:] if every else (3, resolution or 1, resolution or 1)
    media = torch.zeros(len(rows), count, frames_max, *size)
    out = torch.full((len(rows), length), tokenizer.pad_token_id)
    attention, loss = torch.zeros(2, len(rows), length, dtype=torch.bool)
    for b, (ids, learn, clips) in enumerate(zip(rows, learns, pictures, strict=True)):
        where = slice(length - len(ids), length) if side == "left" else slice(0, len(ids))
        out[b, where] = torch.tensor(ids)
        attention[b, where] = True
        loss[b, where] = torch.tensor(learn)
        for n, clip in enumerate(clips):
            media[b, n, : len(clip)] = clip
            media[b, n, len(clip) :] = clip[-1]  # a shorter video holds its last frame
    present = torch.arange(count) < torch.tensor([len(c) for c in pictures])[:, None]
    return Batch(out, attention, loss, media, present)


def left_padded(batch: Batch) -> Batch:
    """The same documents with their padding moved to the left, so that all end together and can be continued."""
    order = batch.attention_mask.to(torch.uint8).argsort(dim=1, stable=True)  # padding first, tokens in their order
    ids, real, loss = (x.gather(1, order) for x in (batch.ids, batch.attention_mask, batch.loss_mask))
    return replace(batch, ids=ids, attention_mask=real, loss_mask=loss)

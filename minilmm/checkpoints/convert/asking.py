"""A converted model is asked in its own words: its tokenizer, its family's prompts, its pictures' preparation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from minilmm.checkpoints import reader
from minilmm.checkpoints.convert.folders import BESIDE, read_json, tokenizer_of
from minilmm.checkpoints.convert.models import IDEFICS, KINDS, STAGE_1, their_config
from minilmm.checkpoints.saving import CheckpointError, find, read_card
from minilmm.interface.document import Batch
from minilmm.interface.tokenizer import EOC, IMAGE

AROUND = "<fake_token_around_image>"  # IDEFICS' prompts have it on both sides of a picture


class Reader(reader.Reader):
    """The reader of a converted model, whose pictures are stretched to squares of `resolution` pixels.

    CheckpointError where the run was not converted, says nothing, or came without a tokenizer.
    """

    def __init__(self, run: str):
        card, folder = read_card(run), find(run) / BESIDE
        config, self.kind = card["config"], card["kind"]
        if self.kind not in KINDS.values():
            raise CheckpointError(f"{run}: a {self.kind} run, not a converted one")
        if self.kind == KINDS[STAGE_1]:
            raise CheckpointError(f"{run}: a retrieval model writes no text: convert a BLIP-2 that generates")
        self.tokenizer = tokenizer_of(folder)
        if self.tokenizer is None:
            remedy = "put the tokenizer's files beside the weights, and convert again"
            raise CheckpointError(f"{run}: its checkpoint came without a tokenizer: {remedy}")
        c = their_config(config["theirs"])
        self.image_id, self.resolution = config["image_id"], c.vision_config.image_size
        ends = getattr(c, "text_config", c).eos_token_id
        if (folder / "generation_config.json").is_file():
            ends = read_json(folder / "generation_config.json").get("eos_token_id", ends)
        ends = ends if ends not in (None, []) else self.tokenizer.eos_token_id
        self.stop = tuple(end for end in (ends if isinstance(ends, list) else [ends]) if end is not None)

    def batch(self, prompt: str, pictures: Sequence[Tensor]) -> Batch:
        """One prompt with an `<image>` for each picture (3, R, R) -> a batch of one document.

        ValueError where BLIP-2's pictures do not stand in front.
        """
        ids = torch.tensor([self.idefics(prompt) if self.kind == KINDS[IDEFICS] else self.blip2(prompt)])
        # Without a picture IDEFICS sees one that is absent, so that its gated feed-forwards run.
        pixels = torch.stack([*pictures] or [torch.zeros(3, self.resolution, self.resolution)])
        there = torch.full((1, len(pixels)), bool(pictures))
        real = torch.ones_like(ids, dtype=torch.bool)
        return Batch(ids, real, ids != self.image_id, pixels[None, :, None], there)

    def blip2(self, prompt: str) -> list[int]:
        """Pictures first, then the text with what its tokenizer adds: a start token stands behind the picture."""
        *before, text = prompt.split(IMAGE)
        if any(part.strip() for part in before):
            raise ValueError(f"BLIP-2 reads pictures in front of the text: put {IMAGE} first")
        return [self.image_id] * len(before) + list(self.tokenizer(text.strip())["input_ids"])

    def idefics(self, prompt: str) -> list[int]:
        """`<s>`, then text and pictures as they stand, each picture between two marks that neighbours share."""
        text, *rest = (part.strip(" ") for part in prompt.split(IMAGE))
        text += "".join(f"{AROUND}{IMAGE}{AROUND}{part}" for part in rest).replace(AROUND * 2, AROUND)
        start = self.tokenizer.bos_token_id
        return [start] * (start is not None) + list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode(self, answer: str, end: str = EOC) -> list[int]:
        """An answer that may follow a prompt, and the first token that ends one, as ids."""
        return [*self.tokenizer(f" {answer}", add_special_tokens=False)["input_ids"], self.stop[0]]

    def decode(self, ids: Tensor) -> str:
        """An answer (L,), up to its end, without special tokens."""
        return self.tokenizer.decode(self.until_stop(ids), skip_special_tokens=True).strip()

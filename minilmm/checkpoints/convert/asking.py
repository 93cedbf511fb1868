"""A converted model is asked in its own words: its tokenizer, its family's prompts, its pictures' preparation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minilmm.checkpoints.convert import BESIDE, KINDS, models, read_json, tokenizer_of
from minilmm.checkpoints.saving import CheckpointError, find, read_card
from minilmm.data.pictures import load_stretched
from minilmm.interface.document import Batch
from minilmm.interface.tokenizer import IMAGE

AROUND = "<fake_token_around_image>"  # IDEFICS' prompts have it on both sides of a picture


class Reader:
    """What stands around a converted model: prompts to batches, answers to text; `stop` are the ids that end one.

    CheckpointError where the run was not converted, says nothing, or came without a tokenizer.
    """

    def __init__(self, run: str):
        card, folder = read_card(run), find(run) / BESIDE
        if card["kind"] not in KINDS.values():
            raise CheckpointError(f"{run}: a {card['kind']} run, not a converted one")
        if card["kind"] == KINDS["Blip2ForImageTextRetrieval"]:
            raise CheckpointError(f"{run}: a retrieval model says nothing: convert a BLIP-2 that generates")
        self.config, self.kind = card["config"], card["kind"]
        self.tokenizer: Any = tokenizer_of(folder)
        if self.tokenizer is None:
            raise CheckpointError(
                f"{run}: its checkpoint came without a tokenizer: put the tokenizer's files beside the weights, and "
                "convert again"
            )
        c = models.parsed(self.config["theirs"])
        self.resolution: int = c.vision_config.image_size
        ends = getattr(c, "text_config", c).eos_token_id
        if (folder / "generation_config.json").is_file():
            ends = read_json(folder / "generation_config.json", "").get("eos_token_id", ends)
        ends = ends if ends not in (None, []) else self.tokenizer.eos_token_id
        self.stop: tuple[int, ...] = tuple(ends) if isinstance(ends, list) else (ends,)

    def batch(self, prompt: str, paths: Sequence[Path]) -> Batch:
        """One prompt with an `<image>` for each picture -> a batch of one document.

        ValueError where BLIP-2's pictures do not stand in front.
        """
        ids = torch.tensor([self.idefics(prompt) if self.kind == "idefics-converted" else self.blip2(prompt)])
        pixels = [load_stretched(path, self.resolution) for path in paths]
        # Without a picture IDEFICS sees one that is absent, so that its gated feed-forwards run.
        media = torch.stack(pixels or [torch.zeros(3, self.resolution, self.resolution)])[None, :, None]
        real = torch.ones_like(ids, dtype=torch.bool)
        there = torch.full((1, media.shape[1]), bool(paths))
        return Batch(ids, real, real & (ids != self.config["image_id"]), media, there)

    def blip2(self, prompt: str) -> list[int]:
        """Pictures first, then the text with what its tokenizer adds: a start token stands behind the picture."""
        *before, text = prompt.split(IMAGE)
        if any(part.strip() for part in before):
            raise ValueError(f"BLIP-2 reads pictures in front of the text: put {IMAGE} first")
        return [self.config["image_id"]] * len(before) + list(self.tokenizer(text.strip())["input_ids"])

    def idefics(self, prompt: str) -> list[int]:
        """`<s>`, then text and pictures as they stand, each picture between two marks that neighbours share."""
        first, *rest = (part.strip(" ") for part in prompt.split(IMAGE))
        text = first
        for i, part in enumerate(rest):
            shared = i > 0 and not rest[i - 1]
            text += ("" if shared else AROUND) + IMAGE + AROUND + part
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        start = self.tokenizer.bos_token_id
        return ([start] if start is not None else []) + list(ids)

    def text(self, ids: Tensor) -> str:
        """An answer (L,), up to `stop`, without special tokens."""
        row = itertools.takewhile(lambda i: i not in self.stop, ids.tolist())
        return self.tokenizer.decode(list(row), skip_special_tokens=True).strip()

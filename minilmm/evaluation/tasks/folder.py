"""Episodes from a folder of captioned pictures: which of several texts belongs to the query's picture?"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from minilmm.data.folder import BadFolder, read_folder, split_folder
from minilmm.data.named import alike, unlike
from minilmm.data.pictures import load_pixels
from minilmm.evaluation.tasks import Settings
from minilmm.evaluation.tasks.episodes import Episodes, Stored, table
from minilmm.interface.tokenizer import EOC
from minilmm.world.grammar import ABSENT
from minilmm.world.scenes import integers
from minilmm.world.vocabulary import tokenizer


def sampler(path: Path) -> Callable[[int, torch.Generator, Settings], Episodes]:
    """A function that samples episodes from a folder.

    The query is of the test split ("held-out") or of the training split; `shots` pictures of the training split with
    their own texts come first. The candidates are the texts of pictures of the query's split that read differently,
    and each is as often the right one.
    BadFolder: fewer different texts than ways, or fewer pictures than shots.
    """
    for _, text in read_folder(path):
        tokenizer().encode(text)

    @functools.cache
    def sides() -> tuple[list[Path], list[str], Tensor, int]:
        """The files of both splits, their texts, also as ids (N, K), and how many of them are for training."""
        train, test = split_folder(path)
        said = table([f"{text} {EOC}" for _, text in train + test], tokenizer())
        return [file for file, _ in train + test], [text for _, text in train + test], said, len(train)

    @functools.cache
    def pictures(resolution: int) -> Tensor:
        """All of them as bytes, (N, 3, R, R)."""
        return torch.stack([load_pixels(file, resolution) for file in sides()[0]])

    def sample(batch: int, generator: torch.Generator, settings: Settings) -> Episodes:
        device, K, W = generator.device, settings.shots, settings.ways
        _, texts, said, count = sides()
        own = slice(0, count) if settings.split == "train" else slice(count, len(texts))
        group = alike(texts[own]).to(device)
        different = int(group.max()) + 1
        if different < W or count < K + (settings.split == "train"):
            raise BadFolder(
                f"{path}: {different} different texts to ask about and {count} pictures to show: "
                f"too few for {W} ways and {K} shots"
            )
        options, target = unlike(group, W, batch, generator), integers(W, (batch,), generator)
        query = options.gather(1, target[:, None])  # (B, 1)
        free = torch.rand(batch, count, generator=generator, device=device)
        if settings.split == "train":
            free.scatter_(1, query, 2.0)  # no picture in both support and query
        shown = free.argsort(1)[:, :K]
        said = said.to(device)
        blank = torch.full((batch, 1, said.shape[1]), ABSENT, device=device)
        shown_texts, source = torch.cat([said[shown], blank], 1), torch.cat([shown, query + own.start], 1)
        stored = Stored(pictures, torch.arange(len(texts)))
        return Episodes.of(stored, shown_texts, said[own][options], target=target, source=source)

    return sample

"""Questions of easy-vqa: pictures that nobody here drew, questions that nobody here wrote."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from minilmm.data.easy_vqa import KINDS, kind, load, prompt
from minilmm.evaluation.tasks import Settings
from minilmm.evaluation.tasks.episodes import Episodes, Stored, examples, table
from minilmm.world.vocabulary import tokenizer


@functools.cache
def pictures(resolution: int) -> Tensor:
    """Those of the training split, then those of the test split, (N, 3, R, R) bytes."""
    return torch.cat([load(split, resolution).images for split in ("train", "test")])


@functools.cache
def questions() -> tuple[range, range, Tensor, Tensor, Tensor, Tensor]:
    """Which questions are of the training and of the test split; of each its row of `pictures`, prompt (Q, K), answer
    (Q, 1) and kind as numbers.
    """
    train, test = (load(split, 1) for split in ("train", "test"))  # type: ignore[arg-type]
    asked, words = [*train.questions, *test.questions], tokenizer()
    return (
        range(len(train)), range(len(train), len(asked)),
        torch.cat([train.image_index, test.image_index + len(train.images)]), table(list(map(prompt, asked)), words),
        table([*train.answers, *test.answers], words), torch.tensor([KINDS.index(kind(q)) for q in asked]),
    )  # fmt: skip


def sample(batch: int, generator: torch.Generator, settings: Settings) -> Episodes:
    """Few-shot episodes: demonstrations from the training split, the query from the test split (or both from training).

    All 13 answers compete where answers are ranked.
    """
    device = generator.device
    train, test, picture, prompts, answers, kinds = questions()
    sides = [train] * settings.shots + [train if settings.split == "train" else test]
    drawn = [side.start + torch.randint(len(side), (batch,), generator=generator, device=device) for side in sides]
    rows = torch.stack(drawn, 1).flatten().cpu()  # (B m,)
    options = torch.unique(answers[: len(train)]).to(device).expand(batch, -1)
    group = kinds[drawn[-1].cpu()].to(device)
    return examples(Stored(pictures, picture[rows]), prompts[rows].to(device), answers[rows].to(device), batch,
                    options, group, KINDS)  # fmt: skip

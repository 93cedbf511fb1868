"""What every few-shot task is made of: pictures, the text after each, an answer, and what a guesser could know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from minilmm.evaluation.tasks import SPLITS, Settings, Task
from minilmm.interface.tokenizer import EOC, Tokenizer
from minilmm.world.grammar import ABSENT, compact, describe, join, same_width
from minilmm.world.painted import Painted, paint
from minilmm.world.scenes import Scenes
from minilmm.world.vocabulary import TEST_NAMES, TRAIN_NAMES, held_out, ids


@dataclass(frozen=True)
class Stored:
    """Pictures of files: rows (M,) of what `load(resolution)` gives, (N, 3, R, R) bytes."""

    load: Callable[[int], Tensor]
    rows: Tensor


Pictures = Painted | Stored | Tensor


@dataclass(frozen=True)
class Episodes:
    """B episodes of n demonstrations and a query, as ids in which -1 marks absent words.

    pictures      what `source` counts: what is painted, stored pictures, or pixels (M, T, 3, R, R)
    source        (B, n + 1) the place in `pictures` of every picture, the query's last: exact copies share one
    texts         (B, n + 1, K) what follows each picture: whole examples, and the query's up to its answer
    descriptions  (B, n + 1, D) the words that stand for the pictures where a model reads text only
    first         (B, I) a sentence before the demonstrations
    candidates    (B, C, A) all continuations to rank, each with ". <EOC>"; a row may have fewer (all words absent)
    target        (B,) which candidate is right
    group         (B,) what kind of question it is; `kinds` names them
    clue          (B,) what question and demonstrations give away without pictures, the group unless given; the prior is
                  the majority within it
    asked         how many places of `texts` hold what is asked, in front of what is answered
    """

    pictures: Pictures
    source: Tensor
    texts: Tensor
    descriptions: Tensor
    first: Tensor
    candidates: Tensor
    target: Tensor
    group: Tensor
    clue: Tensor
    hypothesis: Tensor
    kinds: tuple[str, ...] = ()
    asked: int = 0

    @classmethod
    def of(
        cls, pictures: Pictures, texts: Tensor, candidates: Tensor, **others: Tensor | tuple[str, ...] | int
    ) -> Episodes:
        """Unless others say otherwise: each picture is shown once, in order, none has a description, there is no first
        sentence and one group, and the first candidate is right.
        """
        nothing, zero = torch.full_like(texts[:, :, :1], ABSENT), torch.zeros_like(texts[:, 0, 0])
        usual = {"source": torch.arange(nothing.numel(), device=texts.device).view(texts.shape[:2]),
                 "descriptions": nothing, "first": nothing[:, 0, :0], "target": zero, "group": zero,
                 "clue": others.get("group", zero), "hypothesis": zero}  # fmt: skip
        return cls(pictures=pictures, texts=texts, candidates=candidates, **usual | others)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, rows: slice) -> Episodes:
        """Some of the episodes, over the same pictures."""
        names = [f.name for f in fields(self) if f.name not in ("pictures", "kinds", "asked")]
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    @property
    def answers(self) -> Tensor:
        """The right continuation with ". <EOC>", (B, A)."""
        return self.candidates[torch.arange(len(self), device=self.target.device), self.target]

    def paint(self, generator: torch.Generator, resolution: int) -> Tensor:
        """All pictures or videos, (B, n + 1, T, 3, R, R) in [0, 1]."""
        pixels = self.pictures
        if isinstance(pixels, Stored):
            shown = pixels.load(resolution)[pixels.rows.cpu()[self.source.cpu()]]
            return shown[:, :, None].to(generator.device).float() / 255
        if isinstance(pixels, Tensor):
            return pixels[self.source]
        return paint(pixels, generator, resolution)[self.source]

    def check(self, settings: Settings, mixed: bool = False) -> None:
        """Assert what a split promises: no query picture among the demonstrations; the mini-world's pairs and names.

        mixed: pairs of both halves are shown on purpose.
        """
        assert not bool((self.source[:, :-1] == self.source[:, -1:]).any()), "the query is among its demonstrations"
        scenes = getattr(self.pictures, "scenes", self.pictures)  # those of stories, or the pictures themselves
        if isinstance(scenes, Scenes) and not mixed:
            out = held_out(scenes.colour, scenes.shape) == (settings.split == "held-out")
            assert bool(out[scenes.present].all()), "a pair of another split"
        if not isinstance(self.pictures, Tensor):
            other = names_of("train" if settings.split == "held-out" else "held-out", self.texts.device)
            assert not bool(torch.isin(self.texts, other).any()), "a name of another split"


def most_common_prior(task: Task, settings: Settings, device: torch.device | str) -> float:
    """How often the most common answer is right, given what question and demonstrations give away without pictures."""
    key = (settings, str(device))
    if key not in task.priors:
        generator = torch.Generator(device).manual_seed(7)
        blocks = [task.sample(500, generator, settings) for _ in range(8)]
        answers = torch.cat(same_width(*(compact(block.answers) for block in blocks)))
        answer, clue = answers.unique(dim=0, return_inverse=True)[1], torch.cat([block.clue for block in blocks])
        task.priors[key] = sum(int(answer[clue == c].bincount().max()) for c in clue.unique()) / len(answer)
    return task.priors[key]


def pairs_of(split: str) -> str:
    """Which colour-shape pairs a split shows; ValueError for an unknown split."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose from {', '.join(SPLITS)}")
    return split


def names_of(split: str, device: torch.device) -> Tensor:
    """The ids of the nonsense names of a split: test names are never bound in training."""
    return ids(*(TRAIN_NAMES if split == "train" else TEST_NAMES)).to(device)


def table(phrases: Sequence[str], tokenizer: Tokenizer) -> Tensor:
    """Phrases as ids, (N, K); -1 marks absent words."""
    rows = [torch.tensor(tokenizer.encode(phrase), dtype=torch.long) for phrase in phrases]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=ABSENT)


def concatenate(*phrases: Tensor) -> Tensor:
    """Phrases (B, m, K) and words that all share (K,) side by side, absent words last: (B, m, K')."""
    B, m, _ = next(p for p in phrases if p.dim() == 3).shape
    device = next(p for p in phrases if p.dim() == 3).device
    whole = torch.cat([p if p.dim() == 3 else p.to(device).expand(B, m, -1) for p in phrases], -1)
    return compact(whole.flatten(0, 1)).view(B, m, -1)


def examples(
    pictures: Scenes | Stored | Tensor, prompt: Tensor, answer: Tensor, batch: int, options: Tensor, group: Tensor,
    kinds: tuple[str, ...] = (),
) -> Episodes:  # fmt: skip
    """Episodes whose demonstrations are whole (picture, prompt, answer) examples: prompt (B m, K), answer (B m, 1).

    options (B, C): the words that may be the last one's answer. group (B,): what its question gives away, and the names
    of the groups.
    """
    texts = join(prompt, answer, ids(".", EOC)).view(batch, len(prompt) // batch, -1)
    texts[:, -1, prompt.shape[1] :] = ABSENT
    candidates, target = one_word(options, answer.view(batch, -1)[:, -1:])
    words = {"descriptions": describe(pictures).view(*texts.shape[:2], -1)} if isinstance(pictures, Scenes) else {}
    return Episodes.of(
        pictures, texts, candidates, target=target, group=group, kinds=kinds, asked=prompt.shape[1], **words
    )


def one_word(options: Tensor, answer: Tensor) -> tuple[Tensor, Tensor]:
    """Continuations (B, C, 3) "word . <EOC>" and which one is the answer's, (B,)."""
    candidates = concatenate(options[..., None], ids(".", EOC)).masked_fill((options == ABSENT)[..., None], ABSENT)
    return candidates, (options == answer).int().argmax(1)

"""Examples of a benchmark, as text: what a picture shows, what is asked, and what a document answers.

A document follows one of several *hypotheses*: a convention, a style, the fact or the line that is meant. Its question
does not say which; only its answers do. So there is something to learn from examples, and since an example knows its
answer under every hypothesis, Bayes' rule says how much (`ideal`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minilmm.interface.tokenizer import EOC
from minilmm.world.grammar import ABSENT, compact, fill_rows, hyphenate, join, known, same_width, when
from minilmm.world.random import coins, integers
from minilmm.world.vocabulary import ids, other_words


@dataclass(frozen=True)
class Examples:
    """B documents of n examples each, N = B n of them, in the order of their documents; -1 marks absent words.

    descriptions  (N, D) the words that stand for each picture where a model reads text only
    prompts       (N, K) what is asked, up to "answer :"; earlier answers in it are marked as `known`
    answers       (N, H, A) what is answered under each of H hypotheses, without ". <EOC>"
    hypothesis    (B,) the one that each document follows
    pictures      what `minilmm.world` draws of them; None where they are told only
    options       (B, C, A) what the last example's answer may be, the same in each order
    kind          (N,) what the question gives away; `kinds` names them
    sentences     a first sentence per hypothesis that gives it away; "" where there is none
    """

    descriptions: Tensor
    prompts: Tensor
    answers: Tensor
    hypothesis: Tensor
    pictures: Any = None
    options: Tensor | None = None
    kind: Tensor | None = None
    kinds: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()

    @property
    def each(self) -> int:
        """How many examples a document has."""
        return len(self.answers) // len(self.hypothesis)

    @property
    def answer(self) -> Tensor:
        """What is answered, (N, A)."""
        rows = torch.arange(len(self.answers), device=self.hypothesis.device)
        return self.answers[rows, self.hypothesis.repeat_interleave(self.each)]

    def first(self, here: Tensor) -> Tensor:
        """The sentence that gives each document's hypothesis away, where `here` (B,) holds: (B, I)."""
        said = [when(here & (self.hypothesis == h), sentence) for h, sentence in enumerate(self.sentences) if sentence]
        return compact(join(*said)) if said else self.prompts.new_empty(len(self.hypothesis), 0)


Ask = Callable[[int, int, torch.Generator, str], Examples]  # (documents, examples of each, generator, split)


def stacked(*phrases: Tensor) -> Tensor:
    """Phrases (N, K) of several lengths, one per hypothesis or option: (N, H, K)."""
    return torch.stack(same_width(*phrases), 1)


SENTENCES = ("answer with two , yes and large .", "answer with 2 , true and big .")


def by_convention(answer: Tensor) -> Tensor:
    """Answers (N, A) by both conventions: (N, 2, A)."""
    other = other_words().to(answer.device)[answer.clamp(min=0)]
    return torch.stack([answer, torch.where(answer == ABSENT, ABSENT, other)], 1)


def in_turn(turns: list[tuple[Tensor, Tensor]], hypothesis: Tensor) -> tuple[Tensor, Tensor]:
    """Several questions about one picture, each (prompts (N, K), answers (N, H, A)): the last one's prompts, with those
    before it answered by the hypotheses (B,) of their documents in front, and its answers.
    """
    row = torch.arange(len(turns[0][0]), device=hypothesis.device)
    followed = hypothesis.repeat_interleave(len(row) // len(hypothesis))
    before = [part for prompts, answers in turns[:-1]
              for part in (prompts, known(answers[row, followed]), known(f". {EOC}"))]  # fmt: skip
    return compact(join(*before, turns[-1][0])), turns[-1][1]


def drawn(rows: int, hypotheses: int, generator: torch.Generator) -> Tensor:
    """A hypothesis for each document, (B,)."""
    return integers(hypotheses, (rows,), generator)


def words_of(phrases: list[str], device: torch.device) -> Tensor:
    """Phrases as ids, (C, A)."""
    rows = [ids(*phrase.split()) for phrase in phrases]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=ABSENT).to(device)


def documents(ask: Ask, words: int, compounds: float = 0.0) -> Callable[[int, int, torch.Generator, str], Tensor]:
    """A kind of document for the corpus: examples of about so many words each, in rows (B, L) with marks.

    Where a first sentence can give the hypothesis away, two documents in five have it. compounds: the share of the
    documents whose descriptions have compounds (`hyphenate`), for descriptions whose order says nothing.
    """

    def write(rows: int, length: int, generator: torch.Generator, pairs: str) -> Tensor:
        found = ask(rows, length // words + 1, generator, pairs)
        described = hyphenate(found.descriptions, rows, generator, share=compounds)
        text = join(described, found.prompts, known(found.answer), known(f". {EOC}"))
        return fill_rows(text, rows, length, before=found.first(coins((rows,), generator, 0.4)))

    return write


def posterior(examples: Examples) -> Tensor:
    """How probable each hypothesis is before each document's last example: (B, H), float64.

    All are equally probable before the first; those remain under which every answer would have been the same.
    """
    right = (examples.answers == examples.answer[:, None]).all(-1).view(len(examples.hypothesis), examples.each, -1)
    fits = right[:, :-1].all(1).double()
    return fits / fits.sum(1, keepdim=True)


def ideal(ask: Ask, shots: int, episodes: int = 4000) -> float:
    """The expected accuracy of the ideal observer: it gives the most probable answer, by `posterior`."""
    examples = ask(episodes, shots + 1, torch.Generator().manual_seed(0), "train")
    last = examples.answers.unflatten(0, (episodes, -1))[:, -1]  # (B, H, A)
    same = (last[:, :, None] == last[:, None]).all(-1).double()  # (B, H, H)
    mass = (same @ posterior(examples)[..., None])[..., 0]  # of each hypothesis' answer
    return float(mass.amax(1).mean())


def ideal_auc(ask: Ask, shots: int, episodes: int = 4000) -> float:
    """The area under the ROC curve of the ideal observer's probability of the second option, of two."""
    examples = ask(episodes, shots + 1, torch.Generator().manual_seed(0), "train")
    assert examples.options is not None
    second = examples.options[:, None, 1]  # (B, 1, A)
    last = examples.answers.unflatten(0, (episodes, -1))[:, -1]  # (B, H, A)
    score = ((last == second).all(-1) * posterior(examples)).sum(1)
    label = (examples.answer.unflatten(0, (episodes, -1))[:, -1] == second[:, 0]).all(-1)
    ranks = (score[label][:, None] > score[~label]).double() + 0.5 * (score[label][:, None] == score[~label])
    return float(ranks.mean())

"""What `minilmm show` has of tasks and of the text corpus: an episode of each task, documents of each kind."""

from __future__ import annotations

import textwrap
import zlib
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from minilmm import plots
from minilmm.evaluation.prompts import prompts
from minilmm.evaluation.tasks import TASKS, Settings, Task
from minilmm.evaluation.tasks.episodes import Episodes
from minilmm.interface.tokenizer import EOC, SPECIALS
from minilmm.world.corpus import LATER, MIXTURE
from minilmm.world.grammar import ABSENT, KNOWN
from minilmm.world.vocabulary import HYPHEN, tokenizer

from .common import writable_folder
from .console import out_console, save_figure, say, tell

ROWS, LENGTH = 3, 60  # documents of each kind, and their words
PAGE = """# The text that the language model reads

Three documents of each kind of the corpus (`minilmm/world/corpus.py`), cut after {length} words. **Bold** words count
fully in the loss: they can be known from what stands before them. All other words count little. A description stands
where a model with eyes sees a picture, and hyphens join words that are read as one
([world.md](world.md#the-text-corpus)). `minilmm show text --out docs` writes this page; it is always the same.

Later stages (`pretrain lm --preset more --start RUN`, then `--preset last`) read what takes longest to learn more,
and in parts: in half of the documents "what shape is the dax ?" stands before a question about the dax, and "same
color : yes" before the label of a meme. The documents below are the second stage's.

| kind | share of the rows | in a second stage | what it is |
|---|--:|--:|---|
{table}
{documents}"""
KINDS = {
    "lists": "a sequence of random words, said again and again",
    "bindings": "examples of names that hold in this document only, for a thing or for one of its attributes",
    "classes": "the same for up to sixteen classes that resemble each other",
    "captions": "a description, then a caption that means the same",
    "questions": "a description, then several questions about it; two documents in five say their convention first",
    "skills": "the same with one kind of question per scene, of those that take longest to learn",
    "fast": "two shapes get names, then questions use the names",
    "facts": "what no picture shows: where shapes come from, what colours are made of, how textures sound",
    "named videos": "videos of two events, with a name for each pair of verbs",
    "asked": "examples of the task `vqa`: questions of all kinds, a new scene for each",
    "counting": "examples of the task `counting`",
    "induction": "examples of `induction-vqa`: what is it? One attribute is meant throughout",
    "knowledge": "examples of `knowledge`: one of three facts is meant throughout",
    "photographs": "examples of `photographs`: what a bad photograph hides is unanswerable",
    "dialogues": "examples of `dialogue`: the last question needs the turns before it",
    "memes": "examples of `memes`: good or bad depends on picture and text together",
    "objects": "examples of `hallucination`: is such an object there?",
    "styles": "examples of `caption`: captions in one style throughout",
    "video questions": "examples of `video-vqa`: who does what",
    "temporal": "examples of `temporal`: what happens before, what after, and why",
    "actions": "examples of `rare-actions`, without the rare pairs of verb and shape",
    "video captions": "examples of `video-caption`, in one style throughout",
    "steps": "examples of `steps`: what is done step by step, in one style throughout",
    "signs": "examples of `reading`: one of two lines of a sign is meant throughout",
    "tables": "examples of `tables`: which number stands where",
    "panels": "examples of `panels`: which of three is odd, and what one shows",
    "boxes": "examples of `boxes`: where things are, in numbers of one order throughout",
    "instructions": "an instruction, and what it asks for; no task has them",
    "compared": "a description, then several times which of two objects is larger, behind their sizes in half of them",
}


def words_of(phrase: Tensor) -> str:
    """A phrase (L,) as text."""
    return tokenizer().decode([i for i in phrase.tolist() if i != ABSENT])


def episode(task: Task, seed: int) -> tuple[Episodes, torch.Generator]:
    """An episode of two examples, or one per class, and the generator that drew it."""
    generator = torch.Generator().manual_seed(zlib.crc32(task.name.encode()) + seed)
    return task.sample(1, generator, Settings(shots=1 if task.per_class else 2)), generator


def tasks(out: Path, seed: int) -> None:
    """One episode of every task: in words, as a language model reads it, and in tasks.png as other models see it."""
    writable_folder(out)
    heads, captions, pictures = [], [], []
    for task in TASKS.values():
        if task.name == "easy-vqa":  # whose pictures another package brings
            continue
        shown, generator = episode(task, seed)
        if task.described:
            tell_episode(task, words_of(prompts(shown, None, "real", generator).ids[0]), words_of(shown.answers[0]))
        pictures.append(tiled(shown.paint(generator, 48)[0]))
        said = [words_of(text).removesuffix(f" {EOC}") for text in shown.texts[0]]
        said[-1] = f"{said[-1]} -> {words_of(shown.answers[0]).removesuffix(f' . {EOC}')}".strip()
        heads += [task.name, *[""] * (len(said) - 1)]
        captions += said
    figure = plots.picture_grid(torch.cat(pictures), captions, heads=heads)
    save_figure(figure, out / "tasks.png", "two examples and a query of each task; of a video, all frames")


def tiled(media: Tensor) -> Tensor:
    """Pictures (n, 1, 3, R, R), each of their pixels three wide; of videos (n, 9, ...) the frames side by side."""
    if media.shape[1] == 1:
        return media[:, 0].repeat_interleave(3, -1).repeat_interleave(3, -2)
    return media.unflatten(1, (3, 3)).permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def tell_episode(task: Task, prompt: str, answer: str) -> None:
    """A task's name and benchmark, a prompt with a line per example, and the right answer."""
    stands = f"  stands for {task.benchmark}" if task.benchmark else ""
    out_console().print(f"[bold]{task.name}[/]{stands}")
    for line in prompt.replace(f"{EOC} ", f"{EOC}\n").splitlines():
        tell(line, 2)
    tell(f"-> {answer}", 2, "bold")


def text(out: Path) -> None:
    """text.md: documents of every kind of the corpus."""
    writable_folder(out)
    (out / "text.md").write_text(text_page(), encoding="utf-8")
    say(f"{out / 'text.md'}: {ROWS} documents of each kind of text")


def text_page() -> str:
    """The page of `text`: it depends on nothing but the corpus."""
    rows, documents = [], []
    for name, (kind, later) in LATER.items():
        first = f"{100 * MIXTURE[name][1]:.1f} %" if name in MIXTURE else ""
        rows.append(f"| [{name}](#{name.replace(' ', '-')}) | {first} | {100 * later:.1f} % | {KINDS[name]} |")
        documents.append(f"\n## {name}\n")
        marked = kind(ROWS, LENGTH, torch.Generator().manual_seed(0), "all")
        documents += [textwrap.fill(in_bold(row), 118, initial_indent="- ", subsequent_indent="  ",
                                    break_on_hyphens=False) for row in marked]  # fmt: skip
    return PAGE.format(length=LENGTH, table="\n".join(rows), documents="\n".join(documents)) + "\n"


def in_bold(marked: Tensor) -> str:
    """A document (L,) as Markdown, its marked words (`known`) bold."""
    parts = []
    for bold, group in groupby(marked[marked != 0].tolist(), key=lambda i: i >= KNOWN):
        said = tokenizer().decode([i % KNOWN for i in group])
        parts.append(f"**{said}**" if bold else said)
    text = " ".join(parts).replace(f" {HYPHEN} ", HYPHEN).removesuffix(f" {HYPHEN}")
    for special in SPECIALS:
        text = text.replace(special, f"\\{special}")
    return text

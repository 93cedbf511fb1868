"""`minilmm chat`: a question per line; what was said so far stays in the prompt, so "it" is what was talked of."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .ask import TAG, Asked, Run, Tokens, check_size, open_asked
from .common import Device, describe, device_named
from .names import chosen, known_run

if TYPE_CHECKING:
    from torch import Tensor

HINT = "A question per line. /image FILE adds a picture, /again begins anew, /quit ends."
COMMANDS = ("/image", "/again", "/quit")


def chat(
    run: Run,
    image: Annotated[list[Path] | None, typer.Option("--image", help="A PNG or JPEG; there may be several.")] = None,
    max_tokens: Tokens = 24,
    device: Device = "auto",
) -> None:
    """Talk about pictures: a question per line; /image FILE adds a picture, /again begins anew, /quit ends."""
    check_size(len(image or []), 0, "words")
    known_run(run)
    first = Talk(open_asked(run, device_named(device)))
    for path in image or []:
        first = first.with_picture(path)
    talk, terminal = first, sys.stdin.isatty()
    if terminal:
        typer.echo(HINT)
    for line in lines("> " if terminal else ""):
        word, _, rest = line.strip().partition(" ")
        if word == "/quit":
            return
        answer = None
        try:
            if word == "/image" and not rest:
                raise ValueError("/image: no file: name one, as /image b.png")
            if word == "/image":
                talk = talk.with_picture(Path(rest.strip()))
            elif word.startswith("/"):
                talk = first if chosen(word, COMMANDS, "the command") == "/again" else talk
            elif word or talk.said.endswith(TAG):  # an empty line asks of a picture that nothing was said about
                talk, answer = talk.go_on(line, max_tokens)
        except (ValueError, OSError) as error:
            typer.echo(" ".join(describe(error)[0].split()), err=True)
        if answer is not None:
            typer.echo(" ".join(answer.split()))  # a line, whatever the model said


def lines(mark: str) -> Iterator[str]:
    """What is typed, line by line, until it ends. mark: stands in front of each line, on a terminal."""
    if mark:
        with contextlib.suppress(ImportError):  # on Windows; elsewhere it lets a line be edited
            import readline  # noqa: F401
    try:
        while True:
            yield input(mark)
    except (EOFError, KeyboardInterrupt) as error:
        typer.echo("\n" * bool(mark), nl=False)
        if isinstance(error, KeyboardInterrupt):
            raise


def wrapped(line: str) -> str:
    """A line in the words and the form of the corpus: "What color is it?" -> "question : what color is it ? answer :".

    What ends in a colon has its form already, and what "question :" follows stays in front. UnknownWords is raised for
    a word that the mini-world lacks.
    """
    from minilmm.world.vocabulary import tokenizer

    text = tokenizer().decode(tokenizer().encode(line))
    if text.endswith(":"):
        return text
    before, _, asked = text.rstrip(" ?.").rpartition("question : ")
    if asked.startswith(("describe ", "tell ")):
        return f"{before}instruction : {asked} . answer :"
    return f"{before}question : {asked} ? answer :"


@dataclass(frozen=True)
class Talk:
    """What was said so far, with an `<image>` for each of its pictures (3, R, R)."""

    asked: Asked
    said: str = ""
    pictures: tuple[Tensor, ...] = ()

    @property
    def gap(self) -> str:
        """What stands between what was said and what follows."""
        return "" if not self.said or self.said.endswith("<EOC>") else " "

    def with_picture(self, path: Path) -> Talk:
        """Goes on with a picture. ValueError where it cannot be read, or the model takes none here."""
        end = " <EOC>" if self.asked.words and self.said and not self.said.endswith(TAG) else ""  # as on a page
        talk = replace(self, said=f"{self.said}{end}{self.gap}{TAG}", pictures=(*self.pictures, self.asked.look(path)))
        self.asked.read(talk.said, talk.pictures)
        return talk

    def go_on(self, line: str, max_tokens: int) -> tuple[Talk, str]:
        """Asks: the talk with question and answer, and the answer. ValueError where the model cannot be asked that."""
        asked, text = self.asked, wrapped(line) if self.asked.words and line.strip() else line
        if TAG in text:
            raise ValueError(f"{TAG} in a line: show a picture by a line of its own: /image FILE")
        said = f"{self.said}{self.gap}{text}" if line.strip() else self.said.removesuffix(TAG) + asked.bare
        answer = asked.answer(asked.read(said, self.pictures), max_tokens)
        if asked.words:  # where dialogues go on, so may the model, and ask itself
            answer = answer.partition(" question :")[0]
        kept = answer.replace(TAG, "")  # which a model may say, but shows no picture
        if asked.words or asked.form:
            kept = kept.removesuffix(".").strip() + (asked.form.end if asked.form else " .")
        return replace(self, said=f"{said} {kept}"), answer

"""`minilmm ask`: any pictures, interleaved with words; the model goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import LONGEST_PROMPT, MOST_PICTURES, Device, device_named
from .console import new_table, out_console, share
from .names import known_run

if TYPE_CHECKING:
    from torch import Tensor

    from minilmm.checkpoints.reader import Reader
    from minilmm.data.named import Form
    from minilmm.interface.document import Batch

TAG = "<image>"
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or a shipped checkpoint.")]
Tokens = Annotated[int, typer.Option("--max-tokens", min=1, max=1024, help="The longest answer.")]
Choices = Annotated[str | None, typer.Option(help="Answers to rank, as dax,blicket: how probable is each among them?")]


def ask(
    run: Run,
    image: Annotated[list[Path] | None, typer.Option("--image", help="A PNG or JPEG; once for each <image>.")] = None,
    prompt: Annotated[str, typer.Option("--prompt", help='As "<image> dax . <EOC> <image>".')] = "",
    choices: Choices = None,
    max_tokens: Tokens = 24,
    device: Device = "auto",
) -> None:
    """Go on with a prompt: `minilmm ask RUN --image a.png --prompt "question : what color is the shape ? answer :"`."""
    paths = image or []
    if len(paths) == 1 and TAG not in prompt:
        prompt = f"{TAG} {prompt}"
    if prompt.count(TAG) != len(paths):
        raise ValueError(f"{prompt.count(TAG)} {TAG} tags but {len(paths)} pictures: give each tag one --image")
    if not prompt.strip():
        raise ValueError("no prompt and no picture: give --prompt, --image, or both")
    check_size(len(paths), len(prompt.split()), "words")
    answers = [" ".join(word.split()) for word in choices.split(",")] if choices is not None else []
    if choices is not None and (len(set(answers)) < 2 or len(set(answers)) < len(answers) or "" in answers):
        raise ValueError(f"--choices {choices[:40]!r}: give two or more different answers, such as dax,blicket")
    known_run(run)
    asked = open_asked(run, device_named(device), prompt)
    prompt = asked.bare if prompt.strip() == TAG else prompt
    batch = asked.read(prompt, [asked.look(path) for path in paths])
    if not answers:
        typer.echo(asked.answer(batch, max_tokens))
        return
    import torch
    from torch.nn.utils.rnn import pad_sequence

    end = {"end": asked.form.end} if asked.form else {}
    rows = [torch.tensor(asked.reader.encode(answer, **end), device=asked.device) for answer in answers]
    masks = [torch.ones_like(row, dtype=torch.bool) for row in rows]
    ids, mask = (pad_sequence(some, batch_first=True)[None] for some in (rows, masks))  # (1, C, K)
    shares = asked.model.score(batch, ids, mask).float().softmax(-1)[0].tolist()
    view = new_table("answer", "probability among these")
    for answer, probability in sorted(zip(answers, shares, strict=True), key=lambda pair: -pair[1]):
        view.add_row(answer, share(probability))
    out_console().print(view)


def check_size(pictures: int, length: int, unit: str) -> None:
    """ValueError where a prompt has more pictures, or words or tokens, than any may have."""
    if pictures > MOST_PICTURES or length > LONGEST_PROMPT:
        given = f"{pictures} pictures and {length} {unit}"
        raise ValueError(f"{given}: a prompt has at most {MOST_PICTURES} and {LONGEST_PROMPT}: begin anew with less")


@dataclass(frozen=True)
class Asked:
    """A run that answers prompts, and what stands around its model.

    words: does it speak the mini-world's words? form: how a picture and its name stand in the text of a bridge between
    real models; None of others.
    """

    run: str
    model: Any
    reader: Reader
    device: str
    words: bool
    form: Form | None

    @property
    def bare(self) -> str:
        """What asks of a picture without words; a bridge between real models knows "Picture:<image> Name:"."""
        return f"{self.form.before}{TAG}{self.form.after}" if self.form else TAG

    def look(self, path: Path) -> Tensor:
        """A picture (3, R, R) as the model takes it. ValueError where it takes none."""
        from minilmm.data.pictures import load_picture, load_stretched

        if not self.model.sees:
            raise ValueError(f"{self.run}: reads text only: leave --image out, or choose a run with a vision encoder")
        read = load_picture if self.words or self.form else load_stretched
        return read(path, self.model.config.vision.resolution)

    def read(self, prompt: str, pictures: Sequence[Tensor]) -> Batch:
        """A prompt with an `<image>` for each picture as a batch of one. ValueError where it is too long."""
        batch = self.reader.batch(prompt, pictures)
        check_size(len(pictures), batch.ids.shape[1], "tokens")
        return batch.to(self.device)

    def answer(self, batch: Batch, max_tokens: int) -> str:
        """What the model goes on with, up to its end."""
        return self.reader.decode(self.model.generate(batch, max_tokens, self.reader.stop)[0])


def open_asked(run: str, device: str, prompt: str = "") -> Asked:
    """A run that is to be asked. ValueError where it writes no text.

    UnknownWords for a word of the prompt that the mini-world lacks, before anything is loaded.
    """
    from minilmm.checkpoints.opening import open_run
    from minilmm.checkpoints.saving import REAL, read_card
    from minilmm.training.named import form_of
    from minilmm.world.vocabulary import tokenizer

    kind = read_card(run)["kind"]
    real = kind.startswith(REAL)
    words = not real and not kind.endswith("-converted")
    if words:
        tokenizer().encode(prompt)
    opened = open_run(run, device)
    if not hasattr(opened.model, "generate"):
        raise ValueError(f"{run}: a {kind} run cannot generate text: name a language model or a bridge")
    form = form_of(opened.card["config"]["data"]) if real else None
    return Asked(run, opened.model, opened.reader, device, words, form)

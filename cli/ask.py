"""`minilmm ask`: any pictures, interleaved with words; the model goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import LONGEST_PROMPT, MOST_PICTURES, Device, device_named
from .console import new_table, out_console, share
from .names import known_run

if TYPE_CHECKING:
    from minilmm.checkpoints.reader import Reader
    from minilmm.interface.document import Batch
    from minilmm.interface.model import MultimodalLM

Choices = Annotated[str | None, typer.Option(help="Answers to rank, as dax,blicket: how probable is each among them?")]


def ask(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or a shipped checkpoint.")],
    image: Annotated[list[Path] | None, typer.Option("--image", help="A PNG or JPEG; once for each <image>.")] = None,
    prompt: Annotated[str, typer.Option("--prompt", help='As "<image> dax . <EOC> <image>".')] = "",
    choices: Choices = None,
    max_tokens: Annotated[int, typer.Option(min=1, max=1024, help="The longest answer.")] = 24,
    device: Device = "auto",
) -> None:
    """Go on with a prompt: `minilmm ask RUN --image a.png --prompt "question : what color is the shape ? answer :"`."""
    paths, tag = image or [], "<image>"
    if len(paths) == 1 and tag not in prompt:
        prompt = f"{tag} {prompt}"
    if prompt.count(tag) != len(paths):
        raise ValueError(f"{prompt.count(tag)} {tag} tags but {len(paths)} pictures: give each tag one --image")
    if not prompt.strip():
        raise ValueError("no prompt and no picture: give --prompt, --image, or both")
    if len(paths) > MOST_PICTURES or len(prompt.split()) > LONGEST_PROMPT:
        given = f"{len(paths)} pictures and {len(prompt.split())} words"
        raise ValueError(f"{given}: a prompt has at most {MOST_PICTURES} and {LONGEST_PROMPT}")
    answers = [" ".join(word.split()) for word in choices.split(",")] if choices is not None else []
    if choices is not None and (len(set(answers)) < 2 or len(set(answers)) < len(answers) or "" in answers):
        raise ValueError(f"--choices {choices[:40]!r}: give two or more different answers, such as dax,blicket")
    known_run(run)
    where = device_named(device)
    model, reader, batch, end = read_prompt(run, prompt, paths, where)
    if batch.ids.shape[1] > LONGEST_PROMPT:
        raise ValueError(f"a prompt of {batch.ids.shape[1]} tokens: at most {LONGEST_PROMPT}")
    if not answers:
        typer.echo(reader.decode(model.generate(batch.to(where), max_tokens, reader.stop)[0]))
        return
    import torch
    from torch.nn.utils.rnn import pad_sequence

    rows = [torch.tensor(reader.encode(answer, **end), device=where) for answer in answers]
    masks = [torch.ones_like(row, dtype=torch.bool) for row in rows]
    ids, mask = (pad_sequence(some, batch_first=True)[None] for some in (rows, masks))  # (1, C, K)
    shares = model.score(batch.to(where), ids, mask).float().softmax(-1)[0].tolist()
    view = new_table("answer", "probability among these")
    for answer, probability in sorted(zip(answers, shares, strict=True), key=lambda pair: -pair[1]):
        view.add_row(answer, share(probability))
    out_console().print(view)


def read_prompt(run: str, prompt: str, paths: list[Path], device: str) -> tuple[MultimodalLM, Reader, Batch, dict]:
    """A run's model, what stands around it, the prompt as a batch, and what ends an answer where it is its own.

    A bridge between real models that is asked nothing in words is asked as it was trained: "Picture:<image> Name:".
    """
    from minilmm.checkpoints.opening import open_run
    from minilmm.checkpoints.saving import REAL, read_card
    from minilmm.data.pictures import load_picture, load_stretched
    from minilmm.training.named import form_of
    from minilmm.world.vocabulary import tokenizer

    kind = read_card(run)["kind"]
    real, converted = kind.startswith(REAL), kind.endswith("-converted")
    if not real and not converted:
        tokenizer().encode(prompt)  # unknown words are refused before anything is loaded
    opened = open_run(run, device)
    model, card, reader = opened.model, opened.card, opened.reader
    if not hasattr(model, "generate"):
        raise ValueError(f"{run}: a {kind} run cannot generate text: name a language model or a bridge")
    if paths and not model.sees:
        raise ValueError(f"{run}: reads text only: leave --image out, or choose a run with a vision encoder")
    end = {}
    if real:
        form = form_of(card["config"]["data"])
        end = {"end": form.end}
        prompt = f"{form.before}<image>{form.after}" if prompt.strip() == "<image>" else prompt
    read = load_stretched if converted else load_picture
    pictures = [read(path, model.config.vision.resolution) for path in paths]
    return model, reader, reader.batch(prompt, pictures), end

"""`minilmm ask`: any pictures, interleaved with words; the model goes on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import LONGEST_PROMPT, MOST_PICTURES, Device, device_named, new_table, out_console, share
from .names import known_run

if TYPE_CHECKING:
    from minilmm.interface.document import Batch, Document
    from minilmm.interface.model import MultimodalLM

# A model, the prompt as it reads it, the tokens that end an answer, how answers become ids, and ids text.
Asked = tuple["MultimodalLM", "Batch", tuple[int, ...], Callable[[str], list[int]], Callable[[list[int]], str]]


def ask(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or a shipped checkpoint.")],
    image: Annotated[list[Path] | None, typer.Option("--image", help="A PNG or JPEG; once for each <image>.")] = None,
    prompt: Annotated[str, typer.Option("--prompt", help='As "<image> dax . <EOC> <image>".')] = "",
    choices: Annotated[
        str | None, typer.Option(help="Answers to rank, as dax,blicket: how probable is each among them?")
    ] = None,
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
        raise ValueError("nothing to go on with: give a --prompt, an --image, or both")
    if len(paths) > MOST_PICTURES or len(prompt.split()) > LONGEST_PROMPT:
        given = f"{len(paths)} pictures and {len(prompt.split())} words"
        raise ValueError(f"{given}: a prompt has at most {MOST_PICTURES} and {LONGEST_PROMPT}")
    answers = [" ".join(word.split()) for word in choices.split(",")] if choices is not None else []
    if choices is not None and (len(set(answers)) < 2 or len(set(answers)) < len(answers) or "" in answers):
        raise ValueError(f"--choices {choices[:40]!r}: give two or more different answers, such as dax,blicket")
    known_run(run)
    where = device_named(device)
    from minilmm.checkpoints.saving import REAL, read_card

    kind = read_card(run)["kind"]
    read = read_converted if kind.endswith("-converted") else read_own
    model, batch, stop, encode, decode = read(run, prompt, paths, where, kind.startswith(REAL))
    if batch.ids.shape[1] > LONGEST_PROMPT:
        raise ValueError(f"a prompt of {batch.ids.shape[1]} tokens: at most {LONGEST_PROMPT}")
    if not answers:
        ids = model.generate(batch.to(where), max_tokens, stop)[0].tolist()
        typer.echo(decode(list(takewhile(lambda i: i not in stop, ids))))
        return
    view = new_table("answer", "probability among these")
    shares = probabilities(model, batch.to(where), [encode(choice) for choice in answers])
    for answer, probability in sorted(zip(answers, shares, strict=True), key=lambda pair: -pair[1]):
        view.add_row(answer, share(probability))
    out_console().print(view)


def probabilities(model: MultimodalLM, batch: Batch, choices: list[list[int]]) -> list[float]:
    """The probability of each continuation among those given, by its summed log-probability; they sum to 1."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    rows = [torch.tensor(choice, device=batch.ids.device) for choice in choices]
    ids = pad_sequence(rows, batch_first=True)[None]  # (1, C, K)
    mask = pad_sequence([torch.ones_like(row, dtype=torch.bool) for row in rows], batch_first=True)[None]
    return model.score(batch, ids, mask).float().softmax(-1)[0].tolist()


def read_converted(run: str, prompt: str, paths: list[Path], device: str, real: bool) -> Asked:
    """A checkpoint of transformers in our modules, asked in the words of its own tokenizer."""
    from minilmm.checkpoints.hub import require_transformers
    from minilmm.checkpoints.opening import load
    from minilmm.data.pictures import load_stretched

    require_transformers()
    from minilmm.checkpoints.convert.asking import Reader

    reader = Reader(run)
    batch = reader.batch(prompt, [load_stretched(path, reader.resolution) for path in paths])
    tokenizer = reader.tokenizer

    def encode(choice: str) -> list[int]:
        return [*tokenizer(f" {choice}", add_special_tokens=False)["input_ids"], reader.stop[0]]

    def decode(ids: list[int]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=True).strip()

    return load(run, device)[0], batch, reader.stop, encode, decode


def read_own(run: str, prompt: str, paths: list[Path], device: str, real: bool) -> Asked:
    """A run of this course, in the words of the mini-world, or of a real language model.

    A real one that is asked nothing in words is asked as it was trained: "Picture:<image> Name:".
    """
    from minilmm.checkpoints.opening import load, open_run
    from minilmm.data.pictures import load_picture
    from minilmm.interface.document import Image, Text, collate
    from minilmm.interface.tokenizer import EOC, IMAGE, Tokenizer
    from minilmm.training.named import form_of
    from minilmm.world.vocabulary import tokenizer as world_tokenizer

    tokenizer: Tokenizer = world_tokenizer()
    model: Any
    before, end = "", f" . {EOC}"  # around an answer
    if real:
        model, tokenizer, card = open_run(run, device)
        form = form_of(card["config"]["data"])
        before, end = " ", form.end
        prompt = f"{form.before}{IMAGE}{form.after}" if prompt.strip() == IMAGE else prompt
    else:
        tokenizer.encode(prompt)  # unknown words are refused before anything is loaded
        model, card = load(run, device)
    if not hasattr(model, "generate"):
        raise ValueError(f"{run}: a {card['kind']} run says nothing: name a language model or a bridge")
    if paths and not model.sees:
        raise ValueError(f"{run}: reads text only: leave --image out, or choose a run that sees")
    first, *others = prompt.split(IMAGE)
    document: Document = [Text(first)]
    for path, text in zip(paths, others, strict=True):
        document += [Image(load_picture(path, model.config.vision.resolution)), Text(text)]
    document = [part for part in document if not isinstance(part, Text) or part.text.strip()]
    return (
        model, collate([document], tokenizer), (tokenizer.convert_tokens_to_ids(EOC),),
        lambda choice: tokenizer.encode(f"{before}{choice}{end}"),
        lambda ids: tokenizer.decode(ids).strip() if real else tokenizer.decode(ids),
    )  # fmt: skip

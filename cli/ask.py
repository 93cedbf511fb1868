"""`minilmm ask`: any pictures, interleaved with words; the model goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .common import Device, device_named


def ask(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or a shipped checkpoint.")],
    image: Annotated[list[Path] | None, typer.Option("--image", help="A PNG or JPEG; once for each <image>.")] = None,
    prompt: Annotated[str, typer.Option("--prompt", help='As "<image> dax . <EOC> <image>".')] = "",
    max_tokens: Annotated[int, typer.Option(min=1, help="The longest answer.")] = 24,
    device: Device = "auto",
) -> None:
    """Go on with a prompt: `minilmm ask RUN --image a.png --prompt "question : what color is the shape ? answer :"`."""
    from minilmm.tokenizer import IMAGE
    from minilmm.training.checkpoint import REAL, read_card

    paths, where = image or [], device_named(device)
    if len(paths) == 1 and IMAGE not in prompt:
        prompt = f"{IMAGE} {prompt}"
    if prompt.count(IMAGE) != len(paths):
        raise ValueError(f"{prompt.count(IMAGE)} {IMAGE} tags but {len(paths)} pictures: give each tag one --image")
    if not prompt.strip():
        raise ValueError("nothing to go on with: give a --prompt, an --image, or both")
    kind = read_card(run)["kind"]
    if kind.endswith("-converted"):
        typer.echo(converted(run, prompt, paths, max_tokens, where))
    else:
        typer.echo(ours(run, prompt, paths, max_tokens, where, kind.startswith(REAL)))


def converted(run: str, prompt: str, paths: list[Path], max_tokens: int, device: str) -> str:
    """The answer of a checkpoint of transformers in our modules, in the words of its own tokenizer."""
    from minilmm.convert import transformers
    from minilmm.convert.asking import Reader
    from minilmm.training.checkpoint import load

    transformers.logging.set_verbosity_error()
    reader = Reader(run)
    batch = reader.batch(prompt, paths)
    model, _ = load(run, device)
    return reader.text(model.generate(batch.to(device), max_tokens, reader.stop)[0])


def ours(run: str, prompt: str, paths: list[Path], max_tokens: int, device: str, real: bool) -> str:
    """The answer of a run of this course, in the words of the mini-world, or of a real language model.

    Without words of one's own the real one is asked as it was trained: "Picture:<image> Name:".
    """
    from minilmm.data.pictures import load_picture
    from minilmm.document import Document, Image, Text, collate
    from minilmm.tokenizer import EOC, IMAGE, Tokenizer
    from minilmm.training.checkpoint import load
    from minilmm.training.real import form_of, open_run
    from minilmm.world.vocabulary import tokenizer

    words: Tokenizer = tokenizer()
    model: Any
    if real:
        model, words, card = open_run(run, device)
        form = form_of(card["config"]["data"])
        prompt = f"{form.before}{IMAGE}{form.after}" if prompt.strip() == IMAGE else prompt
    else:
        words.encode(prompt)  # unknown words are refused before anything is loaded
        model, card = load(run, device)
    if not hasattr(model, "generate"):
        raise ValueError(f"{run}: a {card['kind']} run says nothing: name a language model or a bridge")
    if paths and not model.sees:
        raise ValueError(f"{run}: reads text only: leave --image out, or choose a run that sees")
    pictures = [load_picture(path, model.config.vision.resolution) for path in paths]
    document: Document = []
    for i, part in enumerate(prompt.split(IMAGE)):
        if i:
            document.append(Image(pictures[i - 1]))
        if part.strip():
            document.append(Text(part))
    stop = words.convert_tokens_to_ids(EOC)
    answer = model.generate(collate([document], words).to(device), max_tokens, stop)[0].tolist()
    said = words.decode(answer[: answer.index(stop)] if stop in answer else answer)
    return said.strip() if real else said

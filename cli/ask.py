"""`minilmm ask`: any pictures, interleaved with words; the model goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .common import LONGEST_PROMPT, MOST_PICTURES, Device, device_named, new_table, out_console, share
from .names import known_run


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
        told = f"{len(paths)} pictures and {len(prompt.split())} words"
        raise ValueError(f"{told}: a prompt has at most {MOST_PICTURES} and {LONGEST_PROMPT}")
    answers = [" ".join(word.split()) for word in choices.split(",")] if choices is not None else []
    if choices is not None and (len(set(answers)) < 2 or len(set(answers)) < len(answers) or "" in answers):
        raise ValueError(f"--choices {choices[:40]!r}: give two or more different answers, such as dax,blicket")
    known_run(run)
    where = device_named(device)
    said, ranked = answered(run, prompt, paths, answers, max_tokens, where)
    if not answers:
        typer.echo(said)
        return
    view = new_table("answer", "probability among these")
    for answer, probability in sorted(zip(answers, ranked, strict=True), key=lambda pair: -pair[1]):
        view.add_row(answer, share(probability))
    out_console().print(view)


def answered(
    run: str, prompt: str, paths: list[Path], choices: list[str], max_tokens: int, device: str
) -> tuple[str, list[float]]:
    """What the run says, or with choices the probability of each among them, summing to 1."""
    from minilmm.checkpoints.saving import REAL, read_card

    kind = read_card(run)["kind"]
    read = converted if kind.endswith("-converted") else ours
    model, batch, stop, encode, decode = read(run, prompt, paths, device, kind.startswith(REAL))
    length = batch.ids.shape[1]
    if length > LONGEST_PROMPT:
        raise ValueError(f"a prompt of {length} tokens: at most {LONGEST_PROMPT}")
    if choices:
        return "", ranked(model, batch.to(device), [encode(choice) for choice in choices])
    answer = model.generate(batch.to(device), max_tokens, stop)[0].tolist()
    return decode(answer[: answer.index(stop)] if stop in answer else answer), []


def ranked(model: Any, batch: Any, choices: list[list[int]]) -> list[float]:
    """The probability of each continuation among those given, by its summed log-probability."""
    import torch

    rows = [torch.tensor(choice) for choice in choices]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)[None].to(batch.ids.device)  # (1, C, K)
    mask = torch.arange(ids.shape[2], device=ids.device) < torch.tensor([len(row) for row in rows])[:, None].to(
        ids.device
    )
    return model.score(batch, ids, mask[None]).float().softmax(-1)[0].tolist()


def converted(run: str, prompt: str, paths: list[Path], device: str, real: bool) -> tuple[Any, ...]:
    """A checkpoint of transformers in our modules and the words of its own tokenizer: as `ours`."""
    from minilmm.checkpoints.convert import transformers
    from minilmm.checkpoints.convert.asking import Reader
    from minilmm.checkpoints.opening import load

    transformers.logging.set_verbosity_error()
    reader = Reader(run)
    batch = reader.batch(prompt, paths)
    words = reader.tokenizer

    def encode(choice: str) -> list[int]:
        return [*words(f" {choice}", add_special_tokens=False)["input_ids"], reader.stop]

    def decode(ids: list[int]) -> str:
        return words.decode(ids, skip_special_tokens=True).strip()

    return load(run, device)[0], batch, reader.stop, encode, decode


def ours(run: str, prompt: str, paths: list[Path], device: str, real: bool) -> tuple[Any, ...]:
    """A run of this course, in the words of the mini-world, or of a real language model: the model, the prompt as a
    batch, the token that ends an answer, how answers become ids, and ids text.

    Without words of one's own the real one is asked as it was trained: "Picture:<image> Name:".
    """
    from minilmm.checkpoints.opening import load, open_run
    from minilmm.data.pictures import load_picture
    from minilmm.interface.document import Document, Image, Text, collate
    from minilmm.interface.tokenizer import EOC, IMAGE, Tokenizer
    from minilmm.training.named import form_of
    from minilmm.world.vocabulary import tokenizer

    words: Tokenizer = tokenizer()
    model: Any
    before, end = "", f" . {EOC}"  # around an answer
    if real:
        model, words, card = open_run(run, device)
        form = form_of(card["config"]["data"])
        before, end = " ", form.end
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

    def encode(choice: str) -> list[int]:
        return words.encode(f"{before}{choice}{end}")

    def decode(ids: list[int]) -> str:
        return words.decode(ids).strip() if real else words.decode(ids)

    return model, collate([document], words), words.convert_tokens_to_ids(EOC), encode, decode

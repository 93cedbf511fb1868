"""The command `minilmm`: builds the app, runs it, and turns every failure into one line."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

import minilmm

from . import (
    ask,
    assets,
    bench,
    chat,
    claims,
    common,
    doctor,
    exercises,
    measure,
    notebooks,
    params,
    quickstart,
    show,
    trace,
    train,
)

COMMANDS: dict[str, Callable] = {
    "quickstart": quickstart.quickstart, "eval": measure.evaluate_run, "curve": measure.curve, "bench": bench.bench,
    "ask": ask.ask, "chat": chat.chat, "convert": assets.convert, "show": show.show, "trace": trace.trace,
    "params": params.params, "grade": exercises.grade, "doctor": doctor.doctor,
}  # fmt: skip
GROUPS: dict[str, tuple[str, dict[str, Callable]]] = {  # name: (help, commands)
    "pretrain": ("Train a frozen half from nothing.", {
        "lm": train.pretrain_lm, "t5": train.pretrain_t5, "bert": train.pretrain_bert,
         "vision": train.pretrain_vision}),
    "train": ("Train a bridge between frozen halves; or fine-tune RUN: train RUN --data TASK.", {
        "frozen": train.train_frozen, "flamingo": train.train_flamingo, "blip2": train.train_blip2}),
    "claims": ("The papers' findings as seeded experiments, with verdicts.", {
        "list": claims.list_, "run": claims.run, "report": claims.report}),
    "notebooks": ("Build the notebooks of the course, and run them again.", {
        "build": notebooks.build, "run": notebooks.run}),
    "exercises": ("The exercises: take one home, ask for a hint.", {
        "list": exercises.list_, "start": exercises.start, "hint": exercises.hint, "solution": exercises.solution,
        "mutants": exercises.mutants, "build": exercises.build, "gradescope": exercises.gradescope}),
    "assets": ("Real models and pictures: what there is, and getting it.", {"list": assets.list_, "get": assets.get}),
}  # fmt: skip
PLAIN = {"✓": "+", "✗": "x", "→": "->", "×": "x", "…": "...", "–": "-", "—": "-", "’": "'", "“": '"', "”": '"'}

app = typer.Typer(
    help="Frozen, Flamingo and BLIP-2 from scratch, in a world small enough for a laptop.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, command in COMMANDS.items():
    app.command(name)(command)
for name, (text, commands) in GROUPS.items():
    group = typer.Typer(help=text, no_args_is_help=True)
    for inner, command in commands.items():
        group.command(inner)(command)
    app.add_typer(group, name=name)


def print_version(asked: bool) -> None:
    """Prints the version and ends."""
    if asked:
        print(f"minilmm {minilmm.__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", is_eager=True, callback=print_version, help="The version.")]


@app.callback()
def _whole(version: Version = False) -> None:
    pass


def print_anywhere() -> None:
    """Lets standard output and error replace what their encoding lacks (cp1252, ASCII), in place of an error."""

    def in_plain_signs(error: Any) -> tuple[str, int]:
        return "".join(PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]), error.end

    codecs.register_error("plain", in_plain_signs)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="plain")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code: 0 fine, 1 a failure, 2 a wrong call, 130 stopped by Ctrl-C.

    Of several processes of torchrun the first speaks, and of several failures the first is told.
    """
    print_anywhere()
    common.typed[:] = sys.argv[1:] if arguments is None else arguments
    number, processes = common.launched()
    debug = bool(os.environ.get("MINILMM_DEBUG"))
    if not debug:
        warnings.simplefilter("ignore")
    if processes > 1:
        if not debug:  # torch's C++ warns of what is meant so: no parameter is unused in most recipes
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        from minilmm.nn import parallel
    try:
        if processes > 1 and common.typed[:1] not in (["train"], ["pretrain"]):
            raise ValueError(
                "torchrun: only pretrain and train run in several processes: start this command without torchrun"
            )
        with open(os.devnull, "w") as nowhere, contextlib.ExitStack() as stack:
            if number > 0:  # of several processes the first is heard
                stack.enter_context(contextlib.redirect_stdout(nowhere))
                stack.enter_context(contextlib.redirect_stderr(nowhere))
            code = app(train.fine_tuning(list(common.typed)), prog_name="minilmm", standalone_mode=False)
        if code == 130:
            raise KeyboardInterrupt
        if processes > 1:
            parallel.leave()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:  # whoever read the output has gone: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (Exception, KeyboardInterrupt) as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            with contextlib.suppress(BrokenPipeError):
                print(error.format_message(), flush=True)  # type: ignore[union-attr]
            return 2
        message, code = common.describe(error)
        if debug and code != 130:
            traceback.print_exc()
    if parallel.first_to_fail() if processes > 1 and code != 130 else number == 0:
        print(" ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())

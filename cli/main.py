"""The command `minilmm`: builds the app, runs it, and turns every failure into one line."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import traceback
import warnings
from typing import Annotated

import typer

from . import (
    ask,
    assets,
    claims,
    common,
    convert,
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
from .errors import explain

app = typer.Typer(
    help="Frozen, Flamingo and BLIP-2 from scratch, in a world small enough for a laptop.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
pretrain_app = typer.Typer(help="Train a frozen half from nothing.", no_args_is_help=True)
train_app = typer.Typer(help="Train a bridge between frozen halves.", no_args_is_help=True)
claims_app = typer.Typer(help="The papers' findings as seeded experiments, with verdicts.", no_args_is_help=True)
notebooks_app = typer.Typer(help="Build the notebooks of the course, and run them again.", no_args_is_help=True)
assets_app = typer.Typer(help="Real models and pictures: what there is, and getting it.", no_args_is_help=True)
exercises_app = typer.Typer(help="The exercises: take one home, ask for a hint.", no_args_is_help=True)

app.command("quickstart")(quickstart.quickstart)
app.add_typer(pretrain_app, name="pretrain")
pretrain_app.command("lm")(train.pretrain_lm)
pretrain_app.command("t5")(train.pretrain_t5)
pretrain_app.command("vision")(train.pretrain_vision)
app.add_typer(train_app, name="train")
train_app.command("frozen")(train.train_frozen)
train_app.command("flamingo")(train.train_flamingo)
train_app.command("blip2")(train.train_blip2)
app.command("eval")(measure.evaluate_run)
app.command("curve")(measure.curve)
app.command("ask")(ask.ask)
app.command("convert")(convert.convert)
app.command("show")(show.show)
app.command("trace")(trace.trace)
app.command("params")(params.params)
app.add_typer(claims_app, name="claims")
claims_app.command("list")(claims.list_)
claims_app.command("run")(claims.run)
claims_app.command("report")(claims.report)
app.add_typer(notebooks_app, name="notebooks")
notebooks_app.command("build")(notebooks.build)
notebooks_app.command("run")(notebooks.run)
app.add_typer(exercises_app, name="exercises")
exercises_app.command("list")(exercises.list_)
exercises_app.command("start")(exercises.start)
exercises_app.command("hint")(exercises.hint)
exercises_app.command("solution")(exercises.solution)
exercises_app.command("mutants")(exercises.mutants)
exercises_app.command("build")(exercises.build)
exercises_app.command("gradescope")(exercises.gradescope)
app.command("grade")(exercises.grade)
app.add_typer(assets_app, name="assets")
assets_app.command("list")(assets.list_)
assets_app.command("get")(assets.get)
app.command("doctor")(doctor.doctor)


def tell_version(asked: bool) -> None:
    """Prints the version and ends."""
    if asked:
        import minilmm

        print(f"minilmm {minilmm.__version__}")
        raise typer.Exit


@app.callback()
def _whole(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=tell_version, help="The version.")
    ] = False,
) -> None:
    pass


@pretrain_app.callback()
@train_app.callback()
def _group() -> None:
    """Keeps a group a group when it has a single command."""


PLAIN = {"✓": "+", "✗": "x", "→": "->", "×": "x", "…": "...", "–": "-", "—": "-", "’": "'", "“": '"', "”": '"'}


def in_plain_signs(error: UnicodeError) -> tuple[str, int]:
    """What stands for the characters that a terminal does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


def print_anywhere() -> None:
    """Lets standard output and error replace what their encoding lacks (cp1252, ASCII), in place of an error."""
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
    number, several = common.launched()[0], common.launched()[1] > 1
    debug = bool(os.environ.get("MINILMM_DEBUG"))
    if not debug:
        warnings.simplefilter("ignore")
    if several:
        if not debug:  # torch's C++ warns of what is meant so: no parameter is unused in most recipes
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        from minilmm.nn import parallel
    try:
        if several and common.typed[:1] not in (["train"], ["pretrain"]):
            raise ValueError("torchrun: several processes only train: start anything else without it")
        with common.silent(number > 0):
            code = app(list(common.typed), prog_name="minilmm", standalone_mode=False)
        if code == 130:
            raise KeyboardInterrupt
        if several:
            parallel.leave()
        return code if isinstance(code, int) else 0
    except common.Stopped as stopped:
        message, code = str(stopped), 130
    except KeyboardInterrupt:
        message, code = "stopped", 130
    except BrokenPipeError:  # whoever read the output has gone: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if debug:
            traceback.print_exc()
        if type(error).__name__ == "Abort":  # how some versions of Typer pass Ctrl-C on
            message, code = "stopped", 130
        elif hasattr(error, "format_message"):  # a wrong call, in the words of Typer
            if type(error).__name__ == "NoArgsIsHelpError":
                with contextlib.suppress(BrokenPipeError):
                    print(error.format_message(), flush=True)
                return 2
            path = getattr(getattr(error, "ctx", None), "command_path", None) or "minilmm"
            message, code = f"error: {error.format_message()} ({path} --help lists what there is)", 2
        else:
            notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
            message, code = f"error: {explain(error)}{notes}", 1
    if parallel.first_to_fail() if several and code != 130 else number == 0:
        print(" ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())

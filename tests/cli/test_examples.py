"""Every example in the documentation is a command that there is, and shows what it says, where it does not train."""

import io
import re
import shlex
import shutil
from pathlib import Path

import pytest
from minilmm_cli import names
from minilmm_cli.main import app, main
from minilmm_cli.train import fine_tuning
from typer.main import get_command

from minilmm.checkpoints.saving import ZOO

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = ("emoji", "smollm2", "efficientnet-lite0", "Salesforce", "runs/", "DIR", "submissions", "grade", "NN")
NOT_RUN = (
    "train",
    "pretrain",
    "quickstart",
    "notebooks",
    "exercises",
    "convert",
)  # they train, write, or have own tests


def examples():
    """(page, arguments, the lines that are shown below) of every `minilmm ...` in a block of code."""
    for page in PAGES:
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            for i, line in enumerate(lines):
                words = shlex.split(line.removeprefix("$ "), comments=True) if "minilmm" in line.split("#")[0] else []
                if words[:1] == ["torchrun"]:
                    words = ["minilmm", *words[words.index("minilmm_cli") + 1 :]]
                if words[:1] == ["minilmm"]:
                    later = next((n for n, text in enumerate(lines[i + 1 :]) if text.startswith("$ ")), None)
                    shown = lines[i + 1 :][:later] if line.startswith("$ ") else []
                    yield page.name, words[1:], shown


def leaf(words):
    """The command that the words name, and the rest of the words."""
    command, words = get_command(app), fine_tuning(list(words))
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    return command, words


EXAMPLES = list(examples())
SAFE = [e for e in EXAMPLES if e[1][0] not in NOT_RUN and e[1][:2] not in (["claims", "run"], ["assets", "get"])
        and not any(word.startswith(ELSEWHERE) for word in e[1])]  # fmt: skip


def test_every_example_is_a_command_with_options_that_there_are():
    assert len(EXAMPLES) > 50 and len(SAFE) > 15
    for page, words, _ in EXAMPLES:
        command, rest = leaf(words)
        with command.make_context("minilmm", rest):  # raises for an option or a number that does not fit
            assert command.callback is not None, page


@pytest.mark.slow
@pytest.mark.parametrize("example", SAFE, ids=lambda e: " ".join(e[1])[:60])
def test_an_example_runs_and_shows_what_is_shown(example, tmp_path, monkeypatch, capsys):
    _, words, shown = example
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / "results").symlink_to(ROOT / "results")
    shutil.copytree(ZOO / "frozen-nano", tmp_path / "path" / "to" / "run")
    few = ["--episodes", "2"] if words[0] in ("eval", "curve") else []
    if "easy-vqa" in words:
        pytest.importorskip("easy_vqa")
    typed = [line for line in shown if line.startswith("> ")]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(line.removeprefix("> ") for line in typed)))
    shown = [line for line in shown if line not in typed]
    if "path/to/folder" in words:
        folder_of_pictures(tmp_path / "path" / "to" / "folder")
    assert main([*words, *few]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert not shown or [line.rstrip() for line in out.splitlines()] == [line.rstrip() for line in shown]


def folder_of_pictures(folder):
    """Twenty pictures and their texts."""
    from PIL import Image

    folder.mkdir(parents=True)
    for i in range(20):
        Image.new("RGB", (20, 20), (i * 12, 40, 200)).save(folder / f"{i}.png")
    texts = ["a red circle", "a blue star", "a moon", "a green heart"]
    lines = [f'{{"file_name": "{i}.png", "text": "{texts[i % 4]}"}}' for i in range(20)]
    (folder / "metadata.jsonl").write_text("\n".join(lines))


# --- docs/cli.md is what the commands are -----------------------------------------------------------------------------

CLI = (ROOT / "docs" / "cli.md").read_text()


def paths(command, path=()):
    """The words of every command."""
    if not hasattr(command, "commands"):
        yield " ".join(path)
    for name, inner in getattr(command, "commands", {}).items():
        yield from paths(inner, (*path, name))


def options(command):
    """Every option of a command and of those below it."""
    found = {option for p in command.params for option in [*p.opts, *p.secondary_opts] if option.startswith("--")}
    return found.union(*map(options, getattr(command, "commands", {}).values()), {"--help"})


def test_the_table_of_commands_names_every_command_and_no_other():
    rows = re.findall(r"^\| (`.*?`) \|", CLI.partition("## Measuring")[0], re.MULTILINE)
    named = {" ".join(words.split()) for row in rows for words in re.findall(r"`(?:minilmm )?([^`]+)`", row)}
    every = set(paths(get_command(app)))
    assert not {path for path in every if not any(name == path or name.startswith(f"{path} ") for name in named)}
    for name in named:
        leaf(name.split())


def test_the_table_of_eval_has_every_option_of_eval():
    rows = re.findall(r"^\| (`--.*?`) \|", CLI.partition("## Measuring")[2].partition("## Training")[0], re.MULTILINE)
    named = {option for row in rows for option in re.findall(r"--[\w-]+", row)}
    assert named == options(leaf(["eval"])[0]) - {"--help"}


def test_every_option_that_is_named_is_an_option():
    known = options(get_command(app)) | {"--nproc-per-node"}
    for page in PAGES:
        prose = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL))
        named = {
            o for text in prose if "pip" not in text and "make" not in text for o in re.findall(r"--[a-z][\w-]+", text)
        }
        assert named <= known, (page.name, named - known)


def test_shipped_checkpoints_are_named():
    first = CLI.partition("| command")[0]
    assert set(re.findall(r"`([\w-]+-nano)`", first)) == set(names.shipped())


def test_help_names_every_preset():
    for words in (["train", "frozen"], ["train", "flamingo"], ["train", "blip2"]):
        (preset,) = (p for p in leaf(words)[0].params if "--preset" in p.opts)
        assert all(name in preset.help for name in ("quick", "nano", "small"))

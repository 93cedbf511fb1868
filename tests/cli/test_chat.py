"""`minilmm chat`: lines become turns of a dialogue, what goes wrong is one line, and "it" is what was talked of."""

import io
from dataclasses import asdict

import pytest
import torch
from minilmm_cli import ask
from minilmm_cli.chat import HINT, Talk, wrapped
from minilmm_cli.main import main
from PIL import Image
from tiny import tiny_frozen, tiny_lm

from minilmm.checkpoints.saving import save
from minilmm.data.named import Form
from minilmm.interface.document import Batch
from minilmm.interface.tokenizer import UnknownWords
from minilmm.world import asked as dialogues
from minilmm.world.grammar import attributes, describe, plain
from minilmm.world.render import render
from minilmm.world.scenes import sample_scenes
from minilmm.world.vocabulary import tokenizer


def words(phrase):
    return tokenizer().decode([word for word in plain(phrase).tolist() if word >= 0])


class Asked(ask.Asked):
    """Needs no files."""

    def look(self, path):
        return torch.zeros(3, 4, 4)


class Told:
    """Stands in for a model and its reader: remembers what it was asked, and says what it was given."""

    stop = ()

    def __init__(self, *answers):
        self.answers, self.prompts = list(answers), []

    def batch(self, prompt, pictures):
        assert prompt.count("<image>") == len(pictures)
        self.prompts.append(prompt)
        return Batch.of(torch.ones(1, len(prompt.split()), dtype=torch.long))

    def generate(self, batch, max_tokens, stop):
        return [self.answers.pop(0)]

    def decode(self, answer):
        return answer

    def talk(self, speaks=True, form=None):
        return Talk(Asked("run", self, self, "cpu", speaks, form))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder with the tiny runs "frozen" and "lm", the current one, and the pictures a.png and broken.png."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    for name, model in (("frozen", tiny_frozen()), ("lm", tiny_lm())):
        (tmp_path / name).mkdir()
        save(tmp_path / name, model, name, config=asdict(model.config), recipe={}, seed=0)
    Image.new("RGB", (60, 40), (220, 30, 30)).save("a.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])


@pytest.fixture
def chat(run, monkeypatch, capsys):
    """Types lines to a run: exit code, the lines of standard output, those of standard error."""

    def typed(*lines, run="frozen", options=("--image", "a.png"), terminal=False):
        stdin = io.StringIO("".join(f"{line}\n" for line in lines))
        stdin.isatty = lambda: terminal
        monkeypatch.setattr("sys.stdin", stdin)
        code = main(["chat", run, *options, "--max-tokens", "4", "--device", "cpu"])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err.splitlines()

    return typed


# --- a line becomes a turn --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line, turn", [
    ("What color is the Circle?", "question : what color is the circle ? answer :"),
    ("  what size is it", "question : what size is it ? answer :"),
    ("and the other one ?", "question : and the other one ? answer :"),
    ("Question: is it large? Answer:", "question : is it large ? answer :"),
    ("question : is it large ?", "question : is it large ? answer :"),
    ("large red star question: what size is it?", "large red star question : what size is it ? answer :"),
    ("Describe the image in one word.", "instruction : describe the image in one word . answer :"),
    ("text : red circle label :", "text : red circle label :"),
])  # fmt: skip
def test_a_line_gets_the_form_of_the_corpus(line, turn):
    assert wrapped(line) == turn


def test_questions_as_people_type_them_become_the_dialogues_of_the_corpus(generator):
    found = dialogues.dialogue(20, 1, generator, "train")
    for prompt, last in zip(map(words, found.prompts), map(words, found.answer[:, 0, None].flatten(1)), strict=True):
        turns = [turn.split(" ? answer :") for turn in prompt.split("question : ")[1:]]
        answers = [answer.strip() for _, answer in turns[:-1]] + [f"{last} ."]
        model = Told(*answers)
        talk = model.talk().with_picture("a.png")
        for (question, _), answer in zip(turns, answers, strict=True):
            talk, said = talk.go_on(f"{question.capitalize()}?", 24)
            assert said == answer
        assert model.prompts[-1] == f"<image> {prompt}"


def test_a_further_picture_begins_an_example_as_on_a_page():
    model = Told("red", "the star is blue . question : what size is it ?", "<image> dax .", "no .")
    talk = model.talk().with_picture("a.png").with_picture("b.png")
    talk, _ = talk.go_on("What color is it?", 24)
    talk, said = talk.with_picture("c.png").go_on("", 24)
    talk, _ = talk.go_on("what is it?", 24)
    talk.go_on("is it red?", 24)
    assert said == "the star is blue ."  # its own next question is none of ours
    assert model.prompts[-1] == (
        "<image> <image> question : what color is it ? answer : red . <EOC> <image> the star is blue . "
        "question : what is it ? answer : dax . question : is it red ? answer :"
    )


def test_words_typed_to_a_real_model_stay_as_they_are():
    model = Told("hammer.", "Steel.")
    talk, _ = model.talk(False, Form()).with_picture("a.png").go_on("", 24)
    talk, _ = talk.go_on(" Of  WHAT is it made?", 24)
    assert model.prompts[-1] == "Picture:<image> Name: hammer.<EOC> Of  WHAT is it made?"
    talk.with_picture("b.png")
    assert model.prompts[-1] == "Picture:<image> Name: hammer.<EOC> Of  WHAT is it made? Steel.<EOC><image>"
    model = Told("A cat.", "Yes")
    talk, _ = model.talk(False).with_picture("a.png").go_on("Question: What's this? Answer:", 24)
    talk.go_on("Question: Is it asleep? Answer:", 24)
    assert model.prompts[-1] == "<image> Question: What's this? Answer: A cat. Question: Is it asleep? Answer:"


def test_a_tag_or_an_unknown_word_is_refused():
    talk = Told().talk()
    for line in ("is there a <image>?", "<IMAGE>"):
        with pytest.raises(ValueError, match="/image FILE"):
            talk.go_on(line, 24)
    with pytest.raises(UnknownWords, match="colour"):
        talk.go_on("what colour is it?", 24)


# --- the loop ---------------------------------------------------------------------------------------------------------


def test_each_question_is_answered_in_a_line_and_what_is_wrong_is_told(chat):
    lines = ("What color is it?", "what colour is it?", "", "/image none.png", "/image broken.png", "/image", "/imag a",
             "/image a.png", "", "", "and the other one?", "/again", "is it <image>?", "what size is it?")  # fmt: skip
    code, out, err = chat(*lines)
    assert code == 0 and len(out) == 4 and not any("<EOC>" in line or ">" in line[:2] for line in out)
    assert all(line.startswith("error: ") for line in err)
    told = ["colour", "none.png: no such file", "broken.png", "/image b.png", "did you mean /image?", "/image FILE"]
    assert len(err) == len(told) and all(word in line for word, line in zip(told, err, strict=True))
    assert "minilmm show words" in err[0]


def test_a_conversation_is_what_was_said(chat):
    _, one, _ = chat("what color is it?", "what size is it?", "/again", "what size is it?", "/quit", "what is it?")
    _, two, _ = chat("what size is it?")
    assert len(one) == 3 and one[2] == two[0]
    assert chat("question : a red circle", run="lm", options=())[:2][0] == 0


def test_a_conversation_that_is_too_long_says_so_and_begins_anew(chat, monkeypatch):
    monkeypatch.setattr(ask, "LONGEST_PROMPT", 20)
    code, out, err = chat("what color is it?", "what size is it?", "/again", "what size is it?", "circle " * 30)
    assert code == 0 and len(out) == 2 and len(err) == 2
    assert "at most 512 and 20: begin anew with less" in err[0]


def test_a_terminal_gets_marks_and_is_told_what_there_is(chat):
    code, out, err = chat("what color is it?", terminal=True)
    assert code == 0 and out[0] == HINT and len(HINT) <= 80 and out[1].startswith("> ") and out[2] == "> " and not err


def test_what_ends_a_conversation(chat, monkeypatch):
    assert chat() == (0, [], [])
    monkeypatch.setattr("builtins.input", lambda mark: (_ for _ in ()).throw(KeyboardInterrupt))
    assert chat() == (130, [], ["stopped"])
    for options, told in ((("--image", "none.png"), "none.png"), (("--image", "broken.png"), "broken.png")):
        code, out, err = chat(options=options)
        assert code == 1 and not out and len(err) == 1 and told in err[0]
    code, _, err = chat(run="lm")
    assert code == 1 and "reads text only" in err[0]


# --- what it means ----------------------------------------------------------------------------------------------------


N = 80


def turn(talks, lines):
    """One line to each conversation: the conversations after it, and what was answered."""
    every = [talk.go_on(line, 24) for talk, line in zip(talks, lines, strict=True)]
    return [talk for talk, _ in every], [answer.removesuffix(" .") for _, answer in every]


def share(said, true):
    """How many answers are true."""
    return sum(one == other for one, other in zip(said, true, strict=True)) / len(true)


def told(scenes, o):
    """Size, texture, colour and shape of the o-th object of each scene, in words: four lists."""
    return [[words(row) for row in column] for column in attributes(scenes, o)]


@pytest.mark.slow
def test_it_and_the_other_one_are_what_was_talked_of(generator):
    """Of a description with two objects, whose textures differ: a guess between them would be right in half."""
    scenes = sample_scenes(2 * N, generator, objects=2, distinct=True)
    scenes = scenes[scenes.texture[:, 0] != scenes.texture[:, 1]][:N]
    (_, texture, _, shape), (_, other, *_) = told(scenes, 0), told(scenes, 1)
    first = [
        f"{words(row)} question: what color is the {name}?" for row, name in zip(describe(scenes), shape, strict=True)
    ]
    talks, _ = turn([Talk(ask.open_asked("lm-nano", "cpu"))] * N, first)
    talks, it = turn(talks, ["What texture is it?"] * N)
    _, then = turn(talks, ["And the other one?"] * N)
    assert share(it, texture) > 0.8 and share(then, other) > 0.8


@pytest.mark.slow
def test_what_is_said_of_it_is_what_the_picture_shows(generator, tmp_path):
    """A guess would be right in a twelfth, a tenth, a third and a half; and of two pictures "it" is in the last one."""
    scenes = sample_scenes(N, generator)
    size, texture, colour, shape = told(scenes, 0)
    for i, picture in enumerate(render(scenes, generator)):
        pixels = (picture * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    files = [tmp_path / f"{i}.png" for i in range(N)]
    start = Talk(ask.open_asked("flamingo-nano", "cpu"))
    talks, named = turn([start.with_picture(file) for file in files], ["What shape is in the image?"] * N)
    right = [share(named, shape)]
    for asked, true in (("color", colour), ("texture", texture), ("size", size)):
        right.append(share(turn(talks, [f"What {asked} is it?"] * N)[1], true))
    talks = [talk.with_picture(file) for talk, file in zip(talks, files[1:] + files[:1], strict=True)]
    right.append(share(turn(talks, ["What color is it?"] * N)[1], colour[1:] + colour[:1]))
    assert all(one > 0.75 for one in right), right

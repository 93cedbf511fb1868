"""The exercises of the course: solutions get everything, stubs nothing, and each known mistake fails its one check."""

import json
import re
from pathlib import Path

import pytest
from minilmm_cli.main import main

from minilmm.course.checking import Failed, Wrong
from minilmm.course.exercises import load_manifest
from minilmm.course.grading import Grader

ROOT = Path(__file__).parents[2]
EXERCISES = load_manifest(ROOT / "exercises")
each = pytest.mark.parametrize("exercise", EXERCISES, ids=[e.name for e in EXERCISES])


@pytest.fixture(scope="module")
def grader():
    with Grader(EXERCISES) as grader:
        yield grader


@each
def test_solutions_get_every_point_and_stubs_none(exercise, grader):
    assert grader.grade(exercise, exercise.solution).points == exercise.points
    assert grader.grade(exercise, exercise.stub).points == 0


@each
def test_every_known_mistake_fails_the_check_that_explains_it(exercise, grader):
    named = {check.name: check for check in exercise.checks}
    passed = [mutant.name for mutant in exercise.mutants if not isinstance(
        grader.attempt(named[mutant.caught_by], exercise, exercise.mutant(mutant))[0], Wrong | Failed)]  # fmt: skip
    assert len({mutant.name for mutant in exercise.mutants}) == len(exercise.mutants) >= 3 and not passed


@each
def test_a_known_mistake_is_told_as_such(exercise, grader):
    mutant = exercise.mutants[0]
    result = next(r for r in grader.grade(exercise, exercise.mutant(mutant)).results if not r.passed)
    assert result.mutant == mutant.name and mutant.says in result.misconception and "expected" in result.message


@each
def test_another_variant_has_other_inputs_and_the_same_solution(exercise):
    with Grader(EXERCISES, variant=7) as grader:
        assert grader.grade(exercise, exercise.solution).points == exercise.points


@each
def test_files_belong_together(exercise):
    assert exercise.path("student").read_text() == exercise.stub
    assert sum(check.points for check in exercise.checks) == exercise.points
    assert len(exercise.hints) == 3 and all(exercise.hints)
    assert 1 <= exercise.difficulty <= 5 and 1 <= exercise.importance <= 5 and exercise.minutes > 0
    solved = {
        line.strip() for line in re.findall(r"# BEGIN SOLUTION\n(.*?)# END", exercise.source, re.DOTALL)[0].splitlines()
    }
    assert not solved & {line.strip() for line in exercise.stub.splitlines()} - {""}
    assert "import minilmm" not in exercise.source and "from minilmm" not in exercise.source
    assert all(need in {e.name for e in EXERCISES[: EXERCISES.index(exercise)]} for need in exercise.needs)
    chapter = list((ROOT / "notebooks" / "src").glob(f"{exercise.chapter}_*.py"))
    assert len(chapter) == 1 and f"exercises/student/{exercise.name}.py" in chapter[0].read_text()


def run(capsys, *arguments):
    """Exit code, standard output, standard error."""
    code = main(list(arguments))
    return code, *capsys.readouterr()


def test_the_way_of_an_exercise(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "grade")[0] == 1
    assert "Attention" in run(capsys, "exercises", "list")[1]
    assert run(capsys, "exercises", "start", "3")[0] == 0
    mine = tmp_path / "my_work" / "ex03_attention.py"
    assert mine.read_text() == EXERCISES[2].stub
    code, out, _ = run(capsys, "grade", "03")
    assert code == 1 and "0 of 7 points" in out and "not done yet" in out
    mine.write_text(EXERCISES[2].mutant(EXERCISES[2].mutants[0]))
    assert "there already" in run(capsys, "exercises", "start", "03")[1] and "NotImplemented" not in mine.read_text()
    code, out, _ = run(capsys, "grade", "--gradescope", "results.json")
    assert code == 1 and "Your output equals the variant" in " ".join(out.split())
    assert sum(test["score"] for test in json.loads(Path("results.json").read_text())["tests"]) == 3
    mine.write_text(EXERCISES[2].solution)
    code, out, _ = run(capsys, "grade", "--json", "-")
    assert code == 0 and json.loads(out)["points"] == 7
    assert all(len(line) <= 80 for line in run(capsys, "grade")[1].splitlines())


def test_hints_and_solutions(capsys):
    texts = [run(capsys, "exercises", "hint", "03", str(n))[1] for n in (1, 2, 3)]
    assert len(set(texts)) == 3 and "exercises solution 03" in texts[2]
    assert run(capsys, "exercises", "solution", "03")[1] == EXERCISES[2].solution
    code, out, _ = run(capsys, "exercises", "mutants", "03")
    assert code == 0 and "no-scale" in out


def test_wrong_calls_are_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calls = {"grade 99": 2, "exercises start x": 2, "grade 03": 1, "exercises hint 3 4": 2,
             "grade --solutions --hidden nowhere": 1, "grade --class nowhere": 1}  # fmt: skip
    for call, code in calls.items():
        got, out, err = run(capsys, *call.split())
        assert got == code and not out and len(err.strip().splitlines()) == 1, call


def test_a_class_and_its_misconceptions(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    e = EXERCISES[2]
    for name, text in (("ada", e.solution), ("ben", e.mutant(e.mutants[0])), ("cy", e.mutant(e.mutants[0]))):
        (tmp_path / "class" / name).mkdir(parents=True)
        (tmp_path / "class" / name / f"{e.name}.py").write_text(text)
    code, out, _ = run(capsys, "grade", "03", "--class", "class", "--json", "-")
    told = json.loads(out)
    assert code == 0 and [p["points"] for p in told["learners"]] == [7, 3, 3]
    assert [(m["mutant"], m["learners"]) for m in told["misconceptions"]] == [(e.mutants[0].name, 2)]
    code, out, _ = run(capsys, "grade", "03", "--class", "class")
    assert code == 0 and "ada" in out and "2 x 03" in out


@pytest.mark.parametrize(
    ("number", "right", "wrong", "own"),
    [("08", "return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2",
      "return -logits.flatten().log_softmax(0).view_as(logits).diagonal().mean()", "whole-matrix"),
     ("24", "return torch.multinomial(odds(similar, fits), 1, generator=generator)[:, 0]",
      "return torch.multinomial(odds(similar, fits)[0], 1, generator=generator).expand(len(fits))", "one-for-all")],
    ids=["softmax over the whole matrix", "one draw for all rows"],
)  # fmt: skip
def test_a_mistake_is_not_told_as_another(grader, number, right, wrong, own):
    exercise = next(e for e in EXERCISES if e.id == number)
    assert exercise.solution.count(right) == 1
    grade = grader.grade(exercise, exercise.solution.replace(right, wrong))
    told = {r.mutant for r in grade.results if r.misconception}
    assert grade.points < grade.total and told <= {own}

"""README.md and results/README.md: their tables are current, and every figure and finding in their prose is checked."""

import json
import math
import re
import sys
from pathlib import Path

import pytest

from minilmm.checkpoints.assets import ASSETS, GROUPS
from minilmm.checkpoints.saving import ZOO, shipped
from minilmm.evaluation.tasks.benchmarks import CLASSES
from minilmm.world import instructed
from minilmm.world.stories import PAIRS as ACTIONS

sys.path.insert(0, str(Path(__file__).parents[1] / "results"))
import tables

ROOT = Path(__file__).parents[1]
FRONT, PAGE = tables.FRONT, tables.PAGE
BRIDGES = ("frozen-nano", "flamingo-nano", "blip2-nano")
REAL, BLANK = "real", "blank_images"


# --- the tables ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [FRONT, PAGE], ids=["README.md", "results/README.md"])
def test_the_tables_and_the_cited_figures_are_those_of_the_files(page):
    assert page.read_text() == tables.pages()[page], "run: python results/tables.py"


def test_the_table_of_what_is_shipped_has_every_checkpoint():
    assert set(tables.SHIPPED) == set(shipped()) and len(tables.SHIPPED) == 8  # "Eight checkpoints"


# --- figures in the prose --------------------------------------------------------------------------------------------


def prose(text):
    """A page without what is generated, code, comments, link targets, and the course's table."""
    text = re.sub(r"<!-- (\w+): written by .*?<!-- end of \1 -->", "", text, flags=re.DOTALL)
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^\| \[\d\d .*\]\(notebooks/.*$", "", text, flags=re.MULTILINE)  # chapters and exercises by number
    text = tables.CITED.sub("", text)
    text = re.sub(r"`[^`]*`|<[^>]*>|\]\([^)]*\)", " ", text)
    return " ".join(text.split())


def episodes(runs, tasks, what="episodes"):
    """How many episodes, or pictures, the results of these runs have."""
    files = [ROOT / "results" / f"{run}-{task}.json" for run in runs for task in tasks]
    return {json.loads(file.read_text())["settings"][what] for file in files if file.is_file()}


def longest():
    """The lines of the longest of the papers' files."""
    files = ("frozen.py", "flamingo.py", "blip2.py", "nn/qformer.py")
    return max(len((ROOT / "minilmm" / file).read_text().splitlines()) for file in files)


def download():
    """The megabytes of the assets that the example of README.md gets."""
    (names,) = re.findall(r"^minilmm assets get (.*)$", FRONT.read_text(), re.MULTILINE)
    return round(sum(ASSETS[one].megabytes for name in names.split() for one in GROUPS.get(name, (name,))))


TOLD = {json.loads(file.read_text())["settings"]["episodes"] for file in (ROOT / "results" / "told").glob("*.json")}
EXCEPTIONS = {  # page: {words with a figure that no file has: why they stay, or what they must agree with}
    FRONT: {
        "Frozen (2021)": "the year of the paper",
        "Flamingo (2022)": "the year of the paper",
        "BLIP-2 (2023)": "the year of the paper",
        "Python 3.11": lambda: 'requires-python = ">=3.11"' in (ROOT / "pyproject.toml").read_text(),
        "some 250 lines": lambda: 240 < longest() < 260,
        "95 % intervals over 250 episodes": lambda: episodes(BRIDGES, tables.COMPARED) == {250},
        "95 % interval lies": "minilmm/evaluation/statistics.py makes such intervals",
        "CIDEr from 0 to 10": "the range of the metric",
        "The one below is 15 GB": "the weights of BLIP-2 with OPT-2.7B in float32, on their publisher's page",
        "The download is 235 MB": lambda: download() == 235,
    },
    PAGE: {
        "have 500 episodes": lambda: (
            episodes(("lm-nano", "t5-nano"), ("naming-2", "naming-5", "vqa", "vqa-given")) == {500}
        ),
        "tasks 250.": lambda: episodes(BRIDGES, tables.COMPARED) == {250} == TOLD,
        "seed 0,": "the Makefile's `results` asks for it, and the files' settings say it",
        "95 % bootstrap intervals": "minilmm/evaluation/statistics.py makes such intervals",
        "with 32 examples": "the cited row's number of shots",
        "BLIP-2's stage 1.": "a name",
        "Below 1 ours is faster.": "what the ratio means",
        "[chapter 11": "a chapter's number",
        "One of 144 classes of pictures, or of 36 kinds of videos,": lambda: (CLASSES, ACTIONS) == (144, 36),
        "100 episodes.": lambda: episodes((FLAMINGO,), ("classification-random", "actions-orders")) == {100},
        "64 of 80 instructed tasks,": lambda: (len(instructed.TASKS), len(instructed.EVERY)) == (64, 80),
        "the 16 tasks that were kept back": lambda: len(instructed.NEW_TASKS) == 16,
        "with 32 examples in the prompt": "the table's number of shots",
        "would be .5 for a model that sees": "half of the things are there",
        "500 held-out pictures": lambda: episodes(BRIDGES, ("probes",), "pictures") == {500},
    },
}
NUMBER = re.compile(r"(?<![\w@.-])[\d.,]*\d[\d.,]*")  # no part of a name, such as BLIP-2 or TR@1


def unaccounted(page, text):
    """The figures in a page's prose that are neither cited nor in EXCEPTIONS, with some words around each."""
    text = prose(text)
    for words in EXCEPTIONS[page]:
        text = text.replace(words, "")
    return [text[max(0, found.start() - 40) : found.end() + 20] for found in NUMBER.finditer(text)]


@pytest.mark.parametrize("page", [FRONT, PAGE], ids=["README.md", "results/README.md"])
def test_every_figure_in_the_prose_is_cited_from_a_file(page):
    """[.960](results/flamingo-nano-naming-5.json "shots 1"): results/tables.py writes the figure. Or a table has it."""
    found = unaccounted(page, page.read_text())
    assert not found, found


@pytest.mark.parametrize("page", [FRONT, PAGE], ids=["README.md", "results/README.md"])
def test_the_figures_that_no_file_has_are_there_and_agree_with_the_package(page):
    text = prose(page.read_text())
    for words, reason in EXCEPTIONS[page].items():
        assert words in text, words
        assert reason if isinstance(reason, str) else reason(), words


@pytest.mark.parametrize("figure", [".97", "0.97", "1.00", "97 %", "33 minutes", "1.9M parameters", "12"])
def test_a_figure_that_is_not_cited_is_found(figure):
    assert len(unaccounted(FRONT, f"In Python 3.11 or newer BLIP-2 has {figure} here.\n")) == 1


def test_a_cited_figure_that_changed_is_found_and_written():
    cite = '[{}](results/flamingo-nano-naming-5.json "shots 1; condition blank_images")'
    now = tables.share(tables.rows_of("flamingo-nano", "naming-5")[1, BLANK]["value"])
    assert tables.cited(FRONT, cite.format(".777")) == cite.format(now)
    kind = tables.figure(ROOT / "results" / "lm-nano-vqa-given.json", "shots 0; kind compare")
    assert kind == tables.rows_of("lm-nano", "vqa-given")[0, REAL]["by_kind"]["compare"]
    with pytest.raises(ValueError, match="0 figures"):
        tables.cited(FRONT, cite.format(".777").replace("shots 1", "shots 77"))
    with pytest.raises(ValueError, match="figures"):
        tables.cited(FRONT, cite.format(".777").replace("shots 1; ", ""))


# --- findings in the prose -------------------------------------------------------------------------------------------


def at(run, task, shots, condition=REAL):
    """A row: its value and its interval."""
    return tables.rows_of(run, task)[shots, condition]


def learned(run, task, shots):
    """Whether a score's interval lies above what blank pictures and the prior reach."""
    row = at(run, task, shots)
    return row["low"] > max(at(run, task, shots, BLANK)["value"], row["prior"])


def at_chance(run, task, shots):
    """Whether a score's interval has the prior in it."""
    row = at(run, task, shots)
    return row["low"] <= row["prior"] <= row["high"]


def rises(run, task, few, more):
    """Whether more examples give a score whose interval lies above."""
    return at(run, task, more)["low"] > at(run, task, few)["high"]


def below_words(task, shots):
    """Whether the intervals of all bridges lie below that of the language model on words."""
    return all(at(run, task, shots)["high"] < at("lm-nano", task, shots)["low"] for run in BRIDGES)


def real(run, condition=REAL):
    """A row of five real names between real models."""
    rows = json.loads((ROOT / "results" / "real" / f"{run}-names.json").read_text())["rows"]
    return next(row for row in rows if row["condition"] == condition)


def sees(run):
    """Whether a bridge between real models does better with a picture than with another's, beyond its interval."""
    return real(run)["low"] > max(real(run, BLANK)["value"], real(run, "shuffled_images")["value"])


def unlearned(task):
    """Whether the language model stays clearly below the ideal observer on perfect descriptions."""
    row = at("lm-nano", task, 8)
    return row["high"] < row.get("ideal", 1) - 0.1


def card(name):
    """What a checkpoint's card says that was measured."""
    return json.loads((ZOO / name / "card.json").read_text())["metrics"]


def kinds(run, shots=0):
    """What a run has of new wordings and of new tasks."""
    return at(run, "instructions", shots)["by_kind"].values()


def classified(how):
    """A row of what the eyes classify alone."""
    rows = json.loads((ROOT / "results" / "vision-nano-zero-shot.json").read_text())["rows"]
    return next(row for row in rows if row["metric"] == how)


FROZEN, FLAMINGO, BLIP2 = BRIDGES
NAMING = ("naming-2", "naming-5")


def tells_what_is_there():
    """Does Flamingo say far better than chance whether an object is in the picture, and do the others not?"""
    others = [at(run, "hallucination", 0)["value"] for run in (FROZEN, BLIP2)]
    return at(FLAMINGO, "hallucination", 0)["low"] > 0.65 > max(others)


def gain(task):
    """What fine-tuning adds to a task's score without examples or with 32, whichever is better."""
    before, after = (tables.rows_of("tuned/" + task, how) for how in ("prompted", "tuned"))
    return after[0, REAL]["value"] - max(before[shots, REAL]["value"] for shots in (0, 32))


GUESS = math.log(3) - 2 / 3 * math.log(2)  # ITM's loss of a constant answer: a third of the pairs match
NONE_ON_RECORD = not list((ROOT / "results" / "claims").glob("*.json"))
FOUND = {  # page: {a sentence: whether it is so}
    FRONT: {
        "A frozen language model can learn new names from pictures.": lambda: learned(FLAMINGO, "naming-5", 1),
        "Flamingo does it best,": lambda: all(
            at(FLAMINGO, task, 1)["value"] > at(run, task, 1)["value"] for task in NAMING for run in (FROZEN, BLIP2)
        ),
        "Frozen does it after training on captions alone,": lambda: all(learned(FROZEN, task, 1) for task in NAMING),
        "BLIP-2's soft prompts do not do it.": lambda: all(at_chance(BLIP2, task, 1) for task in NAMING),
        "All three answer questions about pictures.": lambda: all(learned(run, "vqa-given", 0) for run in BRIDGES),
        "With questions every bridge stays clearly below what the language model makes of words": lambda: (
            below_words("vqa", 8) and below_words("vqa-given", 0)
        ),
        "Flamingo can often tell, and the others cannot.": lambda: tells_what_is_there(),
        "Flamingo follows instructions that it was never trained on.": lambda: min(kinds("flamingo-instructed")) > 0.8,
        "examples that resemble the query help far more than random ones.": lambda: (
            at(FLAMINGO, "classification-rices-5", 16)["low"] > at(FLAMINGO, "classification-random", 16)["high"] + 0.3
        ),
        "memes, boxes and questions that use a new name stay below what is possible.": lambda: all(
            map(unlearned, ("memes", "boxes", "fast-vqa"))
        ),
        "none of these is on record yet.": lambda: NONE_ON_RECORD,
        "Frozen and Flamingo use the picture,": lambda: sees("frozen") and sees("frozen-pages") and sees("flamingo"),
        "though neither of them well,": lambda: real("frozen-pages")["value"] < 0.7 and real("flamingo")["value"] < 0.7,
        "and BLIP-2 hardly does.": lambda: real("blip2")["value"] - real("blip2", "shuffled_images")["value"] < 0.1,
    },
    PAGE: {
        "Flamingo binds names nearly without error, also over many pictures": lambda: all(
            row["low"] > 0.9
            for row in (at(FLAMINGO, "naming-2", 1), at(FLAMINGO, "naming-5", 1), at(FLAMINGO, "naming-long", 32))
        ),
        "is weaker the more names there are.": lambda: (
            at(FROZEN, "naming-5", 1)["high"] < at(FROZEN, "naming-2", 1)["low"]
        ),
        "it stays at chance.": lambda: all(at_chance(BLIP2, task, shots) for task in NAMING for shots in (1, 4)),
        "With four examples Flamingo and Frozen follow the style of the captions that they see.": lambda: (
            rises(FLAMINGO, "caption", 0, 4) and rises(FROZEN, "caption", 0, 4)
        ),
        "BLIP-2 does not.": lambda: not rises(BLIP2, "caption", 0, 4),
        "All three gain from the first example of a question,": lambda: all(
            at(run, "vqa", 1)["value"] > at(run, "vqa", 0)["value"] + 0.05 for run in BRIDGES
        ),
        "With the convention given, every bridge stays below": lambda: below_words("vqa-given", 0),
        "far below that of a constant guess.": lambda: card("blip2-nano/stage1")["itm"] < GUESS / 3,
        "answers are no better with pictures than without:": lambda: not learned("blip2-t5-nano", "vqa-given", 0),
        "trained only for some minutes,": lambda: card("t5-nano")["seconds"] < 1800,
        "In memes it is hardly above chance,": lambda: at("lm-nano", "memes", 8)["value"] < 0.6,
        "in boxes clearly below the ideal observer,": lambda: unlearned("boxes"),
        "The eyes alone do better than the examples,": lambda: (
            classified("by the nearest of 5 each")["low"] > at(FLAMINGO, "classification-rices-5", 16)["high"]
        ),
        "Videos of two actions are not learned:": lambda: at(FLAMINGO, "actions-rices-5", 16)["high"] < 0.2,
        "Before, neither model follows instructions,": lambda: all(
            max(kinds(run, shots)) < 0.1 for run in (FLAMINGO, BLIP2) for shots in (0, 8)
        ),
        "and BLIP-2 only a little.": lambda: (
            0.05 < min(kinds("blip2-instructed")) < max(kinds("blip2-instructed")) < 0.3
        ),
        "adds a little where Flamingo is weak,": lambda: all(
            0.04 < gain(task) < 0.2 for task in ("boxes", "memes", "reading", "tables")
        ),
        "and nothing to what it can do already.": lambda: all(gain(task) < 0.03 for task in ("vqa", "counting")),
        "Reading signs, for one, takes longer.": lambda: at("tuned/reading", "tuned", 0)["value"] < 0.2,
        "Frozen and BLIP-2 are hardly above chance,": lambda: tells_what_is_there(),
        "is right three times out of four.": lambda: (
            at(FLAMINGO, "hallucination", 0)["low"] < 0.75 < at(FLAMINGO, "hallucination", 0)["high"]
        ),
        "it answers only a part of the questions that use a name": lambda: unlearned("fast-vqa"),
        "Why the second stage of BLIP-2 is slower": lambda: (
            tables.figure(ROOT / "results" / "benchmarks.json", "group blip2; name large, stage 2: ratio") < 1
        ),
        "None is on record for this world yet:": lambda: NONE_ON_RECORD,
    },
}


@pytest.mark.parametrize("page, sentence", [(page, words) for page, said in FOUND.items() for words in said],
                         ids=lambda it: it if isinstance(it, str) else str(it.relative_to(ROOT)))  # fmt: skip
def test_what_the_prose_finds_is_so(page, sentence):
    assert sentence in prose(page.read_text()), "the page says something else now: check that instead"
    assert FOUND[page][sentence](), "the results say otherwise: change the sentence"


# --- the pages -------------------------------------------------------------------------------------------------------

PAGES = [FRONT, PAGE, *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
PAGES += [ROOT / folder / "README.md" for folder in ("benchmarks", "exercises")]


def anchors(page):
    """What a link may name after the #: the headings as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_there_are(page):
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)(?: \"[^\"]*\")?\)|src=\"([^\"]+)\"", text)
    for file, _, anchor in ((one or other).partition("#") for one, other in links if "://" not in one):
        target = page.parent / file if file else page
        assert target.exists(), file
        assert not anchor or anchor in anchors(target), f"{file}#{anchor}"


def test_the_course_has_every_notebook():
    linked = set(re.findall(r"\]\((notebooks/\w+\.ipynb)\)", FRONT.read_text()))
    assert linked == {str(path.relative_to(ROOT)) for path in (ROOT / "notebooks").glob("*.ipynb")}


def test_the_first_page_is_short_and_its_lines_are_too():
    assert len(FRONT.read_text().splitlines()) < 200
    for page in (FRONT, PAGE):
        long = [line for line in page.read_text().splitlines() if len(line) > 120 and not line.startswith("|")]
        assert not long, long

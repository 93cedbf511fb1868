"""Intervals cover what they promise, and answers compare as VQA compares them."""

import math
import random
import re

import pytest
import torch

from minilmm.data.answers import exact_match, normalise_answer
from minilmm.evaluation.statistics import bootstrap_interval, paired_interval, student_t_central, student_t_quantile


def test_bootstrap_covers_the_truth_about_95_times_in_100():
    generator = torch.Generator().manual_seed(1)
    for rate in (0.5, 0.9):
        draws = (torch.rand(400, 100, generator=generator) < rate).float()
        intervals = [bootstrap_interval(row, seed=i, samples=500) for i, row in enumerate(draws)]
        covered = sum(low <= rate <= high for _, low, high in intervals) / len(intervals)
        assert (
            0.91 <= covered <= 0.98
        )  # 400 trials: .95 has a standard error of .011; the percentiles run a little short


def test_bootstrap_agrees_with_the_normal_interval_and_repeats():
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    mean, low, high = bootstrap_interval(values)
    assert mean == pytest.approx(values.mean().item())
    assert high - low == pytest.approx(2 * 1.96 * values.std().item() / math.sqrt(1000), rel=0.08)
    assert bootstrap_interval(values) == (mean, low, high)
    assert bootstrap_interval(values, seed=1) != (mean, low, high)
    assert bootstrap_interval(values, level=0.5).low > low
    assert bootstrap_interval([0.2, 0.2]) == pytest.approx((0.2, 0.2, 0.2))  # equal scores, not rates


@pytest.mark.parametrize("n", [1, 10, 100])
def test_all_right_and_all_wrong_keep_a_width(n):
    z2 = 1.959964**2
    assert bootstrap_interval(torch.ones(n)) == pytest.approx((1, n / (n + z2), 1), abs=1e-6)
    assert bootstrap_interval(torch.zeros(n)) == pytest.approx((0, 0, z2 / (n + z2)), abs=1e-6)


@pytest.mark.parametrize("values", [[], [[1.0, 0.0]], [1.0, float("nan")]])
def test_values_without_an_interval_are_refused(values):
    with pytest.raises(ValueError):
        bootstrap_interval(torch.tensor(values))


@pytest.mark.parametrize(
    ("dof", "level", "table"),
    [(1, 0.95, 12.706), (2, 0.95, 4.303), (3, 0.95, 3.182), (4, 0.95, 2.776), (5, 0.99, 4.032), (9, 0.95, 2.262),
     (10, 0.9, 1.812), (29, 0.95, 2.045), (30, 0.99, 2.750), (120, 0.95, 1.980), (1, 0.99, 63.657)],
)  # fmt: skip
def test_student_t_matches_the_tables(dof, level, table):
    assert student_t_quantile(level, dof) == pytest.approx(table, abs=6e-4)
    assert student_t_central(student_t_quantile(level, dof), dof) == pytest.approx(level)


def test_paired_interval():
    mean, low, high = paired_interval([0.1, 0.2, 0.3])
    assert mean == pytest.approx(0.2)
    assert (low, high) == pytest.approx((0.2 - 4.3027 * 0.1 / 3**0.5, 0.2 + 4.3027 * 0.1 / 3**0.5), abs=1e-4)
    draws = torch.randn(2000, 5, generator=torch.Generator().manual_seed(0))
    covered = sum(low <= 0 <= high for _, low, high in map(paired_interval, draws)) / len(draws)
    assert covered == pytest.approx(0.95, abs=0.015)
    with pytest.raises(ValueError, match="at least 2"):
        paired_interval([0.1])


@pytest.mark.parametrize(
    ("given", "normal"),
    [("A Red Circle.", "red circle"), ("blue . <EOC>", "blue"), ("  yes,\nit's the one!", "yes it's 1"),
     ("a", "a"), ("c a b", "c b"), ("3.5 metres", "3.5 metres"), ("1,000", "1000"),
     ("red/blue_green", "red blue green"), ("...", ""), ("theatre", "theatre")],
)  # fmt: skip
def test_normalise_answer(given, normal):
    assert normalise_answer(given) == normal
    assert normalise_answer(normal) == normal


def vqa_reference(text):
    """The rules of VQA's evaluation (processPunctuation, then processDigitArticle), sign by sign, word by word."""
    text = text.replace("\n", " ").replace("\t", " ").strip()
    out = text
    for sign in ';/[]"{}()=+\\_-><@`,?!':
        drop = (sign + " " in text) or (" " + sign in text) or (re.search(r"(\d)(\,)(\d)", text) is not None)
        out = out.replace(sign, "" if drop else " ")
    out = re.sub(r"(?!<=\d)(\.)(?!\d)", "", out)
    numbers = {"none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6",
               "seven": "7", "eight": "8", "nine": "9", "ten": "10"}  # fmt: skip
    words = [numbers.get(word, word) for word in out.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ("a", "an", "the"))


TABLE = """
aint=ain't arent=aren't cant=can't couldve=could've couldnt=couldn't couldn'tve=couldn't've couldnt've=couldn't've
didnt=didn't doesnt=doesn't dont=don't hadnt=hadn't hadnt've=hadn't've hadn'tve=hadn't've hasnt=hasn't
havent=haven't hed=he'd hed've=he'd've he'dve=he'd've hes=he's howd=how'd howll=how'll hows=how's isnt=isn't itd=it'd
itd've=it'd've it'dve=it'd've itll=it'll let's=let's maam=ma'am mightnt=mightn't mightnt've=mightn't've
mightn'tve=mightn't've mightve=might've mustnt=mustn't mustve=must've neednt=needn't notve=not've oclock=o'clock
oughtnt=oughtn't ow's'at='ow's'at 'ows'at='ow's'at 'ow'sat='ow's'at shant=shan't shed've=she'd've she'dve=she'd've
she's=she's shouldve=should've shouldnt=shouldn't shouldnt've=shouldn't've shouldn'tve=shouldn't've
somebody'd=somebodyd somebodyd've=somebody'd've somebody'dve=somebody'd've somebodyll=somebody'll somebodys=somebody's
someoned=someone'd someoned've=someone'd've someone'dve=someone'd've someonell=someone'll someones=someone's
somethingd=something'd somethingd've=something'd've something'dve=something'd've somethingll=something'll thats=that's
thered=there'd thered've=there'd've there'dve=there'd've therere=there're theres=there's theyd=they'd
theyd've=they'd've they'dve=they'd've theyll=they'll theyre=they're theyve=they've twas='twas wasnt=wasn't
wed've=we'd've we'dve=we'd've weve=we've werent=weren't whatll=what'll whatre=what're whats=what's whatve=what've
whens=when's whered=where'd wheres=where's whereve=where've whod=who'd whod've=who'd've who'dve=who'd've wholl=who'll
whos=who's whove=who've whyll=why'll whyre=why're whys=why's wont=won't wouldve=would've wouldnt=wouldn't
wouldnt've=wouldn't've wouldn'tve=wouldn't've yall=y'all yall'll=y'all'll y'allll=y'all'll yall'd've=y'all'd've
y'alld've=y'all'd've y'all'dve=y'all'd've youd=you'd youd've=you'd've you'dve=you'd've youll=you'll youre=you're
youve=you've
"""
PLAIN = """
two None ZERO ten eleven a An the cat U.S.A. p.m. 3.5 5. .5 1,000 1,2,3 50% $5 c# c++ 12:30 t-shirt it's its lets x,y
a.b No. red/blue snow_man - .. ? ! (yes) [no] {x} = \\ < > @ ` ' "so" & * é Ⅻ
"""
CONTRACTIONS = dict(pair.split("=") for pair in TABLE.split())


def test_answers_are_normalised_as_vqa_does_it():
    """20,000 random answers. Where ours differs on purpose: answers of articles alone, and one contraction that VQA
    writes the other way round, which makes the same answers equal.
    """
    draw, compared = random.Random(0), 0
    pieces = [*CONTRACTIONS, *CONTRACTIONS.values(), *PLAIN.split(), "\n", "\t"]
    for _ in range(20_000):
        text = draw.choice(["", " "]).join(
            piece + draw.choice(["", " ", " ", ", ", ". ", "-", "!"])
            for piece in draw.choices(pieces, k=draw.choice([1, 2, 3, 5]))
        )
        text = re.sub(r"<\w+>", "", text)  # ours takes special tokens out
        expected, mine = vqa_reference(text), normalise_answer(text)
        assert normalise_answer(mine) == mine, text
        if expected:
            compared += 1
            assert ["somebodyd" if word == "somebody'd" else word for word in mine.split()] == expected.split(), text
        else:
            assert set(mine.split()) <= {"a", "an", "the"}, text
    assert compared > 18_000


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("two", "2", True), ("None", "0", True), ("U.S.A.", "USA", True), ("5 p.m.", "5 pm", True), ("A", "a.", True),
     ("dont", "don't", True), ("don’t", "dont", True), ("The", "the", True), ("a a cat", "cat", True),
     ("A", "b", False), ("50%", "50", False), ("$5", "5", False), ("c#", "c", False), ("12:30", "12 30", False),
     ("its", "it's", False)],
)  # fmt: skip
def test_what_counts_as_one_answer(one, other, same):
    assert bool(exact_match([one], [other])[0]) is same and bool(exact_match([other], [one])[0]) is same


def test_exact_match():
    assert exact_match(["The dax.", "dax dax", ""], ["dax", "dax", "no"]).tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match="2 predictions for 1"):
        exact_match(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="empty once normalised"):
        exact_match(["."], ["."])

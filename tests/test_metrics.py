"""Intervals cover what they promise, and answers compare as VQA compares them."""

import math

import pytest
import torch

from minilmm.metrics import (
    bootstrap_interval,
    exact_match,
    normalise_answer,
    paired_interval,
    student_t_central,
    student_t_quantile,
)


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
    [("A Red Circle.", "red circle"), ("blue . <EOC>", "blue"), ("  yes,\nit's the one!", "yes its one"),
     ("a", "a"), ("c a b", "c a b"), ("3.5 metres", "3.5 metres"), ("1,000", "1000"),
     ("red/blue_green", "red blue green"), ("...", ""), ("theatre", "theatre")],
)  # fmt: skip
def test_normalise_answer(given, normal):
    assert normalise_answer(given) == normal
    assert normalise_answer(normal) == normal


def test_exact_match():
    assert exact_match(["The dax.", "dax dax", ""], ["dax", "dax", "no"]).tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match="2 predictions for 1"):
        exact_match(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="empty once normalised"):
        exact_match(["."], ["."])

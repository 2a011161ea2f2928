"""Intervals and paired tests against SciPy and by hand."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from recon3d.errors import ShapeError
from recon3d.evaluation.statistics import compare_pairs, holm, sign_flip_p, summarise


def test_interval_of_a_mean_is_students() -> None:
    values = np.random.default_rng(0).normal(3, 1, 12)
    found = summarise(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.count, found.mean, found.std) == pytest.approx((12, values.mean(), values.std(ddof=1)))


def test_intervals_cover_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    hits = [s.low <= 2.0 <= s.high for s in (summarise(rng.normal(2, 5, 4)) for _ in range(1000))]
    assert 0.93 < np.mean(hits) < 0.97


def test_one_volume_has_no_interval_and_infinite_values_no_spread() -> None:
    assert math.isnan(summarise([0.9]).low)
    found = summarise([40.0, math.inf])
    assert (found.mean, math.isnan(found.low)) == (math.inf, True)
    with pytest.raises(ShapeError):
        summarise([])


@pytest.mark.parametrize("n", [2, 5, 9])
def test_sign_flips_against_every_assignment(n: int) -> None:
    d = np.random.default_rng(n).normal(0.4, 1, n)
    sums = [abs(np.dot(s, d)) for s in product((1, -1), repeat=n)]
    assert sign_flip_p(d) == pytest.approx(np.mean(np.array(sums) >= abs(d.sum()) - 1e-12))


def test_sign_flips_beyond_sixteen_are_random_but_repeatable() -> None:
    d = np.random.default_rng(3).normal(0.3, 1, 40)
    p = sign_flip_p(d)
    assert p == sign_flip_p(d)
    assert p == pytest.approx(stats.ttest_1samp(d, 0).pvalue, rel=0.15)
    assert sign_flip_p(np.ones(40)) == pytest.approx(1 / 100_001)


def test_equal_methods_are_equal() -> None:
    assert sign_flip_p([0.0, 0.0, 0.0]) == 1.0
    assert sign_flip_p([1.0, 2.0, 3.0]) == 0.25  # the least that three volumes can give
    assert math.isnan(sign_flip_p([1.0]))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, math.nan, 0.6])[0::2] == pytest.approx([1.0, 1.0])


def test_pairs_use_the_volumes_that_both_have() -> None:
    values = {"a": {"1": 1.0, "2": 2.0, "3": 9.0}, "b": {"1": 0.5, "2": 1.0, "4": 7.0}, "c": {"5": 0.0}}
    (pair,) = compare_pairs(values)
    assert (pair.first, pair.second, pair.difference.count, pair.p) == ("a", "b", 2, 0.5)
    assert pair.difference.mean == pytest.approx(0.75)

"""The search: it finds the least score of functions that fall and rise, and says what it tried."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon3d.tuning.search import PRECISION, Range, best, minimise

WEIGHT = {"weight": Range(1e-5, 1e-1)}


@given(optimum=st.floats(1e-5, 1e-1), power=st.sampled_from([0.5, 1.0, 2.0]))
def test_one_setting_is_found_to_the_precision(optimum: float, power: float) -> None:
    trials = minimise(lambda s: abs(math.log(s["weight"] / optimum)) ** power, WEIGHT, {"weight": 1e-3})
    assert abs(math.log(best(trials).settings["weight"] / optimum)) <= math.log(PRECISION) + 0.006
    assert len(trials) <= 17
    assert trials[0].settings == {"weight": 1e-3}


def test_two_settings_that_pull_at_each_other() -> None:
    def score(s: Mapping[str, float]) -> float:
        a, b = math.log(s["a"] / 0.01), math.log(s["b"] / 3.0)
        return a * a + b * b + 0.6 * a * b

    found = best(minimise(score, {"a": Range(1e-4, 1.0), "b": Range(0.1, 100.0)}, {"a": 1e-4, "b": 0.1})).settings
    assert found["a"] == pytest.approx(0.01, rel=0.3)
    assert found["b"] == pytest.approx(3.0, rel=0.3)


def test_whole_numbers_and_ends_of_ranges() -> None:
    steps = Range(2, 100, whole=True)
    trials = minimise(lambda s: abs(s["steps"] - 17), {"steps": steps}, {"steps": 20})
    assert best(trials).settings["steps"] in (16, 17, 18)
    assert all(t.settings["steps"] == int(t.settings["steps"]) for t in trials)
    assert len({t.settings["steps"] for t in trials}) == len(trials)  # nothing is tried twice
    beyond = best(minimise(lambda s: s["weight"], WEIGHT, {"weight": 1e-3})).settings["weight"]
    assert WEIGHT["weight"].at_end(beyond)
    assert not WEIGHT["weight"].at_end(1e-3)


def test_nan_is_the_worst_and_a_range_needs_two_positive_ends() -> None:
    trials = minimise(lambda s: math.nan if s["weight"] > 1e-3 else -s["weight"], WEIGHT, {"weight": 1e-2})
    assert best(trials).settings["weight"] <= 1e-3
    with pytest.raises(ValueError, match="from a positive number to a larger one, got 0, 1"):
        Range(0, 1)

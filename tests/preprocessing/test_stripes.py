"""Stripes put onto a known sinogram and taken off again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.preprocessing.stripes import outliers, remove_dead, remove_narrow, remove_stripes, remove_wide

ANGLES = np.deg2rad(np.arange(180.0))


def error(result: Any, truth: Any, columns: Any) -> float:
    return float(np.abs(result - truth)[:, columns].mean())


def test_outliers_are_what_stands_out_of_the_line() -> None:
    values = np.linspace(0, 1, 50)
    values[7] = 9.0
    assert np.flatnonzero(outliers(values, 3.0)).tolist() == [7]
    assert not outliers(np.linspace(0, 1, 50), 3.0).any()
    with pytest.raises(InputError, match="8 columns"):
        outliers(np.zeros(5), 3.0)


def test_a_narrow_stripe_is_sorted_away(discs: Callable[..., Any]) -> None:
    truth = discs(128, ANGLES, 63.0)[:, 0]
    striped = truth.copy()
    striped[:, 50] += 0.2
    assert error(remove_narrow(striped, 11), truth, 50) < 0.03


def test_a_wide_stripe_is_levelled(discs: Callable[..., Any]) -> None:
    truth = discs(256, ANGLES, 127.0)[:, 0]
    noise = 0.005 * np.random.default_rng(0).standard_normal(truth.shape)
    striped = (truth + noise).astype(np.float32)
    striped[:, 60:66] += 0.5
    assert error(remove_wide(striped, 3.0, 51), truth, slice(60, 66)) < 0.05


def test_a_dead_column_is_bridged(discs: Callable[..., Any]) -> None:
    truth = discs(128, ANGLES, 63.0)[:, 0] + 0.01 * np.random.default_rng(0).standard_normal((180, 128))
    truth = truth.astype(np.float32)
    broken = truth.copy()
    broken[:, 70] = np.random.default_rng(1).uniform(0, 3, 180)
    assert error(remove_dead(broken, 3.0, 31), truth, 70) < 0.1  # of 1.5


def test_all_stripes_go_and_what_is_clean_stays(discs: Callable[..., Any]) -> None:
    truth = discs(256, ANGLES, 127.0)
    striped = truth.copy()
    rng = np.random.default_rng(2)
    striped += 0.03 * rng.standard_normal(256).astype(np.float32)  # gains that differ from column to column
    before = np.abs(striped - truth).mean()
    after = np.abs(remove_stripes(striped) - truth).mean()
    assert after < 0.6 * before
    assert np.abs(remove_stripes(truth) - truth).mean() < 0.02 * truth.max()

from __future__ import annotations

import numpy as np
import pytest

from recon3d.errors import ShapeError
from recon3d.evaluation.coverage import calibration_factor, coverage


def test_normal_errors_are_covered_as_often_as_is_said() -> None:
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.5, 2.0, 40_000)
    error = spread * rng.standard_normal(spread.size)
    assert coverage(error, spread) == pytest.approx(0.9, abs=5 * np.sqrt(0.09 / spread.size))
    assert calibration_factor([(error, spread / 3)]) == pytest.approx(3.0, rel=0.02)


def test_the_factor_gives_the_level_on_the_cases_it_comes_from() -> None:
    rng = np.random.default_rng(1)
    cases = [(rng.standard_t(3, n), rng.uniform(0.1, 1.0, n)) for n in (500, 5000)]
    factor = calibration_factor(cases)
    shares = [coverage(error, factor * spread) for error, spread in cases]
    assert np.mean(shares) == pytest.approx(0.9, abs=0.002)  # cases count alike, whatever their size


def test_a_spread_of_zero_covers_only_what_is_exact() -> None:
    error, spread = np.array([0.0, 1.0, -1.0, 0.5]), np.array([0.0, 0.0, 1.0, 1.0])
    assert coverage(error, spread) == 0.75
    assert calibration_factor([(error, spread)]) == np.inf
    with pytest.raises(ShapeError, match="for each voxel"):
        coverage(np.zeros(3), np.zeros(2))

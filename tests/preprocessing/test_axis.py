"""The rotation axis found on discs where it is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.preprocessing.axis import find_axis, find_tilt, untilted


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("arc", [180.0, 360.0])
@pytest.mark.parametrize("axis", [48.75, 60.3, 70.0])
def test_the_axis_is_found_to_a_tenth_of_a_pixel(
    discs: Callable[..., Any], axis: float, arc: float, noise: float
) -> None:
    angles = np.deg2rad(np.arange(90) * arc / 90)
    data = discs(128, angles, axis)
    data = data + noise * np.random.default_rng(1).standard_normal(data.shape).astype(np.float32)
    assert abs(find_axis(data, angles) - axis) < 0.1


def test_a_wide_detector_is_searched_on_coarse_columns_first(discs: Callable[..., Any]) -> None:
    angles = np.deg2rad(np.arange(90) * 2.0)
    data = np.repeat(discs(128, angles, 60.0), 5, axis=2)  # column c becomes columns 5 c ... 5 c + 4
    assert abs(find_axis(data, angles) - 302.0) < 0.5


def test_a_tilt_is_found_and_turned_back(discs: Callable[..., Any]) -> None:
    angles = np.deg2rad(np.arange(120) * 3.0)
    rows = np.arange(21)
    data = discs(128, angles, 62.0 + 0.05 * (rows - 10))
    column, tilt = find_tilt(data, angles)
    assert abs(column - 62.0) < 0.1
    assert abs(np.tan(tilt) - 0.05) < 0.005
    _, left = find_tilt(untilted(data, tilt, column)[:, 4:-4], angles)
    assert abs(np.tan(left)) < 0.01


def test_too_short_an_arc_is_refused(discs: Callable[..., Any]) -> None:
    angles = np.deg2rad(np.arange(90.0))
    with pytest.raises(InputError, match="half a turn"):
        find_axis(discs(64, angles, 30.0), angles)

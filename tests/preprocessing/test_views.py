"""Order, repetition, units and opposite views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.preprocessing.views import angles_rad, full_to_half_turn, opposite, sort_views


@pytest.mark.parametrize(
    ("angles", "unit", "factor", "guessed"),
    [
        (np.arange(180.0), "deg", np.pi / 180, False),
        (np.arange(180.0), None, np.pi / 180, True),
        (np.arange(180) * np.pi / 180, "deg", 1.0, True),
        (np.arange(90) * np.pi / 45, None, 1.0, True),
        (np.arange(90.0) * 4, "rad", np.pi / 180, True),
        (np.arange(30.0), "deg", np.pi / 180, False),  # a limited arc stays what it is said to be
    ],
)
def test_units_of_angles(angles: Any, unit: str | None, factor: float, guessed: bool) -> None:
    found, notes = angles_rad(angles, unit)
    np.testing.assert_allclose(found, angles * factor)
    assert bool(notes) == guessed


def test_views_are_sorted_and_repeated_ones_averaged_or_dropped() -> None:
    angles = np.deg2rad([90.0, 0.0, 360.0, 180.0])
    data = np.array([3.0, 1.0, 2.0, 5.0])[:, None, None] * np.ones((4, 2, 3))
    for repeated, values in (("keep", [1, 3, 5, 2]), ("average", [1.5, 3, 5]), ("drop", [1, 3, 5])):
        result, turned, _ = sort_views(data, angles, repeated)
        np.testing.assert_array_equal(result[:, 0, 0], values)
        np.testing.assert_allclose(turned, np.deg2rad([0, 90, 180, 360])[: len(values)])


def test_opposite_views_of_a_full_turn_are_interpolated(discs: Callable[..., Any]) -> None:
    angles = np.deg2rad(np.arange(45) * 8.0)  # an odd number: every opposite lies between two views
    data = discs(128, angles, 63.5)
    there, mirrored = opposite(data, angles)
    assert there.all()
    assert np.abs(mirrored[..., ::-1] - data).mean() < 0.02 * data.max()


def test_a_full_turn_with_the_axis_aside_becomes_half_a_turn_of_the_whole_object(discs: Callable[..., Any]) -> None:
    angles = np.deg2rad(np.arange(360.0))
    narrow = discs(128, angles, 64.0)[..., 50:]  # the axis on column 14 of 78: half the object is never in sight
    joined, half, axis = full_to_half_turn(narrow, angles, 14.0)
    assert joined.shape == (180, 1, 127)
    assert len(half) == 180
    assert axis == 63.0
    np.testing.assert_allclose(joined, discs(128, half, 64.0)[..., 1:], atol=2e-3)


def test_half_a_turn_cannot_be_joined(discs: Callable[..., Any]) -> None:
    angles = np.deg2rad(np.arange(180.0))
    with pytest.raises(InputError, match="full turn"):
        full_to_half_turn(discs(128, angles, 60.0), angles, 60.0)

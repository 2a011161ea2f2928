"""A scan refuses what no physics could use."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recon3d.errors import InputError, ReconError, ShapeError
from recon3d.grid import AffineGrid
from recon3d.scan import Scan

GRID = AffineGrid.centred((1, 3, 3), 1.0)


def scan(data: Any, axes: tuple[str, ...] = ("view", "column")) -> Scan:
    return Scan("test", data, axes, {}, GRID, name="knee")


@pytest.mark.parametrize(
    ("data", "fault", "said"),
    [
        (np.zeros((0, 3)), InputError, "no data"),
        ((), InputError, "no data"),
        ((np.zeros((2, 3)), np.zeros((0, 3))), InputError, "no data"),
        (np.zeros(3), ShapeError, r"2 dimensions, got shape \(3,\)"),
        (np.array([[1.0, np.nan], [np.inf, 2.0]]), InputError, "2 NaN or infinite"),
        (np.array([[1.0 + 1j * np.nan]]), InputError, "1 NaN or infinite"),
        ((np.ones((1, 1)), np.full((2, 2), np.nan)), InputError, "4 NaN or infinite"),
        (np.array([["a"]]), InputError, "numbers"),
    ],
)
def test_faults_name_the_scan(data: Any, fault: type[ReconError], said: str) -> None:
    with pytest.raises(fault, match=said) as caught:
        scan(data)
    if fault is InputError:
        assert "'knee'" in str(caught.value)


def test_blocks_are_the_data_either_way() -> None:
    one = scan(np.ones((2, 3)))
    assert len(one.blocks) == 1
    assert one.blocks[0] is one.data
    ragged = scan((np.ones((2, 3)), np.ones((1, 5))))
    assert [b.shape for b in ragged.blocks] == [(2, 3), (1, 5)]
    assert repr(ragged) == "Scan(test 'knee', ('view', 'column') (2, 3), (1, 5))"


def test_lists_become_arrays() -> None:
    assert isinstance(scan([[1.0, 2.0]]).data, np.ndarray)
    assert isinstance(scan(([[1.0]], [[2.0]])).data[0], np.ndarray)


def test_another_grid() -> None:
    other = AffineGrid.centred((1, 5, 5), 0.6)
    moved = scan(np.ones((2, 3))).on(other)
    assert moved.grid == other
    assert moved.name == "knee"

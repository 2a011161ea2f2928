"""Wide holes of a mask, and copies of them punched among recorded traces: their size, their place, what they leave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from operators.seismic import trace_mask
from recon3d.solvers.holes import ENOUGH, MOST, punched_holes, wide_gaps


def mask_without(shape: tuple[int, int], *holes: tuple[slice, slice]) -> Tensor:
    live = torch.ones(shape, dtype=torch.bool)
    for hole in holes:
        live[hole] = False
    return live


def test_wide_gaps_are_holes_of_five() -> None:
    live = mask_without((12, 12), np.s_[2:6, :])  # four lines
    assert not wide_gaps(live).any()
    live[6] = False
    assert torch.equal(wide_gaps(live), ~live)
    live = mask_without((12, 12), np.s_[9:, 9:])  # three by three, at a corner: what lies outside is missing, too
    assert torch.equal(wide_gaps(live), ~live)


def test_a_hole_is_punched_whole_where_there_is_room() -> None:
    live = mask_without((40, 40), np.s_[4:14, 6:14])
    hidden = punched_holes(live)
    rows, columns = torch.nonzero(hidden.any(1)).flatten(), torch.nonzero(hidden.any(0)).flatten()
    assert (len(rows), len(columns)) == (10, 8)
    assert hidden.sum() == 80
    assert not (hidden & ~live).any()


@pytest.mark.parametrize("corner", [np.s_[:8, :12], np.s_[16:, :12], np.s_[16:, 8:]])
def test_a_corner_is_copied_to_a_corner(corner: tuple[slice, slice]) -> None:
    """Inside the survey four sides would tell what two have to at a corner."""
    hidden = punched_holes(mask_without((24, 20), corner))
    assert hidden.sum() >= 64  # two corners may overlap
    where = torch.nonzero(hidden)
    low, high = where.amin(0).tolist(), where.amax(0).tolist()
    assert low[0] == 0 or high[0] == 23
    assert low[1] == 0 or high[1] == 19


@pytest.mark.parametrize("family", ["gap", "lines", "block"])
@pytest.mark.parametrize("missing", [0.5, 0.7])
def test_copies_hide_recorded_traces_and_leave_enough(family: str, missing: float) -> None:
    live = torch.from_numpy(trace_mask(family, (48, 48), missing, np.random.default_rng(4)))
    hidden = punched_holes(live)
    assert hidden.any()
    assert not (hidden & ~live).any()
    assert hidden.sum() <= MOST * live.sum()
    assert torch.equal(hidden, punched_holes(live))


def test_nothing_is_punched_without_a_wide_gap() -> None:
    assert not punched_holes(mask_without((12, 12), np.s_[3:5, :])).any()
    assert not punched_holes(torch.zeros((8, 8), dtype=torch.bool)).any()
    assert 0 < ENOUGH < MOST < 1

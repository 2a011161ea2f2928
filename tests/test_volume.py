"""A volume keeps its place, its unit and its history."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.errors import ShapeError
from recon3d.grid import AffineGrid, SurveyGrid
from recon3d.volume import Volume

GRID = AffineGrid.centred((2, 3, 5), (3.0, 2.0, 1.0))


def test_with_data_keeps_everything_else() -> None:
    volume = Volume(np.zeros((2, 3, 5)), GRID, units="HU", tags={"modality": "CT"})
    other = volume.with_data(np.ones((2, 3, 5), np.float32))
    assert (other.grid, other.units, other.tags) == (GRID, "HU", {"modality": "CT"})
    assert other.data.dtype == np.float32
    assert volume.with_data(volume.data, units="1/mm").units == "1/mm"
    assert volume.voxel_mm == (3.0, 2.0, 1.0)
    assert not volume.data.any()


def test_series_and_complex_numbers() -> None:
    series = Volume(np.zeros((4, 2, 3, 5), np.complex64), GRID, times_s=[0.0, 0.5, 1.0, 2.5])  # type: ignore[arg-type]
    assert series.shape == (4, 2, 3, 5)
    assert series.times_s == (0.0, 0.5, 1.0, 2.5)
    assert repr(series) == "Volume((4, 2, 3, 5) complex64, 1, AffineGrid)"


@pytest.mark.parametrize("shape", [(3, 5), (5, 3, 2), (2, 3, 5, 1), (1, 1, 2, 3, 5)])
def test_data_that_do_not_fit_the_grid(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"grid of shape \(2, 3, 5\)"):
        Volume(np.zeros(shape), GRID)


def test_times_are_those_of_frames() -> None:
    with pytest.raises(ShapeError, match="one time per frame"):
        Volume(np.zeros((4, 2, 3, 5)), GRID, times_s=(0.0, 1.0))
    with pytest.raises(ShapeError, match="one time per frame"):
        Volume(np.zeros((2, 3, 5)), GRID, times_s=(0.0, 1.0))


def test_only_numbers() -> None:
    with pytest.raises(ShapeError, match="numbers"):
        Volume(np.full((2, 3, 5), "a"), GRID)


def test_a_survey_has_no_voxel_lengths() -> None:
    survey = SurveyGrid((2, 3, 5), (1, 1), (1, 1), (0.0, 0.0), (12.5, 0.0), (0.0, 12.5), 0.0, 0.004)
    with pytest.raises(ShapeError, match="SurveyGrid"):
        _ = Volume(np.zeros((2, 3, 5)), survey).voxel_mm

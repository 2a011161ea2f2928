"""Scans of CT become projectors; views and grids are chosen in the scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from operators.tomography import Projector, TomographyGeometry
from recon3d.acquisitions import acquisition_for, is_stack_of_slices, on_grid, select_views, water_attenuation_per_mm
from recon3d.errors import GeometryError, InputError
from recon3d.grid import AffineGrid, SurveyGrid
from recon3d.problem import problem_for
from recon3d.scan import Scan

GRID = AffineGrid.centred((2, 9, 11), (3.0, 1.0, 1.0))


def ct_scan(angles_deg: np.ndarray, grid: AffineGrid = GRID) -> Scan:
    geometry = TomographyGeometry.parallel(
        np.deg2rad(angles_deg), 17, 1.0, n_rows=grid.shape[0], row_mm=grid.voxel_mm[0]
    )
    data = np.random.default_rng(0).random(geometry.shape, dtype=np.float32)
    return Scan("ct", data, ("view", "row", "column"), geometry.to_dict(), grid, units="1/mm", name="knee")


TURN = ct_scan(np.arange(0.0, 180.0, 7.5))


@pytest.mark.parametrize(
    ("choice", "kept"),
    [
        ({"every": 12}, [0, 12]),
        ({"arc_deg": 30.0}, [0, 1, 2, 3]),
        ({"start_deg": 15.0, "arc_deg": 15.0}, [2, 3]),
        ({"start_deg": 165.0}, [22, 23]),
        ({"every": 2, "arc_deg": 30.0}, [0, 2]),
    ],
)
def test_views_are_selected(choice: dict[str, float], kept: list[int]) -> None:
    part = select_views(TURN, **choice)  # type: ignore[arg-type]
    np.testing.assert_array_equal(part.data, TURN.data[kept])
    np.testing.assert_array_equal(part.acquisition["vectors"], TURN.acquisition["vectors"][kept])  # type: ignore[index]
    assert problem_for(part).y.shape[0] == len(kept)


def test_arcs_follow_the_gantry_either_way() -> None:
    """An arc is measured from the first view on as the gantry turned, through 360 degrees too."""
    for angles in (np.arange(350, 350 + 60, 10), np.arange(20, -40, -10)):
        part = select_views(ct_scan(angles), arc_deg=25.0)
        assert len(part.data) == 3


def test_noise_that_belongs_to_views_goes_with_them() -> None:
    weights = np.random.default_rng(1).random(TURN.data.shape) + 1  # type: ignore[union-attr]
    noisy = replace(TURN, noise={"weights": weights})
    np.testing.assert_array_equal(select_views(noisy, every=5).noise["weights"], weights[::5])
    assert select_views(replace(TURN, noise={"photons": 1e4}), every=5).noise == {"photons": 1e4}


def test_no_view_is_an_error_that_tells_the_range() -> None:
    with pytest.raises(InputError, match=r"covers 0.0 to 172.5 degrees, 200 to 210 were asked"):
        select_views(TURN, start_deg=200, arc_deg=10)
    with pytest.raises(InputError, match="of kind 'mri'"):
        select_views(replace(TURN, kind="mri"), every=2)


def test_a_moved_grid_shows_another_part_of_the_object() -> None:
    """A grid that is a crop of the scan's own must see what the whole sees there."""
    whole = problem_for(TURN, dtype=torch.float64)
    crop = AffineGrid((2, 4, 5), tuple(map(tuple, GRID.matrix @ shifted(x=5, y=1))))
    part = problem_for(on_grid(TURN, crop), dtype=torch.float64)
    image = torch.zeros(2, 9, 11, dtype=torch.float64)
    inside = torch.rand(2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    image[:, 1:5, 5:10] = inside
    torch.testing.assert_close(part.A(inside), whole.A(image))
    twice = problem_for(on_grid(on_grid(TURN, crop), GRID), dtype=torch.float64)
    torch.testing.assert_close(twice.A(image), whole.A(image))


def shifted(x: float, y: float) -> np.ndarray:
    step = np.eye(4)
    step[:2, 3] = x, y
    return step


def test_a_moved_grid_follows_the_patient_s_axes() -> None:
    """The scanner turns with the grid: positions are told along the voxel axes, not along the world's."""
    turned = np.diag([-1.0, -1.0, 1.0, 1.0])
    grid = AffineGrid(GRID.shape, tuple(map(tuple, turned @ GRID.matrix)))
    scan = ct_scan(np.arange(0.0, 180.0, 7.5), grid)
    crop = AffineGrid((2, 4, 5), tuple(map(tuple, grid.matrix @ shifted(x=5, y=1))))
    plain = AffineGrid((2, 4, 5), tuple(map(tuple, GRID.matrix @ shifted(x=5, y=1))))
    image = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(problem_for(on_grid(scan, crop)).A(image), problem_for(on_grid(TURN, plain)).A(image))
    with pytest.raises(GeometryError, match="parallel to the grid of 'knee'"):
        on_grid(TURN, grid)


def test_foreign_and_incomplete_scans() -> None:
    assert acquisition_for("ct") is not None
    with pytest.raises(InputError, match="'pet' are not understood: expected one of beamformed, ct"):
        acquisition_for("pet")
    lacking = {k: v for k, v in TURN.acquisition.items() if k not in ("vectors", "detector")}
    with pytest.raises(InputError, match="lacks vectors, detector"):
        problem_for(replace(TURN, acquisition=lacking))
    with pytest.raises(InputError, match="lacks vectors, detector"):
        select_views(replace(TURN, acquisition=lacking), every=2)
    survey = SurveyGrid((2, 9, 11), (1, 1), (1, 1), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), 0.0, 0.004)
    with pytest.raises(InputError, match="SurveyGrid"):
        problem_for(TURN.on(survey))


def test_ct_is_a_projector_over_the_grid() -> None:
    A = problem_for(TURN).A
    assert isinstance(A, Projector)
    assert A.domain.shape == GRID.shape
    assert is_stack_of_slices(TURN)


def test_water_follows_the_published_table() -> None:
    assert water_attenuation_per_mm(60.0) == pytest.approx(0.02059, rel=1e-6)
    assert water_attenuation_per_mm(70.0) == pytest.approx(0.0193, rel=0.01)
    with pytest.raises(InputError, match=r"between 20 and 500, got 5\b"):
        water_attenuation_per_mm(5.0)

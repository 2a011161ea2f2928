"""Grids keep world positions, whatever is cut, resampled or moved."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon3d.errors import GeometryError
from recon3d.grid import AffineGrid, BeamGrid, SurveyGrid

TILTED = AffineGrid(
    (5, 6, 7), ((-0.8, 0.1, 0.0, 30.0), (0.1, 0.9, -0.4, -20.0), (0.0, 0.3, 2.5, 7.0), (0.0, 0.0, 0.0, 1.0))
)

edges = st.floats(0.1, 5.0)
sides = st.integers(1, 9)


def world(grid: AffineGrid, z: float, y: float, x: float) -> np.ndarray:
    return (grid.matrix @ [x, y, z, 1.0])[:3]


@given(shape=st.tuples(sides, sides, sides), voxel_mm=st.tuples(edges, edges, edges))
def test_a_centred_grid_has_its_centre_at_the_origin(
    shape: tuple[int, int, int], voxel_mm: tuple[float, float, float]
) -> None:
    grid = AffineGrid.centred(shape, voxel_mm)
    assert grid.voxel_mm == pytest.approx(voxel_mm)
    assert grid.centre_mm == pytest.approx((0, 0, 0), abs=1e-9)
    first, last = world(grid, 0, 0, 0), world(grid, *(n - 1 for n in shape))
    np.testing.assert_allclose(first, -last, atol=1e-9)


def test_axes_of_the_affine_are_x_y_z() -> None:
    grid = AffineGrid.centred((2, 3, 4), (5.0, 2.0, 1.0))
    np.testing.assert_allclose(world(grid, 1, 2, 3) - world(grid, 0, 0, 0), [3 * 1.0, 2 * 2.0, 1 * 5.0])
    assert AffineGrid.centred((2, 3, 4), np.float32(0.5)).voxel_mm == (0.5, 0.5, 0.5)  # type: ignore[arg-type]


@given(start=st.integers(0, 4), length=st.integers(1, 5))
def test_a_slab_keeps_world_positions(start: int, length: int) -> None:
    stop = min(start + length, 5)
    slab = TILTED.slab(start, stop)
    assert slab.shape == (stop - start, 6, 7)
    np.testing.assert_allclose(world(slab, 0, 2, 3), world(TILTED, start, 2, 3))
    np.testing.assert_allclose(world(slab, stop - start - 1, 5, 0), world(TILTED, stop - 1, 5, 0))


@given(shape=st.tuples(sides, sides, sides))
def test_resampling_keeps_the_outer_faces(shape: tuple[int, int, int]) -> None:
    new = TILTED.resampled(shape)
    np.testing.assert_allclose(world(new, -0.5, -0.5, -0.5), world(TILTED, -0.5, -0.5, -0.5), atol=1e-9)
    ends, own = (n - 0.5 for n in shape), (n - 0.5 for n in TILTED.shape)
    np.testing.assert_allclose(world(new, *ends), world(TILTED, *own), atol=1e-9)
    assert new.centre_mm == pytest.approx(TILTED.centre_mm)


def test_voxel_lengths_are_rounded_to_whole_voxels() -> None:
    grid = AffineGrid.centred((4, 6, 10), (2.0, 1.0, 0.5))
    assert grid.with_voxel_mm(1.0).shape == (8, 6, 5)
    assert grid.with_voxel_mm((4.0, 0.5, 0.5)).voxel_mm == (4.0, 0.5, 0.5)
    assert grid.with_voxel_mm(100.0).shape == (1, 1, 1)
    assert grid.with_voxel_mm(grid.voxel_mm) == grid


def test_shear_is_told() -> None:
    assert TILTED.is_sheared
    assert not AffineGrid.centred((2, 2, 2), 1.0).is_sheared


def test_small_voxels_are_still_voxels() -> None:
    """A microscope's voxels of 0.1 micrometres have a determinant of 1e-12 mm^3."""
    assert AffineGrid.centred((2, 2, 2), 1e-5).voxel_mm == pytest.approx((1e-5,) * 3)


@pytest.mark.parametrize(
    "affine",
    [
        np.zeros((4, 4)),
        np.eye(3),
        np.diag([1.0, 1.0, np.nan, 1.0]),
        np.diag([1.0, 1.0, 0.0, 1.0]),
        np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0.5, 1.0]]),
    ],
)
def test_impossible_affines(affine: np.ndarray) -> None:
    with pytest.raises(GeometryError, match="invertible finite 4 x 4 affine"):
        AffineGrid((2, 2, 2), tuple(map(tuple, affine)))


def test_impossible_grids() -> None:
    for shape in [(2, 2), (0, 1, 1), (1, 2, 3, 4)]:
        with pytest.raises(GeometryError, match="three lengths"):
            AffineGrid.centred(shape, 1.0)
        with pytest.raises(GeometryError, match="three lengths"):
            TILTED.resampled(shape)
    for voxel_mm in [0.0, -1.0, (1.0, 2.0), (1.0, 0.0, 1.0), float("nan"), float("inf")]:
        with pytest.raises(GeometryError, match="positive"):
            AffineGrid.centred((2, 2, 2), voxel_mm)
        with pytest.raises(GeometryError, match="positive"):
            TILTED.with_voxel_mm(voxel_mm)
    for ends in [(-1, 2), (2, 2), (0, 6)]:
        with pytest.raises(GeometryError, match="slab lies inside"):
            TILTED.slab(*ends)
    with pytest.raises(GeometryError, match="survey"):
        SurveyGrid((1, 2, 0), (1, 1), (1, 1), (0, 0), (1, 0), (0, 1), 0.0, 0.004)
    with pytest.raises(GeometryError, match="step in s or m"):
        SurveyGrid((1, 2, 3), (1, 1), (1, 1), (0, 0), (1, 0), (0, 1), 0.0, 0.004, "ft")
    with pytest.raises(GeometryError, match="beam grid"):
        BeamGrid((1, 0, 3), (0, 0.1), (0, 0.2))
    with pytest.raises(GeometryError, match="depth step"):
        BeamGrid((1, 2, 3), (0, 0.1), (0, 0.0))


def test_grids_are_values() -> None:
    copy = AffineGrid([5, 6, 7], TILTED.matrix.tolist())  # type: ignore[arg-type]
    assert copy == TILTED
    assert hash(copy) == hash(TILTED)
    assert pickle.loads(pickle.dumps(TILTED)) == TILTED
    with pytest.raises(AttributeError):
        TILTED.shape = (1, 1, 1)  # type: ignore[misc]

import math

import numpy as np
import pytest
from numba import get_num_threads, set_num_threads

from operators.tomography import joseph
from operators.tomography.geometry import TomographyGeometry
from operators.tomography.grid import ImageGrid

GRID = ImageGrid((1, 5, 6), (1.0, 1.3, 0.8), (0.0, 0.4, -0.7))
ANGLES = np.array([0.0, 0.3, math.pi / 4, 1.4, math.pi / 2, 3.0, 5.1])
FAN = {"source_to_axis_mm": 9.0, "source_to_detector_mm": 15.0, "n_columns": 11, "column_mm": 1.6}
GEOMETRIES = {
    "parallel": TomographyGeometry.parallel(ANGLES, 11, 0.9, detector_offset_mm=0.2),
    "flat": TomographyGeometry.fan(ANGLES, **FAN, axis_shift_mm=0.3),
    "curved": TomographyGeometry.fan(ANGLES, **FAN, detector="curved", detector_offset_mm=-0.5),
}


def slow_joseph(geometry, grid):
    """The matrix (ray, pixel), one sample at a time in mm: the definition, not the implementation."""
    _, n_y, n_x = grid.shape
    _, y0, x0 = grid.first_voxel_mm
    _, h_y, h_x = grid.voxel_mm
    points, directions = (a.reshape(-1, 2) for a in geometry.rays())
    matrix = np.zeros((len(points), n_y, n_x))
    for ray, ((p_x, p_y), (d_x, d_y)) in enumerate(zip(points, directions, strict=True)):
        if abs(d_y) / h_y >= abs(d_x) / h_x:
            for iy in range(n_y):
                t = (y0 + iy * h_y - p_y) / d_y
                f = (p_x + t * d_x - x0) / h_x
                for ix in range(n_x):
                    matrix[ray, iy, ix] += max(0.0, 1.0 - abs(f - ix)) * h_y / abs(d_y)
        else:
            for ix in range(n_x):
                t = (x0 + ix * h_x - p_x) / d_x
                f = (p_y + t * d_y - y0) / h_y
                for iy in range(n_y):
                    matrix[ray, iy, ix] += max(0.0, 1.0 - abs(f - iy)) * h_x / abs(d_x)
    return matrix.reshape(len(points), n_y * n_x)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_matrix_is_the_slow_one(name):
    geometry = GEOMETRIES[name]
    n_pixels = GRID.shape[1] * GRID.shape[2]
    tables = joseph.ray_tables(geometry, GRID)
    unit = np.eye(n_pixels).reshape(n_pixels, 1, *GRID.shape[1:])
    projections = np.empty((n_pixels, geometry.n_views, 1, geometry.n_columns))
    joseph.project(unit, tables, projections)
    expected = slow_joseph(geometry, GRID)
    np.testing.assert_allclose(projections.reshape(n_pixels, -1).T, expected, atol=1e-12)
    assert np.count_nonzero(expected) > 2 * len(expected)

    rays = expected.shape[0]
    back = np.empty((rays, *GRID.shape))
    joseph.backproject(np.eye(rays).reshape(rays, geometry.n_views, 1, geometry.n_columns), tables, back)
    np.testing.assert_allclose(back.reshape(rays, -1), expected, atol=1e-12)


def test_a_wide_fan_marches_along_both_axes_in_one_view():
    tables = joseph.ray_tables(GEOMETRIES["flat"][1:3], GRID)
    assert set(tables.along_y.views) & set(tables.along_x.views)


@pytest.mark.usefixtures("many_threads")
def test_threads_change_no_bit():
    geometry = TomographyGeometry.fan(np.linspace(0, 6, 23), 60.0, 90.0, 31, 1.4)
    grid = ImageGrid((1, 27, 33))
    tables = joseph.ray_tables(geometry, grid)
    volume = np.random.default_rng(0).standard_normal((3, *grid.shape)).astype(np.float32)
    before = get_num_threads()
    results = []
    for threads in (1, min(2, before)):
        set_num_threads(threads)
        projections = np.empty((3, 23, 1, 31), np.float32)
        joseph.project(volume, tables, projections)
        back = np.empty_like(volume)
        joseph.backproject(projections, tables, back)
        results.append((projections, back))
    set_num_threads(before)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)

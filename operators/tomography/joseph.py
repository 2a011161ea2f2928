"""Joseph's projector and its exact transpose for rays in slices, on blocks of sixteen slices.

A ray marches along the image axis to which it is closer (in pixels): at each row it meets, it takes the two
neighbouring pixels with linear weights times the length of ray per row (Joseph, IEEE Trans. Med. Imaging 1, 1982).
Outside the image the object is zero. Rays that march along y and along x are two `RayTable`s with the same kernels;
the second sees the image with x and y exchanged, so that memory is read along rows in both.

The transpose visits the same samples, but each task owns a strip of image rows and alone writes to it: no atomics,
and the order of additions, hence every bit of the result, does not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from operators.tomography.geometry import TomographyGeometry
from operators.tomography.grid import ImageGrid
from operators.tomography.lanes import LANES, add_interpolated, empty_lanes, spread_interpolated

FloatArray = NDArray[np.float64]
FAST = {"contract", "reassoc", "nsz", "arcp"}

VIEWS_PER_TASK = 4
"""Views that one forward task carries through the image together: an image row is read from memory once for all."""
ROWS_PER_TASK = 8
"""Image rows of one transposed task: they stay in L2 while all views pass."""


class RayTable(NamedTuple):
    """Rays that march along one image axis: at row r they cross it at padded pixel index ``start + slope r``.

    views : (k,) indices of the views that have such rays
    start, slope : (k, column) float64; index 1 is the first pixel, rays of the other axis have start -1, slope 0
    """

    views: NDArray[np.int64]
    start: FloatArray
    slope: FloatArray


class RayTables(NamedTuple):
    """All rays of a geometry on a grid: the two tables, and `step_mm` (view, column), the length of ray per row."""

    along_y: RayTable
    along_x: RayTable
    step_mm: FloatArray


def ray_tables(geometry: TomographyGeometry, grid: ImageGrid) -> RayTables:
    """Where the rays of `geometry` cross the pixel rows and columns of `grid`."""
    point, direction = geometry.rays()
    pixel_mm = np.array((grid.voxel_mm[2], grid.voxel_mm[1]))
    point = (point - (grid.first_voxel_mm[2], grid.first_voxel_mm[1])) / pixel_mm
    direction = direction / pixel_mm
    marches_y = np.abs(direction[..., 1]) >= np.abs(direction[..., 0])
    step_mm = 1.0 / np.abs(direction).max(axis=2)
    along_y = _table(point[..., 0], point[..., 1], direction[..., 0], direction[..., 1], marches_y)
    along_x = _table(point[..., 1], point[..., 0], direction[..., 1], direction[..., 0], ~marches_y)
    return RayTables(along_y, along_x, step_mm)


def _table(
    across: FloatArray, along: FloatArray, d_across: FloatArray, d_along: FloatArray, own: NDArray[np.bool_]
) -> RayTable:
    views = np.flatnonzero(own.any(axis=1))
    own = own[views]
    slope = np.where(own, d_across[views] / np.where(own, d_along[views], 1.0), 0.0)
    start = np.where(own, across[views] - slope * along[views] + 1.0, -1.0)
    return RayTable(views, start, slope)


@njit(fastmath=FAST, cache=True)
def _project_views(image: Any, views: Any, start: Any, slope: Any, first: int, last: int, projections: Any) -> None:
    n_rows, n_padded = image.shape[0], image.shape[1]
    n_columns = projections.shape[1]
    one = image.dtype.type(1)
    for row in range(n_rows):
        for k in range(first, last):
            for column in range(n_columns):
                position = start[k, column] + slope[k, column] * row
                if 0.0 < position < n_padded - 1:
                    pixel = int(position)
                    weight = image.dtype.type(position - pixel)
                    ray = views[k] * n_columns + column
                    add_interpolated(projections, ray, image, row * n_padded + pixel, one - weight, weight)


@njit(parallel=True, cache=True)
def _project(image: Any, views: Any, start: Any, slope: Any, projections: Any) -> None:
    """Add to `projections` (view, column, lane) the sums through `image` (row, pixel, lane) along one table's rays."""
    n = views.size
    for task in prange((n + VIEWS_PER_TASK - 1) // VIEWS_PER_TASK):
        first = task * VIEWS_PER_TASK
        _project_views(image, views, start, slope, first, min(n, first + VIEWS_PER_TASK), projections)


@njit(fastmath=FAST, cache=True)
def _backproject_rows(projections: Any, views: Any, start: Any, slope: Any, first: int, last: int, image: Any) -> None:
    n_padded = image.shape[1]
    n_columns = projections.shape[1]
    one = image.dtype.type(1)
    for k in range(views.size):
        for row in range(first, last):
            for column in range(n_columns):
                position = start[k, column] + slope[k, column] * row
                if 0.0 < position < n_padded - 1:
                    pixel = int(position)
                    weight = image.dtype.type(position - pixel)
                    ray = views[k] * n_columns + column
                    spread_interpolated(image, row * n_padded + pixel, projections, ray, one - weight, weight)


@njit(parallel=True, cache=True)
def _backproject(projections: Any, views: Any, start: Any, slope: Any, image: Any) -> None:
    """Write to `image` the transpose of `_project`; its padding receives what falls outside."""
    n = image.shape[0]
    for task in prange((n + ROWS_PER_TASK - 1) // ROWS_PER_TASK):
        first = task * ROWS_PER_TASK
        last = min(n, first + ROWS_PER_TASK)
        image[first:last] = 0
        _backproject_rows(projections, views, start, slope, first, last, image)


@njit(parallel=True, cache=True)
def _load_image(volume: Any, first: int, image: Any, image_t: Any) -> None:
    """Slices from `first` of `volume` (slice, y, x) into the lanes of `image` (y, x + 2, lane) and its transpose."""
    n_slices, n_y, n_x = volume.shape
    lanes = min(LANES, n_slices - first)
    for y in prange(n_y):
        image[y] = 0
        for lane in range(lanes):
            for x in range(n_x):
                image[y, x + 1, lane] = volume[first + lane, y, x]
    for x in prange(n_x):
        image_t[x, 0] = 0
        image_t[x, n_y + 1] = 0
        for y in range(n_y):
            for lane in range(LANES):
                image_t[x, y + 1, lane] = image[y, x + 1, lane]


@njit(parallel=True, cache=True)
def _store_image(image: Any, image_t: Any, first: int, volume: Any) -> None:
    """The sum of `image` and its transposed partner into the slices from `first` of `volume`."""
    n_slices, n_y, n_x = volume.shape
    lanes = min(LANES, n_slices - first)
    for y in prange(n_y):
        for x in range(n_x):
            for lane in range(LANES):
                image[y, x + 1, lane] += image_t[x, y + 1, lane]
        for lane in range(lanes):
            for x in range(n_x):
                volume[first + lane, y, x] = image[y, x + 1, lane]


@njit(parallel=True, cache=True)
def load_projections(data: Any, first: int, scale: Any, block: Any) -> None:
    """Rows from `first` of `data` (batch, view, row, column) into `block` (view, column, lane), times a scale per ray.

    Rows are counted through all batches, as slices are.
    """
    n_batch, n_views, n_rows, n_columns = data.shape
    lanes = min(LANES, n_batch * n_rows - first)
    for view in prange(n_views):
        if lanes < LANES:
            block[view] = 0
        for lane in range(lanes):
            batch, row = divmod(first + lane, n_rows)
            for column in range(n_columns):
                block[view, column, lane] = data[batch, view, row, column] * scale[view, column]


@njit(parallel=True, cache=True)
def _store_projections(block: Any, first: int, scale: Any, data: Any) -> None:
    """The reverse of `load_projections`, with the same scale."""
    n_batch, n_views, n_rows, n_columns = data.shape
    lanes = min(LANES, n_batch * n_rows - first)
    for view in prange(n_views):
        for lane in range(lanes):
            batch, row = divmod(first + lane, n_rows)
            for column in range(n_columns):
                data[batch, view, row, column] = block[view, column, lane] * scale[view, column]


def _workspace(volume: NDArray[Any], tables: RayTables) -> tuple[NDArray[Any], ...]:
    """The slices of all volumes, the ray length per row, and room for an image, one transposed, and projections."""
    n_y, n_x = volume.shape[2:]
    step = tables.step_mm.astype(volume.dtype)
    image, image_t = (empty_lanes(n, m + 2, dtype=volume.dtype) for n, m in ((n_y, n_x), (n_x, n_y)))
    return volume.reshape(-1, n_y, n_x), step, image, image_t, empty_lanes(*step.shape, dtype=volume.dtype)


def project(volume: NDArray[Any], tables: RayTables, projections: NDArray[Any]) -> None:
    """Write the line integrals of `volume` (batch, z, y, x) to `projections` (batch, view, row, column).

    Both are contiguous and of one dtype, float32 or float64; slice z is seen by row z. Beside them it holds two images
    and one set of projections of sixteen slices.
    """
    slices, step, image, image_t, block = _workspace(volume, tables)
    for first in range(0, slices.shape[0], LANES):
        _load_image(slices, first, image, image_t)
        block[:] = 0
        _project(image, *tables.along_y, block)
        _project(image_t, *tables.along_x, block)
        _store_projections(block, first, step, projections)


def backproject(projections: NDArray[Any], tables: RayTables, volume: NDArray[Any]) -> None:
    """Write to `volume` (batch, z, y, x) the transpose of `project`, applied to `projections`."""
    slices, step, image, image_t, block = _workspace(volume, tables)
    for first in range(0, slices.shape[0], LANES):
        load_projections(projections, first, step, block)
        _backproject(block, *tables.along_y, image)
        _backproject(block, *tables.along_x, image_t)
        _store_image(image, image_t, first, slices)

"""Joseph's kernels for upright views, whose detector rows step along z and whose rays march along x or y.

All rays of a detector column lie over one line (x, y), so the interpolation across it is done once for the whole
column, and the rest is a line along z sampled at equal steps (`gather`). The image lies with z fastest for this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from operators.tomography.cone_rays import UprightViews
from operators.tomography.gather import LANES, add_samples, blend, spread_samples

FAST = {"contract", "reassoc", "nsz", "arcp"}

VIEWS_PER_TASK = 2
"""Views that one forward task carries through the image together: their accumulators stay in L2."""
TASK_BYTES = 1 << 20
"""Image planes of one transposed task: they stay in L2 while all views pass."""


def project_upright(volume: NDArray[Any], rays: UprightViews, projections: NDArray[Any]) -> None:
    """Write the line integrals of `volume` (z, y, x) along upright views into `projections` (view, row, column).

    Beside them it holds one padded copy of the image.
    """
    image = _empty_image(volume)
    _load_image(volume, image)
    _project(image, volume.shape[0], *rays, projections)


def backproject_upright(projections: NDArray[Any], rays: UprightViews, volume: NDArray[Any]) -> None:
    """Write to `volume` (z, y, x) the transpose of `project_upright`.

    Beside them it holds one padded copy of the image and one of the projections.
    """
    n_rows, n_columns = projections.shape[1:]
    values = np.empty((rays.views.size, n_columns, LANES * -(-(n_rows + 2) // LANES)), projections.dtype)
    _load_projections(projections, rays.views, rays.flipped, rays.lengths, values)
    image = _empty_image(volume)
    _backproject(values, n_rows, rays.columns, rays.heights, volume.shape[0], image)
    _store_image(image, volume)


def _empty_image(volume: NDArray[Any]) -> NDArray[Any]:
    n_z, n_y, n_x = volume.shape
    return np.empty((n_y + 2, n_x + 2, LANES * -(-n_z // LANES)), volume.dtype)


@njit(parallel=True, cache=True)
def _load_image(volume: Any, image: Any) -> None:
    """`volume` (z, y, x) into `image` (y + 2, x + 2, padded z), zero in the padding."""
    n_z, n_y, n_x = volume.shape
    for y in prange(n_y + 2):
        image[y] = 0
        if 0 < y <= n_y:
            for z in range(n_z):
                for x in range(n_x):
                    image[y, x + 1, z] = volume[z, y - 1, x]


@njit(parallel=True, cache=True)
def _store_image(image: Any, volume: Any) -> None:
    n_z, n_y, n_x = volume.shape
    for y in prange(n_y):
        for z in range(n_z):
            for x in range(n_x):
                volume[z, y, x] = image[y + 1, x + 1, z]


@njit(fastmath=FAST, cache=True)
def _project_views(
    image: Any, n_z: int, columns: Any, heights: Any, first: int, last: int, n_rows: int, line: Any, sums: Any
) -> None:
    """Add to `sums` (view, column, padded row) the samples of the views first..last, plane by plane."""
    n_y, n_x, n_padded = image.shape
    number = image.dtype.type
    top = number(LANES + n_z)
    for march_y in range(2):
        n_planes, n_across = (n_y, n_x) if march_y else (n_x, n_y)
        plane_step, across_step = (n_x * n_padded, n_padded) if march_y else (n_padded, n_x * n_padded)
        for plane in range(n_planes - 2):
            for view in range(first, last):
                height, row_step = heights[view, 0], heights[view, 1]
                for column in range(columns.shape[1]):
                    if columns[view, column, 0] != march_y:
                        continue
                    across = columns[view, column, 1] + columns[view, column, 2] * plane
                    if not 0.0 < across < n_across - 1:
                        continue
                    scale = columns[view, column, 3] + columns[view, column, 4] * plane
                    start = height + scale * columns[view, column, 5]
                    step = scale * row_step
                    row = max(0, int(np.floor((-1.0 - start) / step)))
                    end_row = min(n_rows, int(np.ceil((n_z - start) / step)) + 1)
                    if row >= end_row:
                        continue
                    row -= row % LANES
                    z = max(0, int(np.floor(start + step * row)) - 1)
                    end_z = min(n_z, int(np.floor(start + step * (end_row - 1))) + 3)
                    z -= z % LANES
                    pixel = int(across)
                    weight = number(across - pixel)
                    s = (plane + 1) * plane_step + pixel * across_step
                    for k in range(z, end_z, LANES):
                        blend(line, LANES + k, image, s + k, s + across_step + k, number(1) - weight, weight)
                    t = ((view - first) * columns.shape[1] + column) * sums.shape[2]
                    for r in range(row, end_row, LANES):
                        add_samples(sums, t + r, line, number(LANES + start + step * r), number(step), top)


@njit(cache=True)
def _step_mm(lengths: Any, view: int, column: int, row: int) -> Any:
    """Length of ray per plane."""
    rise = lengths[view, column, 1] + row * lengths[view, column, 2]
    return np.sqrt(lengths[view, column, 0] + rise * rise)


@njit(cache=True)
def _project_task(
    image: Any,
    n_z: int,
    views: Any,
    flipped: Any,
    columns: Any,
    heights: Any,
    lengths: Any,
    first: int,
    last: int,
    projections: Any,
) -> None:
    n_rows, n_columns = projections.shape[1:]
    line = np.zeros(image.shape[2] + 2 * LANES, image.dtype)
    sums = np.zeros((last - first, n_columns, LANES * ((n_rows + LANES - 1) // LANES)), image.dtype)
    _project_views(image, n_z, columns, heights, first, last, n_rows, line, sums)
    for view in range(first, last):
        for row in range(n_rows):
            target = n_rows - 1 - row if flipped[view] else row
            for column in range(n_columns):
                length = _step_mm(lengths, view, column, row)
                projections[views[view], target, column] = sums[view - first, column, row] * length


@njit(parallel=True, cache=True)
def _project(
    image: Any, n_z: int, views: Any, flipped: Any, columns: Any, heights: Any, lengths: Any, projections: Any
) -> None:
    """Write the line integrals of `image` along upright views into `projections` (view, row, column)."""
    for task in prange((views.size + VIEWS_PER_TASK - 1) // VIEWS_PER_TASK):
        first = task * VIEWS_PER_TASK
        last = min(views.size, first + VIEWS_PER_TASK)
        _project_task(image, n_z, views, flipped, columns, heights, lengths, first, last, projections)


@njit(parallel=True, cache=True)
def _load_projections(projections: Any, views: Any, flipped: Any, lengths: Any, rays: Any) -> None:
    """Upright views of `projections` (view, row, column) times ray length into `rays` (view, column, padded row)."""
    n_rows, n_columns = projections.shape[1:]
    for view in prange(views.size):
        rays[view] = 0
        for row in range(n_rows):
            target = n_rows - 1 - row if flipped[view] else row
            for column in range(n_columns):
                length = _step_mm(lengths, view, column, row)
                rays[view, column, row + 1] = projections[views[view], target, column] * length


@njit(fastmath=FAST, cache=True)
def _backproject_planes(
    rays: Any, n_rows: int, columns: Any, heights: Any, march_y: int, first: int, last: int, n_z: int, image: Any
) -> None:
    n_y, n_x, n_padded = image.shape
    number = image.dtype.type
    n_across = n_x if march_y else n_y
    plane_step, across_step = (n_x * n_padded, n_padded) if march_y else (n_padded, n_x * n_padded)
    for view in range(columns.shape[0]):
        height, row_step = heights[view, 0], heights[view, 1]
        for column in range(columns.shape[1]):
            if columns[view, column, 0] != march_y:
                continue
            s = (view * columns.shape[1] + column) * rays.shape[2] + 1
            for plane in range(first, last):
                across = columns[view, column, 1] + columns[view, column, 2] * plane
                if not 0.0 < across < n_across - 1:
                    continue
                scale = columns[view, column, 3] + columns[view, column, 4] * plane
                start = height + scale * columns[view, column, 5]
                step = scale * row_step
                z = max(0, int(np.floor(start)))
                end_z = min(n_z, int(np.ceil(start + step * (n_rows - 1))) + 1)
                z -= z % LANES
                count = int(np.ceil(2.0 / step + 1e-3))
                pixel = int(across)
                weight = number(across - pixel)
                t = (plane + 1) * plane_step + pixel * across_step
                for k in range(z, end_z, LANES):
                    spread_samples(
                        image,
                        t + k,
                        t + across_step + k,
                        number(1) - weight,
                        weight,
                        rays,
                        s,
                        n_rows,
                        number(start),
                        number(step),
                        number(k),
                        count,
                    )


@njit(parallel=True, cache=True)
def _backproject(rays: Any, n_rows: int, columns: Any, heights: Any, n_z: int, image: Any) -> None:
    """Write to `image` (y + 2, x + 2, padded z) the transpose of `_project`; the padding is spoilt."""
    n_y, n_x, n_padded = image.shape
    image[:] = 0
    for march_y in range(2):
        n_planes = (n_y if march_y else n_x) - 2
        plane_bytes = (n_x if march_y else n_y) * n_padded * image.itemsize
        thickness = max(1, TASK_BYTES // plane_bytes)
        for task in prange((n_planes + thickness - 1) // thickness):
            first = task * thickness
            last = min(n_planes, first + thickness)
            _backproject_planes(rays, n_rows, columns, heights, march_y, first, last, n_z, image)

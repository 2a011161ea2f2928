"""Joseph's projector for cone beams and its exact transpose: bilinear interpolation in each plane a ray crosses.

A ray marches along the image axis to which it is closest, in voxels (Joseph, IEEE Trans. Med. Imaging 1, 1982), and
sums the image there, times the length of ray per plane; outside the image the object is zero. There are two ways:

* **Upright views**: the detector rows step along z and all rays are steep enough to march along x or y. All rays of a
  detector column lie over one line (x, y), so the interpolation across it is done once for the whole column, and the
  rest is a line along z sampled at equal steps (`gather`). The image lies with z fastest for this.
* **Tilted views** (C-arms, turned detectors): ray by ray, four voxels per plane.

The transposes visit the same samples. In them a task owns planes of the image and alone writes there: no atomics, and
the order of additions, hence every bit of the result, does not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray

from operators.tomography.gather import LANES, add_samples, blend, spread_samples
from operators.tomography.geometry import TomographyGeometry
from operators.tomography.grid import ImageGrid

FloatArray = NDArray[np.float64]
FAST = {"contract", "reassoc", "nsz", "arcp"}

VIEWS_PER_TASK = 2
"""Views that one forward task carries through the image together: their accumulators stay in L2."""
TASK_BYTES = 1 << 20
"""Image planes of one transposed task: they stay in L2 while all views pass."""
TASKS_PER_THREAD = 2
"""Of the transpose for tilted views; each task aims all rays anew."""


class UprightViews(NamedTuple):
    """Views whose detector rows step along z.

    views : (k,) indices of the views
    flipped : (k,) whether their rows run downwards; they are then counted from the other end
    columns : (k, column, 6) float64. Whether the rays march along y (1) or x (0); they cross plane m at padded pixel
        ``[1] + [2] m`` (index 1 is the first voxel), and reach the detector's scale ``t = [3] + [4] m``, where row r
        lies ``t ([5] + r step)`` voxels above the source
    heights : (k, 2) float64: height of the source, in voxels from the first slice, and the row step, positive
    lengths : (k, column, 3) float64: ray length per plane is ``sqrt([0] + ([1] + r [2])^2)`` mm
    """

    views: NDArray[np.int64]
    flipped: NDArray[np.bool_]
    columns: FloatArray
    heights: FloatArray
    lengths: FloatArray


class TiltedViews(NamedTuple):
    """All other views: rays from `source` along ``first[column] + row step``, in voxels from the first one (x, y, z).

    views : (k,) indices of the views
    source : (k, 3), first : (k, column, 3), step : (k, 3)
    voxel_mm : (3,) as (x, y, z)
    marches : (k, 3) whether rays of the view may march along x, y, z
    """

    views: NDArray[np.int64]
    source: FloatArray
    first: FloatArray
    step: FloatArray
    voxel_mm: FloatArray
    marches: NDArray[np.bool_]


class ConeTables(NamedTuple):
    """The rays of a geometry as they cross the voxels of a grid."""

    upright: UprightViews
    tilted: TiltedViews


def cone_tables(geometry: TomographyGeometry, grid: ImageGrid) -> ConeTables:
    """Where the rays of a cone geometry cross the planes of `grid`."""
    voxel_mm = np.array(grid.voxel_mm[::-1])
    source_mm, first_mm, step_mm = geometry.columns_of_rays()
    source = (source_mm - np.array(grid.first_voxel_mm[::-1])) / voxel_mm
    first, step = first_mm / voxel_mm, step_mm / voxel_mm
    steepest = np.abs(first[..., :2]).max(axis=2)
    last = first[..., 2] + (geometry.n_rows - 1) * step[:, None, 2]
    is_upright = (np.abs(step[:, :2]).max(axis=1) <= 1e-12 * np.abs(step[:, 2])) & (
        np.maximum(np.abs(first[..., 2]), np.abs(last)) <= steepest
    ).all(axis=1)
    upright, tilted = np.flatnonzero(is_upright), np.flatnonzero(~is_upright)
    return ConeTables(
        _upright_views(upright, source[upright], first[upright], step[upright], voxel_mm, geometry.n_rows),
        _tilted_views(tilted, source[tilted], first[tilted], step[tilted], voxel_mm, geometry.n_rows),
    )


def _tilted_views(
    views: NDArray[np.int64],
    source: FloatArray,
    first: FloatArray,
    step: FloatArray,
    voxel_mm: FloatArray,
    n_rows: int,
) -> TiltedViews:
    last = first + (n_rows - 1) * step[:, None]
    most = np.maximum(np.abs(first), np.abs(last))
    least = np.where(first * last > 0, np.minimum(np.abs(first), np.abs(last)), 0.0)
    marches = (most >= least.max(axis=2, keepdims=True)).any(axis=1)
    return TiltedViews(views, source, first, step, voxel_mm, marches)


def _upright_views(
    views: NDArray[np.int64],
    source: FloatArray,
    first: FloatArray,
    step: FloatArray,
    voxel_mm: FloatArray,
    n_rows: int,
) -> UprightViews:
    flipped = step[:, 2] < 0
    height = np.abs(step[:, 2])
    lowest = np.where(flipped[:, None], first[..., 2] + (n_rows - 1) * step[:, None, 2], first[..., 2])
    marches_y = np.abs(first[..., 1]) >= np.abs(first[..., 0])
    along = np.where(marches_y, first[..., 1], first[..., 0])
    across = np.where(marches_y, first[..., 0], first[..., 1])
    source_along = np.where(marches_y, source[:, 1:2], source[:, 0:1])
    source_across = np.where(marches_y, source[:, 0:1], source[:, 1:2])
    slope = across / along
    columns = np.stack(
        (marches_y, source_across - slope * source_along + 1.0, slope, -source_along / along, 1.0 / along, lowest),
        axis=2,
    )
    square = ((first[..., :2] * voxel_mm[:2]) ** 2).sum(axis=2) / along**2
    rise = voxel_mm[2] / np.abs(along)
    lengths = np.stack((square, lowest * rise, height[:, None] * rise), axis=2)
    return UprightViews(views, flipped, columns, np.stack((source[:, 2], height), axis=1), lengths)


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
                rise = lengths[view, column, 1] + row * lengths[view, column, 2]
                length = np.sqrt(lengths[view, column, 0] + rise * rise)
                projections[views[view], target, column] = sums[view - first, column, row] * length


@njit(parallel=True, cache=True)
def _project_upright(
    image: Any, n_z: int, views: Any, flipped: Any, columns: Any, heights: Any, lengths: Any, projections: Any
) -> None:
    """Write the line integrals of `image` along upright views into `projections` (view, row, column)."""
    for task in prange((views.size + VIEWS_PER_TASK - 1) // VIEWS_PER_TASK):
        first = task * VIEWS_PER_TASK
        last = min(views.size, first + VIEWS_PER_TASK)
        _project_task(image, n_z, views, flipped, columns, heights, lengths, first, last, projections)


@njit(parallel=True, cache=True)
def _load_upright(projections: Any, views: Any, flipped: Any, lengths: Any, rays: Any) -> None:
    """Upright views of `projections` (view, row, column) times ray length into `rays` (view, column, padded row)."""
    n_rows, n_columns = projections.shape[1:]
    for view in prange(views.size):
        rays[view] = 0
        for row in range(n_rows):
            target = n_rows - 1 - row if flipped[view] else row
            for column in range(n_columns):
                rise = lengths[view, column, 1] + row * lengths[view, column, 2]
                length = np.sqrt(lengths[view, column, 0] + rise * rise)
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
def _backproject_upright(rays: Any, n_rows: int, columns: Any, heights: Any, n_z: int, image: Any) -> None:
    """Write to `image` (y + 2, x + 2, padded z) the transpose of `_project_upright`; the padding is spoilt."""
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


@njit(cache=True)
def _marching_axis(dx: float, dy: float, dz: float) -> int:
    if abs(dy) >= abs(dx) and abs(dy) >= abs(dz):
        return 1
    return 0 if abs(dx) >= abs(dz) else 2


@njit(cache=True)
def _aimed(source: Any, dx: float, dy: float, dz: float, axis: int, voxel_mm: Any) -> Any:
    """Of a ray along `axis`: crossing of plane 0 and slope, on both other axes in turn; length per plane."""
    length = np.sqrt((dx * voxel_mm[0]) ** 2 + (dy * voxel_mm[1]) ** 2 + (dz * voxel_mm[2]) ** 2)
    if axis == 1:
        a, b = dx / dy, dz / dy
        return source[0] - a * source[1], a, source[2] - b * source[1], b, length / abs(dy)
    if axis == 0:
        a, b = dy / dx, dz / dx
        return source[1] - a * source[0], a, source[2] - b * source[0], b, length / abs(dx)
    a, b = dx / dz, dy / dz
    return source[0] - a * source[2], a, source[1] - b * source[2], b, length / abs(dz)


@njit(cache=True)
def _strides(axis: int, n_z: int, n_y: int, n_x: int) -> Any:
    """Number and position step of the planes along `axis` of (z, y, x), then of the others, x before y before z."""
    if axis == 0:
        return n_x, 1, n_y, n_x, n_z, n_y * n_x
    if axis == 1:
        return n_y, n_x, n_x, 1, n_z, n_y * n_x
    return n_z, n_y * n_x, n_x, 1, n_y, n_x


@njit(cache=True)
def _inside(start: float, slope: float, n: int, first: int, last: int) -> Any:
    """The planes of first..last where -1 < start + slope plane < n, or a plane more at either end."""
    if slope == 0.0:
        return (first, last) if -1.0 < start < n else (first, first)
    low, high = (-1.0 - start) / slope, (n - start) / slope
    if low > high:
        low, high = high, low
    low, high = max(float(first), low), min(float(last), high + 1.0)
    return (int(low), int(np.ceil(high))) if low < high else (first, first)


@njit(cache=True)
def _within(start: float, slope: float, n: int, first: int, last: int) -> Any:
    """Planes of first..last where 0 < start + slope plane < n - 1 for certain: all four voxels lie in the image."""
    if slope == 0.0:
        return (first, last) if 0.0 < start < n - 1.0 else (first, first)
    low, high = -start / slope, (n - 1.0 - start) / slope
    if low > high:
        low, high = high, low
    low, high = max(float(first), np.ceil(low + 1e-6)), min(float(last), np.floor(high - 1e-6) + 1.0)
    return (int(low), int(high)) if low < high else (first, first)


@njit(cache=True)
def _edge(voxels: Any, s: int, i: int, j: int, n_a: int, step_a: int, n_b: int, step_b: int, p: Any, q: Any) -> Any:
    """Bilinear interpolation where some of the four voxels may lie outside."""
    total = voxels.dtype.type(0)
    for k in range(4):
        u, v = k & 1, k >> 1
        if 0 <= i + u < n_a and 0 <= j + v < n_b:
            total += voxels[s + u * step_a + v * step_b] * (p if u else 1 - p) * (q if v else 1 - q)
    return total


@njit(cache=True)
def _spread_edge(
    voxels: Any, s: int, i: int, j: int, n_a: int, step_a: int, n_b: int, step_b: int, p: Any, q: Any, value: Any
) -> None:
    for k in range(4):
        u, v = k & 1, k >> 1
        if 0 <= i + u < n_a and 0 <= j + v < n_b:
            voxels[s + u * step_a + v * step_b] += value * (p if u else 1 - p) * (q if v else 1 - q)


@njit(fastmath=FAST, cache=True)
def _sum_inside(
    voxels: Any, begin: int, end: int, stride: int, a0: float, da: float, step_a: int, b0: float, db: float, step_b: int
) -> Any:
    """Sum of bilinear interpolations where all voxels lie in the image; a loop that compilers turn into vectors."""
    total = voxels.dtype.type(0)
    for plane in range(begin, end):
        a, b = a0 + da * plane, b0 + db * plane
        i, j = np.int64(a), np.int64(b)
        p, q = voxels.dtype.type(a - i), voxels.dtype.type(b - j)
        s = plane * stride + i * step_a + j * step_b
        v00, v10 = voxels[np.uint64(s)], voxels[np.uint64(s + step_a)]
        v01, v11 = voxels[np.uint64(s + step_b)], voxels[np.uint64(s + step_a + step_b)]
        near, far = v00 + p * (v10 - v00), v01 + p * (v11 - v01)
        total += near + q * (far - near)
    return total


@njit(fastmath=FAST, cache=True)
def _project_row(
    voxels: Any, shape: Any, source: Any, first: Any, row: int, step: Any, voxel_mm: Any, sums: Any
) -> None:
    """Write the line integrals of one detector row to `sums`."""
    n_z, n_y, n_x = shape
    for column in range(sums.size):
        dx = first[column, 0] + row * step[0]
        dy = first[column, 1] + row * step[1]
        dz = first[column, 2] + row * step[2]
        axis = _marching_axis(dx, dy, dz)
        a0, da, b0, db, length = _aimed(source, dx, dy, dz, axis, voxel_mm)
        n, stride, n_a, step_a, n_b, step_b = _strides(axis, n_z, n_y, n_x)
        begin, end = _inside(a0, da, n_a, 0, n)
        begin, end = _inside(b0, db, n_b, begin, min(n, end))
        inner, outer = _within(a0, da, n_a, begin, end)
        inner, outer = _within(b0, db, n_b, inner, outer)
        total = _sum_inside(voxels, inner, outer, stride, a0, da, step_a, b0, db, step_b)
        for plane in range(begin, end - (outer - inner)):
            m = plane if plane < inner else plane + (outer - inner)
            a, b = a0 + da * m, b0 + db * m
            i, j = int(np.floor(a)), int(np.floor(b))
            p, q = voxels.dtype.type(a - i), voxels.dtype.type(b - j)
            total += _edge(voxels, m * stride + i * step_a + j * step_b, i, j, n_a, step_a, n_b, step_b, p, q)
        sums[column] = total * voxels.dtype.type(length)


@njit(parallel=True, cache=True)
def _project_tilted(
    volume: Any, views: Any, source: Any, first: Any, step: Any, voxel_mm: Any, marches: Any, projections: Any
) -> None:
    """Write the line integrals of `volume` (z, y, x) along tilted views into `projections` (view, row, column)."""
    n_rows = projections.shape[1]
    voxels = volume.ravel()
    for task in prange(views.size * n_rows):
        view, row = task // n_rows, task % n_rows
        sums = projections[views[view], row]
        _project_row(voxels, volume.shape, source[view], first[view], row, step[view], voxel_mm, sums)


@njit(fastmath=FAST, cache=True)
def _spread_tilted(
    projections: Any,
    views: Any,
    source: Any,
    first: Any,
    step: Any,
    voxel_mm: Any,
    marches: Any,
    axis: int,
    start: int,
    stop: int,
    shape: Any,
    voxels: Any,
) -> None:
    """Add to the planes start..stop along `axis` what the rays that march along it leave there."""
    _, stride, n_a, step_a, n_b, step_b = _strides(axis, shape[0], shape[1], shape[2])
    n_rows, n_columns = projections.shape[1:]
    number = voxels.dtype.type
    for view in range(views.size):
        if not marches[view, axis]:
            continue
        for row in range(n_rows):
            for column in range(n_columns):
                dx = first[view, column, 0] + row * step[view, 0]
                dy = first[view, column, 1] + row * step[view, 1]
                dz = first[view, column, 2] + row * step[view, 2]
                if _marching_axis(dx, dy, dz) != axis:
                    continue
                a0, da, b0, db, length = _aimed(source[view], dx, dy, dz, axis, voxel_mm)
                begin, end = _inside(a0, da, n_a, start, stop)
                begin, end = _inside(b0, db, n_b, begin, min(stop, end))
                value = projections[views[view], row, column] * number(length)
                inner, outer = _within(a0, da, n_a, begin, end)
                inner, outer = _within(b0, db, n_b, inner, outer)
                for plane in range(inner, outer):
                    a, b = a0 + da * plane, b0 + db * plane
                    i, j = np.int64(a), np.int64(b)
                    p, q = number(a - i), number(b - j)
                    s = plane * stride + i * step_a + j * step_b
                    far = value * q
                    near = value - far
                    voxels[np.uint64(s)] += near - p * near
                    voxels[np.uint64(s + step_a)] += p * near
                    voxels[np.uint64(s + step_b)] += far - p * far
                    voxels[np.uint64(s + step_a + step_b)] += p * far
                for plane in range(begin, end - (outer - inner)):
                    m = plane if plane < inner else plane + (outer - inner)
                    a, b = a0 + da * m, b0 + db * m
                    i, j = np.int64(np.floor(a)), np.int64(np.floor(b))
                    p, q = number(a - i), number(b - j)
                    s = m * stride + i * step_a + j * step_b
                    _spread_edge(voxels, s, i, j, n_a, step_a, n_b, step_b, p, q, value)


@njit(parallel=True, cache=True)
def _backproject_tilted(
    projections: Any,
    views: Any,
    source: Any,
    first: Any,
    step: Any,
    voxel_mm: Any,
    marches: Any,
    tasks: int,
    volume: Any,
) -> None:
    """Add to `volume` (z, y, x) the transpose of `_project_tilted`, in `tasks` blocks of planes along each axis."""
    voxels = volume.ravel()
    for axis in range(3):
        n = _strides(axis, volume.shape[0], volume.shape[1], volume.shape[2])[0]
        for task in prange(tasks):
            start, stop = task * n // tasks, (task + 1) * n // tasks
            _spread_tilted(
                projections, views, source, first, step, voxel_mm, marches, axis, start, stop, volume.shape, voxels
            )


def _image(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    n_z, n_y, n_x = shape
    return np.empty((n_y + 2, n_x + 2, LANES * -(-n_z // LANES)), dtype)


def project(volume: NDArray[Any], tables: ConeTables, projections: NDArray[Any]) -> None:
    """Write the line integrals of `volume` (batch, z, y, x) to `projections` (batch, view, row, column).

    Both are contiguous and of one dtype, float32 or float64. Beside them it holds one padded copy of the image.
    """
    upright, tilted = tables
    for x, y in zip(volume, projections, strict=True):
        if upright.views.size:
            image = _image(x.shape, x.dtype)
            _load_image(x, image)
            _project_upright(image, x.shape[0], *upright, y)
        if tilted.views.size:
            _project_tilted(x, *tilted, y)


def backproject(projections: NDArray[Any], tables: ConeTables, volume: NDArray[Any]) -> None:
    """Write to `volume` (batch, z, y, x) the transpose of `project`, applied to `projections`.

    Beside them it holds one padded copy of the image and one of the projections.
    """
    upright, tilted = tables
    for y, x in zip(projections, volume, strict=True):
        if upright.views.size:
            n_rows, n_columns = y.shape[1:]
            padded_rows = LANES * -(-(n_rows + 2) // LANES)
            rays = np.empty((upright.views.size, n_columns, padded_rows), y.dtype)
            _load_upright(y, upright.views, upright.flipped, upright.lengths, rays)
            image = _image(x.shape, x.dtype)
            _backproject_upright(rays, n_rows, upright.columns, upright.heights, x.shape[0], image)
            _store_image(image, x)
        else:
            x[:] = 0
        if tilted.views.size:
            _backproject_tilted(y, *tilted, TASKS_PER_THREAD * get_num_threads(), x)

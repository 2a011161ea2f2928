"""Joseph's kernels for views of any tilt, as of C-arms and turned detectors: ray by ray, four voxels per plane."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray

from operators.tomography.cone_rays import TiltedViews

FAST = {"contract", "reassoc", "nsz", "arcp"}

TASKS_PER_THREAD = 2
"""Of the transpose; each task aims all rays anew."""


def project_tilted(volume: NDArray[Any], rays: TiltedViews, projections: NDArray[Any]) -> None:
    """Write the line integrals of `volume` (z, y, x) along tilted views into `projections` (view, row, column)."""
    _project(volume, *rays, projections)


def add_backprojected(projections: NDArray[Any], rays: TiltedViews, volume: NDArray[Any]) -> None:
    """Add to `volume` (z, y, x) the transpose of `project_tilted`."""
    _backproject(projections, *rays, TASKS_PER_THREAD * get_num_threads(), volume)


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
def _project(
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
def _spread_planes(
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
def _backproject(
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
    """Add to `volume` (z, y, x) the transpose of `_project`, in `tasks` blocks of planes along each axis."""
    voxels = volume.ravel()
    for axis in range(3):
        n = _strides(axis, volume.shape[0], volume.shape[1], volume.shape[2])[0]
        for task in prange(tasks):
            start, stop = task * n // tasks, (task + 1) * n // tasks
            _spread_planes(
                projections, views, source, first, step, voxel_mm, marches, axis, start, stop, volume.shape, voxels
            )

"""Filtered backprojection of circular cone-beam scans after Feldkamp, Davis and Kress (J. Opt. Soc. Am. A 1, 1984).

With S the source, R its distance to the axis, p a line integral, cos the cosine between its ray and the line from the
source to the axis, and w the share of rays measured twice::

    flat      f = int_0^2pi dbeta  w / (D a^2)    [h * (R cos p)](column, row)
    curved    f = int_0^2pi dbeta  w / (D^2 a^2)  [h_sin * (R cos p)](column, row)

D is the distance from the source to the detector and a that of a voxel over D, along the normal of a flat detector and
at right angles to the axis of a curved one. h is the ramp along detector rows. In the plane of the source this is the
fan-beam inversion of `fbp`; outside it is an approximation that grows worse with the cone angle.

Voxels are visited one column (z) at a time: in views whose detector rows step along z a column of voxels sees a single
line of the detector, sampled at equal steps (`gather`). Beside the volume and the data only a block of filtered views
is held.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray
from scipy import fft

from operators.errors import GeometryError
from operators.tomography.gather import LANES, add_samples, blend
from operators.tomography.geometry import TomographyGeometry
from operators.tomography.grid import ImageGrid
from operators.tomography.ramp import Filter, ramp_response
from operators.tomography.weights import angular_weights, full_turn_weights, mirrored_columns, short_scan_weights

FloatArray = NDArray[np.float64]
FAST = {"contract", "reassoc", "nsz", "arcp"}

BLOCK_BYTES = 64 << 20
"""Most bytes of padded views that are filtered at a time."""


class _Plan(NamedTuple):
    """What FDK knows of each view.

    first, step : the rays, see `TomographyGeometry.columns_of_rays`
    factor : (view, column), applied before filtering with the cosine: angle, redundancy and distances
    to_axis : (view, 3), unit vector from the source to the axis
    place : (view, 3, 4), of a voxel (x, y, z, 1): for flat detectors (column a, row a, a), for curved ones the offset
        from the source across, along the rows' direction and ahead, mm. Columns are padded: index 1 is the first.
    row : (view, 2): on a curved detector the row is ``height / a [0] + [1]``
    reach_mm : (view,) D of a curved detector
    is_upright : (view,) whether columns of voxels see lines of the detector
    pitch : column pitch in mm (flat) or rad (curved)
    is_arc : whether the detector is curved
    middle : padded index of the middle column
    added : columns of zeros before and behind the measured ones, for offset detectors
    """

    first: FloatArray
    step: FloatArray
    factor: FloatArray
    to_axis: FloatArray
    place: FloatArray
    row: FloatArray
    reach_mm: FloatArray
    is_upright: NDArray[np.bool_]
    pitch: float
    is_arc: bool
    middle: float
    added: tuple[int, int]


def _plan(geometry: TomographyGeometry, grid: ImageGrid) -> _Plan:
    source, first, step = geometry.columns_of_rays()
    radius_mm = np.linalg.norm(source[:, :2], axis=1)
    if np.ptp(source[:, 2]) > 0.05 * radius_mm.min() or np.ptp(radius_mm) > 0.05 * radius_mm.max():
        raise GeometryError(
            "FDK needs sources on one circle about the axis x = y = 0; here their distances from it run from "
            f"{radius_mm.min():g} to {radius_mm.max():g} mm and their z from {source[:, 2].min():g} to "
            f"{source[:, 2].max():g} mm. Use an iterative method, such as sirt or tv."
        )
    to_axis = np.zeros_like(source)
    to_axis[:, :2] = -source[:, :2] / radius_mm[:, None]
    middle = first + 0.5 * (geometry.n_rows - 1) * step[:, None]
    cos = np.einsum("vci,vi->vc", middle, to_axis)
    sin = to_axis[:, None, 0] * middle[..., 1] - to_axis[:, None, 1] * middle[..., 0]
    gamma, beta = np.arctan2(sin, cos), np.arctan2(source[:, 1], source[:, 0])
    weights, is_full = angular_weights(beta, 2 * math.pi)
    added = mirrored_columns(gamma) if is_full else (0, 0)
    redundancy = full_turn_weights(gamma) if is_full else short_scan_weights(beta, gamma)

    u, v, normal = geometry.column_step_mm, geometry.row_step_mm, geometry.normal
    towards = geometry.detector_centre_mm - source
    depth_mm = (towards * normal).sum(axis=1)
    u_mm, v_mm = np.linalg.norm(u, axis=1), np.linalg.norm(v, axis=1)
    is_arc = geometry.detector == "curved"
    middle_column, middle_row = 0.5 * (geometry.n_columns - 1) + 1.0 + added[0], 0.5 * (geometry.n_rows - 1)
    if is_arc:
        axes = np.stack((u / u_mm[:, None], v / v_mm[:, None], normal), axis=1)
        height = (towards * axes[:, 1]).sum(axis=1)
        row = np.stack((1.0 / v_mm, middle_row - height / v_mm), axis=1)
        pitches, distances = u_mm / depth_mm, depth_mm**2
    else:
        axes = np.linalg.inv(np.stack((u, v, towards), axis=2))
        axes[:, 0] += middle_column * axes[:, 2]
        axes[:, 1] += middle_row * axes[:, 2]
        row = np.zeros((geometry.n_views, 2))
        pitches, distances = u_mm, depth_mm
    if np.ptp(pitches) > 1e-6 * pitches.max():
        raise GeometryError(
            "FDK filters all views alike: the column pitch must be one, got "
            f"{pitches.min():g} to {pitches.max():g}{' rad' if is_arc else ' mm'}."
        )
    origin = np.array(grid.first_voxel_mm[::-1])
    start = np.einsum("vki,vi->vk", axes, origin - source)
    place = np.concatenate((axes * np.array(grid.voxel_mm[::-1]), start[..., None]), axis=2)
    is_upright = np.abs(v[:, :2]).max(axis=1) <= 1e-12 * np.abs(v[:, 2])
    factor = (weights * radius_mm / distances)[:, None] * redundancy
    return _Plan(
        first, step, factor, to_axis, place, row, depth_mm, is_upright, float(pitches[0]), is_arc, middle_column, added
    )


@njit(parallel=True, cache=True)
def _weigh(data: Any, first: Any, step: Any, factor: Any, to_axis: Any, weighed: Any) -> None:
    """`data` (view, row, column) times factor and cosine, into `weighed`."""
    n_views, n_rows, n_columns = data.shape
    for task in prange(n_views * n_rows):
        view, row = task // n_rows, task % n_rows
        for column in range(n_columns):
            square, ahead = 0.0, 0.0
            for k in range(3):
                d = first[view, column, k] + row * step[view, k]
                square += d * d
                ahead += d * to_axis[view, k]
            weighed[view, row, column] = data[view, row, column] * (factor[view, column] * ahead / np.sqrt(square))


@njit(cache=True)
def _turn_view(filtered: Any, before: int, lines: Any) -> None:
    n_rows, length = filtered.shape
    lines[:] = 0
    for row in range(n_rows):
        for column in range(lines.shape[0] - 2):
            lines[column + 1, row] = filtered[row, (column - before) % length]


@njit(parallel=True, cache=True)
def _turn(filtered: Any, before: int, lines: Any) -> None:
    """`filtered` (view, row, column), from `before` its first column on, into `lines` (view, column + 2, padded row).

    Columns before the first are the last ones of the periodic filter.
    """
    for view in prange(filtered.shape[0]):
        _turn_view(filtered[view], before, lines[view])


@njit(fastmath=FAST, cache=True)
def _add_upright(
    lines: Any,
    n_rows: int,
    view: int,
    place: Any,
    row: Any,
    reach_mm: float,
    pitch: float,
    is_arc: bool,
    middle: float,
    y: int,
    line: Any,
    image: Any,
) -> None:
    """Add one filtered view to the voxels `image` (x, padded z) of row y."""
    n_columns, padded_rows = lines.shape[1:]
    number = image.dtype.type
    n_z = image.shape[1]
    for x in range(image.shape[0]):
        q0 = place[0, 0] * x + place[0, 1] * y + place[0, 3]
        q1 = place[1, 0] * x + place[1, 1] * y + place[1, 3]
        q2 = place[2, 0] * x + place[2, 1] * y + place[2, 3]
        if is_arc:
            scale = np.hypot(q0, q2) / reach_mm
            column = middle + np.arctan2(q0, q2) / pitch
            start, step = q1 / scale * row[0] + row[1], place[1, 2] / scale * row[0]
        else:
            scale = q2
            column = q0 / scale
            start, step = q1 / scale, place[1, 2] / scale
        if not 0.0 < column < n_columns - 1:
            continue
        low, high = (-1.0 - start) / step, (n_rows - start) / step
        if low > high:
            low, high = high, low
        z, end_z = max(0, int(np.floor(low))), min(n_z, int(np.ceil(high)) + 1)
        if z >= end_z:
            continue
        z -= z % LANES
        end_z = LANES * ((end_z + LANES - 1) // LANES)
        near, far = start + step * z, start + step * (end_z - 1)
        if near > far:
            near, far = far, near
        r = max(0, int(np.floor(near)) - 1)
        end_r = min(n_rows, int(np.floor(far)) + 3)
        r -= r % LANES
        left = int(column)
        weight = number(1.0 / (scale * scale))
        right_weight = weight * number(column - left)
        s = (view * n_columns + left) * padded_rows
        for k in range(r, end_r, LANES):
            blend(line, LANES + k, lines, s + k, s + padded_rows + k, weight - right_weight, right_weight)
        for k in range(z, end_z, LANES):
            add_samples(
                image, x * n_z + k, line, number(LANES + start + step * k), number(step), number(LANES + n_rows)
            )


@njit(fastmath=FAST, cache=True)
def _add_tilted(
    lines: Any,
    n_rows: int,
    view: int,
    place: Any,
    row: Any,
    reach_mm: float,
    pitch: float,
    is_arc: bool,
    middle: float,
    y: int,
    n_z: int,
    image: Any,
) -> None:
    """The same, voxel by voxel, for detectors turned any way."""
    n_columns = lines.shape[1]
    number = image.dtype.type
    for x in range(image.shape[0]):
        for z in range(n_z):
            q0 = place[0, 0] * x + place[0, 1] * y + place[0, 2] * z + place[0, 3]
            q1 = place[1, 0] * x + place[1, 1] * y + place[1, 2] * z + place[1, 3]
            q2 = place[2, 0] * x + place[2, 1] * y + place[2, 2] * z + place[2, 3]
            if is_arc:
                scale = np.hypot(q0, q2) / reach_mm
                column = middle + np.arctan2(q0, q2) / pitch
                height = q1 / scale * row[0] + row[1]
            else:
                scale = q2
                column, height = q0 / scale, q1 / scale
            if not (0.0 < column < n_columns - 1 and -1.0 < height < n_rows):
                continue
            left, below = int(column), int(np.floor(height))
            p, q = number(column - left), number(height - below)
            value = number(0)
            if below >= 0:
                value += (1 - q) * (
                    lines[view, left, below] + p * (lines[view, left + 1, below] - lines[view, left, below])
                )
            if below + 1 < n_rows:
                value += q * (
                    lines[view, left, below + 1] + p * (lines[view, left + 1, below + 1] - lines[view, left, below + 1])
                )
            image[x, z] += value * number(1.0 / (scale * scale))


@njit(cache=True)
def _add_to_row(
    lines: Any,
    n_rows: int,
    place: Any,
    row: Any,
    reach_mm: Any,
    is_upright: Any,
    pitch: float,
    is_arc: bool,
    middle: float,
    begins: bool,
    y: int,
    volume: Any,
) -> None:
    n_z, _, n_x = volume.shape
    image = np.zeros((n_x, LANES * ((n_z + LANES - 1) // LANES)), volume.dtype)
    line = np.zeros(lines.shape[2] + 2 * LANES, volume.dtype)
    for view in range(lines.shape[0]):
        p, r, d = place[view], row[view], reach_mm[view]
        if is_upright[view]:
            _add_upright(lines, n_rows, view, p, r, d, pitch, is_arc, middle, y, line, image)
        else:
            _add_tilted(lines, n_rows, view, p, r, d, pitch, is_arc, middle, y, n_z, image)
    for z in range(n_z):
        for x in range(n_x):
            volume[z, y, x] = image[x, z] + (0 if begins else volume[z, y, x])


@njit(parallel=True, cache=True)
def _add_views(
    lines: Any,
    n_rows: int,
    place: Any,
    row: Any,
    reach_mm: Any,
    is_upright: Any,
    pitch: float,
    is_arc: bool,
    middle: float,
    begins: bool,
    volume: Any,
) -> None:
    """Add the filtered views `lines` to `volume` (z, y, x), or write them where it `begins`."""
    for y in prange(volume.shape[1]):
        _add_to_row(lines, n_rows, place, row, reach_mm, is_upright, pitch, is_arc, middle, begins, y, volume)


def reconstruct(
    geometry: TomographyGeometry,
    grid: ImageGrid,
    data: NDArray[Any],
    volume: NDArray[Any],
    filter: Filter,
    cutoff: float,
) -> None:
    """Write to `volume` (batch, z, y, x) the FDK image of `data` (batch, view, row, column), in 1/mm.

    Raises
    ------
    GeometryError
        If the sources do not lie on one circle about the axis, or column pitches differ.
    """
    plan = _plan(geometry, grid)
    n_views, n_rows, n_columns = geometry.shape
    n_filtered = n_columns + sum(plan.added)
    response = ramp_response(plan.pitch, plan.is_arc, n_filtered, filter, cutoff).astype(data.dtype)
    length = 2 * (response.size - 1)
    block = max(1, min(n_views, BLOCK_BYTES // (n_rows * length * data.itemsize)))
    lines = np.empty((block, n_filtered + 2, LANES * -(-n_rows // LANES)), data.dtype)
    workers = get_num_threads()
    for y, x in zip(data, volume, strict=True):
        for start in range(0, n_views, block):
            views = slice(start, min(n_views, start + block))
            weighed = np.empty(y[views].shape, data.dtype)
            _weigh(y[views], plan.first[views], plan.step[views], plan.factor[views], plan.to_axis[views], weighed)
            spectrum = fft.rfft(weighed, length, axis=2, workers=workers)
            spectrum *= response
            filtered = fft.irfft(spectrum, length, axis=2, workers=workers, overwrite_x=True)
            _turn(filtered, plan.added[0], lines[: len(filtered)])
            _add_views(
                lines[: len(filtered)],
                n_rows,
                plan.place[views],
                plan.row[views],
                plan.reach_mm[views],
                plan.is_upright[views],
                plan.pitch,
                plan.is_arc,
                plan.middle,
                start == 0,
                x,
            )

"""Filtered backprojection, quantitative in 1/mm; parallel and fan-beam scans sixteen slices at a time.

Derivations follow Kak and Slaney, *Principles of Computerized Tomographic Imaging* (1988), chapter 3, written for the
vectors of `TomographyGeometry`, so that detector offsets and axis shifts need no case of their own. With S the source,
R its distance to the axis, gamma the angle of a ray from the line source - axis and U the distance of a voxel from S
(along the detector normal for a flat detector at distance D, straight for a curved one)::

    parallel  f = int_0^pi dtheta  [h * p](s)
    flat      f = int_0^2pi dbeta  w D / U^2  [h * (R cos(gamma) p)](s)
    curved    f = int_0^2pi dbeta  w / U^2  [h_sin * (R cos(gamma) p)](gamma)

h is the ramp, h_sin the ramp at sin(gamma), and w shares out what rays measured twice say: 1/2 each on a full turn.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray
from scipy import fft
from torch import Tensor

from operators.errors import GeometryError
from operators.tomography import fdk
from operators.tomography.astra_cuda import matched
from operators.tomography.geometry import TomographyGeometry
from operators.tomography.grid import ImageGrid
from operators.tomography.joseph import FAST, ROWS_PER_TASK, load_projections
from operators.tomography.lanes import LANES, add_interpolated, empty_lanes
from operators.tomography.ramp import WINDOWS, Filter, ramp_response
from operators.tomography.transform import RayTransform, stacked
from operators.tomography.weights import angular_weights, full_turn_weights, mirrored_columns, short_scan_weights

FloatArray = NDArray[np.float64]

VIEWS_PER_FFT = 32
"""Views filtered at a time; bounds the memory of the padded, complex transforms."""


def filtered_backprojection(
    projector: RayTransform, y: Tensor, filter: Filter = "ram-lak", cutoff: float = 1.0
) -> Tensor:
    """Reconstruct line integrals by filtered backprojection on the geometry and grid of `projector`.

    Views may come in any order and at any spacing: each is weighted by half the gaps to its neighbours. Parallel views
    beyond half a turn share their weight with their opposites; fan scans of less than a full turn get Parker's weights
    (Parker, Med. Phys. 9, 1982), or, where the arc is less than half a turn and the fan, smooth weights in the manner
    of Noo et al. (Phys. Med. Biol. 47, 2002). One gap more than three times the next is taken as the end of the arc.
    On a full turn an offset detector is completed by the opposite rays. Cone scans are reconstructed by FDK, see `fdk`.

    Parameters
    ----------
    projector : its geometry and grid are used, not its Joseph kernel
    y : line integrals, shape (..., view, row, column)
    filter : window of the ramp
    cutoff : frequency, as a fraction of the detector's Nyquist frequency, where the window ends; above 0, at most 1

    Returns
    -------
    Tensor, shape (..., z, y, x), 1/mm

    Raises
    ------
    GeometryError
        For a fan scan whose source stands on the rotation axis, a cone scan whose source leaves its circle, views whose
        column pitches differ, or a detector to one side of the axis on a full turn.
    ValueError
        For an unknown filter or a cut-off outside (0, 1].

    Notes
    -----
    Exact in the limit of many views and small pixels for objects inside the field of view; data that the detector cuts
    are taken as zero outside. Voxels outside the fan are filled all the same. Not differentiable by autograd.
    """
    if filter not in WINDOWS:
        raise ValueError(f"A filter is one of {', '.join(WINDOWS)}; got {filter!r}.")
    if not 0.0 < cutoff <= 1.0:
        raise ValueError(f"cutoff is a fraction of the Nyquist frequency above 0 and at most 1, got {cutoff}.")
    projector.range.check(y, "filtered_backprojection")
    if y.device.type != "cpu":  # one pass, bound by the filter: the transfer costs less than a second kernel
        return filtered_backprojection(
            matched(projector.geometry, projector.grid, y.dtype), y.cpu(), filter, cutoff
        ).to(y.device)
    volume = torch.empty((*y.shape[:-3], *projector.domain.shape), dtype=y.dtype)
    if projector.geometry.kind == "cone":
        fdk.reconstruct(projector.geometry, projector.grid, stacked(y), stacked(volume), filter, cutoff)
        return volume
    plan = _plan(projector.geometry, projector.grid)
    data, slices = stacked(y), stacked(volume).reshape(-1, *projector.domain.shape[1:])
    n_filtered = projector.geometry.n_columns + sum(plan.added)
    response = ramp_response(plan.pitch, plan.column_per_rad > 0, n_filtered, filter, cutoff)
    response = response.astype(data.dtype)
    scale = plan.scale.astype(data.dtype)
    n_views, _, n_columns = projector.geometry.shape
    block = empty_lanes(n_views, n_columns, dtype=data.dtype)
    filtered = empty_lanes(n_views, n_filtered + 2, dtype=data.dtype)
    filtered[:, [0, -1]] = 0
    image = empty_lanes(*projector.domain.shape[1:], dtype=data.dtype)
    for first in range(0, slices.shape[0], LANES):
        load_projections(data, first, scale, block)
        _filter(block, response, plan.added[0], filtered)
        _backproject_pixels(filtered, plan.column, plan.distance, plan.column_per_rad, plan.middle, image)
        _store(image, first, slices)
    return volume


class _Plan(NamedTuple):
    """What FBP knows of each view.

    scale : (view, column), applied before filtering: angle, redundancy, cosine and distance weights
    column, distance : (view, 3): value at pixel (0, 0), step per x, step per y. For flat detectors the ray through a
        pixel meets padded column `column / distance` and its weight is 1 / distance^2. For curved ones they are the
        offsets of the pixel from the source, across and along the line to the detector centre, mm.
    column_per_rad : columns per angle of a curved detector; 0 for a flat one
    pitch : column pitch, in mm (flat) or rad (curved)
    middle : padded index of the detector centre
    added : columns of zeros before and behind the measured ones, for offset detectors
    """

    scale: FloatArray
    column: FloatArray
    distance: FloatArray
    column_per_rad: float
    pitch: float
    middle: float
    added: tuple[int, int] = (0, 0)


def _plan(geometry: TomographyGeometry, grid: ImageGrid) -> _Plan:
    middle = 0.5 * (geometry.n_columns - 1) + 1.0  # padded: index 1 is the first column
    u, centre, first = (a[:, :2] for a in (geometry.column_step_mm, geometry.detector_centre_mm, geometry.ray_source))
    pitch_mm = np.linalg.norm(u, axis=1)
    u_hat = u / pitch_mm[:, None]
    if geometry.kind == "parallel":
        normal = np.stack((-first[:, 1], first[:, 0]), axis=1) / np.linalg.norm(first, axis=1, keepdims=True)
        step_mm = (normal * u).sum(axis=1)  # pitch as the rays see it; negative where columns run the other way
        column = _over_pixels(normal / step_mm[:, None], centre, grid)
        column[:, 0] += middle
        distance = np.tile((1.0, 0.0, 0.0), (geometry.n_views, 1))
        angle = np.arctan2(first[:, 1], first[:, 0])
        scale = np.broadcast_to(angular_weights(angle, math.pi)[0][:, None], (geometry.n_views, geometry.n_columns))
        return _Plan(scale, column, distance, 0.0, _common(np.abs(step_mm), "column pitch across the rays"), middle)
    radius_mm = np.linalg.norm(first, axis=1)
    if (radius_mm < 1e-9 * geometry.source_to_detector_mm).any():
        raise GeometryError(
            "Fan-beam FBP needs a source that turns about the axis x = y = 0; here it stands on the axis."
        )
    beta = np.arctan2(first[:, 1], first[:, 0])
    direction = geometry.rays()[1]
    to_axis = -first / radius_mm[:, None]
    cos = np.einsum("vci,vi->vc", direction, to_axis)
    sin = to_axis[:, None, 0] * direction[..., 1] - to_axis[:, None, 1] * direction[..., 0]
    weights, is_full = angular_weights(beta, 2 * math.pi)
    gamma = np.arctan2(sin, cos)
    added = mirrored_columns(gamma) if is_full else (0, 0)
    middle += added[0]
    redundancy = full_turn_weights(gamma) if is_full else short_scan_weights(beta, gamma)
    scale = weights[:, None] * redundancy * radius_mm[:, None] * cos
    if geometry.detector == "curved":
        reach_mm = geometry.source_to_detector_mm
        along = _over_pixels((centre - first) / reach_mm[:, None], first, grid)
        pitch = _common(pitch_mm / reach_mm, "angle between columns")
        return _Plan(scale, _over_pixels(u_hat, first, grid), along, 1.0 / pitch, pitch, middle, added)
    normal = np.stack((-u_hat[:, 1], u_hat[:, 0]), axis=1)
    depth_mm = (normal * (centre - first)).sum(axis=1)
    normal *= np.sign(depth_mm)[:, None]
    depth_mm = np.abs(depth_mm)
    across_mm = (u_hat * (centre - first)).sum(axis=1)  # the detector centre, from the foot of the source
    distance = _over_pixels(normal, first, grid)
    column = _over_pixels(u_hat, first, grid) * (depth_mm / pitch_mm)[:, None]
    column += distance * (middle - across_mm / pitch_mm)[:, None]
    pitch = _common(pitch_mm, "column pitch")
    return _Plan(scale * depth_mm[:, None], column, distance, 0.0, pitch, middle, added)


def _over_pixels(axis: FloatArray, origin: FloatArray, grid: ImageGrid) -> FloatArray:
    """axis . (pixel - origin) for each view, as (value at pixel (0, 0), step per x, step per y)."""
    _, y0, x0 = grid.first_voxel_mm
    start = (axis * ((x0, y0) - origin)).sum(axis=1)
    return np.stack((start, axis[:, 0] * grid.voxel_mm[2], axis[:, 1] * grid.voxel_mm[1]), axis=1)


def _common(values: FloatArray, what: str) -> float:
    if np.ptp(values) > 1e-6 * values.max():
        raise GeometryError(
            f"FBP filters all views alike: the {what} must be one, got {values.min():g} to {values.max():g}."
        )
    return float(values[0])


def _filter(block: NDArray[Any], response: NDArray[Any], before: int, filtered: NDArray[Any]) -> None:
    """Filter `block` (view, column, lane) along columns into `filtered`, from `before` columns before its first on."""
    n_filtered, length = filtered.shape[1] - 2, 2 * (response.size - 1)
    workers = get_num_threads()
    for start in range(0, block.shape[0], VIEWS_PER_FFT):
        views = slice(start, start + VIEWS_PER_FFT)
        spectrum = fft.rfft(block[views], length, axis=1, workers=workers)
        spectrum *= response[:, None]
        result = fft.irfft(spectrum, length, axis=1, workers=workers, overwrite_x=True)
        filtered[views, 1 : before + 1] = result[:, length - before :]
        filtered[views, before + 1 : -1] = result[:, : n_filtered - before]


@njit(fastmath=FAST, cache=True)
def _backproject_rows(
    filtered: Any, column: Any, distance: Any, column_per_rad: float, middle: float, first: int, last: int, image: Any
) -> None:
    n_padded, n_x = filtered.shape[1], image.shape[1]
    for view in range(filtered.shape[0]):
        for y in range(first, last):
            for x in range(n_x):
                across = column[view, 0] + column[view, 1] * x + column[view, 2] * y
                depth = distance[view, 0] + distance[view, 1] * x + distance[view, 2] * y
                if column_per_rad == 0.0:
                    position = across / depth
                    square = depth * depth
                else:
                    position = middle + column_per_rad * np.arctan2(across, depth)
                    square = across * across + depth * depth
                if 0.0 < position < n_padded - 1:
                    lower = int(position)
                    weight = image.dtype.type(1.0 / square)
                    upper = weight * image.dtype.type(position - lower)
                    add_interpolated(image, y * n_x + x, filtered, view * n_padded + lower, weight - upper, upper)


@njit(parallel=True, cache=True)
def _backproject_pixels(
    filtered: Any, column: Any, distance: Any, column_per_rad: float, middle: float, image: Any
) -> None:
    """Write to `image` (y, x, lane) the sum over views of `filtered` (view, column + 2, lane) where pixels meet it."""
    n = image.shape[0]
    for task in prange((n + ROWS_PER_TASK - 1) // ROWS_PER_TASK):
        first = task * ROWS_PER_TASK
        last = min(n, first + ROWS_PER_TASK)
        image[first:last] = 0
        _backproject_rows(filtered, column, distance, column_per_rad, middle, first, last, image)


@njit(parallel=True, cache=True)
def _store(image: Any, first: int, volume: Any) -> None:
    n_slices, n_y, n_x = volume.shape
    for y in prange(n_y):
        for lane in range(min(LANES, n_slices - first)):
            for x in range(n_x):
                volume[first + lane, y, x] = image[y, x, lane]

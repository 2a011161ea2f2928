"""The rotation axis of a parallel scan: on which detector column it falls, and whether it is tilted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.preprocessing.views import opposite

_MOST_ROWS = 3
_ENOUGH_PAIRS = 16
_COARSE_COLUMNS = 256


def find_axis(data: NDArray[Any], angles: NDArray[np.float64]) -> float:
    """The column of the rotation axis, from the data alone; the median over a few rows.

    Where views half a turn apart were measured, they must be mirror images of each other about the axis. Otherwise half
    a turn with its mirror image must leave a double wedge of the Fourier transform empty (N. T. Vo et al., Reliable
    method for calculating the center of rotation in parallel-beam tomography, Optics Express 22, 19078, 2014); that
    wants views in about equal steps.

    Parameters
    ----------
    data : line integrals (view, row, column), views sorted by angle
    angles : radians, ascending

    Returns
    -------
    column, a broken number; 0 is the middle of the first column
    """
    _check(data, angles)
    rows = np.unique(np.linspace(0, data.shape[1] - 1, min(_MOST_ROWS, data.shape[1]) + 2).round().astype(int)[1:-1])
    return float(np.median([_of_row(data[:, row : row + 1], angles) for row in rows]))


def find_tilt(data: NDArray[Any], angles: NDArray[np.float64], rows: int = 9) -> tuple[float, float]:
    """The axis on the middle row, and its tilt on the detector in radians, by a robust line through several rows.

    Parameters
    ----------
    data, angles : as for `find_axis`, at least three rows
    rows : how many rows are asked at most

    Returns
    -------
    column on the middle row, and the angle by which the column rises per row (square pixels)
    """
    from scipy.stats import theilslopes

    _check(data, angles)
    n_rows = data.shape[1]
    if n_rows < 3:
        raise InputError(f"A tilt is seen on at least three detector rows, got {n_rows}: leave the tilt out.")
    chosen = np.unique(np.linspace(0, n_rows - 1, min(rows, n_rows)).round().astype(int))
    columns = [_of_row(data[:, row : row + 1], angles) for row in chosen]
    slope, start = theilslopes(columns, chosen)[:2]
    return float(start + slope * (n_rows - 1) / 2), math.atan(slope)


def untilted(data: NDArray[Any], tilt_rad: float, axis_column: float) -> NDArray[np.float32]:
    """Every view turned about the axis on the middle row so that the axis stands upright."""
    from scipy.ndimage import affine_transform

    cos, sin = math.cos(tilt_rad), math.sin(tilt_rad)
    centre = np.array([(data.shape[1] - 1) / 2, axis_column])
    matrix = np.array([[cos, -sin], [sin, cos]])
    offset = centre - matrix @ centre
    return np.stack([affine_transform(np.asarray(view, np.float32), matrix, offset, order=1, mode="nearest")
                     for view in data])  # fmt: skip


def mirror_misfit(views: NDArray[Any], mirrored: NDArray[Any]) -> tuple[float, float]:
    """The axis about which two stacks of views (view, row, column) are mirror images, by least squares.

    Every half column is tried that leaves an overlap of a quarter of the detector; a parabola gives the fraction.

    Returns
    -------
    column, and the misfit there relative to that of a typical wrong axis
    """
    n = views.shape[-1]
    least = max(4, n // 4)
    reversed_ = mirrored[..., ::-1]
    double = np.arange(least - 1, 2 * n - 1 - (least - 1))  # twice the column of the axis
    misfit = np.empty(double.size)
    for i, twice in enumerate(double):
        shift = int(twice) - (n - 1)  # column s of one is column twice - s of the other
        a, b = (views[..., shift:], reversed_[..., : n - shift]) if shift >= 0 else (
            views[..., :shift], reversed_[..., -shift:])  # fmt: skip
        energy = float(np.sum(a * a) + np.sum(b * b))
        difference = a - b  # relative to what overlaps: two stretches of air agree about any axis
        misfit[i] = float(np.sum(difference * difference)) / energy if energy > 0 else 1.0
    best = int(np.argmin(misfit))
    return (double[best] + _vertex(misfit, best)) / 2, float(misfit[best] / max(float(np.median(misfit)), 1e-30))


def _of_row(row: NDArray[Any], angles: NDArray[np.float64]) -> float:
    pairs, mirrored = opposite(row, angles)
    if pairs.sum() >= max(_ENOUGH_PAIRS, 0.1 * len(angles)):
        return mirror_misfit(row[pairs].astype(np.float32), mirrored)[0]
    half = angles - angles[0] < math.pi - 1e-6
    sinogram = np.asarray(row[half, 0], dtype=np.float64)
    return _emptiest_wedge(sinogram)


def _emptiest_wedge(sinogram: NDArray[np.float64]) -> float:
    """The column about which half a turn and its mirror image leave the double wedge emptiest: first on coarse columns.

    An object of radius R puts harmonic h of the angle at radial frequency w only where h < R w, but for a narrow tail;
    a wrong axis breaks the full turn and fills what is outside.
    """
    n = sinogram.shape[1]
    factor = max(1, n // _COARSE_COLUMNS)
    coarse = sinogram[:, : n // factor * factor].reshape(len(sinogram), -1, factor).mean(axis=2)
    least = coarse.shape[1] // 4
    column = _best_mirror(coarse, np.arange(2 * least, 2 * (coarse.shape[1] - least)))
    column = (column + 0.5) * factor - 0.5
    if factor == 1:
        return column
    around = round(2 * column) + np.arange(-2 * factor, 2 * factor + 1)
    return _best_mirror(sinogram, around[(around > 0) & (around < 2 * n - 2)])


def _best_mirror(sinogram: NDArray[np.float64], double: NDArray[np.integer[Any]]) -> float:
    """The column among the halves of `double` whose mirror image leaves least outside the wedge; a parabola refines."""
    from scipy.fft import rfft2

    n_views, n = sinogram.shape
    harmonic = np.abs(np.fft.fftfreq(2 * n_views, 1 / (2 * n_views)))[:, None]
    radial = 2 * np.pi * np.fft.rfftfreq(n)[None]
    outside = (harmonic > 0.5 * n * radial + 2) & (radial < np.pi / 2)
    energy = np.empty(double.size)
    for i, twice in enumerate(double):
        shift = int(twice) - (n - 1)
        mirrored = np.roll(sinogram[:, ::-1], shift, axis=1)
        if shift > 0:  # columns that the mirror image does not reach: what was measured there, in turned order
            mirrored[:, :shift] = sinogram[::-1, :shift]
        elif shift < 0:
            mirrored[:, shift:] = sinogram[::-1, shift:]
        energy[i] = np.abs(rfft2(np.concatenate((sinogram, mirrored))))[outside].mean()
    best = int(np.argmin(energy))
    return float(double[best] + _vertex(energy, best)) / 2


def _vertex(values: NDArray[np.float64], lowest: int) -> float:
    """Where between its neighbours the parabola through the lowest value has its vertex, -0.5 to 0.5."""
    if not 0 < lowest < values.size - 1:
        return 0.0
    before, here, after = values[lowest - 1 : lowest + 2]
    bend = before - 2 * here + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend > 0 else 0.0


def _check(data: NDArray[Any], angles: NDArray[np.float64]) -> None:
    covered = math.degrees(float(np.ptp(angles))) * len(angles) / max(1, len(angles) - 1)
    if len(angles) < 8 or covered < 170:
        raise InputError(
            f"The rotation axis is found from views over at least half a turn, got {len(angles)} views over "
            f"{covered:.0f} degrees: state its column by preprocess.centre."
        )
    if data.shape[2] < 16:
        raise InputError(f"The rotation axis is found on at least 16 columns, got {data.shape[2]}: state its column.")

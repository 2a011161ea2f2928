"""Scores of interpolated seismic cubes, on missing traces alone or on all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CAP_DB = 35.0
"""Above it an interpolation is as good as any survey's noise allows; tables do not reward more."""


def snr_db(truth: NDArray[np.floating], found: NDArray[np.floating], where: NDArray[np.bool_] | None = None) -> float:
    """10 log10(|x|^2 / |x - found|^2) over the traces `where` (crossline, inline), or over all."""
    chosen = np.ones(truth.shape[:2], bool) if where is None else where
    signal = np.asarray(truth[chosen], dtype=np.float64)
    error = signal - np.asarray(found[chosen], dtype=np.float64)
    return float(10 * np.log10(np.sum(signal**2) / max(float(np.sum(error**2)), 1e-300)))


def seam_ratio(cube: NDArray[np.floating], faces: dict[int, list[int]]) -> float:
    """Mean absolute step across tile faces over that everywhere else; 1 where tiles do not show.

    Parameters
    ----------
    faces : by axis, the samples that begin a tile
    """
    at: list[float] = []
    elsewhere: list[float] = []
    for axis, starts in faces.items():
        steps = np.abs(np.diff(np.asarray(cube, dtype=np.float64), axis=axis))
        means = steps.mean(axis=tuple(k for k in range(cube.ndim) if k != axis))
        on = np.isin(np.arange(1, cube.shape[axis]), starts)
        at += means[on].tolist()
        elsewhere += means[~on].tolist()
    return float(np.mean(at) / np.mean(elsewhere))

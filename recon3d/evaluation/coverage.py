"""Coverage: how often the truth lies inside an error bar, and the factor on a spread that makes it an error bar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import ShapeError

__all__ = ["calibration_factor", "coverage"]

LEVEL = 0.9
"""The share of voxels that a calibrated interval is to cover."""
NORMAL_QUANTILE = 1.6448536269514722
"""Half width of an interval of that share, in standard deviations of a normal error."""

Pair = tuple[NDArray[np.floating], NDArray[np.floating]]


def coverage(error: NDArray[np.floating], spread: NDArray[np.floating]) -> float:
    """The share of voxels with |error| at most 1.645 spread: 0.9 for normal errors of that standard deviation.

    Parameters
    ----------
    error : result minus truth, of the voxels that count (inside the body)
    spread : stated standard deviation of the same voxels
    """
    _check(error, spread)
    return float(np.mean(np.abs(error) <= NORMAL_QUANTILE * spread))


def calibration_factor(cases: Sequence[Pair]) -> float:
    """The factor on the spread with which 90 % intervals cover 90 % of the voxels, every case counting alike.

    Parameters
    ----------
    cases : (error, spread) of the voxels of each volume and scan
    """
    ratios, weights = [], []
    for error, spread in cases:
        _check(error, spread)
        ratio = np.full(error.shape, np.inf)
        np.divide(np.abs(error), NORMAL_QUANTILE * spread, out=ratio, where=spread > 0)
        ratio[error == 0] = 0.0
        ratios.append(ratio.ravel())
        weights.append(np.full(ratio.size, 1.0 / ratio.size))
    pooled, share = np.concatenate(ratios), np.concatenate(weights)
    order = np.argsort(pooled)
    reached = np.cumsum(share[order]) / share.sum()
    return float(pooled[order][np.searchsorted(reached, LEVEL)])


def _check(error: NDArray[np.floating], spread: NDArray[np.floating]) -> None:
    if error.shape != spread.shape or not error.size:
        raise ShapeError(f"Coverage needs an error and a spread for each voxel, got {error.shape} and {spread.shape}.")

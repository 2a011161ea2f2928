"""Smooth random fields on a voxel grid: the source of warps, uneven surfaces and tissue texture."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter


def _bspline_weights(samples: int, spacing: float) -> np.ndarray:
    """Return cubic B-spline weights, shape (samples, knots), for knots `spacing` samples apart."""
    position = (np.arange(samples) + 0.5) / spacing
    knots = int(np.floor(samples / spacing)) + 4
    distance = np.abs(position[:, None] + 1.0 - np.arange(knots)[None, :])
    inner = 2.0 / 3.0 - distance**2 + 0.5 * distance**3
    outer = (2.0 - distance) ** 3 / 6.0
    return np.where(distance < 1.0, inner, np.where(distance < 2.0, outer, 0.0)).astype(np.float32)


def smooth_field(
    shape: tuple[int, int, int],
    voxel_mm: tuple[float, float, float],
    length_mm: float | tuple[float, float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw a smooth Gaussian field of zero mean and unit standard deviation.

    Independent normal numbers sit on a lattice `length_mm` apart (at least one voxel) and are joined by cubic
    B-splines, one matrix product per axis, so a field over the same extent in mm is the same for every voxel size.

    Returns
    -------
    float32 array of `shape` (z, y, x).
    """
    lengths = (length_mm,) * 3 if isinstance(length_mm, (int, float)) else length_mm
    weights = [
        _bspline_weights(n, max(float(length) / step, 1.0))
        for n, step, length in zip(shape, voxel_mm, lengths, strict=True)
    ]
    field = rng.standard_normal(tuple(w.shape[1] for w in weights), dtype=np.float32)
    field = np.tensordot(weights[0], field, (1, 0))
    field = np.matmul(weights[1], field)
    field = np.matmul(field, weights[2].T)
    # The mean over a period of the summed squared weights is 151/315 per axis.
    return np.ascontiguousarray(field) * np.float32((315.0 / 151.0) ** 1.5)


def grain(shape: tuple[int, int, int], sigma: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """Draw Gaussian noise of unit standard deviation, low-passed by a Gaussian of `sigma` voxels (z, y, x)."""
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap", truncate=3.0)
    return noise / max(float(noise.std()), 1e-6)

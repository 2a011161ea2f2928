"""Media of horizontal layers, seen along straight rays: how long a millimetre takes on the way to a point."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from operators.errors import GeometryError


def mean_slowness(
    depth_mm: NDArray[np.float64], speeds_m_s: ArrayLike, tops_mm: ArrayLike = (0.0,)
) -> NDArray[np.float64]:
    """Seconds per mm along a straight ray from the face of the probe to each depth, averaged over the layers it meets.

    A straight ray spends the same share of its length in a layer whatever its angle, so one number per depth serves
    all elements. Refraction is left out: right to first order in the contrast of the layers.

    Parameters
    ----------
    depth_mm : z of the points; above the first layer its speed holds
    speeds_m_s : speed of sound of each layer
    tops_mm : depth at which each layer begins, ascending, the first at 0 (the face of the probe)
    """
    speeds, tops = np.asarray(speeds_m_s, dtype=float), np.asarray(tops_mm, dtype=float)
    if speeds.shape != tops.shape or speeds.ndim != 1 or tops[0] != 0 or (np.diff(tops) <= 0).any():
        raise GeometryError(
            "Layers need one speed and one top each, tops ascending from 0, got speeds "
            f"{speeds.tolist()} m/s and tops {tops.tolist()} mm."
        )
    if not (np.isfinite(speeds) & (speeds > 0)).all():
        raise GeometryError(f"Speeds of sound are positive, got {speeds.tolist()} m/s.")
    slowness = 1e-3 / speeds
    depth = np.maximum(np.asarray(depth_mm, dtype=float), 0.0)[..., None]
    bottoms = np.append(tops[1:], np.inf)
    thickness = np.clip(np.minimum(depth, bottoms) - tops, 0.0, None)
    total = depth[..., 0]
    return np.where(total > 0, (thickness @ slowness) / np.where(total > 0, total, 1.0), slowness[0])

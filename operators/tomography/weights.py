"""Weights of views and rays in filtered backprojection: gaps between views, and rays that are measured twice."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from operators.errors import GeometryError

FloatArray = NDArray[np.float64]


def angular_weights(angles_rad: FloatArray, period: float) -> tuple[FloatArray, bool]:
    """Half the gaps to the neighbours of each angle modulo `period`, and whether the angles go all the way round.

    One gap more than three times the next largest is the end of the arc, no gap between views: it counts as the next.
    """
    folded = np.mod(angles_rad, period)
    order = np.argsort(folded, kind="stable")
    gaps = np.diff(folded[order], append=folded[order[0]] + period)  # gap k lies after angle k
    is_full = True
    if gaps.size > 1:
        widest, next_widest = (int(k) for k in np.argsort(gaps)[[-1, -2]])
        if gaps[widest] > 3.0 * gaps[next_widest] > 0.0:
            gaps[widest] = gaps[next_widest]
            is_full = False
    weights = np.empty_like(folded)
    weights[order] = 0.5 * (gaps + np.roll(gaps, 1))
    return weights, is_full


def short_scan_weights(beta: FloatArray, gamma: FloatArray) -> FloatArray:
    """Shares (view, column) of rays from source angles `beta` at ray angles `gamma`; those of opposite rays add to one.

    Parker's weights (Med. Phys. 9, 1982) or, where the arc is less than half a turn and the fan, smooth weights in the
    manner of Noo et al. (Phys. Med. Biol. 47, 2002). Both angles turn from x to y, so the ray
    (beta, gamma) comes back as (beta + pi + 2 gamma, -gamma).
    """
    folded = np.sort(np.mod(beta, 2 * math.pi))
    gaps = np.diff(folded, append=folded[0] + 2 * math.pi)
    widest = int(np.argmax(gaps))
    step = float(np.sort(gaps)[-2])
    arc = 2 * math.pi - gaps[widest] + step  # each view stands for half a step to both sides
    first = folded[(widest + 1) % folded.size] - 0.5 * step
    passed = np.mod(beta - first, 2 * math.pi)[:, None]
    excess = 0.5 * (arc - math.pi)
    if excess >= np.abs(gamma).max() - step:
        excess = max(excess, float(np.abs(gamma).max()) + 1e-6)
        rise = np.sin(0.25 * math.pi * passed / (excess - gamma)) ** 2
        fall = np.sin(0.25 * math.pi * np.maximum(math.pi + 2 * excess - passed, 0.0) / (excess + gamma)) ** 2
        early, late = passed < 2 * (excess - gamma), passed > math.pi - 2 * gamma
        return np.where(early, rise, np.where(late, fall, 1.0))

    def share(angle: FloatArray) -> FloatArray:
        edge = np.minimum(angle, arc - angle) / (0.1 * arc)
        return np.sin(0.5 * math.pi * np.clip(edge, 0.0, 1.0)) ** 2

    own = share(passed)
    return own / (own + share(np.mod(passed + math.pi + 2 * gamma, 2 * math.pi)))


def full_turn_weights(gamma: FloatArray) -> FloatArray:
    """Shares (view, column) of rays at angles `gamma` in a full turn; those of opposite rays, at -gamma, add to one.

    Half each where the detector reaches equally far to both sides of the axis. Where it is offset, what it sees on one
    side alone counts in full and the share goes over smoothly in between, as sin^2, in the manner of Wang (Med. Phys.
    29, 2002).

    Raises
    ------
    GeometryError
        If no column sees the axis.
    """
    low, high = -gamma.min(axis=1), gamma.max(axis=1)
    reach = np.minimum(low, high)
    if (reach <= 0).any():
        view = int(np.argmin(reach))
        raise GeometryError(
            f"The detector of view {view} lies wholly to one side of the rotation axis, so the middle of the object is "
            "not seen: check the detector offset and the axis shift, or use an iterative method."
        )
    pitch = (low + high) / max(gamma.shape[1] - 1, 1)
    is_offset = np.abs(high - low) > 1.5 * pitch
    place = np.clip(gamma * np.where(high >= low, 1.0, -1.0)[:, None] / reach[:, None], -1.0, 1.0)
    lean = 0.5 * np.sign(place) * np.sin(0.5 * math.pi * place) ** 2
    return 0.5 + np.where(is_offset[:, None], lean, 0.0)


def mirrored_columns(gamma: FloatArray) -> tuple[int, int]:
    """Columns to add before the first and after the last so that a detector reaches equally far to both sides.

    The filtered projections of an offset detector do not vanish on the side it does not see, although the weighted
    ones do; voxels there need them.
    """
    columns = np.arange(gamma.shape[1])
    middle = np.array(
        [np.interp(0.0, *(line[::-1], columns[::-1]) if line[0] > line[-1] else (line, columns)) for line in gamma]
    )
    lack = gamma.shape[1] - 1 - 2 * middle  # positive where the far side is the last column
    if np.abs(lack).max() <= 1.5:
        return 0, 0
    return max(0, int(np.ceil(lack.max()))), max(0, int(np.ceil(-lack.min())))

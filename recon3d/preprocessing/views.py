"""Views: their order, repeated angles, units of angles, opposite views of a full turn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recon3d.errors import InputError

_SAME_RAD = 1e-6


def angles_rad(angles: ArrayLike, unit: str | None) -> tuple[NDArray[np.float64], list[str]]:
    """Angles in radians; a unit that is not stated, or cannot be right, is guessed, and the guess is told.

    A scan covers a half or a full turn, or a few of them. Where the angles with one more step do so within 3 % in one
    unit only, that is the unit; otherwise the stated one is believed, and degrees where none is stated.

    Parameters
    ----------
    angles : one per view
    unit : "deg", "rad" or None where the file does not say
    """
    values = np.asarray(angles, dtype=np.float64).ravel()
    if values.size == 0 or not np.isfinite(values).all():
        raise InputError("The angles hold NaN or infinities, or there are none: expected one finite number per view.")
    ordered = np.sort(values)
    step = float(np.median(np.diff(ordered))) if values.size > 1 else 0.0
    covered = float(ordered[-1] - ordered[0]) + step
    fits = {name: _whole_turns(covered / half) for name, half in (("deg", 180.0), ("rad", math.pi))}
    fits["rad"] = fits["rad"] and covered < 20 * math.pi and values.size >= 8
    guess = unit or "deg"
    other = "rad" if guess == "deg" else "deg"
    notes = []
    if values.size >= 8 and fits[other] and not fits[guess]:
        said = f"stated in {guess}" if unit else "of unstated unit"
        notes.append(f"angles {said} cover {covered:.4g}, so they are taken as {other}")
        guess = other
    elif unit is None:
        notes.append("unit of the angles not stated: degrees")
    return values * (math.pi / 180.0 if guess == "deg" else 1.0), notes


def sort_views(
    data: NDArray[Any], angles: NDArray[np.float64], repeated: str = "keep"
) -> tuple[NDArray[Any], NDArray[np.float64], list[str]]:
    """Views by ascending angle; those at the same angle (up to full turns) kept, averaged, or dropped.

    Parameters
    ----------
    data : (view, ...)
    angles : radians
    repeated : "keep", "average", or "drop" (the first stays)
    """
    notes = []
    if not np.all(np.diff(angles) >= 0):
        order = np.argsort(angles, kind="stable")
        data, angles = data[order], angles[order]
        notes.append(f"views: {len(angles)} sorted by angle")
    if repeated == "keep" or len(angles) < 2:
        return data, angles, notes
    turn = np.mod(angles - angles[0], 2 * math.pi)
    turn = np.where(2 * math.pi - turn < _SAME_RAD, 0.0, turn)
    order = np.argsort(turn, kind="stable")
    first = np.concatenate(([True], np.diff(turn[order]) > _SAME_RAD))
    group = np.empty(len(turn), int)
    group[order] = np.cumsum(first) - 1
    count = np.bincount(group)
    if count.max() == 1:
        return data, angles, notes
    keep = np.sort([int(np.flatnonzero(group == g)[0]) for g in range(len(count))])
    if repeated == "average":
        merged = [data[group == group[i]].mean(axis=0, dtype=np.float64) for i in keep]
        data = np.stack(merged).astype(data.dtype)
    else:
        data = data[keep]
    done = "averaged" if repeated == "average" else "dropped"
    notes.append(f"views: {len(angles) - len(keep)} at repeated angles {done}")
    return data, angles[keep], notes


def opposite(data: NDArray[Any], angles: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """The view half a turn after each, interpolated between its neighbours in angle.

    Parameters
    ----------
    data : (view, row, column), views sorted by angle
    angles : radians, ascending

    Returns
    -------
    which views have one (views on both sides no further apart than one and a half steps), and those views
    """
    period = 2 * math.pi
    full_turn = angles[-1] - angles[0] > period - 2.5 * float(np.median(np.diff(angles)))
    turn = np.mod(angles - angles[0], period) if full_turn else angles - angles[0]
    order = np.argsort(turn, kind="stable")
    knots, index = turn[order], order
    if full_turn:
        knots = np.concatenate((knots, [knots[0] + period]))
        index = np.concatenate((index, index[:1]))
    wanted = turn + math.pi
    wanted = np.mod(wanted, period) if full_turn else wanted
    step = float(np.median(np.diff(knots)))
    right = np.clip(np.searchsorted(knots, wanted - 1e-9), 1, len(knots) - 1)
    gap = knots[right] - knots[right - 1]
    weight = (wanted - knots[right - 1]) / np.maximum(gap, 1e-12)
    there = (gap < 1.5 * step + 1e-9) & (weight > -1e-6) & (weight < 1 + 1e-6)
    w = np.clip(weight[there], 0, 1)[:, None, None]
    views = (1 - w) * data[index[right[there] - 1]] + w * data[index[right[there]]]
    return there, views.astype(np.float32)


def full_to_half_turn(
    data: NDArray[Any], angles: NDArray[np.float64], axis_column: float
) -> tuple[NDArray[np.float32], NDArray[np.float64], float]:
    """A parallel scan over 360 degrees as one over 180: each view joined with its mirrored opposite.

    Where the axis is off the middle, the joined views are wider than the detector, up to twice as wide. In the
    overlap the two are blended by their distance from the edge of the detector.

    Parameters
    ----------
    data : (view, row, column), views sorted by angle
    angles : radians, ascending, over a full turn
    axis_column : column of the rotation axis

    Returns
    -------
    (view, row, wider column), the angles of its views, and the column of the axis on it
    """
    n = data.shape[2]
    if not -0.5 <= axis_column <= n - 0.5:
        raise InputError(f"The rotation axis lies off the detector (column {axis_column:.1f} of {n}).")
    half = (angles - angles[0]) < math.pi - 1e-6
    there, mirrored = opposite(data, angles)
    use = half[there]
    views = data[there & half].astype(np.float32)
    if not len(views) or (there & half).sum() < 0.9 * half.sum():
        raise InputError(
            f"Views over a full turn are needed to join opposite ones, got {np.degrees(np.ptp(angles)):.0f} degrees."
        )
    first = min(0, math.ceil(2 * axis_column - (n - 1)))
    last = max(n - 1, math.floor(2 * axis_column))
    column = np.arange(first, last + 1, dtype=float)
    direct, reflected = _sampled(views, column), _sampled(mirrored[use], 2 * axis_column - column)
    w_direct, w_reflected = _edge_distance(column, n), _edge_distance(2 * axis_column - column, n)
    share = w_direct / np.maximum(w_direct + w_reflected, 1e-9)
    joined = share * direct + (1 - share) * reflected
    return joined.astype(np.float32), angles[there & half], axis_column - first


def _sampled(views: NDArray[Any], column: NDArray[np.float64]) -> NDArray[Any]:
    """Views at broken columns, by straight lines; beyond the edge the value at the edge."""
    n = views.shape[2]
    position = np.clip(column, 0, n - 1)
    left = np.minimum(position.astype(int), max(n - 2, 0))
    weight = (position - left).astype(np.float32)
    return views[..., left] * (1 - weight) + views[..., np.minimum(left + 1, n - 1)] * weight


def _edge_distance(column: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Distance from the next end of the detector in pixels, 0 beyond it."""
    return np.clip(np.minimum(column + 1, n - column), 0, None)


def _whole_turns(half_turns: float) -> bool:
    nearest = round(half_turns)
    return nearest >= 1 and abs(half_turns - nearest) < 0.03 * nearest

"""Counts to line integrals: flat and dark fields, monitor, zero and dead pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recon3d.errors import InputError, ShapeError

Floats = NDArray[np.floating[Any]]

LEAST_COUNT = 0.5
"""Half a count is the least that a detector can mean; it keeps the logarithm of an opaque ray finite."""

MOST_NEGATIVE = 0.01
"""Share of negative raw counts that readout noise may explain; more of them are no counts."""

MOST_DEAD = 0.2
"""Share of detector pixels that may be dead before the fields themselves are in doubt."""

_LONGEST_GAP = 3


def line_integrals(
    counts: ArrayLike,
    flat: ArrayLike,
    dark: ArrayLike = 0.0,
    *,
    monitor: ArrayLike | None = None,
    flat_monitor: ArrayLike | None = None,
    floor: float = LEAST_COUNT,
    name: str = "the scan",
) -> tuple[NDArray[np.float32], list[str]]:
    """-log((counts - dark) / (flat - dark)), dead pixels filled from their neighbours along the row.

    Parameters
    ----------
    counts : (view, row, column), as the detector gave them; NaN where it gave nothing
    flat, dark : a number, a frame (row, column) or several frames, which are averaged: counts without an object, and
        without a beam
    monitor : beam intensity of each view, (view,) or any shape that broadcasts to the counts; counts are divided by it
    flat_monitor : the monitor during the flat fields, one number or one per frame; the mean of `monitor` by default
    floor : least count that an opaque ray is taken to have, in counts above the dark field
    name : what messages call the data

    Returns
    -------
    (view, row, column) float32, dimensionless, and sentences on what was mended

    Raises
    ------
    InputError
        For negative counts, flat fields darker than dark ones, a monitor that is not positive, a dead detector.
    """
    counts = np.asarray(counts)
    if counts.ndim != 3 or counts.dtype.kind not in "biuf":
        raise ShapeError(f"Counts of {name} are real numbers (view, row, column), got {counts.dtype} {counts.shape}.")
    notes: list[str] = []
    dark_frame = frame_of(dark, counts.shape[1:], "dark field", name)
    flat_frame = frame_of(flat, counts.shape[1:], "flat field", name)
    span = flat_frame - dark_frame
    if np.median(span) <= 0:
        raise InputError(
            f"The flat field of {name} is darker than its dark field (medians {np.median(flat_frame):.4g} and "
            f"{np.median(dark_frame):.4g}): check whether the two are swapped."
        )
    _check_negative(counts, name, notes)
    gain = _gain(counts, monitor, flat_monitor, name)
    dead: NDArray[np.bool_] = np.asarray(~(span > 0) | np.all(~(np.nan_to_num(counts) > dark_frame), axis=0))
    if dead.mean() > MOST_DEAD:
        raise InputError(
            f"{dead.mean():.0%} of the detector pixels of {name} show no beam (flat no brighter than dark, or no count "
            "in any view): check the flat and dark fields."
        )
    data = np.empty(counts.shape, np.float32)
    missing = np.zeros(counts.shape, bool)
    log_span = np.log(np.where(dead, 1.0, span))
    opaque = 0
    for view in range(len(counts)):  # one view at a time: a scan may be as large as the memory
        above = counts[view] - dark_frame
        nothing = ~(above > 0)
        # A short gap between bright pixels is a fault of the detector; a long one is an opaque object.
        missing[view] = dead | ~np.isfinite(above) | _short_gaps(np.asarray(nothing & ~dead))
        opaque += int(np.count_nonzero(nothing & ~missing[view]))
        log_gain = np.log(gain[view]) if gain is not None else 0.0
        data[view] = log_span + log_gain - np.log(np.maximum(np.nan_to_num(above), floor))
    if dead.any():
        notes.append(f"dead pixels: {int(dead.sum())} of {dead.size} filled from their neighbours in the row")
    single = int(np.count_nonzero(missing)) - len(counts) * int(dead.sum())
    if single:
        notes.append(f"zero pixels: {single} single measurements without a count filled from their neighbours")
    if opaque:
        notes.append(f"opaque rays: {opaque} measurements without a count set to {floor:g} counts")
    return fill_gaps(data, missing), notes


def air_field(counts: ArrayLike, columns: int = 5, *, monitor: ArrayLike | None = None) -> Floats:
    """A flat field for a scan without one: the air left and right of the object, joined by a straight line.

    Parameters
    ----------
    counts : (view, row, column)
    columns : how many at either end of a row show air in every view
    monitor : as for `line_integrals`; the field is that of its mean

    Returns
    -------
    (row, column)
    """
    counts = np.asarray(counts)
    n = counts.shape[2]
    if not 1 <= columns <= n // 2:
        raise InputError(f"Air is read from 1 to {n // 2} columns at either end of a row, got {columns}.")
    scale = np.ones((1, 1, 1))
    if monitor is not None:
        beam = spread_monitor(monitor, counts.shape)
        scale = beam.mean() / beam
    ends = [(counts[..., part] * scale[..., part if scale.shape[2] == n else slice(None)])
            for part in (slice(0, columns), slice(n - columns, n))]  # fmt: skip
    left, right = (np.nanmedian(end, axis=(0, 2)) for end in ends)
    position = (np.arange(n) - (columns - 1) / 2) / max(n - columns, 1)
    return np.asarray(left[:, None] * (1 - position) + right[:, None] * position)


def air_monitor(counts: ArrayLike, columns: int = 5, *, monitor: ArrayLike | None = None) -> Floats:
    """The beam during each row of each view, from the air at its ends: for scans whose beam drifts within a view.

    Returns
    -------
    (view, row, column or 1), of the scale of `monitor`
    """
    counts = np.asarray(counts, dtype=np.float64)
    beam = spread_monitor(monitor, counts.shape) if monitor is not None else np.ones((1, 1, 1))
    ratio = counts / beam
    ends = np.concatenate((ratio[..., :columns], ratio[..., -columns:]), axis=-1)
    level = np.median(ends, axis=-1, keepdims=True)
    typical = np.median(level, axis=0, keepdims=True)
    if not (level > 0).all():
        raise InputError("The air at the ends of the rows shows no beam: give flat fields.")
    return np.asarray(beam * level / typical)


def fill_gaps(data: NDArray[np.float32], missing: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Replace missing measurements by a straight line between their neighbours along the row, in place.

    A row without any measurement becomes the nearest row of its view that has some.
    """
    whole: NDArray[np.bool_] = np.asarray(missing.all(axis=2))
    column = np.arange(data.shape[2])
    for view, row in np.argwhere(missing.any(axis=2) & ~whole):
        gap = missing[view, row]
        data[view, row, gap] = np.interp(column[gap], column[~gap], data[view, row, ~gap])
    for view, row in np.argwhere(whole):
        others = np.flatnonzero(~whole[view])
        if others.size == 0:
            raise InputError(f"View {view} holds no measurement: drop it.")
        data[view, row] = data[view, others[np.argmin(np.abs(others - row))]]
    return data


def frame_of(field: ArrayLike, shape: tuple[int, ...], what: str, name: str) -> Floats:
    """A field as one frame (row, column); several frames are averaged, a number is spread."""
    frame = np.asarray(field, dtype=np.float64)
    if frame.ndim == 3:
        frame = frame.mean(axis=0)
    if frame.ndim == 0:
        frame = np.full(shape, float(frame))
    if frame.shape != shape:
        raise InputError(f"The {what} of {name} has shape {frame.shape}: expected a number or frames of {shape}.")
    return frame


def spread_monitor(monitor: ArrayLike, shape: tuple[int, ...]) -> Floats:
    """A monitor with three axes that broadcast to the counts."""
    beam = np.asarray(monitor, dtype=np.float64)
    if beam.ndim == 1:
        beam = beam[:, None, None]
    if beam.ndim != 3 or any(n not in (1, m) for n, m in zip(beam.shape, shape, strict=True)):
        raise InputError(f"A monitor has one value per view, got shape {beam.shape} for counts of shape {shape}.")
    if not (np.isfinite(beam).all() and (beam > 0).all()):
        raise InputError(f"Monitor counts are positive, got a minimum of {beam.min():g}: leave the monitor out.")
    return beam


def _gain(counts: NDArray[Any], monitor: ArrayLike | None, flat_monitor: ArrayLike | None, name: str) -> Floats | None:
    """Beam of each view relative to that of the flat fields, (view, row, column) or broadcast to it."""
    if monitor is None:
        return None
    beam = spread_monitor(monitor, counts.shape)
    reference = float(beam.mean() if flat_monitor is None else np.mean(np.asarray(flat_monitor, dtype=np.float64)))
    if not reference > 0:
        raise InputError(f"The monitor during the flat fields of {name} is {reference:g}: expected positive counts.")
    gain = beam / reference
    return np.broadcast_to(gain, (counts.shape[0], *gain.shape[1:]))


def _check_negative(counts: NDArray[Any], name: str, notes: list[str]) -> None:
    if counts.dtype.kind in "bu":
        return
    negative = int(np.count_nonzero(counts < 0))
    if negative > MOST_NEGATIVE * counts.size:
        raise InputError(
            f"{negative / counts.size:.0%} of the counts of {name} are negative (lowest {np.nanmin(counts):.4g}), as "
            "no counts are: if the file holds line integrals already, read it with a mapping without 'transform'."
        )
    if negative:
        notes.append(f"negative counts: {negative} of {counts.size} taken as no count")


def _short_gaps(nothing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Runs of at most three pixels without a count along the row, with counts on both sides."""
    if not nothing.any():
        return nothing
    from scipy.ndimage import binary_closing, binary_opening

    line = np.ones((1, _LONGEST_GAP + 1), bool)
    long = binary_opening(nothing, line)
    framed = np.pad(~nothing, ((0, 0), (_LONGEST_GAP, _LONGEST_GAP)))
    closed = binary_closing(framed, line)[:, _LONGEST_GAP:-_LONGEST_GAP]
    return np.asarray(nothing & ~long & closed)

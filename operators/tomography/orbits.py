"""The vectors of scanners: where ray source and detector are at each angle, as the rows of a `TomographyGeometry`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from operators.errors import GeometryError

FloatArray = NDArray[np.float64]


def parallel_vectors(
    angles_rad: ArrayLike,
    column_mm: float,
    row_mm: float,
    *,
    detector_offset_mm: float,
    axis_shift_mm: float,
    row_centre_mm: float,
) -> FloatArray:
    """Rows (view, 12) of a parallel beam, as `TomographyGeometry.parallel` describes it."""
    angles = _checked_angles(angles_rad)
    _check_positive(column_mm=column_mm, row_mm=row_mm)
    _check_finite(detector_offset_mm=detector_offset_mm, axis_shift_mm=axis_shift_mm, row_centre_mm=row_centre_mm)
    across, along = _axes_at(angles)
    vectors = np.zeros((angles.size, 12))
    vectors[:, 0:3] = -along  # ASTRA's sign
    vectors[:, 3:6] = (detector_offset_mm - axis_shift_mm) * across
    vectors[:, 5] = row_centre_mm
    vectors[:, 6:9] = column_mm * across
    vectors[:, 11] = row_mm
    return vectors


def orbit_vectors(
    angles_rad: ArrayLike,
    source_to_axis_mm: float,
    source_to_detector_mm: float,
    column_mm: float,
    row_mm: float,
    *,
    curved: bool,
    advance_mm: float = 0.0,
    detector_offset_mm: float = 0.0,
    row_offset_mm: float = 0.0,
    axis_shift_mm: float = 0.0,
    tilt_rad: float = 0.0,
    source_z_mm: float = 0.0,
) -> FloatArray:
    """Rows (view, 12) of a source on a circle or a helix, as `TomographyGeometry.cone` describes it."""
    angles = _checked_angles(angles_rad)
    _check_positive(
        column_mm=column_mm,
        row_mm=row_mm,
        source_to_axis_mm=source_to_axis_mm,
        source_to_detector_mm=source_to_detector_mm,
    )
    _check_finite(
        advance_mm=advance_mm,
        detector_offset_mm=detector_offset_mm,
        row_offset_mm=row_offset_mm,
        axis_shift_mm=axis_shift_mm,
        tilt_rad=tilt_rad,
        source_z_mm=source_z_mm,
    )
    if source_to_detector_mm < source_to_axis_mm:
        raise GeometryError(
            "The detector must not lie between source and axis: source_to_detector_mm "
            f"({source_to_detector_mm:g}) is less than source_to_axis_mm ({source_to_axis_mm:g})."
        )
    across, along = _axes_at(angles)
    up = np.array([0.0, 0.0, 1.0])
    u_hat = math.cos(tilt_rad) * across + math.sin(tilt_rad) * up
    v_hat = math.cos(tilt_rad) * up - math.sin(tilt_rad) * across
    turns = (angles - 0.5 * (angles.min() + angles.max())) / (2 * math.pi)
    source = -axis_shift_mm * across - source_to_axis_mm * along + (source_z_mm + advance_mm * turns)[:, None] * up
    turn = detector_offset_mm / source_to_detector_mm if curved else 0.0
    centre_across = source_to_detector_mm * math.sin(turn) if curved else detector_offset_mm
    centre = source + centre_across * u_hat + source_to_detector_mm * math.cos(turn) * along + row_offset_mm * v_hat
    step = column_mm * (math.cos(turn) * u_hat - math.sin(turn) * along)
    return np.concatenate((source, centre, step, row_mm * v_hat), axis=1)


def _axes_at(angles_rad: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Unit vectors (view, 3) along the columns and along the central ray, away from the source."""
    cos, sin, zero = np.cos(angles_rad), np.sin(angles_rad), np.zeros(angles_rad.size)
    return np.stack((cos, sin, zero), axis=1), np.stack((-sin, cos, zero), axis=1)


def _checked_angles(angles_rad: ArrayLike) -> FloatArray:
    angles = np.asarray(angles_rad, dtype=np.float64)
    if angles.ndim != 1 or angles.size == 0:
        raise GeometryError(f"angles_rad is a list of at least one angle, got shape {angles.shape}.")
    if not np.isfinite(angles).all():
        first = int(np.flatnonzero(~np.isfinite(angles))[0])
        raise GeometryError(f"angles_rad[{first}] is {angles[first]}; every view needs a finite angle.")
    return angles


def _check_positive(**lengths_mm: float) -> None:
    for name, value in lengths_mm.items():
        if not (math.isfinite(value) and value > 0):
            raise GeometryError(f"{name} must be a positive length in mm, got {value}.")


def _check_finite(**lengths_mm: float) -> None:
    for name, value in lengths_mm.items():
        if not math.isfinite(value):
            raise GeometryError(f"{name} must be a finite length in mm, got {value}.")

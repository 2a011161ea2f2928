"""Probes: where the elements of an array lie, (element, 3) in mm: x lateral, y elevation, z into the body."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from operators.errors import GeometryError

Positions = NDArray[np.float64]


def linear_array(elements: int, pitch_mm: float) -> Positions:
    """Elements along x, centred on the origin."""
    return matrix_array((1, elements), (pitch_mm, pitch_mm))


def phased_array(elements: int, centre_hz: float, sound_speed_m_s: float = 1540.0) -> Positions:
    """A linear array whose pitch is half a wavelength, so that it steers without grating lobes."""
    if not centre_hz > 0 or not sound_speed_m_s > 0:
        raise GeometryError(
            f"A wavelength needs a positive frequency and speed, got {centre_hz} Hz and {sound_speed_m_s} m/s."
        )
    return linear_array(elements, 0.5e3 * sound_speed_m_s / centre_hz)


def matrix_array(elements: tuple[int, int], pitch_mm: tuple[float, float]) -> Positions:
    """Elements on a rectangle (y, x) in the plane z = 0, centred on the origin, x running fastest."""
    if min(elements) < 1 or not min(pitch_mm) > 0:
        raise GeometryError(f"An array has at least one element and a positive pitch, got {elements}, {pitch_mm} mm.")
    y, x = ((np.arange(n) - 0.5 * (n - 1)) * mm for n, mm in zip(elements, pitch_mm, strict=True))
    grid = np.stack(np.broadcast_arrays(x, y[:, None], 0.0), axis=-1)
    return np.ascontiguousarray(grid.reshape(-1, 3), dtype=np.float64)

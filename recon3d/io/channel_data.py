"""Channel data of ultrasound become a Scan: what every reader of such files has in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from operators.ultrasound import Transmits
from recon3d.acquisitions.ultrasound import default_grid, first_sample_s, sound_speed_m_s
from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.scan import Scan


def channel_scan(
    data: NDArray[Any],
    axes: tuple[str, ...],
    elements_mm: NDArray[np.float64],
    transmits: Transmits,
    *,
    sampling_hz: float,
    centre_hz: float,
    sound_speed_m_s: float,
    first_sample_s: ArrayLike,
    name: str,
    after_firing: bool = False,
    **known: Any,
) -> Scan:
    """The scan, on the grid that its probe and its traces suggest.

    Parameters
    ----------
    data : (t, transmit, element, sample) or without t, RF or baseband
    first_sample_s : (transmit,) or one, after the wave passes the origin of its transmit
    after_firing : the first samples are counted from when the first element fires instead
    known : further entries of the acquisition; None leaves one out
    """
    first = np.broadcast_to(np.asarray(first_sample_s, dtype=float), (len(transmits),)).copy()
    acquisition: dict[str, Any] = {
        "elements_mm": np.asarray(elements_mm, dtype=float),
        "sampling_hz": sampling_hz,
        "centre_hz": centre_hz,
        "sound_speed_m_s": sound_speed_m_s,
        **transmit_entries(transmits),
        "first_sample_s": first,
        **{key: value for key, value in known.items() if value is not None},
    }
    scan = Scan("ultrasound", data, axes, acquisition, AffineGrid.centred((1, 1, 1), 1.0), name=name)
    speed = speed_of(scan)
    if after_firing:
        acquisition["first_sample_s"] = first - origin_delays_s(transmits, acquisition["elements_mm"], speed)
    return scan.on(grid_of(acquisition, speed, data.shape[-1]))


def speed_of(scan: Scan) -> float:
    """The speed of sound of the first layer, in m/s whatever unit the file has it in."""
    return float(sound_speed_m_s(scan)[0][0])


def transmit_entries(transmits: Transmits) -> dict[str, NDArray[np.float64]]:
    """Transmits as entries of an acquisition."""
    x, y, z = transmits.directions.T
    return {
        "focus_mm": np.asarray(transmits.focus_mm),
        "polar_rad": np.arctan2(np.hypot(x, y), z),
        "azimuth_rad": np.arctan2(y, x),
        "origins_mm": np.asarray(transmits.origins_mm),
        "widths_mm": np.asarray(transmits.widths_mm),
    }


def origin_delays_s(transmits: Transmits, elements_mm: NDArray[np.float64], speed_m_s: float) -> NDArray[np.float64]:
    """How long after the first element fires the wave passes the origin of each transmit."""
    slowness = np.full(len(elements_mm), 1e-3 / speed_m_s)
    return -transmits.times_s(elements_mm, slowness, 0.0).min(axis=1)


def grid_of(acquisition: Mapping[str, Any], speed_m_s: float, samples: int) -> AffineGrid:
    """The default grid: from the depth of the first to that of the last sample of the latest transmit."""
    starts = first_sample_s(acquisition)
    first, last = float(np.max(starts)), float(np.min(starts)) + samples / acquisition["sampling_hz"]
    half = 0.5e3 * speed_m_s
    wavelength = 1e3 * speed_m_s / acquisition["centre_hz"]
    if not last * half > wavelength:
        raise InputError(f"The traces end at {last:.3g} s, before an echo from below the probe: check first_sample.")
    return default_grid(acquisition["elements_mm"], wavelength, (max(0.0, first * half), last * half))

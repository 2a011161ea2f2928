"""The acquisition "ultrasound": channel data become the Born model, whose adjoint is delay-and-sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from operators.linear import LinearOperator
from operators.ultrasound import BornModel, Demodulation, Frames, Transmits, mean_slowness
from recon3d.beams import image_grid, points_mm
from recon3d.errors import InputError
from recon3d.grid import AffineGrid
from recon3d.scan import Scan

NEEDED = ("elements_mm", "sampling_hz", "centre_hz", "sound_speed_m_s", "focus_mm", "polar_rad", "first_sample_s")
AXES = ("transmit", "element", "sample")
SPEEDS_M_S = (300.0, 13000.0)
"""From gases to the stiffest solids."""
_UNITS = {"km/s or mm/us": 1e3, "m/s times 10": 0.1, "cm/s": 0.01, "mm/s": 1e-3, "cm/us": 1e4}
_TISSUE_M_S = 1500.0
LEAST_CLIPPED = 1e-6
"""Share of samples that stay at the highest or lowest value from one to the next, from which on it is told."""


def ultrasound(scan: Scan, device: torch.device, dtype: torch.dtype) -> LinearOperator:
    """Channel data (transmit, element, sample), RF or baseband, of a complex reflectivity on the scan's grid.

    The acquisition states ``elements_mm`` (element, 3), ``sampling_hz``, ``centre_hz``, ``demodulation_hz`` (of
    baseband data), ``sound_speed_m_s`` (one number, or one a layer with ``layer_tops_mm``), and of each transmit
    ``focus_mm``, ``polar_rad``, ``azimuth_rad``, ``origins_mm``, ``widths_mm`` and ``first_sample_s``, as
    `operators.ultrasound.Transmits` has them. ``f_number``, ``window``, ``interpolation`` and ``element_width_mm``
    shape the beams; ``attenuation_db_cm_mhz`` and ``spreading`` weaken echoes, which delay-and-sum gives back;
    ``fractional_bandwidth`` gives the echoes a Gaussian pulse (and delay-and-sum its matched filter), and
    ``pulse_delay_s`` is how long after its beginning the middle of that pulse comes: files whose times count from the
    beginning of the transmission show every reflector deeper by that without it.
    """
    check_ultrasound(scan)
    known = scan.acquisition
    tops = np.atleast_1d(np.asarray(known.get("layer_tops_mm", 0.0), dtype=float))
    points = points_mm(scan.grid)
    complex_data = np.iscomplexobj(scan.blocks[0])
    centre_hz = _number(scan, "centre_hz")
    carrier_hz = _number(scan, "demodulation_hz") if complex_data else centre_hz
    sampling_hz = _number(scan, "sampling_hz")
    shape = cast(tuple[int, int, int], scan.blocks[0].shape[-3:])
    wide = torch.complex128 if dtype in (torch.float64, torch.complex128) else torch.complex64
    axes = ("z", "y", "x") if isinstance(scan.grid, AffineGrid) else ("elevation", "beam", "depth")
    A: LinearOperator = BornModel(
        scan.grid.shape,
        points,
        np.asarray(known["elements_mm"], dtype=float),
        transmits_of(scan),
        samples=shape[-1],
        sampling_hz=sampling_hz,
        first_sample_s=first_sample_s(known),
        centre_hz=centre_hz,
        demodulation_hz=carrier_hz,
        slowness_s_mm=mean_slowness(points[:, 2], sound_speed_m_s(scan)[0], tops),
        f_number=float(cast(float, known.get("f_number", 1.5))),
        window=str(known.get("window", "tukey")),
        interpolation=str(known.get("interpolation", "cubic")),
        element_width_mm=float(cast(float, known.get("element_width_mm", 0.0))),
        attenuation_db_cm_mhz=float(cast(float, known.get("attenuation_db_cm_mhz", 0.0))),
        spreading=bool(known.get("spreading", False)),
        domain_axes=axes,
        dtype=wide,
        device=device,
    )
    if not complex_data:
        bandwidth = known.get("fractional_bandwidth")
        width = None if bandwidth is None else float(cast(float, bandwidth))
        A = Demodulation(shape, sampling_hz, centre_hz, width, dtype, device).H @ A
    return Frames(A, scan.blocks[0].shape[0]) if "t" in scan.axes else A


def first_sample_s(acquisition: Mapping[str, Any]) -> NDArray[np.float64]:
    """(transmit,), when the first sample was taken: after the middle of the pulse passed the origin of its transmit."""
    lag = np.asarray(acquisition.get("pulse_delay_s", 0.0), dtype=float)
    return np.asarray(np.asarray(acquisition["first_sample_s"], dtype=float) - lag)


def transmits_of(scan: Scan) -> Transmits:
    """The waves of a scan."""
    known = scan.acquisition
    return Transmits.steered(
        np.atleast_1d(np.asarray(known["focus_mm"], dtype=float)),
        np.asarray(known["polar_rad"], dtype=float),
        np.asarray(known.get("azimuth_rad", 0.0), dtype=float),
        None if "origins_mm" not in known else np.asarray(known["origins_mm"], dtype=float),
        np.asarray(known.get("widths_mm", np.inf), dtype=float),
    )


def default_grid(elements_mm: NDArray[np.float64], wavelength_mm: float, depth_mm: tuple[float, float]) -> AffineGrid:
    """What a probe sees: as wide as its aperture, or a sector's width for a probe that is small beside the depth.

    Voxels of a quarter of a wavelength in depth and half a one across, coarser where there would be more than 1024.
    """
    first, last = elements_mm.min(axis=0), elements_mm.max(axis=0)
    reach = [0.0, 0.0]
    for axis in (0, 1):
        width = last[axis] - first[axis]
        if 0 < width < 0.4 * depth_mm[1]:  # a phased array: beams are steered beside it
            reach[axis] = 0.6 * depth_mm[1] - 0.5 * width
    x, y = ((float(first[k] - reach[k]), float(last[k] + reach[k])) for k in (0, 1))
    across = max(0.5 * wavelength_mm, (x[1] - x[0]) / 1023)
    if y[1] > y[0]:
        across = max(across, wavelength_mm, (x[1] - x[0]) / 127)
    top = max(depth_mm[0], wavelength_mm)
    return image_grid(x, (top, depth_mm[1]), (max(0.25 * wavelength_mm, (depth_mm[1] - top) / 1023), across), y)


def with_settings(scan: Scan, **settings: Any) -> Scan:
    """The scan with other values of its acquisition (speed of sound, f-number ...)."""
    if scan.kind != "ultrasound":
        raise InputError(f"scan.ultrasound is for ultrasound, '{scan.name}' is of kind '{scan.kind}': leave it out.")
    return replace(scan, acquisition={**scan.acquisition, **settings})


def check_ultrasound(scan: Scan) -> None:
    """Raise `InputError` unless the scan says what beamforming needs, and its probe and transmits fit its data."""
    missing = [name for name in NEEDED if name not in scan.acquisition]
    if missing:
        words = {"sampling_hz": "the sampling rate (sampling_hz)", "sound_speed_m_s": "the speed of sound"}
        named = ", ".join(words.get(name, name) for name in missing)
        raise InputError(f"The ultrasound scan '{scan.name}' lacks {named}: give it in the mapping or the file.")
    for name in ("sampling_hz", "centre_hz"):
        if not _number(scan, name) > 0:
            raise InputError(f"{name} of '{scan.name}' is a positive number of Hz, got {_number(scan, name):g}.")
    if np.iscomplexobj(scan.blocks[0]) and "demodulation_hz" not in scan.acquisition:
        raise InputError(f"'{scan.name}' holds complex data but no demodulation_hz: say what they were mixed down by.")
    if scan.axes[-3:] != AXES or len(scan.axes) > 4:
        raise InputError(f"Ultrasound data have the axes {', '.join(AXES)} after t, got {', '.join(scan.axes)}.")
    transmits, elements, _ = scan.blocks[0].shape[-3:]
    probe = np.shape(scan.acquisition["elements_mm"])
    if probe != (elements, 3):
        raise InputError(
            f"Probe and data of '{scan.name}' disagree: the probe has {probe[0] if probe else 0} elements, "
            f"the data have {elements}; check the axis order and the probe."
        )
    for name in ("focus_mm", "polar_rad", "first_sample_s", "azimuth_rad", "widths_mm", "origins_mm", "pulse_delay_s"):
        count = np.shape(scan.acquisition.get(name, 0.0))
        if count and count[0] != transmits:
            raise InputError(
                f"Transmits and data of '{scan.name}' disagree: {name} is of {count[0]} transmits, the data have "
                f"{transmits}; check the axis order."
            )
    sound_speed_m_s(scan)


def sound_speed_m_s(scan: Scan) -> tuple[NDArray[np.float64], str]:
    """The speed of sound of each layer, and what was guessed of its unit ("" where it can be right as it is)."""
    stated = np.atleast_1d(np.asarray(scan.acquisition["sound_speed_m_s"], dtype=float))
    if not (np.isfinite(stated) & (stated > 0)).all():
        raise InputError(f"The speed of sound of '{scan.name}' is a positive number of m/s, got {stated.tolist()}.")
    low, high = SPEEDS_M_S
    if ((stated >= low) & (stated <= high)).all():
        return stated, ""
    fits = {unit: f for unit, f in _UNITS.items() if ((stated * f >= low) & (stated * f <= high)).all()}
    if not fits:
        raise InputError(
            f"The speed of sound of '{scan.name}' is {stated.tolist()} m/s, which no medium has: expected "
            f"{low:g} to {high:g}."
        )
    unit = min(fits, key=lambda name: abs(np.log(stated[0] * fits[name] / _TISSUE_M_S)))
    meant = stated * fits[unit]
    return meant, f"unit: the speed of sound {stated[0]:g} looks like {unit}, so {meant[0]:g} m/s is used"


def clipped_share(data: NDArray[Any]) -> float:
    """Share of the samples of real traces that stay at the highest or lowest value of all for two or more in a row."""
    if np.iscomplexobj(data):
        return 0.0
    at_end = (data == data.max()) | (data == data.min())
    held = np.zeros_like(at_end)
    both = at_end[..., 1:] & at_end[..., :-1] & (data[..., 1:] == data[..., :-1]) & (data[..., 1:] != 0)
    held[..., 1:] |= both
    held[..., :-1] |= both
    return float(np.count_nonzero(held)) / data.size


def doubts(scan: Scan) -> list[str]:
    """What can hardly be right about an ultrasound scan, one sentence each; for the plan and the record."""
    if scan.kind != "ultrasound":
        return []
    found = [sound_speed_m_s(scan)[1]] if "sound_speed_m_s" in scan.acquisition else []
    clipped = clipped_share(scan.blocks[0])
    if clipped > LEAST_CLIPPED:
        found.append(
            f"clipped: {clipped:.2%} of the samples stay at the highest or lowest value; bright echoes are flattened "
            "and their harmonics smear (lower the gain of the receiver)"
        )
    return [line for line in found if line]


def _number(scan: Scan, name: str) -> float:
    value = np.asarray(scan.acquisition[name])
    if value.size != 1 or not np.isfinite(value.astype(float)).all():
        raise InputError(f"{name} of '{scan.name}' is one finite number, got {value.tolist()}.")
    return float(value.item())

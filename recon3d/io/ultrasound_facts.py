"""What an ultrasound scan is, in the words of the field: probe, transmits, sampling; for `recon3d inspect`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.ultrasound import Transmits
from recon3d.acquisitions.ultrasound import (
    NEEDED,
    clipped_share,
    first_sample_s,
    sound_speed_m_s,
    transmits_of,
)
from recon3d.scan import Scan


def ultrasound_facts(scan: Scan) -> dict[str, str]:
    """One line each; empty where the scan does not say enough for any."""
    known: dict[str, Any] = dict(scan.acquisition)
    if any(name not in known for name in NEEDED):
        return {}
    speed = float(sound_speed_m_s(scan)[0][0])
    wavelength_mm = 1e3 * speed / float(known["centre_hz"])
    samples, rate = scan.blocks[0].shape[-1], float(known["sampling_hz"])
    first = first_sample_s(known)
    depths = 0.5e3 * speed * np.array([max(float(np.max(first)), 0.0), float(np.min(first)) + samples / rate])
    baseband = np.iscomplexobj(scan.blocks[0])
    kind = f"baseband mixed down by {1e-6 * known['demodulation_hz']:g} MHz" if baseband else "RF"
    below = ", sampled below twice its frequency" if not baseband and rate < 2 * known["centre_hz"] else ""
    facts = {
        "probe": probe_line(np.asarray(known["elements_mm"]), wavelength_mm),
        "transmits": transmits_line(transmits_of(scan)),
        "sampling": f"{kind}, {samples} samples at {1e-6 * rate:g} MHz, {rate / known['centre_hz']:.3g} a period of "
        f"{1e-6 * known['centre_hz']:g} MHz{below}",
        "reach": f"{depths[0]:.1f} to {depths[1]:.1f} mm at {speed:g} m/s, wavelength {wavelength_mm:.3g} mm",
    }
    if "pulse_delay_s" in known:
        facts["pulse"] = f"centred {1e6 * float(np.mean(known['pulse_delay_s'])):.3g} us after it begins"
    share = clipped_share(scan.blocks[0])
    facts["clipped"] = f"{share:.2%} of the samples" if share > 0 else "no"
    return facts


def probe_line(elements_mm: NDArray[np.float64], wavelength_mm: float) -> str:
    """How many elements there are, along what, and how far apart."""
    extent = np.ptp(elements_mm, axis=0)
    count = len(elements_mm)
    if count == 1:
        return "1 element"
    gaps = np.linalg.norm(np.diff(elements_mm, axis=0), axis=1)
    pitch = float(np.median(gaps))
    if extent[1] > 0.5 * pitch:
        return f"{count} elements on {extent[0]:.1f} x {extent[1]:.1f} mm (matrix)"
    shape = "convex" if extent[2] > 0.5 * pitch else "linear"
    apart = f"pitch {pitch:.3g} mm ({pitch / wavelength_mm:.2g} wavelengths)"
    return f"{count} elements, {shape}, {apart}, {extent[0]:.1f} mm wide"


def transmits_line(transmits: Transmits) -> str:
    """How many waves of which kind, with their angles or foci."""
    focus = transmits.focus_mm
    angle = np.rad2deg(np.arctan2(transmits.directions[:, 0], transmits.directions[:, 2]))
    kinds = {
        "plane": np.isinf(focus),
        "diverging": np.isfinite(focus) & (focus < 0),
        "focused": np.isfinite(focus) & (focus > 0),
        "single-element": focus == 0,
    }
    parts = []
    for kind, of in kinds.items():
        if not of.any():
            continue
        line = f"{int(of.sum())} {kind}"
        if kind == "plane" or np.ptp(angle[of]) > 0:
            line += f", {_span(angle[of])} deg"
        if kind in ("diverging", "focused"):
            line += f", focus {_span(focus[of])} mm"
        parts.append(line)
    return "; ".join(parts)


def _span(values: NDArray[np.float64]) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.3g}" if high - low < 1e-6 else f"{low:.3g} to {high:.3g}"

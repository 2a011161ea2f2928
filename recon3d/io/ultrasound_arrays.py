"""Ultrasound channel data in array files: what the keys of a mapping of kind "ultrasound" mean."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.ultrasound import Transmits, linear_array, matrix_array, pulse_lag_s
from recon3d.errors import InputError
from recon3d.io.channel_data import channel_scan
from recon3d.io.entries import Entries
from recon3d.io.mapping import RAD, check_keys, unit_of
from recon3d.scan import Scan

PROBE_KEYS = ("pitch", "elements", "shape", "x", "y", "z", "width")
TRANSMIT_KEYS = ("type", "angles", "focus", "origins", "width")
PULSE_KEYS = ("excitation", "impulse_response", "sampling")
PAIR_KEYS = ("transmit", "element", "first", "reciprocal")
TRANSMITS = ("plane", "diverging", "focused", "elements")


def stacked(entries: Entries, pattern: str) -> NDArray[Any]:
    """Arrays of equal shape whose keys match a pattern, in the order of the numbers in them, along a new first axis."""
    canonical = pattern.replace("/", ".").strip(".")
    keys = [key for key in entries if fnmatch.fnmatchcase(key.replace("/", ".").strip("."), canonical)]
    if not keys:
        raise InputError(f"{entries.path} has no key like '{pattern}': it holds {entries.listing()}.")
    keys.sort(key=lambda key: [int(number) for number in re.findall(r"\d+", key)])
    arrays = [np.asarray(entries[key]) for key in keys]
    if len({array.shape for array in arrays}) > 1:
        raise InputError(f"The arrays '{pattern}' of {entries.path} differ in shape: {[a.shape for a in arrays]}.")
    return np.stack(arrays)


def from_pairs(data: NDArray[Any], transmit: NDArray[Any], element: NDArray[Any], reciprocal: bool) -> NDArray[Any]:
    """Traces (..., pair) of full-matrix capture as (transmit, element, ...).

    Parameters
    ----------
    transmit, element : (pair,), counted from 0
    reciprocal : whether a pair stands for its mirror too (half-matrix capture)
    """
    count = int(max(transmit.max(), element.max())) + 1
    full = np.zeros((count, count, *data.shape[:-1]), data.dtype)
    known = np.zeros((count, count), bool)
    traces = np.moveaxis(data, -1, 0)
    if reciprocal:
        full[element, transmit], known[element, transmit] = traces, True
    full[transmit, element], known[transmit, element] = traces, True
    if not known.all():
        t, e = np.argwhere(~known)[0]
        raise InputError(
            f"{int((~known).sum())} pairs of elements were not measured, e.g. transmit {t} and element {e}: "
            "half-matrix data need `reciprocal: true`."
        )
    return full


def ultrasound_scan(
    data: NDArray[Any],
    axes: tuple[str, ...],
    part: Callable[[str], dict[str, Any]],
    number: Callable[[Any, str], float],
    length_mm: Callable[[Any, str], float],
    value: Callable[[Any, str], Any],
    mapping: Mapping[str, Any],
    angle_rad: float,
    name: str,
) -> Scan:
    """The scan that a mapping describes; the functions read its entries in the file's units."""
    missing = [key for key in ("sampling", "centre", "sound_speed", "probe", "transmit") if key not in mapping]
    if missing:
        words = {"sampling": "sampling (the sampling rate in Hz)", "centre": "centre (frequency of the pulse in Hz)"}
        raise InputError(f"An ultrasound mapping needs {', '.join(words.get(key, key) for key in missing)}.")
    hz = {key: number(mapping[key], key) for key in ("centre", "demodulation") if key in mapping}
    elements = _elements(part("probe"), data.shape[axes.index("element")], number, length_mm, value)
    width = part("probe").get("width")
    width_mm = None if width is None else length_mm(width, "probe.width")
    transmits = _transmits(
        part("transmit"), data.shape[axes.index("transmit")], elements, width_mm, length_mm, value, angle_rad
    )
    first = part("first_sample") if isinstance(mapping.get("first_sample"), Mapping) else mapping.get("first_sample", 0)
    reference = first.pop("reference", "origin") if isinstance(first, dict) else "origin"
    if reference not in ("origin", "firing"):
        raise InputError(f"first_sample.reference is origin or firing (of the first element), got '{reference}'.")
    times = None
    if "frame_rate" in mapping and "t" in axes:
        times = np.arange(data.shape[axes.index("t")]) / number(mapping["frame_rate"], "frame_rate")
    return channel_scan(
        data,
        axes,
        elements,
        transmits,
        sampling_hz=_rate(value(mapping["sampling"], "sampling")),
        centre_hz=hz["centre"],
        sound_speed_m_s=number(mapping["sound_speed"], "sound_speed"),
        first_sample_s=np.asarray(value(first, "first_sample"), dtype=float),
        after_firing=reference == "firing",
        name=name,
        demodulation_hz=hz.get("demodulation"),
        pulse_delay_s=_pulse_delay_s(mapping, part, value) if "pulse_delay" in mapping else None,
        fractional_bandwidth=number(mapping["bandwidth"], "bandwidth") if "bandwidth" in mapping else None,
        element_width_mm=width_mm,
        times_s=times,
    )


def _pulse_delay_s(mapping: Mapping[str, Any], part: Callable[[str], dict[str, Any]], value: Any) -> float:
    """The lag of the pulse: stated, or found from the excitation and the impulse response that the file holds."""
    given = part("pulse_delay") if isinstance(mapping["pulse_delay"], Mapping) else {}
    if not set(given) & set(PULSE_KEYS):
        return float(np.ravel(value(mapping["pulse_delay"], "pulse_delay"))[0])
    check_keys("pulse_delay", given, PULSE_KEYS)
    if not {"excitation", "sampling"} <= set(given):
        raise InputError("'pulse_delay' is a number of s, or names `excitation`, `sampling` and `impulse_response`.")
    pulse = np.ravel(value(given["excitation"], "pulse_delay.excitation"))
    if "impulse_response" in given:  # of the way out and of the way back
        response = np.ravel(value(given["impulse_response"], "pulse_delay.impulse_response"))
        pulse = np.convolve(np.convolve(pulse, response), response)
    return pulse_lag_s(pulse, _rate(value(given["sampling"], "pulse_delay.sampling")))


def _rate(stated: Any) -> float:
    """The sampling rate in Hz, from a number or from the times of the samples in s."""
    times = np.ravel(np.asarray(stated, dtype=float))
    if times.size == 1:
        return float(times[0])
    step = (times[-1] - times[0]) / (times.size - 1)
    if not step > 0 or np.abs(np.diff(times) - step).max() > 0.01 * step:
        raise InputError("'sampling' names times that are not evenly spaced: give the sampling rate in Hz.")
    return float(1 / step)


def _elements(part: dict[str, Any], count: int, number: Any, length_mm: Any, value: Any) -> NDArray[np.float64]:
    check_keys("probe", part, PROBE_KEYS)
    if "pitch" not in part:
        if not {"x", "y", "z"} & set(part):
            raise InputError("A probe needs a pitch, or the positions of its elements (x, y, z).")
        factor = length_mm(1.0, "probe")
        rows = [np.ravel(np.asarray(value(part.get(axis, 0.0), f"probe.{axis}"), dtype=float)) for axis in "xyz"]
        return np.stack(np.broadcast_arrays(*rows), axis=1) * factor
    pitch = length_mm(part["pitch"], "probe.pitch")
    if "shape" in part:
        down, across = (int(n) for n in np.ravel(value(part["shape"], "probe.shape")))
        return matrix_array((down, across), (pitch, pitch))
    return linear_array(int(number(part["elements"], "probe.elements")) if "elements" in part else count, pitch)


def _transmits(
    part: dict[str, Any],
    count: int,
    elements: NDArray[np.float64],
    element_width_mm: float | None,
    length_mm: Any,
    value: Any,
    angle_rad: float,
) -> Transmits:
    check_keys("transmit", part, TRANSMIT_KEYS)
    kind = part.get("type")
    if kind not in TRANSMITS:
        raise InputError(f"transmit.type is one of {', '.join(TRANSMITS)}, got {kind!r}.")
    if kind == "elements":
        return Transmits.elements(elements, np.inf if element_width_mm is None else element_width_mm)
    angles = part.get("angles", 0.0)
    factor = unit_of(angles.pop("unit"), RAD) if isinstance(angles, dict) and "unit" in angles else angle_rad
    polar = np.ravel(np.asarray(value(angles, "transmit.angles"), dtype=float)) * factor
    polar = np.broadcast_to(polar, (count,)) if polar.size == 1 else polar
    if kind == "plane":
        return Transmits.plane(polar)
    if "focus" not in part:
        raise InputError(f"A {kind} transmit needs its focus: the distance from the probe, positive.")
    focus = np.ravel(np.asarray(value(part["focus"], "transmit.focus"), dtype=float)) * length_mm(1.0, "transmit.focus")
    sign = -1.0 if kind == "diverging" else 1.0
    origins = np.zeros((len(polar), 3))
    if "origins" in part:  # lateral positions of the origins
        origins[:, 0] = np.ravel(value(part["origins"], "transmit.origins")) * length_mm(1.0, "transmit.origins")
    width = length_mm(part["width"], "transmit.width") if "width" in part else float(np.ptp(elements[:, 0]))
    return Transmits.steered(np.broadcast_to(sign * np.abs(focus), polar.shape), polar, 0.0, origins, width)

"""Ultrasound channel data in array files: what the keys of a mapping of kind "ultrasound" mean."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operators.ultrasound import Transmits, linear_array, matrix_array, pulse_lag_s
from recon3d.errors import InputError
from recon3d.io.channel_data import channel_scan
from recon3d.io.entries import Entries
from recon3d.io.mapped import Mapped
from recon3d.io.mapping import check_keys
from recon3d.scan import Scan

PROBE_KEYS = ("pitch", "elements", "shape", "x", "y", "z", "width")
TRANSMIT_KEYS = ("type", "angles", "focus", "origins", "width")
PULSE_KEYS = ("excitation", "impulse_response", "sampling")
PAIR_KEYS = ("transmit", "element", "first", "reciprocal")
_NUMBERS = ("centre", "sound_speed", "demodulation", "bandwidth")
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


def full_matrix(source: Mapped, data: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Traces of pairs of elements, on the last axis, as a full matrix, and the names of its axes."""
    pairs = source.part("pairs")
    check_keys("pairs", pairs, PAIR_KEYS)
    if source.stored_axes[-1:] != ("pair",) or not {"transmit", "element"} <= set(pairs):
        raise InputError("'pairs' names `transmit` and `element` of each trace; the last axis of the data is pair.")
    first = int(pairs.get("first", 1))
    transmit, element = (
        np.ravel(source.value(pairs[end], f"pairs.{end}")).astype(int) - first for end in PAIR_KEYS[:2]
    )
    full = from_pairs(data, transmit, element, bool(pairs.get("reciprocal", False)))
    return full, ("transmit", "element", *source.stored_axes[:-1])


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


def ultrasound_scan(source: Mapped, data: NDArray[Any], axes: tuple[str, ...]) -> Scan:
    """The scan that a mapping describes.

    Parameters
    ----------
    data : ([t,] transmit, element, sample)
    axes : their names
    """
    mapping = source.mapping
    missing = [key for key in ("sampling", "centre", "sound_speed", "probe", "transmit") if key not in mapping]
    if missing:
        words = {"sampling": "sampling (the sampling rate in Hz)", "centre": "centre (frequency of the pulse in Hz)"}
        raise InputError(f"An ultrasound mapping needs {', '.join(words.get(key, key) for key in missing)}.")
    numbers = {key: source.number(mapping[key], key) for key in _NUMBERS if key in mapping}
    elements = _elements(source, data.shape[axes.index("element")])
    width = source.part("probe").get("width")
    width_mm = None if width is None else source.length_mm(width, "probe.width")
    first = mapping.get("first_sample", 0)
    reference = first.get("reference", "origin") if isinstance(first, Mapping) else "origin"
    if reference not in ("origin", "firing"):
        raise InputError(f"first_sample.reference is origin or firing (of the first element), got '{reference}'.")
    if isinstance(first, Mapping):
        first = {key: entry for key, entry in first.items() if key != "reference"}
    times = None
    if "frame_rate" in mapping and "t" in axes:
        times = np.arange(data.shape[axes.index("t")]) / source.number(mapping["frame_rate"], "frame_rate")
    return channel_scan(
        data,
        axes,
        elements,
        _transmits(source, data.shape[axes.index("transmit")], elements, width_mm),
        sampling_hz=_rate(source.value(mapping["sampling"], "sampling")),
        centre_hz=numbers["centre"],
        sound_speed_m_s=numbers["sound_speed"],
        first_sample_s=np.asarray(source.value(first, "first_sample"), dtype=float),
        after_firing=reference == "firing",
        name=source.name,
        demodulation_hz=numbers.get("demodulation"),
        pulse_delay_s=_pulse_delay_s(source) if "pulse_delay" in mapping else None,
        fractional_bandwidth=numbers.get("bandwidth"),
        element_width_mm=width_mm,
        times_s=times,
    )


def _pulse_delay_s(source: Mapped) -> float:
    """The lag of the pulse: stated, or found from the excitation and the impulse response that the file holds."""
    stated = source.mapping["pulse_delay"]
    given = source.part("pulse_delay") if isinstance(stated, Mapping) else {}
    if not set(given) & set(PULSE_KEYS):
        return float(np.ravel(source.value(stated, "pulse_delay"))[0])
    check_keys("pulse_delay", given, PULSE_KEYS)
    if not {"excitation", "sampling"} <= set(given):
        raise InputError("'pulse_delay' is a number of s, or names `excitation`, `sampling` and `impulse_response`.")
    pulse = np.ravel(source.value(given["excitation"], "pulse_delay.excitation"))
    if "impulse_response" in given:  # of the way out and of the way back
        response = np.ravel(source.value(given["impulse_response"], "pulse_delay.impulse_response"))
        pulse = np.convolve(np.convolve(pulse, response), response)
    return pulse_lag_s(pulse, _rate(source.value(given["sampling"], "pulse_delay.sampling")))


def _rate(stated: Any) -> float:
    """The sampling rate in Hz, from a number or from the times of the samples in s."""
    times = np.ravel(np.asarray(stated, dtype=float))
    if times.size == 1:
        return float(times[0])
    step = (times[-1] - times[0]) / (times.size - 1)
    if not step > 0 or np.abs(np.diff(times) - step).max() > 0.01 * step:
        raise InputError("'sampling' names times that are not evenly spaced: give the sampling rate in Hz.")
    return float(1 / step)


def _elements(source: Mapped, count: int) -> NDArray[np.float64]:
    part = source.part("probe")
    check_keys("probe", part, PROBE_KEYS)
    if "pitch" not in part:
        if not {"x", "y", "z"} & set(part):
            raise InputError("A probe needs a pitch, or the positions of its elements (x, y, z).")
        rows = [np.ravel(np.asarray(source.value(part.get(axis, 0.0), f"probe.{axis}"), dtype=float)) for axis in "xyz"]
        return np.stack(np.broadcast_arrays(*rows), axis=1) * source.unit_mm
    pitch = source.length_mm(part["pitch"], "probe.pitch")
    if "shape" in part:
        down, across = (int(n) for n in np.ravel(source.value(part["shape"], "probe.shape")))
        return matrix_array((down, across), (pitch, pitch))
    return linear_array(int(source.number(part["elements"], "probe.elements")) if "elements" in part else count, pitch)


def _transmits(source: Mapped, count: int, elements: NDArray[np.float64], element_width_mm: float | None) -> Transmits:
    part = source.part("transmit")
    check_keys("transmit", part, TRANSMIT_KEYS)
    kind = part.get("type")
    if kind not in TRANSMITS:
        raise InputError(f"transmit.type is one of {', '.join(TRANSMITS)}, got {kind!r}.")
    if kind == "elements":
        return Transmits.elements(elements, np.inf if element_width_mm is None else element_width_mm)
    angles = part.get("angles", 0.0)
    polar = np.ravel(np.asarray(source.value(angles, "transmit.angles"), dtype=float)) * source.rad(angles)
    polar = np.broadcast_to(polar, (count,)) if polar.size == 1 else polar
    if kind == "plane":
        return Transmits.plane(polar)
    if "focus" not in part:
        raise InputError(f"A {kind} transmit needs its focus: the distance from the probe, positive.")
    focus = np.ravel(np.asarray(source.value(part["focus"], "transmit.focus"), dtype=float)) * source.unit_mm
    sign = -1.0 if kind == "diverging" else 1.0
    origins = np.zeros((len(polar), 3))
    if "origins" in part:  # lateral positions of the origins
        origins[:, 0] = np.ravel(source.value(part["origins"], "transmit.origins")) * source.unit_mm
    width = source.length_mm(part["width"], "transmit.width") if "width" in part else float(np.ptp(elements[:, 0]))
    return Transmits.steered(np.broadcast_to(sign * np.abs(focus), polar.shape), polar, 0.0, origins, width)

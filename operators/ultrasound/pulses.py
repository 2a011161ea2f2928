"""Pulses: how long after it begins the middle of an echo comes, the lag that every echo of a record shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.signal import hilbert

from operators.errors import GeometryError


def pulse_lag_s(waveform: ArrayLike, sampling_hz: float) -> float:
    """Seconds from the first sample of a two-way pulse to the middle of its main part.

    A reflector's echo begins when the wave has come back; it is imaged by the middle of the echo, which is later by
    this lag. The middle is the centre of gravity of the energy where the envelope exceeds half its highest value.

    Parameters
    ----------
    waveform : (sample,), what one element records of a reflector that is an instant away: the excitation, convolved
        with the impulse responses of sending and receiving
    sampling_hz : of the waveform
    """
    pulse = np.ravel(np.asarray(waveform, dtype=float))
    if not sampling_hz > 0 or not np.isfinite(pulse).all() or not pulse.any():
        raise GeometryError(
            f"A pulse needs finite samples that are not all 0 and a positive sampling rate, got {pulse.size} samples "
            f"at {sampling_hz:g} Hz."
        )
    envelope = np.abs(hilbert(pulse, 2 * pulse.size))[: pulse.size]
    peak = int(envelope.argmax())
    below = np.flatnonzero(envelope < 0.5 * envelope[peak])
    first = below[below < peak].max(initial=-1) + 1
    last = below[below > peak].min(initial=pulse.size)
    energy = envelope[first:last] ** 2
    return float(np.arange(first, last) @ energy / energy.sum() / sampling_hz)

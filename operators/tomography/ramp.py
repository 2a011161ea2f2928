"""The ramp filter of filtered backprojection and its windows."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Filter = Literal["ram-lak", "shepp-logan", "cosine", "hamming", "hann"]
FloatArray = NDArray[np.float64]

WINDOWS = {
    "ram-lak": lambda f: np.ones_like(f),
    "shepp-logan": lambda f: np.sinc(0.5 * f),
    "cosine": lambda f: np.cos(0.5 * math.pi * f),
    "hamming": lambda f: 0.54 + 0.46 * np.cos(math.pi * f),
    "hann": lambda f: 0.5 + 0.5 * np.cos(math.pi * f),
}
"""Apodisation of the ramp as a function of frequency over cut-off, 0 to 1."""


def ramp_response(pitch: float, is_arc: bool, n_columns: int, filter: Filter, cutoff: float) -> FloatArray:
    """Frequency response of the windowed ramp for `scipy.fft.rfft` at a length that leaves no wrap-around.

    Built from the kernel sampled in space (Kak and Slaney, equations 61 and 101), which keeps the mean right.
    `pitch` is that of the columns, in mm, or in rad on an arc around the source (`is_arc`).
    """
    length = 2 * fft.next_fast_len(n_columns, real=True)
    offset = np.minimum(np.arange(length), length - np.arange(length))
    odd = (offset % 2 == 1) & (offset < n_columns)
    distance = offset * pitch
    if is_arc:
        distance = np.sin(distance)
    kernel = np.zeros(length)
    kernel[0] = 0.25 / pitch**2
    kernel[odd] = -1.0 / (math.pi * distance[odd]) ** 2
    frequency = np.arange(length // 2 + 1) / (0.5 * length) / cutoff
    window = np.where(frequency <= 1.0, WINDOWS[filter](np.minimum(frequency, 1.0)), 0.0)
    return np.asarray(fft.rfft(kernel).real * window * pitch, dtype=np.float64)

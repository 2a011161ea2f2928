"""The loops of delay-and-sum and of its adjoint, for baseband data; points in blocks, one element at a time.

Complex numbers are pairs in a last axis of length 2. Delays are in samples. What one element contributes to a block of
points (delay, weight, phase) is computed once and used for all transmits, so transmits cost an interpolation each.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

BLOCK = 256
BOXCAR, TUKEY, HANN = 0, 1, 2
WINDOWS = {"boxcar": BOXCAR, "tukey": TUKEY, "hann": HANN}
_FAST = {"contract", "reassoc", "nsz", "arcp"}

Array = NDArray[Any]


@njit(cache=True, fastmath=_FAST)
def _sine_cosine(turns: float) -> tuple[float, float]:
    """sin and cos of 2 pi turns to 1e-13: series of the half angle, which compilers make vector code of."""
    x = math.pi * (turns - math.floor(turns + 0.5))
    z = x * x
    s = x * (1 + z * (-1 / 6 + z * (1 / 120 + z * (-1 / 5040 + z * (1 / 362880 + z * (-1 / 39916800 + z * (
        1 / 6227020800 + z * (-1 / 1307674368000 + z / 355687428096000))))))))
    c = 1 + z * (-1 / 2 + z * (1 / 24 + z * (-1 / 720 + z * (1 / 40320 + z * (-1 / 3628800 + z * (
        1 / 479001600 + z * (-1 / 87178291200 + z * (1 / 20922789888000 - z / 6402373705728000))))))))
    return 2 * s * c, 1 - 2 * s * s


@njit(cache=True, fastmath=_FAST)
def _taps(fraction: float, cubic: bool) -> tuple[float, float, float, float]:
    """Weights of the samples -1, 0, 1, 2: linear, or the cubic of Keys (1981)."""
    if not cubic:
        return 0.0, 1.0 - fraction, fraction, 0.0
    f2 = fraction * fraction
    f3 = f2 * fraction
    return 0.5 * (2 * f2 - fraction - f3), 1 - 2.5 * f2 + 1.5 * f3, 0.5 * fraction + 2 * f2 - 1.5 * f3, 0.5 * (f3 - f2)


@njit(cache=True, fastmath=_FAST)
def _receive(
    first: int, last: int, points: Array, samples_per_mm: Array, element: Array, f_number: float, window: int,
    turns_per_sample: float, terms: Array, active: Array,
) -> int:  # fmt: skip
    """Delay, weight, cosine and sine of an element for points first..last; how many it sees, listed in `active`."""
    count = 0
    for p in range(first, last):
        x, y, z = points[p, 0] - element[0], points[p, 1] - element[1], points[p, 2] - element[2]
        across2 = x * x + y * y
        delay = math.sqrt(across2 + z * z) * samples_per_mm[p]
        sine, cosine = _sine_cosine(delay * turns_per_sample)
        weight = 1.0
        if f_number > 0:
            place = 2 * f_number * math.sqrt(across2) / z if z > 0 else 2.0  # 1 at the edge of the aperture
            if place > 1:
                weight = 0.0
            elif window == HANN:
                weight = 0.5 + 0.5 * _sine_cosine(0.5 * place)[1]
            elif window == TUKEY and place > 0.5:
                weight = 0.5 + 0.5 * _sine_cosine(place - 0.5)[1]
        if weight > 0:
            j = p - first
            terms[0, j], terms[1, j], terms[2, j], terms[3, j] = delay, weight, cosine, sine
            active[count] = j
            count += 1
    return count


@njit(parallel=True, cache=True, fastmath=_FAST)
def delay_and_sum(
    data: Array, points: Array, samples_per_mm: Array, elements: Array, transmit_delay: Array, transmit_weight: Array,
    f_number: float, window: int, turns_per_sample: float, cubic: bool, image: Array, energy: Array,
) -> None:  # fmt: skip
    """image = sum of the delayed data; energy = sum over elements of |their sum over transmits|^2.

    Parameters
    ----------
    data : (transmit, element, sample, 2)
    points : (point, 3), mm
    samples_per_mm : (point,)
    elements : (element, 3), mm
    transmit_delay, transmit_weight : (transmit, point)
    turns_per_sample : of the demodulation frequency
    image : (point, 2), written
    energy : (point,), written
    """
    n_points, n_samples = len(points), data.shape[2]
    for block in prange((n_points + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        last = min(first + BLOCK, n_points)
        terms = np.empty((4, BLOCK), data.dtype)
        active = np.empty(BLOCK, np.int64)
        own = np.empty((BLOCK, 2), data.dtype)
        tx_phase = np.empty((data.shape[0], BLOCK, 2), data.dtype)
        for t in range(data.shape[0]):
            for p in range(first, last):
                sine, cosine = _sine_cosine(transmit_delay[t, p] * turns_per_sample)
                tx_phase[t, p - first, 0] = cosine * transmit_weight[t, p]
                tx_phase[t, p - first, 1] = sine * transmit_weight[t, p]
        for p in range(first, last):
            image[p, 0], image[p, 1], energy[p] = 0, 0, 0
        for e in range(len(elements)):
            count = _receive(
                first, last, points, samples_per_mm, elements[e], f_number, window, turns_per_sample, terms, active
            )
            for k in range(count):
                own[active[k], 0], own[active[k], 1] = 0, 0
            for t in range(data.shape[0]):
                for k in range(count):
                    j = active[k]
                    place = terms[0, j] + transmit_delay[t, first + j]
                    i = math.floor(place)
                    if i < 1 or i + 2 >= n_samples:
                        continue
                    a, b, c, d = _taps(place - i, cubic)
                    re = b * data[t, e, i, 0] + c * data[t, e, i + 1, 0]
                    im = b * data[t, e, i, 1] + c * data[t, e, i + 1, 1]
                    if cubic:
                        re += a * data[t, e, i - 1, 0] + d * data[t, e, i + 2, 0]
                        im += a * data[t, e, i - 1, 1] + d * data[t, e, i + 2, 1]
                    cosine, sine = tx_phase[t, j, 0], tx_phase[t, j, 1]
                    own[j, 0] += cosine * re - sine * im
                    own[j, 1] += cosine * im + sine * re
            for k in range(count):
                j = active[k]
                cosine, sine = terms[1, j] * terms[2, j], terms[1, j] * terms[3, j]
                image[first + j, 0] += cosine * own[j, 0] - sine * own[j, 1]
                image[first + j, 1] += cosine * own[j, 1] + sine * own[j, 0]
                energy[first + j] += terms[1, j] ** 2 * (own[j, 0] ** 2 + own[j, 1] ** 2)


@njit(parallel=True, cache=True, fastmath=_FAST)
def spread(
    image: Array, points: Array, samples_per_mm: Array, elements: Array, transmit_delay: Array, transmit_weight: Array,
    f_number: float, window: int, turns_per_sample: float, cubic: bool, data: Array,
) -> None:  # fmt: skip
    """The adjoint of `delay_and_sum`: each point's echo is added to the traces, which must be zero before."""
    n_points, n_samples = len(points), data.shape[2]
    for e in prange(len(elements)):
        terms = np.empty((4, BLOCK), data.dtype)
        active = np.empty(BLOCK, np.int64)
        for block in range((n_points + BLOCK - 1) // BLOCK):
            first = block * BLOCK
            last = min(first + BLOCK, n_points)
            count = _receive(
                first, last, points, samples_per_mm, elements[e], f_number, window, turns_per_sample, terms, active
            )
            for t in range(data.shape[0]):
                for k in range(count):
                    j = active[k]
                    p = first + j
                    place = terms[0, j] + transmit_delay[t, p]
                    i = math.floor(place)
                    if i < 1 or i + 2 >= n_samples:
                        continue
                    tx_sine, tx_cosine = _sine_cosine(transmit_delay[t, p] * turns_per_sample)
                    weight = terms[1, j] * transmit_weight[t, p]
                    cosine = weight * (terms[2, j] * tx_cosine - terms[3, j] * tx_sine)
                    sine = weight * (terms[3, j] * tx_cosine + terms[2, j] * tx_sine)
                    re = cosine * image[p, 0] + sine * image[p, 1]
                    im = cosine * image[p, 1] - sine * image[p, 0]
                    a, b, c, d = _taps(place - i, cubic)
                    data[t, e, i, 0] += b * re
                    data[t, e, i, 1] += b * im
                    data[t, e, i + 1, 0] += c * re
                    data[t, e, i + 1, 1] += c * im
                    if cubic:
                        data[t, e, i - 1, 0] += a * re
                        data[t, e, i - 1, 1] += a * im
                        data[t, e, i + 2, 0] += d * re
                        data[t, e, i + 2, 1] += d * im


@njit(cache=True, fastmath=_FAST)
def coverage(
    n_samples: int, points: Array, samples_per_mm: Array, elements: Array, transmit_delay: Array,
    transmit_weight: Array, f_number: float, window: int, weights: Array, squares: Array,
) -> None:  # fmt: skip
    """Per point: the sum of the weights of its recorded echoes, and over elements of the squares of theirs."""
    n_points = len(points)
    for block in range((n_points + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        last = min(first + BLOCK, n_points)
        terms = np.empty((4, BLOCK), points.dtype)
        active = np.empty(BLOCK, np.int64)
        for p in range(first, last):
            weights[p], squares[p] = 0, 0
        for e in range(len(elements)):
            count = _receive(first, last, points, samples_per_mm, elements[e], f_number, window, 0.0, terms, active)
            for k in range(count):
                j = active[k]
                own = 0.0
                for t in range(len(transmit_delay)):
                    i = math.floor(terms[0, j] + transmit_delay[t, first + j])
                    if i >= 1 and i + 2 < n_samples:
                        own += terms[1, j] * transmit_weight[t, first + j]
                weights[first + j] += own
                squares[first + j] += own * own

"""The loops of delay-and-sum and of its adjoint, for baseband data; points in blocks, one element at a time.

Complex numbers are pairs in a last axis of length 2. Delays are in samples. Points outside the aperture of an element
are sorted out first; what it contributes to the others (delay, weight, phase) is computed once and used for all
transmits, so that transmits cost an interpolation each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor

from operators.ultrasound.tables import BOXCAR, HANN, Receive, Tables

BLOCK = 256
_FAST = {"contract", "reassoc", "nsz", "arcp"}

Array = NDArray[Any]


def delay_and_sum(data: Tensor, tables: Tables) -> tuple[Tensor, Tensor]:
    """The sum of the delayed data, and over elements of what each of them gives, squared; both (point,).

    Parameters
    ----------
    data : (transmit, element, sample), complex
    """
    count = len(tables.points)
    image = np.empty((count, 2), tables.points.numpy().dtype)
    energy = np.empty(count, image.dtype)
    _delay_and_sum(_pairs(data), *_arrays(tables), tables.transmit_weight.numpy(), tables.how, image, energy)
    return torch.view_as_complex(torch.from_numpy(image)), torch.from_numpy(energy)


def spread(image: Tensor, tables: Tables, shape: Sequence[int]) -> Tensor:
    """Traces of this shape (transmit, element, sample), complex: the adjoint of `delay_and_sum`."""
    traces = np.zeros((*shape, 2), tables.points.numpy().dtype)
    _spread(_pairs(image), *_arrays(tables), tables.transmit_weight.numpy(), tables.how, traces)
    return torch.view_as_complex(torch.from_numpy(traces))


def coverage(samples: int, tables: Tables) -> tuple[Tensor, Tensor]:
    """Per point: what its recorded echoes add up to where it reflects all, and over elements the squares of theirs."""
    sums = np.empty((2, len(tables.points)), tables.points.numpy().dtype)
    weight = (tables.transmit_weight * tables.transmit_loss).numpy()
    _coverage(samples, *_arrays(tables), weight, tables.how, sums[0], sums[1])
    weights, squares = torch.from_numpy(sums)
    return weights, squares


def _pairs(x: Tensor) -> Array:
    return torch.view_as_real(x.detach().resolve_conj().contiguous()).numpy()


def _arrays(tables: Tables) -> tuple[Array, ...]:
    return tuple(t.numpy() for t in (tables.points, tables.samples_per_mm, tables.elements, tables.transmit_delay))


@njit(cache=True, fastmath=_FAST)
def _sine_cosine(turns: float) -> tuple[float, float]:
    """sin and cos of 2 pi turns to 1e-13: series of the half angle, which compilers make vector code of."""
    x = math.pi * (turns - math.floor(turns + 0.5))
    z = x * x
    s = x * (
        1
        + z
        * (
            -1 / 6
            + z
            * (
                1 / 120
                + z
                * (
                    -1 / 5040
                    + z
                    * (
                        1 / 362880
                        + z * (-1 / 39916800 + z * (1 / 6227020800 + z * (-1 / 1307674368000 + z / 355687428096000)))
                    )
                )
            )
        )
    )
    c = 1 + z * (
        -1 / 2
        + z
        * (
            1 / 24
            + z
            * (
                -1 / 720
                + z
                * (
                    1 / 40320
                    + z
                    * (
                        -1 / 3628800
                        + z * (1 / 479001600 + z * (-1 / 87178291200 + z * (1 / 20922789888000 - z / 6402373705728000)))
                    )
                )
            )
        )
    )
    return 2 * s * c, 1 - 2 * s * s


@njit(cache=True, fastmath=_FAST)
def _main_lobe(turns: float) -> float:
    """sin(pi u) / (pi u) up to its first zero: what an aperture of u projected wavelengths hears from aside."""
    if turns >= 1:
        return 0.0
    return _sine_cosine(0.5 * turns)[0] / (math.pi * turns) if turns > 1e-3 else 1.0


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
    first: int, last: int, points: Array, samples_per_mm: Array, element: Array, how: Receive, terms: Array,
    active: Array,
) -> int:  # fmt: skip
    """Which of the points first..last an element hears (places in `active`), and how.

    `terms` are delay, weight, cosine, sine and loss, the part of the weight that takes strength from an echo (the rest
    chooses among echoes).
    """
    count = 0
    for p in range(first, last):  # the aperture is a cone under the element
        x, y = points[p, 0] - element[0], points[p, 1] - element[1]
        z = points[p, 2] - element[2]
        active[count] = p - first
        reach = 2 * how.f_number
        count += how.f_number == 0 or (z > 0 and reach * reach * (x * x + y * y) <= z * z)
    for k in range(count):
        p = first + active[k]
        x, y, z = points[p, 0] - element[0], points[p, 1] - element[1], points[p, 2] - element[2]
        across2 = x * x + y * y
        distance = math.sqrt(across2 + z * z)
        delay = distance * samples_per_mm[p]
        sine, cosine = _sine_cosine(delay * how.turns_per_sample)
        terms[0, k], terms[1, k], terms[2, k], terms[3, k], terms[4, k] = delay, 1, cosine, sine, 1
        if how.f_number > 0 and how.window != BOXCAR:
            place = 2 * how.f_number * math.sqrt(across2) / z  # 1 at the edge of the aperture
            if how.window == HANN:
                terms[1, k] = 0.5 + 0.5 * _sine_cosine(0.5 * place)[1]
            elif place > 0.5:
                terms[1, k] = 0.5 + 0.5 * _sine_cosine(place - 0.5)[1]
        if how.width > 0:
            terms[1, k] *= _main_lobe(how.width * abs(x) / max(distance, 1e-6))
        if how.nepers_per_mm > 0:
            terms[4, k] = math.exp(-how.nepers_per_mm * distance)
        if how.spherical:
            terms[4, k] /= max(distance, 1e-3)
        terms[1, k] *= terms[4, k]
    return count


@njit(parallel=True, cache=True, fastmath=_FAST)
def _delay_and_sum(
    data: Array, points: Array, samples_per_mm: Array, elements: Array, transmit_delay: Array, transmit_weight: Array,
    how: Receive, image: Array, energy: Array,
) -> None:  # fmt: skip
    """data (transmit, element, sample, 2); image (point, 2) and energy (point,) are written."""
    n_points, n_samples = len(points), data.shape[2]
    for block in prange((n_points + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        last = min(first + BLOCK, n_points)
        terms = np.empty((5, BLOCK), data.dtype)
        active = np.empty(BLOCK, np.int64)
        own = np.empty((2, BLOCK), data.dtype)
        tx_phase = np.empty((data.shape[0], 2, BLOCK), data.dtype)
        for t in range(data.shape[0]):
            for p in range(first, last):
                sine, cosine = _sine_cosine(transmit_delay[t, p] * how.turns_per_sample)
                tx_phase[t, 0, p - first] = cosine * transmit_weight[t, p]
                tx_phase[t, 1, p - first] = sine * transmit_weight[t, p]
        for p in range(first, last):
            image[p, 0], image[p, 1], energy[p] = 0, 0, 0
        for e in range(len(elements)):
            count = _receive(first, last, points, samples_per_mm, elements[e], how, terms, active)
            own[:, :count] = 0
            for t in range(data.shape[0]):
                for k in range(count):
                    j = active[k]
                    place = terms[0, k] + transmit_delay[t, first + j]
                    i = math.floor(place)
                    if i < 1 or i + 2 >= n_samples:
                        continue
                    a, b, c, d = _taps(place - i, how.cubic)
                    re = b * data[t, e, i, 0] + c * data[t, e, i + 1, 0]
                    im = b * data[t, e, i, 1] + c * data[t, e, i + 1, 1]
                    if how.cubic:
                        re += a * data[t, e, i - 1, 0] + d * data[t, e, i + 2, 0]
                        im += a * data[t, e, i - 1, 1] + d * data[t, e, i + 2, 1]
                    cosine, sine = tx_phase[t, 0, j], tx_phase[t, 1, j]
                    own[0, k] += cosine * re - sine * im
                    own[1, k] += cosine * im + sine * re
            for k in range(count):
                p = first + active[k]
                cosine, sine = terms[1, k] * terms[2, k], terms[1, k] * terms[3, k]
                image[p, 0] += cosine * own[0, k] - sine * own[1, k]
                image[p, 1] += cosine * own[1, k] + sine * own[0, k]
                energy[p] += terms[1, k] ** 2 * (own[0, k] ** 2 + own[1, k] ** 2)


@njit(parallel=True, cache=True, fastmath=_FAST)
def _spread(
    image: Array, points: Array, samples_per_mm: Array, elements: Array, transmit_delay: Array, transmit_weight: Array,
    how: Receive, data: Array,
) -> None:  # fmt: skip
    """Each point's echo is added to the traces, which are zero before."""
    n_points, n_samples = len(points), data.shape[2]
    for e in prange(len(elements)):
        terms = np.empty((5, BLOCK), data.dtype)
        active = np.empty(BLOCK, np.int64)
        for block in range((n_points + BLOCK - 1) // BLOCK):
            first = block * BLOCK
            last = min(first + BLOCK, n_points)
            count = _receive(first, last, points, samples_per_mm, elements[e], how, terms, active)
            for t in range(data.shape[0]):
                for k in range(count):
                    p = first + active[k]
                    place = terms[0, k] + transmit_delay[t, p]
                    i = math.floor(place)
                    if i < 1 or i + 2 >= n_samples:
                        continue
                    tx_sine, tx_cosine = _sine_cosine(transmit_delay[t, p] * how.turns_per_sample)
                    weight = terms[1, k] * transmit_weight[t, p]
                    cosine = weight * (terms[2, k] * tx_cosine - terms[3, k] * tx_sine)
                    sine = weight * (terms[3, k] * tx_cosine + terms[2, k] * tx_sine)
                    re = cosine * image[p, 0] + sine * image[p, 1]
                    im = cosine * image[p, 1] - sine * image[p, 0]
                    a, b, c, d = _taps(place - i, how.cubic)
                    data[t, e, i, 0] += b * re
                    data[t, e, i, 1] += b * im
                    data[t, e, i + 1, 0] += c * re
                    data[t, e, i + 1, 1] += c * im
                    if how.cubic:
                        data[t, e, i - 1, 0] += a * re
                        data[t, e, i - 1, 1] += a * im
                        data[t, e, i + 2, 0] += d * re
                        data[t, e, i + 2, 1] += d * im


@njit(cache=True, fastmath=_FAST)
def _coverage(
    n_samples: int, points: Array, samples_per_mm: Array, elements: Array, transmit_delay: Array,
    transmit_weight: Array, how: Receive, weights: Array, squares: Array,
) -> None:  # fmt: skip
    """weights and squares (point,) are written."""
    n_points = len(points)
    terms = np.empty((5, BLOCK), points.dtype)
    active = np.empty(BLOCK, np.int64)
    for block in range((n_points + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        last = min(first + BLOCK, n_points)
        for p in range(first, last):
            weights[p], squares[p] = 0, 0
        for e in range(len(elements)):
            count = _receive(first, last, points, samples_per_mm, elements[e], how, terms, active)
            for k in range(count):
                p = first + active[k]
                own = 0.0
                for t in range(len(transmit_delay)):
                    i = math.floor(terms[0, k] + transmit_delay[t, p])
                    if i >= 1 and i + 2 < n_samples:
                        own += terms[1, k] * terms[4, k] * transmit_weight[t, p]
                weights[p] += own
                squares[p] += own * own

"""Counter noise: normal numbers that depend on what they are for, never on when or where they are drawn."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

__all__ = ["counter_noise"]


def counter_noise(
    shape: tuple[int, ...],
    *,
    seed: int,
    sample: int = 0,
    step: int = 0,
    stage: int = 0,
    first_slice: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Standard normal numbers, one stream for each (seed, sample, step, stage, frame, slice).

    A slice has the same numbers in whatever slab, batch, worker or resumed run it is drawn; precisions share them. An
    accelerator draws them where it needs them: from the same bits, so that they differ from the CPU's by rounding only.

    Parameters
    ----------
    shape : (..., z, y, x); any axes before z count frames
    step : -1 for the start
    stage : 0, 1, ... where a step draws more than once
    first_slice : index of the first slice within the whole volume
    dtype : real, or complex with unit variance of each part
    """
    device, real = torch.device(device), dtype.to_real()
    slices = shape[-3] if len(shape) > 2 else 1
    frames = math.prod(shape[:-3])
    key = 0
    for part in (seed, sample, step, stage):
        key = _mix(key ^ (part & _MASK))
    rows = [(frame, first_slice + k) for frame in range(frames) for k in range(slices)]
    keys = np.array([_mix(_mix(key ^ frame) ^ index) for frame, index in rows], np.uint64)
    whole = (*shape, 2) if dtype.is_complex else shape
    length = math.prod(whole) // len(keys)
    if device.type == "cpu":
        numbers = np.empty((len(keys), length), np.float64 if real == torch.float64 else np.float32)
        _fill(keys, numbers)
        drawn = torch.from_numpy(numbers)
    else:
        drawn = _drawn_on(torch.from_numpy(keys.view(np.int64)).to(device), length, real)
    drawn = drawn.reshape(whole)
    return torch.view_as_complex(drawn) if dtype.is_complex else drawn


_MASK = (1 << 64) - 1


def _mix(key: int) -> int:
    """SplitMix64's output function (Steele, Lea, Flood 2014), after its increment."""
    key = (key + 0x9E3779B97F4A7C15) & _MASK
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & _MASK
    return key ^ (key >> 31)


@njit(inline="always")
def _uniform(key: np.uint64, count: int) -> float:
    """Number `count` of SplitMix64 from `key`, inside (0, 1)."""
    h = key + np.uint64(count + 1) * np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    h = h ^ (h >> np.uint64(31))
    return (np.float64(h >> np.uint64(12)) + 0.5) * (1.0 / 4503599627370496.0)  # 52 bits: with 53, one may round to 1


_CENTRE = 0.425
"""Within this distance of 1/2 the quantile needs neither logarithm nor root."""


@njit(inline="always", error_model="numpy")
def _central_normal(u: float) -> float:
    """The standard normal quantile of u near 1/2 to 16 digits: algorithm AS 241 (Wichura 1988)."""
    q = u - 0.5
    r = 0.180625 - q * q
    top = 3.3430575583588128105e4 + r * 2.5090809287301226727e3
    top = 4.5921953931549871457e4 + r * (6.7265770927008700853e4 + r * top)
    top = 1.9715909503065514427e3 + r * (1.3731693765509461125e4 + r * top)
    top = 3.3871328727963666080 + r * (1.3314166789178437745e2 + r * top)
    low = 2.8729085735721942674e4 + r * 5.2264952788528545610e3
    low = 2.1213794301586595867e4 + r * (3.9307895800092710610e4 + r * low)
    low = 6.8718700749205790830e2 + r * (5.3941960214247511077e3 + r * low)
    return q * top / (1.0 + r * (4.2313330701600911252e1 + r * low))


@njit
def _tail_normal(u: float) -> float:
    """The same for 0 < u < 1 away from 1/2."""
    q = u - 0.5
    r = math.sqrt(-math.log(u if q < 0 else 1.0 - u))
    if r <= 5.0:
        r -= 1.6
        top = 2.27238449892691845833e-2 + r * 7.74545014278341407640e-4
        top = 1.27045825245236838258 + r * (2.41780725177450611770e-1 + r * top)
        top = 5.76949722146069140550 + r * (3.64784832476320460504 + r * top)
        top = 1.42343711074968357734 + r * (4.63033784615654529590 + r * top)
        low = 5.47593808499534494600e-4 + r * 1.05075007164441684324e-9
        low = 1.48103976427480074590e-1 + r * (1.51986665636164571966e-2 + r * low)
        low = 1.67638483018380384940 + r * (6.89767334985100004550e-1 + r * low)
        low = 1.0 + r * (2.05319162663775882187 + r * low)
    else:
        r -= 5.0
        top = 2.71155556874348757815e-5 + r * 2.01033439929228813265e-7
        top = 2.65321895265761230930e-2 + r * (1.24266094738807843860e-3 + r * top)
        top = 1.78482653991729133580 + r * (2.96560571828504891230e-1 + r * top)
        top = 6.65790464350110377720 + r * (5.46378491116411436990 + r * top)
        low = 1.42151175831644588870e-7 + r * 2.04426310338993978564e-15
        low = 7.86869131145613259100e-4 + r * (1.84631831751005468180e-5 + r * low)
        low = 1.36929880922735805310e-1 + r * (1.48753612908506148525e-2 + r * low)
        low = 1.0 + r * (5.99832206555887937690e-1 + r * low)
    return top / low if q > 0 else -top / low


@njit(parallel=True, cache=True, error_model="numpy")  # a test for division by zero would not vectorise
def _fill(keys: np.ndarray, out: np.ndarray) -> None:
    """Each row its own stream, computed in float64: first as if all were central, which vectorises, then the tails."""
    for row in prange(out.shape[0]):
        line, key = out[row], keys[row]
        for k in range(len(line)):
            line[k] = _central_normal(_uniform(key, k))
        for k in range(len(line)):
            u = _uniform(key, k)
            if abs(u - 0.5) > _CENTRE:
                line[k] = _tail_normal(u)


_AT_ONCE = 1 << 22
"""Numbers that an accelerator draws at a time: its integers and doubles take ten times the memory of what is kept."""


def _drawn_on(keys: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    """What `_fill` computes, by operations of PyTorch on the device of the keys: (rows, length)."""
    drawn = torch.empty(len(keys), length, dtype=dtype, device=keys.device)
    count = torch.arange(1, length + 1, device=keys.device) * _signed(0x9E3779B97F4A7C15)
    for row, key in zip(drawn, keys, strict=True):
        for part, steps in zip(row.split(_AT_ONCE), count.split(_AT_ONCE), strict=True):
            h = steps + key
            h = (h ^ _shifted(h, 30)) * _signed(0xBF58476D1CE4E5B9)
            h = (h ^ _shifted(h, 27)) * _signed(0x94D049BB133111EB)
            h = h ^ _shifted(h, 31)
            u = (_shifted(h, 12).double() + 0.5) * (1.0 / 4503599627370496.0)
            part.copy_(torch.special.ndtri(u))
    return drawn


def _shifted(h: Tensor, bits: int) -> Tensor:
    """To the right with zeros from the left, which PyTorch's signed integers do not do by themselves."""
    return (h >> bits) & ((1 << (64 - bits)) - 1)


def _signed(constant: int) -> int:
    """The signed integer of the same 64 bits."""
    return constant - (1 << 64) if constant >> 63 else constant

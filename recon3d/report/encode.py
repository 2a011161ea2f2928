"""Encode volumes for a web page: fewer voxels where they are many, whole-number levels, deflate, base64."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HU_RANGE = (-1024.0, 3071.0)
"""The twelve bits of a CT scanner: 4096 levels are whole Hounsfield units."""
LEVELS = (4096, 1024, 256)
Array = NDArray[np.generic]


@dataclass(frozen=True)
class Stored:
    """A volume as it lies in the page.

    Parameters
    ----------
    text : base64 of the deflated codes, each row as differences of neighbours; low bytes, then high bytes
    shape : (t, z, y, x) as stored
    levels : codes run from 0 to levels - 1, evenly from `low` to `high`
    """

    text: str
    shape: tuple[int, int, int, int]
    levels: int
    low: float
    high: float

    @property
    def bytes_per_code(self) -> int:
        return 1 if self.levels <= 256 else 2

    @property
    def step(self) -> float:
        """Difference between neighbouring levels: a value shown is wrong by half of it at most."""
        return (self.high - self.low) / (self.levels - 1)

    def values(self) -> NDArray[np.float64]:
        """What the page shows: the codes unpacked, in units of the volume."""
        raw = np.frombuffer(zlib.decompress(base64.b64decode(self.text)), np.uint8)
        if self.bytes_per_code == 2:
            low, high = raw.reshape(2, -1)
            steps = (low + (high.astype(np.uint16) << 8)).reshape(self.shape)
        else:
            steps = raw.reshape(self.shape)
        return self.low + np.add.accumulate(steps, axis=-1, dtype=steps.dtype) * self.step


def as_series(data: Array) -> Array:
    """(z, y, x) or (t, z, y, x) as (t, z, y, x)."""
    return data if data.ndim == 4 else data[None]


def reduced_shape(shape: Sequence[int], most: int) -> tuple[int, ...]:
    """The shape (t, z, y, x) with the longest spatial axes halved until it has no more than `most` voxels."""
    counts = list(shape)
    while math.prod(counts) > most and max(counts[1:]) > 1:
        longest = 1 + int(np.argmax(counts[1:]))
        counts[longest] = math.ceil(counts[longest] / 2)
    return tuple(counts)


def reduced(data: Array, shape: Sequence[int]) -> Array:
    """Means over blocks of voxels, so that (t, z, y, x) becomes `shape`."""
    for axis, (old, new) in enumerate(zip(data.shape, shape, strict=True)):
        if new == old:
            continue
        edges = np.arange(new) * old // new
        kind = np.complex64 if np.iscomplexobj(data) else np.float32
        sums = np.add.reduceat(data, edges, axis=axis, dtype=kind)
        counts = np.diff(edges, append=old).astype(np.float32)
        data = sums / counts.reshape([-1 if k == axis else 1 for k in range(data.ndim)])
    return data


def encode(data: Array, low: float, high: float, budget: int, levels: Sequence[int] = LEVELS) -> Stored:
    """The real array (t, z, y, x) with the most levels whose text stays within `budget` bytes, or with the fewest.

    Parameters
    ----------
    data : values; what is not finite is shown as `low`
    low, high : range; values beyond are shown as its ends
    """
    for count in levels:
        if count != levels[-1] and _expected_bytes(data, low, high, count) > budget:
            continue
        text = base64.b64encode(_packed(_codes(data, low, high, count))).decode()
        if len(text) <= budget or count == levels[-1]:
            break
    return Stored(text, data.shape, count, low, high)  # type: ignore[arg-type]


def _expected_bytes(data: Array, low: float, high: float, levels: int) -> float:
    """Bytes of base64, from one slice in eight."""
    sample = data[:, ::8] if data.shape[1] >= 16 else data
    return len(_packed(_codes(sample, low, high, levels))) * 4 / 3 * data.size / sample.size


def _codes(data: Array, low: float, high: float, levels: int) -> NDArray[np.unsignedinteger]:
    codes = np.empty(data.shape, np.uint8 if levels <= 256 else np.uint16)
    gain = (levels - 1) / (high - low)
    for out, piece in zip(codes.reshape(-1, *data.shape[2:]), data.reshape(-1, *data.shape[2:]), strict=True):
        scaled = (piece.astype(np.float64) - low) * gain
        out[...] = np.rint(np.clip(np.nan_to_num(scaled, posinf=levels - 1, neginf=0), 0, levels - 1))
    return codes


def _packed(codes: NDArray[np.unsignedinteger]) -> bytes:
    steps = codes.copy()
    steps[..., 1:] -= codes[..., :-1]  # wraps round, and back when it is summed
    planes = [steps] if steps.dtype == np.uint8 else [(steps & 255).astype(np.uint8), (steps >> 8).astype(np.uint8)]
    return zlib.compress(b"".join(plane.tobytes() for plane in planes), 6)

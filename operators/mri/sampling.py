"""Undersampling masks: columns as fastMRI draws them, and what kind of mask a scan has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from operators.errors import ShapeError

__all__ = ["PATTERNS", "Sampling", "column_mask", "describe_mask", "seeded"]

PATTERNS = ("random", "equispaced", "equispaced_fraction", "magic", "magic_fraction")


def column_mask(
    n: int,
    acceleration: float,
    centre_fraction: float,
    pattern: str = "equispaced_fraction",
    seed: int | str | np.random.RandomState | None = 0,
) -> NDArray[np.bool_]:
    """Columns of k-space to keep, shape (n): a full centre and a pattern outside.

    Parameters
    ----------
    n : number of columns
    acceleration : wanted ratio of all columns to those kept; the plain "equispaced" and "magic" keep more
    centre_fraction : share of columns in the full centre
    pattern : "random" (fastMRI knee), "equispaced_fraction" (fastMRI brain), "equispaced", "magic", "magic_fraction"
    seed : a number, a file name, whose characters seed the generator as in fastMRI's validation, or a generator

    References
    ----------
    Zbontar et al., arXiv:1811.08839, and the public fastMRI code, whose draws are followed.
    """
    if pattern not in PATTERNS:
        raise ShapeError(f"A mask pattern is one of {', '.join(PATTERNS)}, got '{pattern}'.")
    if n < 1 or not acceleration >= 1 or not 0 <= centre_fraction <= 1:
        raise ShapeError(
            f"A column mask needs columns, an acceleration of at least 1 and a centre fraction of 0 to 1, got {n}, "
            f"{acceleration} and {centre_fraction}."
        )
    if acceleration == 1:
        return np.ones(n, bool)
    generator = seeded(seed)
    low = round(n * centre_fraction)
    if pattern == "magic_fraction":
        low = max(1, min(low, round(n / acceleration)))
    mask = np.zeros(n, bool)
    start = (n - low + 1) // 2
    if low < n / acceleration or pattern in ("equispaced", "magic"):  # else the centre is all that may be measured
        mask = _outside(n, acceleration, low, pattern, generator)
    mask[start : start + low] = True
    return mask


def seeded(seed: int | str | np.random.RandomState | None) -> np.random.RandomState:
    """The generator of a seed as fastMRI has it: of a file name, the codes of its characters."""
    if isinstance(seed, np.random.RandomState):
        return seed
    return np.random.RandomState(tuple(map(ord, seed)) if isinstance(seed, str) else seed)


def _outside(
    n: int, acceleration: float, low: int, pattern: str, generator: np.random.RandomState
) -> NDArray[np.bool_]:
    mask = np.zeros(n, bool)
    if pattern == "random":
        return generator.uniform(size=n) < (n / acceleration - low) / (n - low)
    if pattern == "equispaced":
        mask[generator.randint(0, round(acceleration)) :: round(acceleration)] = True
        return mask
    if pattern == "equispaced_fraction":
        step = acceleration * (low - n) / (low * acceleration - n)
        offset = generator.randint(0, max(1, round(step)))
        mask[np.around(np.arange(offset, n - 1, step)).astype(int)] = True
        return mask
    step = round(acceleration)
    if pattern == "magic_fraction":
        wanted = round(n / acceleration) - low
        if wanted < 1:
            return mask
        step = round(n / wanted)
    offset = generator.randint(0, step)
    first, second = (offset + 1, offset + 2) if offset % 2 == 0 else (offset + 2, offset - 1)
    positive, negative = np.zeros((n + 1) // 2, bool), np.zeros(n // 2, bool)
    positive[first::step] = True
    negative[second::step] = True
    return np.fft.fftshift(np.concatenate([positive, negative[::-1]]))


@dataclass(frozen=True)
class Sampling:
    """A mask in a few words.

    Parameters
    ----------
    pattern : "full"; of columns "equispaced" (also fastMRI's magic patterns) or "random"; "2d" where rows differ too
    acceleration : all samples over those that are kept
    centre : share of columns in the full centre; of "2d" patterns the share of all samples
    """

    pattern: str
    acceleration: float
    centre: float


def describe_mask(mask: NDArray[np.bool_]) -> Sampling:
    """What kind of mask (ky, kx) it is. Rows without any sample, as of partial Fourier, do not count in column masks.

    Lines are equispaced if, on each side of the centre, their distances differ by one at most.
    """
    rows = mask[mask.any(axis=1)]
    if not rows.size:
        raise ShapeError("A mask without any sample has no pattern.")
    if rows.all():
        return Sampling("full", 1.0, 1.0)
    if (rows != rows[:1]).any():
        return Sampling("2d", mask.size / int(mask.sum()), _central_block(mask).size / mask.size)
    columns = rows[0]
    middle = len(columns) // 2
    start, stop = _run(columns, middle)
    sides = (np.flatnonzero(columns[:start]), np.flatnonzero(columns[stop:]))
    gaps = [np.diff(side) for side in sides if len(side) > 2]
    regular = bool(gaps) and all(np.ptp(gap) <= 1 for gap in gaps)
    n = len(columns)
    return Sampling("equispaced" if regular else "random", n / int(columns.sum()), (stop - start) / n)


def _run(columns: NDArray[np.bool_], middle: int) -> tuple[int, int]:
    """The run of columns around the middle, empty where that is missing."""
    if not columns[middle]:
        return middle, middle
    missing = np.flatnonzero(~columns)
    before, after = missing[missing < middle], missing[missing > middle]
    return int(before[-1]) + 1 if before.size else 0, int(after[0]) if after.size else len(columns)


def _central_block(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest square around the middle without a gap."""
    y, x = (n // 2 for n in mask.shape)
    half = 0
    while half < min(y, x) and mask[y - half - 1 : y + half + 1, x - half - 1 : x + half + 1].all():
        half += 1
    return mask[y - half : y + half, x - half : x + half]

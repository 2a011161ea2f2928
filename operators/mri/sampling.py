"""Undersampling masks: columns as fastMRI draws them, and Poisson-like discs for 3D scans."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from operators.errors import ShapeError

__all__ = ["PATTERNS", "column_mask", "seeded"]

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

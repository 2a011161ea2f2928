"""Statistics over volumes: a mean with its confidence interval, and paired comparisons of methods.

The unit is the volume: its slices are not independent. The interval of a mean is Student's. Methods are compared on the
volumes that all of them have, by the mean difference with its interval and by Fisher's sign-flip test of that mean,
exact up to 16 volumes; the p-values of all pairs are adjusted by Holm's procedure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import ShapeError

CONFIDENCE = 0.95
EXACT_UP_TO = 16
FLIPS = 100_000


@dataclass(frozen=True)
class Summary:
    """A mean over volumes.

    Parameters
    ----------
    count : number of volumes
    mean, std : of the volumes (sample standard deviation; nan for one volume)
    low, high : confidence interval of the mean; nan for one volume
    """

    count: int
    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class Pair:
    """One method against another on the same volumes.

    Parameters
    ----------
    first, second : names of the methods
    difference : mean, standard deviation and interval of first - second
    p : two-sided, of the hypothesis that the sign of each difference is a coin's; nan for one volume
    p_adjusted : Holm's, over all pairs
    """

    first: str
    second: str
    difference: Summary
    p: float
    p_adjusted: float


def summarise(values: Sequence[float] | NDArray[np.float64], confidence: float = CONFIDENCE) -> Summary:
    """Mean and Student's interval of independent values.

    Raises
    ------
    ShapeError
        If there are none.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or found.size == 0:
        raise ShapeError(f"A summary needs a list of values, got shape {found.shape}.")
    mean = float(found.mean())
    if found.size == 1:
        return Summary(1, mean, math.nan, math.nan, math.nan)
    if not np.isfinite(found).all():  # an infinite PSNR has a mean, but no spread
        return Summary(found.size, mean, math.nan, math.nan, math.nan)
    from scipy.stats import t

    std = float(found.std(ddof=1))
    half = float(t.ppf((1 + confidence) / 2, found.size - 1)) * std / math.sqrt(found.size)
    return Summary(found.size, mean, std, mean - half, mean + half)


def sign_flip_p(differences: Sequence[float] | NDArray[np.float64], seed: int = 0) -> float:
    """Two-sided p-value of a mean paired difference: how many of all assignments of signs give one as large.

    Parameters
    ----------
    differences : one per volume; nan for fewer than two or for differences that are not finite
    seed : of the 100 000 random assignments beyond 16 volumes, of which the observed one is counted as one more

    References
    ----------
    Fisher, The Design of Experiments (1935), section 21; Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010) 39.
    """
    found = np.asarray(differences, dtype=np.float64)
    if found.size < 2 or not np.isfinite(found).all():
        return math.nan
    observed = abs(found.sum())
    tolerance = 1e-12 * np.abs(found).sum()  # sums of the same numbers in another order are equal
    if found.size <= EXACT_UP_TO:
        sums = np.zeros(1)
        for value in found[1:]:  # the first sign may stay: the test has two sides
            sums = np.concatenate([sums + value, sums - value])
        return float(np.mean(np.abs(sums + found[0]) >= observed - tolerance))
    generator = np.random.default_rng(seed)
    reached = 0
    for _ in range(100):
        signs = 1.0 - 2.0 * generator.integers(0, 2, (FLIPS // 100, found.size))
        reached += int(np.count_nonzero(np.abs(signs @ found) >= observed - tolerance))
    return (reached + 1) / (FLIPS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Scand. J. Stat. 6 (1979) 65); nan stays nan and is not counted."""
    order = sorted((p, k) for k, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for rank, (p, k) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        adjusted[k] = largest
    return adjusted


def compare_pairs(values: Mapping[str, Mapping[str, float]], confidence: float = CONFIDENCE) -> list[Pair]:
    """Every pair of methods on the volumes that both have.

    Parameters
    ----------
    values : method -> volume -> value of one metric
    """
    found: list[tuple[str, str, NDArray[np.float64]]] = []
    for first, second in combinations(values, 2):
        shared = sorted(set(values[first]) & set(values[second]))
        if shared:
            a, b = (np.array([values[name][volume] for volume in shared]) for name in (first, second))
            with np.errstate(invalid="ignore"):  # two perfect volumes: infinite minus infinite decibels
                found.append((first, second, a - b))
    p_values = [sign_flip_p(differences) for _, _, differences in found]
    return [
        Pair(first, second, summarise(differences, confidence), p, adjusted)
        for (first, second, differences), p, adjusted in zip(found, p_values, holm(p_values), strict=True)
    ]

"""Scores of ultrasound images: contrast between two regions, what became of the speckle, and the error of RF.

Contrast alone can be gamed: whatever darkens weak echoes raises gCNR. Report it with the KS distance of tissue.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError

BINS = 256
Values = NDArray[Any]


def gcnr(a: Values, b: Values, bins: int = BINS) -> float:
    """``1 - sum_k min(p_k, q_k)``, the share by which two regions can be told apart (Rodriguez-Molares et al.,
    IEEE TUFFC 67 (2020) 745): 0 for the same histogram, 1 for disjoint ones.

    The bins are shared and span both regions, so give values on one scale, e.g. the envelope in decibels.
    """
    first, second = _both(a, b)
    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    if low == high:
        return 0.0
    p, q = (np.histogram(v, bins, (low, high))[0] / v.size for v in (first, second))
    return float(1.0 - np.minimum(p, q).sum())


def cnr(a: Values, b: Values) -> float:
    """``|mean a - mean b| / sqrt(var a + var b)``, of decibels as a rule."""
    first, second = _both(a, b)
    return float(abs(first.mean() - second.mean()) / math.sqrt(max(first.var() + second.var(), 1e-300)))


def ks_distance(a: Values, b: Values) -> float:
    """Largest difference of the distribution functions of two samples: 0 where they are alike, 1 where they are apart.

    Of the envelope of tissue before and after: low where the speckle was kept. No p-value: pixels are correlated.
    """
    first, second = (np.sort(v) for v in _both(a, b))
    both = np.concatenate([first, second])
    shares = (np.searchsorted(v, both, side="right") / v.size for v in (first, second))
    return float(np.abs(np.subtract(*shares)).max())


def rf_psnr_db(found: Values, truth: Values) -> float:
    """``20 log10(max |truth| / rms error)`` over all of the RF."""
    error = np.asarray(found, dtype=np.float64) - np.asarray(truth, dtype=np.float64)
    peak = float(np.abs(truth).max())
    if peak == 0:
        raise InputError("The true RF is zero everywhere: it has no peak that an error could be related to.")
    return 20 * math.log10(peak / max(float(np.sqrt(np.mean(error**2))), 1e-300))


def _both(a: Values, b: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = (np.asarray(v, dtype=np.float64).ravel() for v in (a, b))
    if not first.size or not second.size:
        raise InputError("A contrast needs two regions with pixels in them, one is empty.")
    return first, second

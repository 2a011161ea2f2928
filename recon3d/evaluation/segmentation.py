"""Segmentation scores: Otsu's threshold and the Matthews correlation coefficient (Helsinki Tomography Challenge)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError, ShapeError


def otsu_threshold(image: NDArray[Any], bins: int = 256) -> float:
    """The value that parts an image into two classes of largest variance between them.

    N. Otsu, IEEE Trans. Systems, Man, Cybernetics 9 (1979), on a histogram of `bins` bins from the minimum to the
    maximum; the answer is the centre of a bin, and the bright class is ``image > threshold``.

    Raises
    ------
    InputError
        If the image is constant or not finite, which leaves no two classes.
    """
    values = np.asarray(image, dtype=np.float64).ravel()
    if values.size == 0 or not np.isfinite(values).all() or values.min() == values.max():
        raise InputError("Otsu's threshold needs two kinds of finite values, got an empty, constant or NaN image.")
    counts, edges = np.histogram(values, bins)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = values.size - below
    first = np.cumsum(counts * centres)[:-1]
    total = float(np.sum(counts * centres))
    between = below * above * (first / below - (total - first) / above) ** 2
    return float(centres[int(np.argmax(between))])


def otsu_mask(image: NDArray[Any], bins: int = 256) -> NDArray[np.bool_]:
    """The bright class of `otsu_threshold`, boolean, of the shape of the image."""
    return np.asarray(image) > otsu_threshold(image, bins)


def matthews(result: NDArray[Any], reference: NDArray[Any]) -> float:
    """Matthews correlation coefficient of two binary masks: 1 is agreement, 0 chance, -1 the opposite.

    Where one of the masks is constant the coefficient is undefined and 0 is returned, as the challenge does.
    """
    ours, theirs = np.asarray(result, dtype=bool), np.asarray(reference, dtype=bool)
    if ours.shape != theirs.shape:
        raise ShapeError(f"Both masks need one shape, got {ours.shape} and {theirs.shape}.")
    # Python integers: the product of four counts of a 512-cube does not fit 64 bits.
    hit = int(np.count_nonzero(ours & theirs))
    false_alarm = int(np.count_nonzero(ours)) - hit
    miss = int(np.count_nonzero(theirs)) - hit
    rejected = ours.size - hit - false_alarm - miss
    product = (hit + false_alarm) * (hit + miss) * (rejected + false_alarm) * (rejected + miss)
    return (hit * rejected - false_alarm * miss) / math.sqrt(product) if product else 0.0

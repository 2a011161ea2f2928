"""Ring artefacts: stripes of the sinogram found and removed by sorting, smoothing and interpolation (Vo 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError

_DROPPED = 0.1


def remove_stripes(data: NDArray[Any], *, snr: float = 3.0, large: int = 51, small: int = 21) -> NDArray[np.float32]:
    """Every kind of stripe, in the order of the paper: dead and fluctuating ones, wide ones, narrow ones.

    N. T. Vo, R. C. Atwood and M. Drakopoulos, Superior techniques for eliminating ring artifacts in X-ray
    micro-tomography, Optics Express 26, 28396 (2018), algorithms 6, 5 and 3. Line integrals are corrected by
    differences where the paper divides: a gain that is wrong is a constant after the logarithm.

    Parameters
    ----------
    data : line integrals (view, row, column)
    snr : how far a stripe stands out of the noise; larger finds fewer
    large, small : width of the median filters in columns
    """
    return per_sinogram(
        data,
        lambda sinogram: remove_narrow(remove_wide(remove_dead(sinogram, snr, large), snr, large), small),
    )


def per_sinogram(data: NDArray[Any], function: Any) -> NDArray[np.float32]:
    """A function of a sinogram (view, column) on every row."""
    result = np.empty(data.shape, np.float32)
    for row in range(data.shape[1]):
        result[:, row] = function(np.asarray(data[:, row], dtype=np.float32))
    return result


def remove_narrow(sinogram: NDArray[Any], size: int = 21) -> NDArray[Any]:
    """Algorithm 3: the columns sorted by value, a median across them, and every value back in its place.

    Neighbouring columns hold nearly the same values in another order, so that after sorting only stripes differ.
    """
    order = np.argsort(sinogram, axis=0, kind="stable")
    ranked = _median(np.take_along_axis(sinogram, order, 0), size)
    result = np.empty_like(sinogram)
    np.put_along_axis(result, order, ranked, 0)
    return result


def remove_wide(sinogram: NDArray[Any], snr: float = 3.0, size: int = 51) -> NDArray[Any]:
    """Algorithm 5: stripes found in the mean of the sorted columns, levelled, their columns replaced by the median."""
    from scipy.ndimage import binary_dilation

    order = np.argsort(sinogram, axis=0, kind="stable")
    ranked = np.take_along_axis(sinogram, order, 0)
    smooth = _median(ranked, size)
    dropped = int(_DROPPED * len(sinogram))
    inner = slice(dropped, len(sinogram) - dropped)
    excess = ranked[inner].mean(axis=0) - smooth[inner].mean(axis=0)
    stripes = outliers(excess, snr)
    if not stripes.any():
        return sinogram
    stripes = binary_dilation(stripes)
    result = sinogram - np.where(stripes, excess, 0.0).astype(sinogram.dtype)
    replaced = np.empty_like(sinogram)
    np.put_along_axis(replaced, order, smooth, 0)
    return np.where(stripes, replaced, result)


def remove_dead(sinogram: NDArray[Any], snr: float = 3.0, size: int = 51) -> NDArray[Any]:
    """Algorithm 6: columns that change too little or too much with the angle, filled from their neighbours."""
    from scipy.ndimage import binary_dilation, uniform_filter1d

    change = np.abs(sinogram - uniform_filter1d(sinogram, 10, axis=0, mode="nearest")).mean(axis=0)
    usual = _median(change[None], size)[0]
    ratio = change / np.maximum(usual, 1e-12 + 1e-6 * float(np.abs(sinogram).max()))
    bad = outliers(ratio, snr)
    bad[[0, -1]] = False
    if not bad.any():
        return sinogram
    bad = binary_dilation(bad)
    bad[[0, -1]] = False
    good = np.flatnonzero(~bad)
    gap = np.flatnonzero(bad)
    right = np.searchsorted(good, gap)
    left_column, right_column = good[right - 1], good[right]
    weight = ((gap - left_column) / (right_column - left_column)).astype(sinogram.dtype)
    result = sinogram.copy()
    result[:, gap] = sinogram[:, left_column] * (1 - weight) + sinogram[:, right_column] * weight
    return result


def outliers(values: NDArray[Any], snr: float) -> NDArray[np.bool_]:
    """Values beyond the line through the middle half of the sorted ones, by half of `snr` times the line's rise.

    The rise of that line over all values is what noise alone would span.
    """
    n = values.size
    if n < 8:
        raise InputError(f"Stripes are found among at least 8 columns, got {n}: leave the removal of stripes out.")
    ranked = np.sort(values)
    middle = slice(n // 4, n - n // 4)
    slope, start = np.polyfit(np.arange(n)[middle], ranked[middle], 1)
    end = start + slope * (n - 1)
    rise = abs(end - start)
    found = np.zeros(n, bool)
    if ranked[-1] - end > snr * rise:
        found |= values > end + 0.5 * snr * rise
    if start - ranked[0] > snr * rise:
        found |= values < start - 0.5 * snr * rise
    return found


def _median(ranked: NDArray[Any], size: int) -> NDArray[Any]:
    from scipy.ndimage import median_filter

    return np.asarray(median_filter(ranked, (1, max(1, size)), mode="nearest"))

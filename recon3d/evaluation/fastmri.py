"""fastMRI scores: MSE, NMSE, PSNR and SSIM of a volume as the official evaluation computes them, and in the foreground.

Per volume, after both were cropped to squares of the target's width w:

- MSE = mean (g - x)^2 and NMSE = |g - x|^2 / |g|^2 over the whole volume;
- PSNR = 10 log10(max(g)^2 / MSE), the maximum taken over the cropped target;
- SSIM = mean over slices of the structural similarity with a uniform 7 x 7 window, sample covariance, K1 = 0.01,
  K2 = 0.03, the rim of three pixels left out and the volume's maximum as data range (Wang et al. 2004).

Nothing is rescaled, matched or clipped. Zbontar et al., arXiv:1811.08839.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError, ShapeError
from recon3d.evaluation.metrics import SSIM_WINDOW

METRICS: Mapping[str, str] = {"MSE": "mse", "NMSE": "nmse", "PSNR dB": "psnr_db", "SSIM": "ssim"}
"""Names in tables -> fields of `Scores`."""
FOREGROUND_LEVEL = 0.05
FOREGROUND_MARGIN = 3
RIM = (SSIM_WINDOW - 1) // 2


@dataclass(frozen=True)
class Scores:
    """The four numbers of one volume.

    Parameters
    ----------
    mse : squared units of the volume
    nmse : relative
    psnr_db : relative to the maximum of the cropped target; infinite where nothing differs
    ssim : mean over slices
    """

    mse: float
    nmse: float
    psnr_db: float
    ssim: float

    def to_dict(self) -> dict[str, float | None]:
        """Plain values for a file; what is not finite is None."""
        return {name: value if math.isfinite(value) else None for name, value in asdict(self).items()}


@dataclass(frozen=True)
class VolumeScores:
    """A volume measured twice, and what a person should know about it.

    Parameters
    ----------
    official : over the cropped volume, the numbers that are published
    foreground : inside `foreground_mask`, range and definitions unchanged: where the anatomy is
    note : empty, or a clause about something odd, e.g. another intensity scale
    """

    official: Scores
    foreground: Scores
    note: str = ""


def score(result: NDArray[Any], target: NDArray[Any]) -> VolumeScores:
    """Score a reconstruction against the target of its volume.

    Parameters
    ----------
    result : magnitude, shape (slice, y, x), the target's shape or cropped like it to (slice, w, w) already
    target : magnitude, shape (slice, y, x); RSS for multi-coil, emulated single coil (ESC) for single-coil data

    Raises
    ------
    ShapeError
        If the numbers of slices differ, or the slices of the result are neither of the target's size nor its crop.
    InputError
        If values are complex or not finite, or the target is empty.
    """
    for name, data in (("result", result), ("target", target)):
        if data.ndim != 3:
            raise ShapeError(f"The {name} needs the shape (slice, y, x), got {data.shape}.")
        if np.iscomplexobj(data) or data.dtype.kind not in "fiu":
            raise InputError(f"The {name} needs real magnitudes, got {data.dtype}: take the absolute value.")
        bad = int(data.size - np.count_nonzero(np.isfinite(data)))
        if bad:
            raise InputError(f"The {name} holds {bad} NaN or infinite values: mend them first.")
    if len(result) != len(target):
        raise ShapeError(f"The result has {len(result)} slices, the target {len(target)}: reconstruct all of them.")
    wanted = scored_size(target.shape[1:])
    if result.shape[1:] not in (target.shape[1:], wanted):
        raise ShapeError(
            f"The result has slices of {_size(result)}, the target of {_size(target)} (y x): wrong crop, keep the "
            "centre from (N - n) // 2 on."
        )
    if min(wanted) < SSIM_WINDOW:
        raise ShapeError(f"SSIM needs slices of at least {SSIM_WINDOW} x {SSIM_WINDOW}, got {wanted[0]} x {wanted[1]}.")
    ours, theirs = centre_crop(result, wanted), centre_crop(target, wanted)
    maximum = float(theirs.max())
    if maximum <= 0.0:
        raise InputError(f"The maximum of the target is {maximum:g}: no metric is defined.")
    return _measure(ours, theirs, maximum)


def scored_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """The part of a target slice (y, x) that is scored: a square of its width, all rows where there are fewer."""
    return min(shape[0], shape[1]), shape[1]


def centre_crop(data: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """The middle (y, x) of the last two axes, from index (N - n) // 2 on."""
    y, x = ((n - wanted) // 2 for n, wanted in zip(data.shape[-2:], size, strict=True))
    if min(x, y) < 0:
        raise ShapeError(f"A crop to {size[0]} x {size[1]} needs slices of that size at least, got {_size(data)}.")
    return data[..., y : y + size[0], x : x + size[1]]


def foreground_mask(target: NDArray[Any]) -> NDArray[np.bool_]:
    """Where the anatomy is: above 5 % of the volume's maximum, the largest connected part, grown by 3 pixels in plane.

    Targets are root sums of squares, whose background is the noise floor: an image with a dark background loses SSIM
    there without being worse.
    """
    from scipy import ndimage

    labels, count = ndimage.label(target > FOREGROUND_LEVEL * target.max())
    if count == 0:
        raise InputError("The target has no foreground: its values are not positive.")
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    cross = ndimage.generate_binary_structure(2, 1)[None]
    grown: NDArray[np.bool_] = ndimage.binary_dilation(largest, cross, iterations=FOREGROUND_MARGIN)
    return grown


def _measure(ours: NDArray[Any], theirs: NDArray[Any], maximum: float) -> VolumeScores:
    """Both sets of numbers in one pass, slice by slice: energies in double precision, similarity in that of the target,
    as the official code has it (single precision moves the SSIM of smooth images by some 1e-6)."""
    from skimage.metrics import structural_similarity

    foreground = foreground_mask(theirs)
    sums = np.zeros((2, 3))  # error energy, energy and count of the whole and of the foreground
    similar: tuple[list[float], list[float]] = [], []
    cross = own = 0.0
    for a, b, front in zip(ours, theirs, foreground, strict=True):
        _, similarity = structural_similarity(b, a, win_size=SSIM_WINDOW, data_range=theirs.max(), full=True)
        inner = similarity[RIM:-RIM, RIM:-RIM].astype(np.float64)
        a, b = a.astype(np.float64), b.astype(np.float64)
        error = (a - b) ** 2
        for k, mask in enumerate((np.ones_like(front), front)):
            sums[k] += error[mask].sum(), (b[mask] ** 2).sum(), np.count_nonzero(mask)
            if (within := mask[RIM:-RIM, RIM:-RIM]).any():
                similar[k].append(float(inner[within].mean()))
        cross += float((a * b).sum())
        own += float((a * a).sum())
    official, front_scores = (_scores(row, maximum, values) for row, values in zip(sums, similar, strict=True))
    return VolumeScores(official, front_scores, _scale_note(cross / own if own else 0.0))


def _scores(sums: NDArray[np.float64], maximum: float, similar: list[float]) -> Scores:
    error, energy, count = (float(value) for value in sums)
    mse = error / count
    return Scores(
        mse=mse,
        nmse=error / energy,
        psnr_db=math.inf if mse == 0.0 else 10.0 * math.log10(maximum**2 / mse),
        ssim=float(np.mean(similar)) if similar else math.nan,
    )


def _scale_note(factor: float) -> str:
    """`factor` is what the result would have to be multiplied by to come nearest to the target."""
    if factor <= 0.0:
        return "the result is empty"
    if not 0.5 < factor < 2.0:
        return f"another intensity scale: times {factor:.3g} would fit the target"
    return ""


def _size(data: NDArray[Any]) -> str:
    return f"{data.shape[-2]} x {data.shape[-1]}"

"""Receive coils: sensitivities from calibration data, their phase, prewhitening and compression."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from operators.errors import ShapeError
from operators.fourier import centred_ifft
from operators.mri.espirit import espirit

__all__ = [
    "calibration_box",
    "compression_matrix",
    "cut_box",
    "low_resolution_images",
    "low_resolution_maps",
    "mix_coils",
    "noise_covariance",
    "rotate_maps",
    "rss",
    "sensitivities",
    "walsh",
    "whitening_matrix",
]

METHODS = ("espirit", "walsh", "low-resolution")


def rss(images: Tensor, dim: int = -4) -> Tensor:
    """The root of the sum of squares over coils."""
    return torch.linalg.vector_norm(images, dim=dim)


def calibration_box(mask: Tensor) -> tuple[slice, ...]:
    """The fully sampled box around the centre of k-space, symmetric about it, from a mask of any number of axes.

    It grows on all axes alike until a sample is missing, then on those where none is; an axis that is sampled
    everywhere is taken whole. Empty slices where not even the centre was measured.
    """
    mask = mask.bool()
    centre = [n // 2 for n in mask.shape]
    half = [0] * mask.ndim  # the box is [c - half, c + half), or the whole axis

    def box(sizes: list[int]) -> tuple[slice, ...]:
        return tuple(
            slice(0, n) if h >= n // 2 and h > 0 else slice(c - h, c + h)
            for n, c, h in zip(mask.shape, centre, sizes, strict=True)
        )

    start = [min(1, n // 2) or 1 for n in mask.shape]
    if not bool(mask[box(start)].all()):
        return tuple(slice(c, c) for c in centre)
    half, growing = start, [n > 2 for n in mask.shape]
    while any(growing):
        for axis in range(mask.ndim):
            if not growing[axis]:
                continue
            larger = [h + (i == axis) for i, h in enumerate(half)]
            if bool(mask[box(larger)].all()):
                half = larger
                growing[axis] = half[axis] < mask.shape[axis] // 2
            else:
                growing[axis] = False
    return box(half)


def cut_box(data: Tensor, box: tuple[slice, ...]) -> Tensor:
    """The part of `data` inside a box over its last axes."""
    for dim, part in zip(range(-len(box), 0), box, strict=True):
        data = data.narrow(dim, part.start, part.stop - part.start)
    return data


def low_resolution_images(calibration: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Coil images (coil, *shape) of a small centre of k-space, tapered by a Hann window so that they do not ring."""
    dims = tuple(range(-len(shape), 0))
    y = calibration
    for dim, n in zip(dims, shape, strict=True):
        length = y.shape[dim]
        window = torch.hann_window(length + 2, periodic=False, dtype=y.real.dtype, device=y.device)[1:-1]
        y = y * window.reshape(-1, *[1] * (-1 - dim))
        padded = y.new_zeros((*y.shape[: y.ndim + dim], n, *y.shape[y.ndim + dim + 1 :]))
        padded.narrow(dim, n // 2 - length // 2, length).copy_(y)
        y = padded
    return centred_ifft(y, dims)


def low_resolution_maps(images: Tensor) -> Tensor:
    """Coil images (coil, ...) over their root sum of squares: the simplest sensitivities."""
    total = rss(images, 0)
    return images / total.clamp(min=torch.finfo(total.dtype).tiny)


def walsh(images: Tensor, window: int = 5) -> Tensor:
    """Sensitivities (coil, y, x): the leading eigenvector of the coils' covariance around each pixel.

    Parameters
    ----------
    images : coil images (coil, y, x)
    window : odd edge of the neighbourhood in pixels

    References
    ----------
    Walsh, Gmitro and Marcellin, Magn. Reson. Med. 43 (2000) 682.
    """
    if window < 1 or window % 2 == 0:
        raise ShapeError(f"Walsh's neighbourhood has an odd edge, got {window}.")
    coils, ny, nx = images.shape
    products = (images[:, None] * images[None].conj()).reshape(-1, ny, nx)
    parts = torch.view_as_real(products).permute(3, 0, 1, 2).reshape(1, -1, ny, nx)
    smooth = torch.nn.functional.avg_pool2d(parts, window, 1, window // 2, count_include_pad=False)
    covariance = torch.complex(*smooth.reshape(2, coils, coils, ny, nx)).permute(2, 3, 0, 1).reshape(-1, coils, coils)
    return torch.linalg.eigh(covariance)[1][..., -1].T.reshape(coils, ny, nx)


def rotate_maps(maps: Tensor, images: Tensor) -> Tensor:
    """Maps turned pixel by pixel so that the coil-combined low-resolution image is real and not negative.

    Eigenvectors carry no phase of their own; fixing one coil's phase leaves the image with that coil's. By this rule
    the image keeps only the phase that the low-resolution image does not show, so it is nearly real, whichever coil is
    first.

    Parameters
    ----------
    maps : (set, coil, ...)
    images : low-resolution coil images (coil, ...)
    """
    combined = (maps.conj() * images).sum(1, keepdim=True)
    modulus = combined.abs()
    return maps * torch.where(modulus > 0, combined / modulus.clamp(min=torch.finfo(modulus.dtype).tiny), 1.0)


def sensitivities(
    calibration: Tensor, shape: tuple[int, int], method: str = "espirit", sets: int = 1, crop: float = 0.5
) -> Tensor:
    """Sensitivities (set, coil, y, x) of one slice, turned by the phase rule of `rotate_maps`.

    Parameters
    ----------
    calibration : fully sampled centre of k-space (coil, ky, kx); a coil without signal gets a map of zeros
    shape : (y, x)
    method : "espirit", "walsh" or "low-resolution"
    sets : 1, or 2 for objects that fold over (ESPIRiT only)
    crop : for ESPIRiT, the eigenvalue about which a map fades to zero, within 0.1 of it; 0 keeps all. A hard edge would
        let rounding decide about voxels.
    """
    if method not in METHODS:
        raise ShapeError(f"Sensitivities are found by {', '.join(METHODS)}, got '{method}'.")
    if sets != 1 and method != "espirit":
        raise ShapeError(f"Two map sets need ESPIRiT, got '{method}'.")
    images = low_resolution_images(calibration, shape)
    alive = calibration.abs().flatten(1).amax(1) > 0
    if not bool(alive.any()):
        return calibration.new_zeros((sets, len(calibration), *shape))
    if method == "espirit":
        region = tuple(_centre(n, limit) for n, limit in zip(calibration.shape[-2:], _region(calibration), strict=True))
        part = calibration[alive][:, region[0], region[1]].contiguous()
        found, values = espirit(part, shape, sets=sets, crop=0.0)
        found = found * _soft_crop(values, crop).unsqueeze(1)
    else:
        found = (walsh if method == "walsh" else low_resolution_maps)(images[alive])[None]
    maps = calibration.new_zeros((sets, len(calibration), *shape))
    maps[:, alive] = found
    return rotate_maps(maps, images)


def _soft_crop(values: Tensor, crop: float) -> Tensor:
    if crop <= 0:
        return torch.ones_like(values)
    t = ((values - crop + 0.1) / 0.2).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _region(calibration: Tensor) -> tuple[int, int]:
    """24 samples on each axis; where one has fewer, more of the other, so that patches outnumber unknowns."""
    ny, nx = calibration.shape[-2:]
    area = 24 * 24
    return max(24, area // max(1, min(nx, 24))), max(24, area // max(1, min(ny, 24)))


def _centre(n: int, wanted: int) -> slice:
    length = min(n, wanted)
    return slice(n // 2 - length // 2, n // 2 - length // 2 + length)


def noise_covariance(noise: Tensor) -> Tensor:
    """The coils' covariance (coil, coil) from a scan without signal, (coil, ...); per complex sample."""
    samples = noise.reshape(len(noise), -1)
    count = samples.shape[1]
    if count < 2 * len(noise):
        raise ShapeError(f"A noise scan of {len(noise)} coils needs {2 * len(noise)} samples at least, got {count}.")
    samples = samples - samples.mean(1, keepdim=True)
    return samples @ samples.mH / (count - 1)


def whitening_matrix(covariance: Tensor) -> Tensor:
    """W (coil, coil) with W covariance W^H = 2: noise of standard deviation 1 per real channel, not correlated.

    Raises
    ------
    ShapeError
        If the covariance is not positive definite (a dead coil, a coil that is listed twice).
    """
    try:
        factor = torch.linalg.cholesky(covariance)
    except torch.linalg.LinAlgError:
        weakest = int(covariance.diagonal().real.argmin())
        raise ShapeError(
            f"The noise covariance of the coils is singular: coil {weakest} is dead or repeats another; leave it out."
        ) from None
    identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    return math.sqrt(2.0) * torch.linalg.solve_triangular(factor, identity, upper=False)


def compression_matrix(calibration: Tensor, coils: int | None = None, energy: float = 0.99) -> Tensor:
    """The matrix (virtual coil, coil) that keeps the strongest combinations of coils. Compress after whitening.

    Parameters
    ----------
    calibration : (coil, ...)
    coils : how many virtual coils; by default as many as hold `energy` of the signal
    energy : share of the energy to keep

    References
    ----------
    Huang et al., Magn. Reson. Imaging 26 (2008) 133.
    """
    samples = calibration.reshape(len(calibration), -1)
    values, vectors = torch.linalg.eigh(samples @ samples.mH)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    if coils is None:
        share = values.cumsum(0) / values.sum()
        coils = int((share < energy).sum()) + 1
    if not 1 <= coils <= len(calibration):
        raise ShapeError(f"{len(calibration)} coils are compressed to 1 up to {len(calibration)}, got {coils}.")
    return vectors[:, :coils].mH


def mix_coils(matrix: Tensor, data: Tensor) -> Tensor:
    """Each new coil is a row of `matrix` over the old ones; data (coil, ...)."""
    if matrix.shape[1] != len(data):
        raise ShapeError(f"The matrix combines {matrix.shape[1]} coils, the data have {len(data)}.")
    return cast(Tensor, torch.tensordot(matrix.to(data.dtype), data, dims=1))

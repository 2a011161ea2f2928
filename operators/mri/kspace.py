"""K-space as it comes from a scanner: oversampling, partial Fourier, zero filling and the fully sampled readout."""

from __future__ import annotations

import torch
from torch import Tensor

from operators.errors import ShapeError
from operators.fourier import centred_fft, centred_ifft

__all__ = [
    "centre_crop", "corner_noise", "corner_samples", "noise_of", "partial_fourier", "remove_oversampling",
    "resize_centred", "sampled",
]  # fmt: skip

_CORNER = 0.8  # of the largest frequency, along both axes: the signal of tissue lies far below the noise there
_LEAST_SAMPLES = 100


def sampled(kspace: Tensor, coil_dim: int = -4) -> Tensor:
    """Where k-space was measured: a bool mask without the coil axis, true where any coil is not zero."""
    return (kspace != 0).any(dim=coil_dim)


def corner_noise(kspace: Tensor) -> float | None:
    """Standard deviation per real channel of white noise, from the corners of the last two axes of k-space.

    The median of the moduli of real and imaginary parts over 0.6745: few strong samples do not move it. None where the
    corners were not measured (zeros), or not enough of them.
    """
    return noise_of(corner_samples(kspace))


def corner_samples(kspace: Tensor) -> Tensor:
    """The samples that were measured in the corners of the last two axes, one after the other."""
    rows, columns = (
        (torch.arange(n, device=kspace.device) - n // 2).abs() >= _CORNER * (n // 2) for n in kspace.shape[-2:]
    )
    corner = kspace[..., rows, :][..., columns]
    return corner[corner != 0]


def noise_of(samples: Tensor) -> float | None:
    """What `corner_noise` finds in its samples."""
    values = torch.view_as_real(samples).abs()
    return float(values.median()) / 0.6745 if values.numel() >= _LEAST_SAMPLES else None


def centre_crop(x: Tensor, dim: int, length: int) -> Tensor:
    """The middle `length` samples along an axis, which keeps index n // 2 at length // 2."""
    n = x.shape[dim]
    if not 1 <= length <= n:
        raise ShapeError(f"A crop of axis {dim} keeps 1 to {n} samples, got {length}.")
    return x.narrow(dim, n // 2 - length // 2, length)


def resize_centred(x: Tensor, dim: int, length: int) -> Tensor:
    """Crop or fill with zeros along an axis, with the centre kept: zero filling of k-space gives smaller voxels."""
    n = x.shape[dim]
    if length <= n:
        return centre_crop(x, dim, length)
    dim = dim % x.ndim
    y = x.new_zeros((*x.shape[:dim], length, *x.shape[dim + 1 :]))
    y.narrow(dim, length // 2 - n // 2, n).copy_(x)
    return y


def remove_oversampling(kspace: Tensor, dim: int, length: int) -> Tensor:
    """K-space of the middle `length` voxels along the fully sampled readout; white noise stays white.

    Other axes may be undersampled: rows without samples stay zero.
    """
    if length == kspace.shape[dim]:
        return kspace
    return centred_fft(centre_crop(centred_ifft(kspace, (dim,)), dim, length), (dim,))


def partial_fourier(kspace: Tensor, dim: int, iterations: int = 10) -> Tensor:
    """Fill the unmeasured side of k-space by projections onto images with the phase of the symmetric centre (POCS).

    Parameters
    ----------
    kspace : (..., ky, kx) with zeros on one side of axis `dim`; other axes full
    dim : -2 or -1
    iterations : of projections

    References
    ----------
    Haacke, Lindskog and Lin, J. Magn. Reson. 92 (1991) 126.
    """
    n = kspace.shape[dim]
    other = tuple(d for d in range(kspace.ndim) if d != dim % kspace.ndim)
    measured = (kspace != 0).any(dim=other) if other else kspace != 0
    indices = measured.nonzero().flatten()
    centre = n // 2
    if len(indices) == 0 or not bool(measured[centre]):
        raise ShapeError("Partial Fourier needs a measured centre of k-space: check the axis.")
    half = min(int(centre - indices[0]), int(indices[-1]) + 1 - centre)
    if half < 1 or int(indices[-1] - indices[0]) + 1 != len(indices):
        raise ShapeError("Partial Fourier needs gapless lines that pass the centre of k-space on both sides.")
    if len(indices) == n:
        return kspace
    shape = [1] * kspace.ndim
    shape[dim] = n
    window = torch.zeros(n, dtype=kspace.real.dtype, device=kspace.device)
    taper = torch.hann_window(2 * half + 1, periodic=False, dtype=window.dtype, device=window.device)[:-1]
    window[centre - half : centre + half] = taper
    low = centred_ifft(kspace * window.reshape(shape))
    phase = torch.polar(torch.ones_like(low.real), low.angle())
    keep = measured.reshape(shape)
    filled = kspace
    for _ in range(iterations):
        image = centred_ifft(filled)
        image = (image * phase.conj()).real * phase
        filled = torch.where(keep, kspace, centred_fft(image))
    return filled

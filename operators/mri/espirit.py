"""ESPIRiT: coil sensitivities as eigenvectors of what the calibration data say about neighbouring samples."""

from __future__ import annotations

import math
from functools import cache
from typing import cast

import torch
from torch import Tensor

from operators.errors import ShapeError

__all__ = ["espirit"]

_BLOCK_BYTES = 8 << 20  # of per-pixel matrices at a time


def espirit(
    calibration: Tensor,
    shape: tuple[int, int],
    *,
    kernel: int | tuple[int, int] | None = None,
    threshold: float = 0.02,
    crop: float = 0.95,
    sets: int = 1,
    steps: int = 96,
) -> tuple[Tensor, Tensor]:
    """Sensitivities of one slice from its calibration region.

    Parameters
    ----------
    calibration : complex tensor, shape (coil, ky, kx)
        The fully sampled centre of k-space.
    shape : (y, x) of the maps
    kernel : samples along (ky, kx) that predict each other; by default 6, fewer where the region is small
    threshold : singular values above this fraction of the largest count as signal
    crop : maps are zero where their eigenvalue is at most this; 0 keeps all
    sets : 1, or 2 for objects that fold over
    steps : of the power iteration (one set only; two take an eigendecomposition)

    Returns
    -------
    maps : complex tensor, shape (set, coil, y, x), unit sum of squares over coils where not cropped; the first coil is
        real (see `operators.mri.coils.rotate_maps` for a better phase)
    eigenvalues : real tensor, shape (set, y, x), about 1 inside the object

    Raises
    ------
    ShapeError
        If the region is smaller than the kernel.

    References
    ----------
    Uecker et al., Magn. Reson. Med. 71 (2014) 990.
    """
    coils = calibration.shape[0]
    size = kernel_size(tuple(calibration.shape[-2:])) if kernel is None else kernel  # type: ignore[arg-type]
    ky, kx = (size, size) if isinstance(size, int) else size
    if calibration.ndim != 3 or min(calibration.shape[-2] - ky, calibration.shape[-1] - kx) < 0 or min(ky, kx) < 1:
        raise ShapeError(
            f"ESPIRiT with a {ky} x {kx} kernel needs calibration data (coil, ky, kx) of at least that size, "
            f"got {tuple(calibration.shape)}."
        )
    if sets not in (1, 2) or sets > coils:
        raise ShapeError(f"ESPIRiT gives one or two map sets, and at most one per coil, got {sets} of {coils} coils.")
    kernels = _correlations(_signal_space(calibration, ky, kx, threshold), coils, ky, kx)
    rows, columns = (_fourier_rows(n, k, calibration) for n, k in zip(shape, (ky, kx), strict=True))
    maps = calibration.new_empty((sets, coils, *shape))
    values = calibration.real.new_empty((sets, *shape))
    step = max(1, _BLOCK_BYTES // (shape[1] * coils * coils * calibration.element_size()))
    for start in range(0, shape[0], step):
        some = rows[start : start + step]
        partial = (some @ kernels.reshape(len(kernels), -1)).reshape(len(some), kernels.shape[1], -1)
        matrices = torch.matmul(columns, partial).reshape(-1, coils, coils)
        vectors, value = _leading(matrices, sets, steps)
        block = (sets, len(some), shape[1])
        maps[:, :, start : start + step] = vectors.reshape(*block, coils).permute(0, 3, 1, 2)
        values[:, start : start + step] = value.reshape(block)
    reference = maps[:, :1]
    modulus = reference.abs()
    maps = maps * torch.where(modulus > 0, reference.conj() / modulus.clamp(min=torch.finfo(modulus.dtype).tiny), 1.0)
    return maps * (values > crop).unsqueeze(1), values


def kernel_size(region: tuple[int, int]) -> tuple[int, int]:
    """6 samples, fewer where the region is small: the patches must outnumber what they are to predict."""
    return cast("tuple[int, int]", tuple(min(6, max(2, n // 2), n) for n in region))


def _signal_space(calibration: Tensor, ky: int, kx: int, threshold: float) -> Tensor:
    """The projector on the space of all ky x kx patches of the calibration data."""
    patches = calibration.unfold(1, ky, 1).unfold(2, kx, 1)  # coil, position, position, ky, kx
    rows = patches.permute(1, 2, 0, 3, 4).reshape(-1, calibration.shape[0] * ky * kx)
    rows = rows / rows.abs().max().clamp(min=torch.finfo(rows.real.dtype).tiny)
    squared, vectors = torch.linalg.eigh(rows.mT @ rows.conj())  # columns span the patches as column vectors
    kept = squared > threshold**2 * squared[-1]
    basis = vectors[:, kept]
    return basis @ basis.mH


def _correlations(projector: Tensor, coils: int, ky: int, kx: int) -> Tensor:
    """Its mean over patches that hold a sample: kernels (2 ky - 1, 2 kx - 1, coil, coil) over differences."""
    of_pairs = projector.reshape(coils, ky, kx, coils, ky, kx).permute(1, 2, 4, 5, 0, 3)
    kernels = projector.new_zeros((2 * ky - 1, 2 * kx - 1, coils, coils))
    for i in range(ky):
        for j in range(kx):  # from sample (i, j) of a patch to all samples of it
            kernels[ky - 1 - i : 2 * ky - 1 - i, kx - 1 - j : 2 * kx - 1 - j] += of_pairs[i, j]
    return kernels / (ky * kx)


def _fourier_rows(n: int, k: int, like: Tensor) -> Tensor:
    """exp(-2 pi i m r / n) for centred positions r and differences m from 1 - k to k - 1: shape (n, 2 k - 1)."""
    r = torch.arange(n, dtype=torch.float64, device=like.device) - n // 2
    m = torch.arange(1 - k, k, dtype=torch.float64, device=like.device)
    angle = -2 * math.pi / n * r[:, None] * m
    return torch.complex(angle.cos(), angle.sin()).to(like.dtype)


def _leading(matrices: Tensor, sets: int, steps: int) -> tuple[Tensor, Tensor]:
    """The leading eigenvectors (set, pixel, coil) and eigenvalues (set, pixel) of Hermitian matrices."""
    if sets == 2:
        values, vectors = torch.linalg.eigh(matrices)
        return vectors[..., -2:].flip(-1).permute(2, 0, 1).contiguous(), values[:, -2:].flip(-1).T.contiguous()
    power = matrices
    for _ in range(4):  # M^16: squaring costs less than as many steps with M
        power = _unit(power) @ power
    vector = power @ _start(matrices.shape[-1], matrices.dtype, matrices.device)
    for _ in range(max(1, steps // 16)):
        vector = power @ vector
    vector = _unit(vector)
    value = (vector.conj() * (matrices @ vector)).sum(1).real
    return vector.mT.reshape(1, -1, matrices.shape[-1]), value.reshape(1, -1)


def _unit(t: Tensor) -> Tensor:
    """Matrices or vectors (pixel, ...) divided by their Euclidean length."""
    squared = torch.view_as_real(t).reshape(len(t), -1).square().sum(1)
    return t * squared.clamp(min=torch.finfo(squared.dtype).tiny).rsqrt().reshape(-1, 1, 1)


@cache
def _start(coils: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A start that is orthogonal to no usual sensitivity."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn((coils, 1), dtype=torch.complex128, generator=generator).to(device, dtype)

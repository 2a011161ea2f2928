"""Non-uniform Fourier transforms by finufft (CPU) and cufinufft (GPU), their density compensation and Toeplitz gram."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from operators.errors import MissingPackageError, ShapeError

__all__ = ["Nufft", "density_compensation", "toeplitz_kernel"]


class Nufft:
    """Transform between an image of N voxels and any positions: y_j = sum_r x_r exp(-2 pi i k_j r) / sqrt(N).

    The image is centred: r counts from the voxel at index n // 2. The adjoint is exact to rounding.

    Parameters
    ----------
    trajectory : real tensor (sample, axis), cycles per voxel, axes ordered as those of `shape`; |k| <= 0.5
    shape : of the image, two or three axes
    dtype : torch.complex64 or torch.complex128
    accuracy : relative error of the transform; by default 1e-6, or 1e-12 in double precision

    Raises
    ------
    MissingPackageError
        If finufft is not installed.
    """

    def __init__(
        self, trajectory: Tensor, shape: tuple[int, ...], dtype: torch.dtype, accuracy: float | None = None
    ) -> None:
        if trajectory.ndim != 2 or trajectory.shape[1] != len(shape) or len(shape) not in (2, 3):
            raise ShapeError(
                f"A trajectory for an image of shape {tuple(shape)} has the shape (sample, {len(shape)}), "
                f"got {tuple(trajectory.shape)}."
            )
        largest = float(trajectory.abs().max())
        if not largest <= 0.5 + 1e-4:
            raise ShapeError(
                f"A trajectory is in cycles per voxel, at most 0.5, got up to {largest:.4g}: divide cycles per field "
                "of view by the number of voxels, radians by 2 pi."
            )
        self.trajectory, self.shape, self.dtype = trajectory, tuple(shape), dtype
        self.device = trajectory.device
        self.accuracy = accuracy or (1e-12 if dtype == torch.complex128 else 1e-6)
        self._plans: dict[tuple[int, int], Any] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, *shape) to samples (batch, sample)."""
        return self._execute(2, x.contiguous(), (len(x), len(self.trajectory)))

    def adjoint(self, y: Tensor) -> Tensor:
        """Samples (batch, sample) to images (batch, *shape)."""
        return self._execute(1, y.contiguous(), (len(y), *self.shape))

    def _execute(self, kind: int, data: Tensor, shape: tuple[int, ...]) -> Tensor:
        plan = self._plan(kind, len(data))
        data = data.resolve_conj()
        scale = 1.0 / math.sqrt(math.prod(self.shape))
        if self.device.type == "cuda":
            out = torch.empty(shape, dtype=self.dtype, device=self.device)
            plan.execute(data, out=out)
            return out * scale
        return torch.from_numpy(plan.execute(data.numpy())).reshape(shape) * scale

    def _plan(self, kind: int, batch: int) -> Any:
        if (kind, batch) not in self._plans:
            module = _library(self.device)
            real = torch.float64 if self.dtype == torch.complex128 else torch.float32
            # One thread: spreading by several would add in an order that changes from run to run.
            options: dict[str, Any] = {} if self.device.type == "cuda" else {"nthreads": 1}
            plan = module.Plan(
                kind,
                self.shape,
                n_trans=batch,
                eps=self.accuracy,
                isign=1 if kind == 1 else -1,
                dtype="complex128" if self.dtype == torch.complex128 else "complex64",
                **options,
            )
            points = (2 * math.pi * self.trajectory.to(torch.float64)).to(real)
            axes = [points[:, axis].contiguous() for axis in range(points.shape[1])]
            plan.setpts(*(axes if self.device.type == "cuda" else [a.numpy() for a in axes]))
            self._plans[kind, batch] = plan
        return self._plans[kind, batch]


def _library(device: torch.device) -> Any:
    name = "cufinufft" if device.type == "cuda" else "finufft"
    try:
        return import_module(name)
    except ImportError:
        line = "pip install cufinufft" if name == "cufinufft" else 'pip install "recon3d[mri]"'
        raise MissingPackageError(f"Non-Cartesian MRI needs {name}, which is not installed: {line}.") from None


def density_compensation(transform: Nufft, iterations: int = 20) -> Tensor:
    """Weights (sample) by which the adjoint becomes an image of the right scale: w <- w / |A A^H w|.

    References
    ----------
    Pipe and Menon, Magn. Reson. Med. 41 (1999) 179.
    """
    weights = torch.ones(1, len(transform.trajectory), dtype=transform.dtype, device=transform.device)
    window = weights.new_ones(())
    for (
        n
    ) in transform.shape:  # a triangle over the field of view: its kernel in k-space, a squared sinc, is not negative
        triangle = 1 - (torch.arange(n, device=transform.device) - n // 2).abs() / (n / 2 + 1)
        window = window[..., None] * triangle.to(transform.dtype)
    for _ in range(iterations):
        seen = transform.forward(window * transform.adjoint(weights)).abs()
        weights = weights / seen.clamp(min=1e-9 * float(seen.max()))
    return weights.real[0]


def toeplitz_kernel(transform: Nufft, weights: Tensor | None = None) -> Tensor:
    """The spectrum K (2 n per axis) with A^H W A x = crop(ifft(K fft(pad(x)))): no transform of samples in the loop.

    References
    ----------
    Fessler et al., IEEE Trans. Signal Process. 53 (2005) 3393.
    """
    double = tuple(2 * n for n in transform.shape)
    wide = Nufft(transform.trajectory, double, transform.dtype, transform.accuracy)
    samples = torch.ones(1, len(transform.trajectory), dtype=transform.dtype, device=transform.device)
    if weights is not None:
        samples = samples * weights
    response = wide.adjoint(samples)[0] * (math.sqrt(math.prod(double)) / math.prod(transform.shape))
    dims = tuple(range(response.ndim))
    return torch.fft.fftn(torch.fft.ifftshift(response, dims), dim=dims)

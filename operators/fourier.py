"""Orthonormal discrete Fourier transforms, centred or not: the one place that decides where zero frequency lies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from operators.errors import ShapeError
from operators.linear import LinearOperator, Slab
from operators.space import Space

__all__ = ["FourierTransform", "centred_fft", "centred_ifft", "centring_phases"]


def centred_fft(x: Tensor, dims: Sequence[int] = (-2, -1)) -> Tensor:
    """Orthonormal DFT with the origin of both sides at index n // 2: image to k-space.

    Parameters
    ----------
    x : complex tensor
    dims : axes to transform
    """
    shifted = torch.fft.ifftshift(x, tuple(dims))
    return torch.fft.fftshift(torch.fft.fftn(shifted, dim=tuple(dims), norm="ortho"), tuple(dims))


def centred_ifft(y: Tensor, dims: Sequence[int] = (-2, -1)) -> Tensor:
    """The inverse of `centred_fft`: k-space to image."""
    shifted = torch.fft.ifftshift(y, tuple(dims))
    return torch.fft.fftshift(torch.fft.ifftn(shifted, dim=tuple(dims), norm="ortho"), tuple(dims))


def centring_phases(n: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Phases that turn a plain DFT of length `n` into a centred one without a shift: F_centred = diag(k) F diag(x).

    With c = n // 2 they are x_j = exp(2 pi i c j / n) and k_j = exp(2 pi i c (j - c) / n); for even n both are signs.
    They are multiplied into sensitivities and masks once, so that no iteration pays for shifts.

    Returns
    -------
    (x, k) : complex128 tensors, shape (n)
    """
    c = n // 2
    j = torch.arange(n, dtype=torch.int64)
    phases = []
    for steps in (c * j, c * (j - c)):
        turns = (steps % n).to(torch.float64) / n
        phase = torch.polar(torch.ones_like(turns), 2 * math.pi * turns)
        if n % 2 == 0:
            phase = phase.real.round().to(torch.complex128)
        phases.append(phase.to(device))
    return phases[0], phases[1]


class FourierTransform(LinearOperator):
    """The orthonormal DFT along some axes; the range has the axes' names with a k in front. Unitary: A^H A = 1.

    Parameters
    ----------
    space : complex space of the image
    axes : names of the axes to transform, one, two or three
    centred : origin at index n // 2 on both sides (MRI's convention), or at index 0
    """

    def __init__(
        self, space: Space, axes: Sequence[str] = ("y", "x"), centred: bool = True, device: torch.device | str = "cpu"
    ) -> None:
        if not space.is_complex:
            raise ShapeError(f"A Fourier transform needs a complex space, got {space}.")
        if not axes or not set(axes) <= set(space.axes) or len(set(axes)) != len(axes):
            raise ShapeError(f"A Fourier transform needs some of the axes {space.axes}, each once, got {tuple(axes)}.")
        names = tuple(f"k{name}" if name in axes else name for name in space.axes)
        super().__init__(space, Space(names, space.shape, space.dtype), device)
        self.axes, self.centred = tuple(axes), centred
        self._dims = tuple(space.axes.index(name) - len(space.axes) for name in axes)
        self._before: list[Tensor] = []
        self._after: list[Tensor] = []
        for dim in self._dims if centred else ():
            before, after = centring_phases(space.shape[dim], device)
            shape = (-1, *[1] * (-1 - dim))
            self._before.append(before.to(space.dtype).reshape(shape))
            self._after.append(after.to(space.dtype).reshape(shape))

    def _forward(self, x: Tensor) -> Tensor:
        for phase in self._before:
            x = x * phase
        y = torch.fft.fftn(x, dim=self._dims, norm="ortho")
        for phase in self._after:
            y = y * phase
        return y

    def _adjoint(self, y: Tensor) -> Tensor:
        for phase in self._after:
            y = y * phase.conj()
        x = torch.fft.ifftn(y, dim=self._dims, norm="ortho")
        for phase in self._before:
            x = x * phase.conj()
        return x

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        assert isinstance(self.domain, Space)
        return FourierTransform(self.domain.astype(dtype), self.axes, self.centred, device)

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        assert isinstance(self.domain, Space)
        if axis in self.axes:
            return None
        part = FourierTransform(self.domain.resized(axis, stop - start), self.axes, self.centred, self.device)
        return Slab(part, axis, start, stop)

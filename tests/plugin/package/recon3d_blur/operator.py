"""The physics: what a microscope measures is its object, blurred in the plane."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from operators.linear import LinearOperator, Slab
from operators.space import Space
from recon3d.scan import Scan


class Blur(LinearOperator):
    """Convolution of each slice with a Gaussian of the given full width at half maximum; the plane is periodic.

    Parameters
    ----------
    space : real space (z, y, x)
    fwhm_px : in pixels (y, x)
    """

    def __init__(self, space: Space, fwhm_px: tuple[float, float], device: torch.device | str = "cpu") -> None:
        super().__init__(space, space, device)
        self.fwhm_px = fwhm_px
        ky, kx = torch.fft.fftfreq(space.shape[-2]), torch.fft.rfftfreq(space.shape[-1])
        sy, sx = (width / math.sqrt(8 * math.log(2)) for width in fwhm_px)
        exponent = (ky[:, None] * sy) ** 2 + (kx * sx) ** 2
        self._transfer = torch.exp(-2 * math.pi**2 * exponent).to(device, space.dtype)

    def _forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x) * self._transfer, x.shape[-2:])

    _adjoint = _forward  # a symmetric kernel

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        """Slices are problems of their own, so that recon3d may work in slabs."""
        if axis != "z":
            return None
        return Slab(Blur(self.domain.resized("z", stop - start), self.fwhm_px, self.device), "z", start, stop)


def microscope(scan: Scan, device: torch.device, dtype: torch.dtype) -> Blur:
    """The acquisition: from a scan of kind "microscope" to its operator."""
    height, width = scan.grid.voxel_mm[1:]
    fwhm_mm = float(scan.acquisition["fwhm_mm"])
    space = Space(("z", "y", "x"), tuple(scan.grid.shape), dtype)
    return Blur(space, (fwhm_mm / height, fwhm_mm / width), device)

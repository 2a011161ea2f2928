"""What networks that complete k-space share: complex images as channels, coil maps, and transforms without shifts."""

from __future__ import annotations

import torch
from torch import Tensor

from operators.fourier import centring_phases


class Centring:
    """Phases that turn a centred Fourier transform into a plain one: F_centred = diag(k) F diag(x).

    K-space is divided by k, and maps are multiplied by x, once; then iterations need no shifts.

    Parameters
    ----------
    shape : (ky, kx)
    centred : False makes both phases 1, for data that a plain transform turns into an image
    """

    def __init__(self, shape: tuple[int, int], centred: bool, like: Tensor) -> None:
        self.kspace = self.image = torch.ones(1, 1, dtype=like.dtype, device=like.device)
        if centred:
            (x_rows, k_rows), (x_columns, k_columns) = (centring_phases(n, like.device) for n in shape)
            self.image = (x_rows[:, None] * x_columns).to(like.dtype)
            self.kspace = (k_rows[:, None] * k_columns).to(like.dtype)


def to_kspace(images: Tensor) -> Tensor:
    """The orthonormal transform of the last two axes, origin at index 0."""
    return torch.fft.fft2(images, norm="ortho")


def to_image(kspace: Tensor) -> Tensor:
    """The inverse of `to_kspace`."""
    return torch.fft.ifft2(kspace, norm="ortho")


def reduce_coils(kspace: Tensor, maps: Tensor) -> Tensor:
    """R y = sum over coils of conj(s_c) F^-1 y_c: (batch, coil, y, x) -> (batch, y, x)."""
    return (maps.conj() * to_image(kspace)).sum(1)


def expand_coils(image: Tensor, maps: Tensor) -> Tensor:
    """(E x)_c = F (s_c x), the adjoint of `reduce_coils`."""
    return to_kspace(maps * image[:, None])


def to_channels(x: Tensor) -> Tensor:
    """Complex (batch, y, x) -> real (batch, 2, y, x): real and imaginary part."""
    return torch.view_as_real(x).permute(0, 3, 1, 2)


def from_channels(x: Tensor) -> Tensor:
    """Real (batch, 2, y, x) -> complex (batch, y, x), the inverse of `to_channels`."""
    return torch.complex(x[:, 0], x[:, 1])


def unit_maps(images: Tensor) -> Tensor:
    """Coil images (batch, coil, y, x) over their root sum of squares; zero where there is nothing."""
    total = torch.linalg.vector_norm(images, dim=1, keepdim=True)
    safe = torch.where(total > 0, total, 1.0)
    return torch.where(total > 0, images / safe, 0.0)

"""MRI along arbitrary trajectories: sensitivities and a non-uniform Fourier transform."""

from __future__ import annotations

from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from operators.errors import ShapeError
from operators.fourier import centred_fft
from operators.linear import LinearOperator, Slab
from operators.mri.encoding import Encoding
from operators.nufft import Nufft, density_compensation, toeplitz_kernel
from operators.space import Space

__all__ = ["NonCartesianEncoding"]


class NonCartesianEncoding(Encoding):
    """(A x)_c = NUFFT(s_c x): spirals, radial and other trajectories, slice by slice ("2d") or through the volume.

    Parameters
    ----------
    maps : complex tensor (coil, z, y, x) or (set, coil, z, y, x)
    trajectory : (..., 2) as (ky, kx) or (..., 3) as (kz, ky, kx), cycles per voxel, e.g. (interleave, sample, 2)
    density : weights (...) of the density compensation; by default computed when they are needed
    coil_batch : coils that are transformed at a time
    axes : names of the data's axes, ("coil", "z", "interleave", "sample") where they are not called otherwise
    """

    def __init__(
        self,
        maps: Tensor,
        trajectory: Tensor,
        density: Tensor | None = None,
        coil_batch: int = 4,
        axes: tuple[str, ...] | None = None,
    ) -> None:
        if maps.ndim not in (4, 5) or not maps.is_complex():
            raise ShapeError(f"Sensitivities are complex (coil, z, y, x), got shape {tuple(maps.shape)}.")
        if trajectory.ndim not in (2, 3) or trajectory.shape[-1] not in (2, 3):
            raise ShapeError(f"A trajectory has the shape (sample, 2) or (sample, 3), got {tuple(trajectory.shape)}.")
        if density is not None and density.shape != trajectory.shape[:-1]:
            raise ShapeError(
                f"Density weights are one number per sample {tuple(trajectory.shape[:-1])}, got {tuple(density.shape)}."
            )
        sets = tuple(maps.shape[:-4])
        shape, coils = tuple(maps.shape[-3:]), maps.shape[-4]
        planar = trajectory.shape[-1] == 2
        names = ("interleave", "sample")[-(trajectory.ndim - 1) :]
        planes = (("z",), shape[:1]) if planar else ((), ())
        super().__init__(
            Space((*("set" for _ in sets), "z", "y", "x"), (*sets, *shape), maps.dtype),
            Space(axes or ("coil", *planes[0], *names), (coils, *planes[1], *trajectory.shape[:-1]), maps.dtype),
            maps.device,
        )
        self.maps = maps if sets else maps[None]
        self._readouts = trajectory.to(maps.device)
        self.trajectory, self.coil_batch = self._readouts.reshape(-1, trajectory.shape[-1]), coil_batch
        self._density, self._has_sets, self._planar = density, bool(sets), planar
        self._transform = Nufft(self.trajectory, shape[1:] if planar else shape, maps.dtype)

    @property
    def _plane_maps(self) -> Tensor:
        """(plane, set, coil, *encoded)"""
        return self.maps.movedim(-3, 0) if self._planar else self.maps.unsqueeze(0)

    def _planes(self, x: Tensor) -> Tensor:
        """(..., set, z, y, x) as (batch, plane, set, *encoded)"""
        x = x.reshape(-1, *self.maps.shape[:1], *self.maps.shape[2:])
        return x.movedim(2, 1) if self._planar else x.unsqueeze(1)

    def _coils(self) -> list[slice]:
        coils = self.maps.shape[1]
        return [slice(c, min(c + self.coil_batch, coils)) for c in range(0, coils, self.coil_batch)]

    def _forward(self, x: Tensor) -> Tensor:
        space = cast(Space, self.range)
        batch = x.shape[: x.ndim - len(cast(Space, self.domain).shape)]
        images = self._planes(x)
        y = x.new_empty((len(images), images.shape[1], *self.maps.shape[1:2], len(self.trajectory)))
        for b, planes in enumerate(images):
            for p, (image, maps) in enumerate(zip(planes, self._plane_maps, strict=True)):
                for coils in self._coils():
                    y[b, p, coils] = self._transform.forward((maps[:, coils] * image[:, None]).sum(0))
        return y.movedim(1, 2).reshape(*batch, *space.shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        space = cast(Space, self.domain)
        batch = y.shape[: y.ndim - len(cast(Space, self.range).shape)]
        coils_n, n = self.maps.shape[1], len(self.trajectory)
        blocks = y.reshape(-1, coils_n, self._plane_maps.shape[0], n).movedim(2, 1)
        x = y.new_zeros((len(blocks), *self._plane_maps.shape[:2], *self._plane_maps.shape[3:]))
        for b, planes in enumerate(blocks):
            for p, (samples, maps) in enumerate(zip(planes, self._plane_maps, strict=True)):
                for coils in self._coils():
                    images = self._transform.adjoint(samples[coils])
                    for coil, image in zip(maps[:, coils].unbind(1), images, strict=True):
                        x[b, p].addcmul_(coil.conj(), image)
        x = x.movedim(1, 2) if self._planar else x[:, 0]
        return x.reshape(*batch, *space.shape)

    @cached_property
    def density(self) -> Tensor:
        """Weights of the samples (all in one axis), scaled so that a gridded image of an even object has its value."""
        w = self._density if self._density is not None else density_compensation(self._transform)
        w = w.to(self.device, self.maps.real.dtype).flatten()
        shape = self._transform.shape
        middle = torch.zeros(shape, dtype=self.maps.dtype, device=self.device)
        centre = tuple(slice(n // 2 - max(1, n // 8), n // 2 + max(1, n // 8)) for n in shape)
        window = torch.zeros_like(middle)
        window[centre] = 1.0
        back = self._transform.adjoint(w * self._transform.forward(window[None]))[0]
        return w * float(window.abs().sum() / back[centre].abs().sum())

    def coil_images(self, y: Tensor) -> Tensor:
        samples = y.reshape(-1, len(self.trajectory)) * self.density
        images = torch.cat([self._transform.adjoint(part) for part in samples.split(self.coil_batch)])
        return images.reshape(*y.shape[: y.ndim - len(cast(Space, self.range).shape)], *self.maps.shape[1:])

    def gridded(self, y: Tensor) -> Tensor:
        return cast(Tensor, self.H(y * self.density.reshape(self._readouts.shape[:-1])))

    def low_resolution(self, y: Tensor) -> Tensor:
        radius = torch.linalg.vector_norm(self.trajectory, dim=1)
        inside = radius <= max(0.02, 2 / min(self._transform.shape))
        return self.coil_images(y * inside.reshape(self._readouts.shape[:-1]))

    def calibration(self, y: Tensor, size: int = 24) -> Tensor:
        """The centre of k-space (coil, z, size, size) on a Cartesian grid, from the gridded coil images; 2D only."""
        images = self.coil_images(y)
        k = centred_fft(images)
        for dim in (-2, -1):
            n = k.shape[dim]
            k = k.narrow(dim, n // 2 - min(n, size) // 2, min(n, size))
        return k

    @cached_property
    def gram(self) -> LinearOperator:
        """A^H A by fast convolution on a grid twice as large: as accurate as the transform, and quicker."""
        return _ToeplitzGram(self)

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        maps = self.maps.to(device, cast(Space, self.domain).astype(dtype).dtype)
        density = None if self._density is None else self._density.to(device)
        maps = maps if self._has_sets else maps[0]
        return NonCartesianEncoding(
            maps, self._readouts.to(device), density, self.coil_batch, cast(Space, self.range).axes
        )

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        if axis != "z" or not self._planar:
            return None
        maps = self.maps[:, :, start:stop]
        maps, axes = maps if self._has_sets else maps[0], cast(Space, self.range).axes
        part = NonCartesianEncoding(maps, self._readouts, self._density, self.coil_batch, axes)
        return Slab(part, axes[1], start, stop)


class _ToeplitzGram(LinearOperator):
    """A^H A of a `NonCartesianEncoding`."""

    def __init__(self, encoding: NonCartesianEncoding) -> None:
        super().__init__(encoding.domain, encoding.domain, encoding.device)
        self.encoding = encoding
        self._kernel = toeplitz_kernel(encoding._transform)

    def _forward(self, x: Tensor) -> Tensor:
        encoding, kernel = self.encoding, self._kernel
        images = encoding._planes(x)
        result = torch.zeros_like(images, memory_format=torch.contiguous_format)
        shape = encoding._transform.shape
        dims = tuple(range(-len(shape), 0))
        corner = tuple(slice(0, n) for n in shape)
        for b, planes in enumerate(images):
            for p, (image, maps) in enumerate(zip(planes, encoding._plane_maps, strict=True)):
                for coil in maps.unbind(1):
                    spectrum = torch.fft.fftn((coil * image).sum(0), s=kernel.shape, dim=dims)
                    seen = torch.fft.ifftn(spectrum.mul_(kernel), dim=dims)[corner]
                    result[b, p].addcmul_(coil.conj(), seen)
        result = result.movedim(1, 2) if encoding._planar else result[:, 0]
        return result.reshape(x.shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._forward(y)

    @cached_property
    def H(self) -> LinearOperator:
        return self

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return self.encoding.to(device, dtype).gram

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        slab = self.encoding.restrict(axis, start, stop)
        return slab and Slab(slab.operator.gram, "z", start, stop)

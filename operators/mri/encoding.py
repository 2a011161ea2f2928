"""MRI encoding: an image, or two, or a series, weighted by coil sensitivities and sampled in k-space."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import cached_property
from typing import cast

import numpy as np
import torch
from numba import njit
from torch import Tensor

from operators.errors import ShapeError
from operators.fourier import centred_ifft, centring_phases
from operators.linear import LinearOperator, Slab
from operators.space import Space

__all__ = ["CartesianEncoding", "Encoding", "typical"]

_LOW_FRACTION = 0.04  # of k-space along each axis: the calibration region of the usual eightfold scan


class Encoding(LinearOperator):
    """What every MRI operator can do beside A and A^H. The domain ends in (z, y, x), before it (t) and (set)."""

    maps: Tensor
    """Sensitivities (set, coil, z, y, x)."""

    @abstractmethod
    def coil_images(self, y: Tensor) -> Tensor:
        """The image of each coil, (..., coil, z, y, x), with the missing samples taken as zero."""

    @abstractmethod
    def low_resolution(self, y: Tensor) -> Tensor:
        """Coil images (..., coil, z, y, x) of the centre of k-space alone, on a coarse grid, in the image's scale."""

    def gridded(self, y: Tensor) -> Tensor:
        """The coil-combined zero-filled image: A^H y, with density compensation where the sampling needs it."""
        return cast(Tensor, self.H(y))

    def image_scale(self, y: Tensor) -> float:
        """A typical magnitude of the image: the 99th percentile of a low-resolution image of the centre of k-space.

        The region is 4 % of each axis (4 samples at least), so it lies inside the calibration region of any usual
        acceleration and does not change with it. The image is the root sum of squares over coils, which is that of the
        combined image for sensitivities of unit sum of squares.
        """
        return typical(self.magnitudes(y))

    def magnitudes(self, y: Tensor) -> Tensor:
        """The voxels of that low-resolution image, float64, one after the other."""
        return self.low_resolution(y).abs().square().sum(-4).sqrt().flatten().to(torch.float64)


def typical(magnitudes: Tensor) -> float:
    """The 99th percentile."""
    rank = max(0, math.ceil(0.99 * magnitudes.numel()) - 1)
    return float(magnitudes.sort().values[rank])


class CartesianEncoding(Encoding):
    """(A x)_c = M F (s_c x), F the centred orthonormal Fourier transform, M the sampling mask.

    Two-dimensional encoding (slices are problems of their own, and kz counts them) or three-dimensional. With several
    map sets the coils see the sum over sets of s_c x (soft SENSE), for objects that fold over. Centring is multiplied
    into maps and mask once; `gram` transforms only along axes on which the mask varies. Slices are looped over, a few
    coils at a time.

    Parameters
    ----------
    maps : complex tensor (coil, z, y, x) or (set, coil, z, y, x)
    mask : real or bool tensor that broadcasts to (z, ky, kx) or, for a series, (t, z, ky, kx) with all of t; None: full
    encoding : "2d" or "3d"
    coil_batch : coils that are transformed at a time; any gives the same result, only memory changes
    """

    def __init__(self, maps: Tensor, mask: Tensor | None = None, encoding: str = "2d", coil_batch: int = 1) -> None:
        if encoding not in ("2d", "3d"):
            raise ShapeError(f"An MRI scan is encoded in '2d' or '3d', got '{encoding}'.")
        if maps.ndim not in (4, 5) or not maps.is_complex():
            raise ShapeError(
                f"Sensitivities are complex (coil, z, y, x) or (set, coil, z, y, x), got shape {tuple(maps.shape)} "
                f"of {str(maps.dtype).removeprefix('torch.')}."
            )
        if coil_batch < 1:
            raise ShapeError(f"A coil batch holds at least one coil, got {coil_batch}.")
        sets = (maps.shape[0],) if maps.ndim == 5 else ()
        coils, shape = maps.shape[-4], tuple(maps.shape[-3:])
        mask = torch.ones(1, 1, 1, device=maps.device) if mask is None else mask.to(maps.device)
        if mask.ndim < 3:
            mask = mask.reshape(*[1] * (3 - mask.ndim), *mask.shape)
        if mask.ndim > 4 or any(m not in (1, n) for m, n in zip(mask.shape[-3:], shape, strict=True)):
            raise ShapeError(
                f"The sampling mask has shape {tuple(mask.shape)}, k-space has (kz, ky, kx) = {shape}: they must agree."
            )
        frames = (mask.shape[0],) if mask.ndim == 4 else ()
        domain_axes = (*("t" for _ in frames), *("set" for _ in sets), "z", "y", "x")
        range_axes = (*("t" for _ in frames), "coil", "kz", "ky", "kx")
        super().__init__(
            Space(domain_axes, (*frames, *sets, *shape), maps.dtype),
            Space(range_axes, (*frames, coils, *shape), maps.dtype),
            maps.device,
        )
        self.maps = maps if maps.ndim == 5 else maps[None]
        self.mask = mask.real.to(maps.real.dtype)
        self.encoding, self.coil_batch = encoding, coil_batch
        self._has_sets, self._frames = bool(sets), bool(frames)
        self._dims = (-2, -1) if encoding == "2d" else (-3, -2, -1)

    @cached_property
    def _weighted_maps(self) -> Tensor:
        """Maps (set, coil, plane, *encoded) times the centring phases and the transform's scale."""
        scaled = self.maps
        factor: Tensor | float = 1.0 / math.sqrt(math.prod(self.maps.shape[d] for d in self._dims))
        for dim in self._dims:
            before = centring_phases(self.maps.shape[dim], self.device)[0].reshape(-1, *[1] * (-1 - dim))
            factor = before * factor
        assert isinstance(factor, Tensor)
        scaled = (scaled * factor.to(scaled.dtype)).contiguous()
        return scaled if self.encoding == "2d" else scaled.unsqueeze(-4)

    @cached_property
    def _weights(self) -> Tensor:
        """The mask times the centring phases of k-space: (t, plane, *encoded)."""
        weights = self._planes(self.mask).to(self.maps.dtype)
        for dim in self._dims:
            after = centring_phases(self.maps.shape[dim], self.device)[1].to(self.maps.dtype)
            weights = weights * after.reshape(-1, *[1] * (-1 - dim))
        return weights

    def _planes(self, t: Tensor) -> Tensor:
        """A tensor that ends in (z, y, x) as one that ends in (plane, *encoded), with a frame axis in front."""
        t = t if self._frames else t.unsqueeze(0)
        return t if self.encoding == "2d" else t.unsqueeze(-4)

    def _loop(self) -> list[slice]:
        """Planes that are worked on together: one by one on a CPU, where small arrays stay in the cache."""
        planes = self._weighted_maps.shape[2]
        step = 1 if self.device.type == "cpu" else planes
        return [slice(p, min(p + step, planes)) for p in range(0, planes, step)]

    def _coil_slices(self) -> list[slice]:
        coils = self.maps.shape[1]
        return [slice(c, min(c + self.coil_batch, coils)) for c in range(0, coils, self.coil_batch)]

    def _image_blocks(self, x: Tensor) -> Tensor:
        """(..., t, set, z, y, x) as (batch x t, set, plane, *encoded)."""
        tail = self._weighted_maps.shape[2:]
        return x.reshape(-1, self.maps.shape[0], *tail)

    def _weights_of(self, weights: Tensor, block: int, planes: slice) -> Tensor:
        of_frame = weights[block % weights.shape[0]]
        return of_frame if of_frame.shape[0] == 1 else of_frame[planes]

    def _forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.range, Space)
        assert isinstance(self.domain, Space)
        batch = x.shape[: x.ndim - len(self.domain.shape)]
        images, maps = self._image_blocks(x), self._weighted_maps
        y = x.new_empty((len(images), *maps.shape[1:]))
        for b, image in enumerate(images):
            for planes in self._loop():
                weights = self._weights_of(self._weights, b, planes)
                for coils in self._coil_slices():
                    seen = maps[0, coils, planes] * image[0, planes]
                    for s in range(1, len(maps)):
                        seen.addcmul_(maps[s, coils, planes], image[s, planes])
                    torch.mul(torch.fft.fftn(seen, dim=self._dims), weights, out=y[b, coils, planes])
        return y.reshape(*batch, *self.range.shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        assert isinstance(self.range, Space)
        assert isinstance(self.domain, Space)
        batch = y.shape[: y.ndim - len(self.range.shape)]
        maps = self._weighted_maps
        blocks = y.reshape(-1, *maps.shape[1:])
        x = y.new_zeros((len(blocks), maps.shape[0], *maps.shape[2:]))
        for b, block in enumerate(blocks):
            for planes in self._loop():
                weights = self._weights_of(self._weights, b, planes).conj()
                for coils in self._coil_slices():
                    seen = torch.fft.ifftn(block[coils, planes] * weights, dim=self._dims, norm="forward")
                    _combine(seen, maps, x[b], coils, planes)
        return x.reshape(*batch, *self.domain.shape)

    @cached_property
    def gram(self) -> LinearOperator:
        """A^H A, transformed only along the axes on which the mask varies."""
        return _CartesianGram(self)

    def coil_images(self, y: Tensor) -> Tensor:
        return centred_ifft(y * self._range_mask, self._dims)

    @property
    def _range_mask(self) -> Tensor:
        """The mask, to broadcast to data (t, coil, kz, ky, kx)."""
        return self.mask.unsqueeze(-4) if self._frames else self.mask

    def low_resolution(self, y: Tensor) -> Tensor:
        y = y * self._range_mask
        factor = 1.0
        for dim in self._dims:
            n = y.shape[dim]
            low, grid = min(n, max(4, round(_LOW_FRACTION * n))), min(n, 2 * max(4, round(_LOW_FRACTION * n)))
            window = y.narrow(dim, n // 2 - low // 2, low)
            padded = window.new_zeros((*window.shape[:dim], grid, *window.shape[dim:][1:]))
            padded.narrow(dim, grid // 2 - low // 2, low).copy_(window)
            factor *= math.sqrt(grid / n)
            y = padded
        return centred_ifft(y, self._dims) * factor

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        maps = self.maps.to(device, cast(Space, self.domain).astype(dtype).dtype)
        maps = maps if self._has_sets else maps[0]
        return type(self)(maps, self.mask.to(device), self.encoding, self.coil_batch)

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        if axis != "z" or self.encoding != "2d":
            return None
        maps = self.maps[:, :, start:stop]
        mask = self.mask if self.mask.shape[-3] == 1 else self.mask[..., start:stop, :, :]
        part = type(self)(maps if self._has_sets else maps[0], mask, self.encoding, self.coil_batch)
        return Slab(part, "kz", start, stop)


class _CartesianGram(LinearOperator):
    """A^H A of a `CartesianEncoding`: along an axis that is sampled alike everywhere F^H F is the identity."""

    def __init__(self, encoding: CartesianEncoding) -> None:
        super().__init__(encoding.domain, encoding.domain, encoding.device)
        self.encoding = encoding
        mask = encoding._planes(encoding.mask).square()
        dims = encoding._dims
        self._dims = tuple(d for d in dims if mask.shape[d] > 1 and not bool((mask == mask.narrow(d, 0, 1)).all()))
        for dim in set(dims) - set(self._dims):
            mask = mask.narrow(dim, 0, 1) * encoding.maps.shape[dim]  # undo the scale of a transform that is left out
        self._weights = torch.stack([mask, mask], dim=-1)  # for real and imaginary parts: half a complex product's work

    def _forward(self, x: Tensor) -> Tensor:
        encoding = self.encoding
        images, maps = encoding._image_blocks(x), encoding._weighted_maps
        result = torch.zeros_like(images, memory_format=torch.contiguous_format)
        buffer = images.new_empty(0)  # used again and again: no iteration allocates what it weights
        for b, image in enumerate(images):
            for planes in encoding._loop():
                weights = encoding._weights_of(self._weights, b, planes)
                for coils, rows in self._tiles():
                    part = maps[0, coils, planes, rows]
                    if buffer.shape != part.shape:
                        buffer = torch.empty_like(part, memory_format=torch.contiguous_format)
                    seen = torch.mul(part, image[0, planes, rows], out=buffer)
                    for s in range(1, len(maps)):
                        seen.addcmul_(maps[s, coils, planes, rows], image[s, planes, rows])
                    if self._dims:
                        seen = torch.fft.fftn(seen, dim=self._dims)
                    torch.view_as_real(seen).mul_(weights if weights.shape[1] == 1 else weights[:, rows])
                    if self._dims:
                        seen = torch.fft.ifftn(seen, dim=self._dims, norm="forward")
                    _combine(seen, maps, result[b], coils, planes, rows.start)
        return result.reshape(x.shape)

    def _tiles(self) -> list[tuple[slice, slice]]:
        """Coils, and rows of the first encoded axis, that are worked on together.

        On a CPU, rows that no transform joins are split: all coils of as many as take the memory of one coil, which
        stay in the cache.
        """
        encoding = self.encoding
        first = encoding._dims[0]
        n, coils = encoding.maps.shape[first], encoding.maps.shape[1]
        if first in self._dims or encoding.device.type != "cpu":
            return [(batch, slice(0, n)) for batch in encoding._coil_slices()]
        step = max(1, n // coils)
        return [(slice(0, coils), slice(row, min(row + step, n))) for row in range(0, n, step)]

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._forward(y)

    @cached_property
    def H(self) -> LinearOperator:
        return self

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return self.encoding.to(device, dtype).gram

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        slab = self.encoding.restrict(axis, start, stop)
        return slab and Slab(slab.operator.gram, axis, start, stop)


def _combine(seen: Tensor, maps: Tensor, x: Tensor, coils: slice, planes: slice, row: int = 0) -> None:
    """x_s += sum over coils of conj(s_c) seen_c, one coil after the other: the same numbers for any coil batch.

    `maps` (set, coil, plane, ...) and `x` (set, plane, ...) are whole; on a CPU `seen` is some rows of one plane.
    """
    if seen.device.type == "cpu":
        values = seen.contiguous().reshape(len(seen), -1).numpy()
        start = (planes.start * maps.shape[3] + row) * math.prod(maps.shape[4:])
        for image, of_set in zip(x, maps, strict=True):
            _add_conjugate(
                of_set.reshape(len(of_set), -1).numpy(), values, image.reshape(-1).numpy(), coils.start, start
            )
        return
    for image, of_set in zip(x, maps, strict=True):
        for coil_map, coil in zip(of_set[coils, planes], seen, strict=True):
            image[planes].addcmul_(coil_map.conj(), coil)


@njit(cache=True, fastmath={"contract", "nsz"})
def _add_conjugate(maps: np.ndarray, seen: np.ndarray, total: np.ndarray, coil: int, start: int) -> None:
    """total += conj(map) seen for coils from `coil` and places from `start` on, in one pass per coil."""
    stop = start + seen.shape[1]
    for c in range(seen.shape[0]):
        _add_product(maps[coil + c, start:stop], seen[c], total[start:stop])


@njit(fastmath={"contract", "nsz"})  # a function of its own: the compiler vectorises it
def _add_product(of_coil: np.ndarray, seen: np.ndarray, total: np.ndarray) -> None:
    for i in range(len(total)):
        total[i] += of_coil[i].conjugate() * seen[i]

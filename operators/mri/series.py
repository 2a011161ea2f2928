"""Dynamic Cartesian MRI: the lines of k-space that were measured differ from frame to frame."""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from operators.errors import ShapeError
from operators.linear import LinearOperator
from operators.mri.encoding import CartesianEncoding
from operators.series import BASIS, Series
from operators.space import Space

__all__ = ["CartesianSeries"]


class CartesianSeries(CartesianEncoding, Series):
    """`CartesianEncoding` of a series: data (t, coil, kz, ky, kx), the mask with (t) in front.

    Basis images are transformed once, whatever the number of frames; where a sample was measured then only decides
    which of the K x K products of time functions are summed (Liang, ISBI 2007; Zhao et al., IEEE TMI 31, 2012).
    """

    def __init__(self, maps: Tensor, mask: Tensor | None = None, encoding: str = "2d", coil_batch: int = 1) -> None:
        super().__init__(maps, mask, encoding, coil_batch)
        if not self._frames or self._has_sets:
            raise ShapeError("A series needs a mask (t, z, ky, kx) and sensitivities of one set (coil, z, y, x).")

    def subspace(self, psi: Tensor) -> LinearOperator:
        return _CartesianSubspace(self, psi)

    @property
    def still(self) -> CartesianEncoding:
        """The fully sampled encoding of one image."""
        return CartesianEncoding(self.maps[0], None, self.encoding, self.coil_batch)

    def frame_operator(self, t: int) -> LinearOperator:
        return CartesianEncoding(self.maps[0], self.mask[t], self.encoding, self.coil_batch)

    def frame_data(self, y: Tensor, t: int) -> Tensor:
        return y[t]

    def frame_normals(self, basis: Tensor, y: Tensor, weights: Any = 1.0) -> tuple[Tensor, Tensor]:
        if isinstance(weights, Tensor) and weights.numel() > 1:
            return _by_frame(self, basis, y, weights)
        seen = self.still(basis).to(torch.complex128)  # (basis, coil, kz, ky, kx)
        factor, masks = float(weights), self.mask.to(torch.float64)
        rows = _by_sample(seen, self._varying)  # (sample, basis, others)
        products = (rows.conj() @ rows.mT).flatten(1)  # (sample, basis x basis)
        squared = masks.square().reshape(self.frames, -1).to(products.dtype)
        H = (squared @ products).reshape(self.frames, len(basis), len(basis))
        flat = seen.conj().flatten(1)
        b = torch.stack([flat @ (y[t] * masks[t]).flatten().to(flat.dtype) for t in range(self.frames)])
        return H * factor**2, b * factor

    @property
    def _varying(self) -> tuple[int, ...]:
        """The axes of k-space, of (-3, -2, -1), along which the mask varies."""
        return tuple(d for d in (-3, -2, -1) if self.mask.shape[d] > 1)

    def window(self, start: int, stop: int, y: Tensor) -> tuple[LinearOperator, Tensor]:
        """Repeated samples are averaged and weigh as much as they are many: exactly the least squares of all."""
        weights = self.mask[start:stop].square().sum(0).sqrt()
        total = (self.mask[start:stop].unsqueeze(-4) * y[start:stop]).sum(0)
        data = torch.where(weights > 0, total / weights.clamp(min=torch.finfo(weights.dtype).tiny), 0)
        return CartesianEncoding(self.maps[0], weights, self.encoding, self.coil_batch), data


class _CartesianSubspace(LinearOperator):
    """Basis images to the k-space of the series they span."""

    def __init__(self, series: CartesianSeries, psi: Tensor) -> None:
        frame = series.frame
        super().__init__(
            Space((BASIS, *frame.axes), (psi.shape[1], *frame.shape), frame.dtype), series.range, series.device
        )
        self.series, self.psi = series, psi.to(series.device, frame.dtype)
        self._still = series.still

    def _forward(self, x: Tensor) -> Tensor:
        seen = self._still._forward(x)
        lead = x.ndim - len(cast(Space, self.domain).shape)
        flat = seen.flatten(lead + 1)
        y = (self.psi @ flat).reshape(*x.shape[:lead], *cast(Space, self.range).shape)
        return y.mul_(self.series._range_mask)

    def _adjoint(self, y: Tensor) -> Tensor:
        lead = y.ndim - len(cast(Space, self.range).shape)
        mask = self.series._range_mask
        total = y.new_zeros((*y.shape[:lead], self.psi.shape[1], *y.shape[lead + 1 :]))
        flat = total.flatten(lead + 1)
        for t, row in enumerate(self.psi):
            seen = (y.select(lead, t) * mask[t]).flatten(lead)
            flat.add_(row.conj()[:, None] * seen.unsqueeze(lead))
        return cast(Tensor, self._still.H._forward(flat.reshape(total.shape)))

    @cached_property
    def gram(self) -> LinearOperator:
        return _SubspaceGram(self)


class _SubspaceGram(LinearOperator):
    """A^H A on basis images: K x K products of time functions, summed over the frames that measured a sample."""

    def __init__(self, subspace: _CartesianSubspace) -> None:
        super().__init__(subspace.domain, subspace.domain, subspace.device)
        self._subspace, self._still = subspace, subspace._still
        psi, series = subspace.psi, subspace.series
        squared = series.mask.square().reshape(series.frames, -1).to(psi.dtype)
        products = psi.conj().unsqueeze(2) * psi.unsqueeze(1)  # (t, basis, basis)
        self._kernel = (squared.mT @ products.flatten(1)).reshape(-1, *products.shape[1:])  # (sample, basis, basis)

    def _forward(self, x: Tensor) -> Tensor:
        seen = self._still._forward(x)
        frame = cast(Space, self.domain).shape[0], *seen.shape[-4:]
        mixed = [self._mixed(part) for part in seen.reshape(-1, *frame)]
        return cast(Tensor, self._still.H._forward(torch.stack(mixed).reshape(seen.shape)))

    def _mixed(self, seen: Tensor) -> Tensor:
        """(basis, coil, kz, ky, kx) with the basis mixed by the kernel of each sample."""
        varying = self._subspace.series._varying
        rows = self._kernel @ _by_sample(seen, varying)
        others = [d for d in range(1, 5) if d - 5 not in varying]
        order = [*(d + 5 for d in varying), 0, *others]
        return rows.reshape([seen.shape[d] for d in order]).permute([order.index(d) for d in range(5)])

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._forward(y)

    @cached_property
    def H(self) -> LinearOperator:
        return self


def _by_sample(seen: Tensor, varying: tuple[int, ...]) -> Tensor:
    """(basis, coil, kz, ky, kx) as (sample, basis, others): samples along the axes on which the mask varies."""
    others = [d for d in range(1, 5) if d - 5 not in varying]
    ordered = seen.permute(*(d + 5 for d in varying), 0, *others)
    return ordered.reshape(-1, len(seen), *ordered.shape[len(varying) + 1 :]).flatten(2)


def _by_frame(series: CartesianSeries, basis: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """With noise weights of each sample: frame by frame."""
    seen, normals = series.still(basis), []
    weights = weights.expand(cast(Space, series.range).shape)
    for t in range(series.frames):
        rows = (seen * (series.mask[t] * weights[t])).flatten(1).to(torch.complex128)
        normals.append((rows.conj() @ rows.mT, rows.conj() @ y[t].flatten().to(torch.complex128)))
    H, b = zip(*normals, strict=True)
    return torch.stack(H), torch.stack(b)

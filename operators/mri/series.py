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

    def frame_normals(self, basis: Tensor, y: Tensor, weights: Any = 1.0) -> tuple[Tensor, Tensor]:
        if isinstance(weights, Tensor) and weights.numel() > 1:
            return _by_frame(self, basis, y, weights)
        seen = self.still(basis)  # (basis, coil, kz, ky, kx)
        factor = float(weights)
        mask = self.mask
        folded = tuple(d for d in (-3, -2, -1) if mask.shape[d] == 1)
        K, P = len(basis), self.frames
        H = torch.zeros((P, K, K), dtype=torch.complex128, device=self.device)
        b = torch.zeros((P, K), dtype=torch.complex128, device=self.device)
        masks = mask.to(torch.float64).reshape(P, -1)
        for k in range(K):
            for m in range(k, K):
                product = (seen[k].conj() * seen[m]).sum(0).to(torch.complex128)
                product = product.sum(folded) if folded else product
                H[:, k, m] = torch.complex(
                    masks.square() @ product.real.flatten(), masks.square() @ product.imag.flatten()
                )
                H[:, m, k] = H[:, k, m].conj()
        for t in range(P):
            b[t] = (seen.conj() * (y[t] * mask[t])).flatten(1).sum(1, dtype=torch.complex128)
        return H * factor**2, b * factor

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
        psi = subspace.psi
        squared = subspace.series.mask.square().to(psi.dtype)
        products = psi.conj().unsqueeze(2) * psi.unsqueeze(1)  # (t, basis, basis)
        self._kernel = torch.einsum("tkm,tzyx->kmzyx", products, squared)

    def _forward(self, x: Tensor) -> Tensor:
        seen = self._still._forward(x)  # (.., basis, coil, kz, ky, kx)
        basis = seen.movedim(-5, 0)
        mixed = torch.stack([_sum_of_products(row, basis) for row in self._kernel])
        return cast(Tensor, self._still.H._forward(mixed.movedim(0, -5)))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._forward(y)

    @cached_property
    def H(self) -> LinearOperator:
        return self


def _sum_of_products(row: Tensor, basis: Tensor) -> Tensor:
    """sum over m of row_m basis_m, without an array of all of them."""
    total = row[0] * basis[0]
    for weight, image in zip(row[1:], basis[1:], strict=True):
        total.addcmul_(weight.expand_as(image), image)
    return total


def _by_frame(series: CartesianSeries, basis: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """With noise weights of each sample: frame by frame."""
    seen, normals = series.still(basis), []
    weights = weights.expand(cast(Space, series.range).shape)
    for t in range(series.frames):
        rows = (seen * (series.mask[t] * weights[t])).flatten(1).to(torch.complex128)
        normals.append((rows.conj() @ rows.mT, rows.conj() @ y[t].flatten().to(torch.complex128)))
    H, b = zip(*normals, strict=True)
    return torch.stack(H), torch.stack(b)

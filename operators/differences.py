"""Differences between neighbouring voxels."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from operators.errors import ShapeError
from operators.linear import LinearOperator, Slab
from operators.space import Space

__all__ = ["Boundary", "ForwardDifference", "difference", "difference_adjoint"]

Boundary = Literal["neumann", "circular"]


def difference(x: Tensor, dim: int = 0, boundary: Boundary = "neumann") -> Tensor:
    """x[i + 1] - x[i] along `dim`, same shape; the last entry is 0 (Neumann) or x[0] - x[-1] (circular)."""
    d = torch.empty_like(x)
    n = x.shape[dim]
    torch.sub(x.narrow(dim, 1, n - 1), x.narrow(dim, 0, n - 1), out=d.narrow(dim, 0, n - 1))
    last = d.narrow(dim, n - 1, 1)
    if boundary == "circular":
        torch.sub(x.narrow(dim, 0, 1), x.narrow(dim, n - 1, 1), out=last)
    else:
        last.zero_()
    return d


def difference_adjoint(d: Tensor, dim: int = 0, boundary: Boundary = "neumann") -> Tensor:
    """The exact adjoint of `difference`: d[i - 1] - d[i]; Neumann ignores the last entry of `d`."""
    x = torch.empty_like(d)
    n = d.shape[dim]
    torch.sub(d.narrow(dim, 0, n - 1), d.narrow(dim, 1, n - 1), out=x.narrow(dim, 1, n - 1))
    first, last = x.narrow(dim, 0, 1), x.narrow(dim, n - 1, 1)
    if boundary == "circular":
        torch.sub(d.narrow(dim, n - 1, 1), d.narrow(dim, 0, 1), out=first)
        return x
    if n == 1:
        return x.zero_()
    torch.neg(d.narrow(dim, 0, 1), out=first)
    last.copy_(d.narrow(dim, n - 2, 1))
    return x


class ForwardDifference(LinearOperator):
    """(Dx)_i = (x_{i+1} - x_i) / spacing along one axis, in the shape of x.

    Parameters
    ----------
    space : the space of x and of Dx
    axis : name of the axis
    spacing : float
        Distance of neighbours, above 0; 1 gives plain differences.
    boundary : "neumann" (the last difference is 0) or "circular" (the last entry meets the first)
    """

    def __init__(
        self,
        space: Space,
        axis: str,
        spacing: float = 1.0,
        boundary: Boundary = "neumann",
        device: torch.device | str = "cpu",
    ) -> None:
        if axis not in space.axes:
            raise ShapeError(f"Differences need one of the axes {space.axes}, got {axis!r}.")
        if boundary not in ("neumann", "circular"):
            raise ShapeError(f"The boundary is 'neumann' or 'circular', got {boundary!r}.")
        if not spacing > 0:
            raise ShapeError(f"The spacing of a difference is above 0, got {spacing}.")
        super().__init__(space, space, device)
        self.space, self.axis, self.spacing, self.boundary = space, axis, spacing, boundary
        self._dim = space.axes.index(axis) - len(space.axes)

    def _forward(self, x: Tensor) -> Tensor:
        return difference(x, self._dim, self.boundary).div_(self.spacing)

    def _adjoint(self, y: Tensor) -> Tensor:
        return difference_adjoint(y, self._dim, self.boundary).div_(self.spacing)

    def _rebuild(self, device: torch.device, dtype: torch.dtype) -> LinearOperator:
        return ForwardDifference(self.space.astype(dtype), self.axis, self.spacing, self.boundary, device)

    def restrict(self, axis: str, start: int, stop: int) -> Slab | None:
        if axis == self.axis or axis not in self.space.axes:
            return None
        space = self.space.resized(axis, stop - start)
        part = ForwardDifference(space, self.axis, self.spacing, self.boundary, self.device)
        return Slab(part, axis, start, stop)
